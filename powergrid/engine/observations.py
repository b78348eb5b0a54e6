"""What agents see: one vector of named features, and a gather for each agent.

The ``..._entries`` name the features when the layout is made, ``features`` fills them during a step;
:mod:`powergrid.engine.blocks` has their order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Entry, Flow, Injection
from powergrid.engine.blocks import FeatureColumns
from powergrid.engine.layout import Columns, Layout, Ledger
from powergrid.engine.tick import Tick

_POWER_BOUND = 1e4
_UNITS = {
    "_per_mwh": "$/MWh",
    "_w_m2": "W/m2",
    "_m3_s": "m3/s",
    "_m_s": "m/s",
    "_mwh": "MWh",
    "_mw": "MW",
    "_mvar": "Mvar",
    "_c": "degC",
    "_stay_h": "h",
    "hour": "h",
    "_pu": "pu",
}
"""How names of quantities end, and their units; the first that fits."""

Named = tuple[str, Entry]


def unit_of(series: str) -> str:
    """Unit of a series from its quantity; phases of the clock and unknown quantities are pure numbers."""
    quantity = series.split(":")[0]
    return next((unit for ending, unit in _UNITS.items() if quantity.endswith(ending)), "1")


def exogenous_entries(columns: Columns) -> list[Named]:
    """The exogenous row: series now, day-ahead prices, forecasts."""
    found = [
        ("", Entry(name, unit_of(name), *bounds)) for name, bounds in zip(columns.series, columns.bounds, strict=True)
    ]
    price = columns.series[columns.price]
    found += [
        ("", Entry(f"{price}+{hour}h", unit_of(price), *columns.bounds[columns.price]))
        for hour in range(1, columns.price_hours + 1)
    ]
    for hour in range(1, columns.ahead_hours + 1):
        for i in columns.ahead:
            name = columns.series[i]
            found.append(("", Entry(f"{name}+{hour}h", unit_of(name), *columns.bounds[i])))
    return found


def network_entries(
    buses: Sequence[str], branches: Sequence[str], measured: Sequence[str], readings: Sequence[str]
) -> tuple[list[Named], list[Named], list[Named]]:
    """Bus voltages; active power of metered branches and source, of units and net; reactive power of the former.

    The meter of a unit counts what it draws; the unit's own reading ``p`` is what it feeds in.
    """
    power = Entry("p", "MW", -_POWER_BOUND, _POWER_BOUND)
    reactive = Entry("q", "Mvar", -_POWER_BOUND, _POWER_BOUND)
    voltage = [(f"bus_{name}", Entry("v", "pu", 0.0, 2.0)) for name in buses]
    found = [(name, power) for name in branches]
    found += [(name, power._replace(name="meter_p")) for name in measured[len(branches) :]]
    found += [(name.removesuffix(".net"), power._replace(name="net_p")) for name in readings[len(measured) :]]
    return voltage, found, [(name, reactive) for name in branches]


def load_entries(accounts: Sequence[str], renewable: Sequence[int]) -> tuple[list[Named], list[Named]]:
    """The network's own load behind each account's meter; the same less what sun and wind offer, where they are."""
    load, net = (Entry(name, "MW", -_POWER_BOUND, _POWER_BOUND) for name in ("load", "net_load"))
    return [(name, load) for name in accounts], [(accounts[i], net) for i in renewable]


def frequency_entries(units: Sequence[str], f_hz: float) -> list[Named]:
    """Frequency at the units that form grids."""
    return [(unit, Entry("frequency", "Hz", 0.0, 1.2 * f_hz)) for unit in units]


def settlement_entries(columns: Columns, ledger: Ledger) -> list[Named]:
    """Prices at which stored energy is settled."""
    prices = zip(ledger.settlement_names(columns), ledger.settle_columns, ledger.settle_refill, strict=True)
    bounds = [(name, [bound / refill.efficiency for bound in columns.bounds[i]]) for name, i, refill in prices]
    return [("", Entry(name, "$/MWh", *reach)) for name, reach in bounds]


def forecast_scale(xp: Namespace, columns: Columns, rho: float, normal: Array) -> Array:
    """Factors that turn true futures into forecasts, from standard normals ``(*batch, hours, series)``.

    Relative errors are AR(1) in the hour ahead: ``z_h = rho z_(h-1) + sqrt(1 - rho^2) e_h`` and the factor is
    ``max(1 + sigma z_h, 0)``. Returned flat, ``(*batch, hours * series)``.
    """
    hours = np.arange(columns.ahead_hours)
    lag = hours[:, None] - hours[None, :]
    spread = np.where(lag >= 0, np.sqrt(1.0 - rho**2) * rho ** np.maximum(lag, 0), 0.0)
    error = xp.einsum("hk,...ks->...hs", xp.asarray(spread, dtype=normal.dtype), normal)
    scale = xp.maximum(1.0 + xp.asarray(columns.ahead_noise, dtype=normal.dtype) * error, 0.0)
    return scale.reshape((*normal.shape[:-2], -1))


def features(
    tick: Tick,
    injections: Sequence[Injection],
    flow: Flow,
    measured_mw: Array,
    frequency_hz: Array | None = None,
) -> Array:
    """The feature vector ``(*batch, F)`` at the beginning of a tick, from the flow of the last one."""
    xp, layout, params, state, row = tick[:5]
    load_mw = row[..., layout.grid.load_series] @ params.load_to_account
    net_load_mw = tick.net_load()[..., layout.ledger.renewable_accounts]
    start = layout.columns.ahead_start
    readings: list[Array] = []
    for family, columns, device, injection in zip(
        layout.families, params.families, state.devices, injections, strict=True
    ):
        readings += family.kernel.readings(xp, columns, device, injection)
    frequency = []
    if layout.grid.islands is not None and frequency_hz is not None:
        frequency.append(frequency_hz[..., layout.grid.islands.unit])
    values = FeatureColumns(
        series=[row[..., :start]],
        forecast=[row[..., start:] * tick.noise.forecast],
        v_pu=[flow.v_pu],
        measured_mw=[measured_mw],
        q_mvar=[flow.q_meter_mvar, flow.q_slack_mvar[..., None]],
        load_mw=[load_mw[..., :-1]],
        net_load_mw=[net_load_mw],
        settlement=[state.settlement_per_mwh],
        device=readings,
        frequency_hz=frequency,
        signals=[state.signals],
    )
    return layout.view.blocks.join(xp, values, row.shape[:-1], row.dtype)


def observation(xp: Namespace, layout: Layout, vector: Array) -> Array:
    """Entries of all actors, clipped to their bounds, ``(*batch, N)``."""
    view = layout.view
    return xp.minimum(xp.maximum(vector[..., view.index], view.low), view.high)
