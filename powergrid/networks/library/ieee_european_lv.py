"""IEEE European low-voltage test feeder."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.networks.compose_tables import scaled
from powergrid.networks.feeders import Phases
from powergrid.networks.network import Network
from powergrid.networks.pandapower_options import PandapowerNet
from powergrid.networks.phase_builder import PhaseBuilder
from powergrid.networks.unbalanced import UnbalancedNetwork
from powergrid.plugins.registries import register_network

SCENARIOS = ("on_peak_566", "off_peak_1", "off_peak_1440")
"""Minutes of the day with published loads."""
_NOTE = "IEEE PES Distribution System Analysis Subcommittee, European low-voltage test feeder, 2015, from pandapower"
_POWER = (("p", "mw"), ("q", "mvar"))


@register_network("ieee_european_lv")
def ieee_european_lv(
    *,
    source_v_pu: float | None = None,
    load_scale: float = 1.0,
    scenario: str = "on_peak_566",
    phases: Phases = "balanced",
) -> Network | UnbalancedNetwork:
    """IEEE European low-voltage feeder, 0.416 kV: 906 buses behind an 800 kVA Dyn1 transformer, 55 one-phase houses.

    Parameters
    ----------
    source_v_pu
        Voltage at 11 kV [pu]; by default the published 1.05 pu.
    load_scale
        Factor on every load [1].
    scenario
        Minute of the day: ``"on_peak_566"`` (09:26, 57 kW), ``"off_peak_1"`` or ``"off_peak_1440"``.
    phases
        ``"three"`` builds every phase; ``"balanced"`` the positive sequence, in which a house's power is shared by
        three phases.

    Returns
    -------
    Network or UnbalancedNetwork
        The latter for ``phases="three"``.

    Raises
    ------
    NetworkError
        If there is no such scenario.

    Notes
    -----
    Source: IEEE PES Distribution System Analysis Subcommittee, European low-voltage test feeder, 2015, as shipped with
    pandapower (which must be installed). Lines are built from their positive- and zero-sequence impedances.
    """
    import pandapower.networks

    if scenario not in SCENARIOS:
        raise NetworkError(
            f'network "ieee_european_lv": scenario must be one of {", ".join(SCENARIOS)}, not "{scenario}"'
        )
    net = pandapower.networks.ieee_european_lv_asymmetric(scenario)
    source = float(net.ext_grid.vm_pu.iloc[0]) if source_v_pu is None else source_v_pu
    if phases == "three":
        return _three_phase(net, source, load_scale)
    network = scaled(Network.from_pandapower(net, name="ieee_european_lv"), load=load_scale)
    return replace(network, source_v_pu=source, source_note=_NOTE)


def _three_phase(net: PandapowerNet, source_v_pu: float, load_scale: float) -> UnbalancedNetwork:
    builder, name = PhaseBuilder(), net.bus.name.astype(str)
    for bus, kv, place in zip(name, net.bus.vn_kv, net.bus.geo, strict=True):
        x, y = json.loads(place)["coordinates"] if place else (np.nan, np.nan)
        builder.bus(bus, float(kv), "abc", x, y)
    for row in net.line.itertuples():
        z_1 = complex(row.r_ohm_per_km, row.x_ohm_per_km) * row.length_km / row.parallel
        z_0 = complex(row.r0_ohm_per_km, row.x0_ohm_per_km) * row.length_km / row.parallel
        z = np.full((3, 3), (z_0 - z_1) / 3) + np.eye(3) * z_1  # self (z_0 + 2 z_1) / 3, mutual (z_0 - z_1) / 3
        builder.line(name[row.from_bus], name[row.to_bus], "abc", z, np.zeros((3, 3)), row.max_i_ka * row.parallel)
    for row in net.trafo.itertuples():
        z_pu = complex(row.vkr_percent, np.sqrt(row.vk_percent**2 - row.vkr_percent**2)) / 100
        builder.transformer(
            name[row.hv_bus], name[row.lv_bus], f"{row.vector_group}{round(row.shift_degree / 30)}",
            sn_mva=row.sn_mva * row.parallel, z_pu=z_pu, kv=(row.vn_hv_kv, row.vn_lv_kv),
        )  # fmt: skip
    for row in net.asymmetric_load.itertuples():
        kw, kvar = ([1000 * row.scaling * getattr(row, f"{q}_{phase}_{unit}") for phase in "abc"] for q, unit in _POWER)
        builder.load(str(row.name), name[row.bus], "Y", "PQ", kw, kvar)
    return builder.build(
        "ieee_european_lv",
        name[net.ext_grid.bus.iloc[0]],
        source_v_pu=source_v_pu,
        f_hz=float(net.f_hz),
        source_note=_NOTE,
        load_scale=load_scale,
    )
