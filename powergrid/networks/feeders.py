"""Published unbalanced feeder figures -> balanced positive-sequence Network.

The equivalent represents the positive-sequence voltage and the total power. It has no phase voltages, nor
the whole drop and loss of a one-phase lateral: its power is spread over three phases, so a third of either
appears.

- Series impedance of a line: mean self minus mean mutual impedance of the phases present; a single phase has no mutual.
- Charging of a line and capacitors: the reactive power that the phases present produce at balanced voltage, spread over
  three phases, so the total is kept; for three phases this is mean self minus mean mutual susceptance.
- Loads: constant power, the sum of the phases; a distributed load half at each end of its line.
- Regulators: the mean of the published taps of the phases present, an ideal ratio before 0.1 % reactance on 10 MVA.
  Their relays have the mean compensator settings; the current transformer of a regulator with fewer phases is smaller,
  as its current is that of three.

References: W. H. Kersting, "Radial distribution test feeders", IEEE Transactions on Power Systems 6(3), 1991,
doi:10.1109/59.119237; positive sequence by C. L. Fortescue, Transactions of the AIEE 37(2), 1918.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Literal

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.networks.network import Network
from powergrid.networks.tables import BASE_MVA, Branches, Buses, Loads, Regulators, Shunts

Taps = Literal["published", "neutral"]
Phases = Literal["balanced", "three"]

FEET_PER_MILE = 5280.0
REGULATOR_STEP_PU = 0.00625  # 32 steps over +-10 %
REGULATOR_STEPS = 16
REGULATOR_X_PU = 0.001 * BASE_MVA / 10.0
DELAYS_S = (30.0, 45.0)
"""Delay of regulators at the head of the feeder, and of those further down [s]."""


def positive_sequence_z(z: np.ndarray) -> complex:
    """Series impedance of the balanced equivalent of a phase-impedance matrix ``(n, n)``, in its unit."""
    phases = len(z)
    mutual = (z.sum() - np.trace(z)) / (phases * (phases - 1)) if phases > 1 else 0.0
    return complex(np.trace(z) / phases - mutual)


def positive_sequence_b(b: np.ndarray) -> float:
    """Susceptance per phase of three that draws the power of a matrix ``(n, n)`` at balanced voltage, in its unit."""
    # Two voltages 120 degrees apart give cos 120 = -1/2 for each off-diagonal element.
    off_diagonal = b.sum() - np.trace(b)
    return float((np.trace(b) - off_diagonal / 2) / 3)


def build_feeder(name: str, *, source_v_pu: float | None, load_scale: float, taps: Taps) -> Network:
    """Balanced equivalent of one of the shipped feeders.

    Parameters
    ----------
    name
        File name in ``powergrid/networks/data`` without its ending.
    source_v_pu
        Source voltage [pu]; ``None`` takes the published one.
    load_scale
        Factor on every load.
    taps
        ``"published"``: the taps of the published solution; ``"neutral"``: all zero.

    Raises
    ------
    NetworkError
        If `taps` is neither.
    """
    if taps not in ("published", "neutral"):
        raise NetworkError(f'network "{name}": taps must be "published" or "neutral", not "{taps}"')
    text = files("powergrid.networks").joinpath("data", f"{name}.json").read_text(encoding="utf-8")
    feeder = _Feeder(json.loads(text))
    branches, tap = feeder.branches(neutral=taps == "neutral")
    regulator = np.array([k for k, kind in enumerate(branches.kind) if kind == "regulator"], int)
    limit = np.full(len(regulator), float(REGULATOR_STEPS))
    step_pu = np.full(len(regulator), REGULATOR_STEP_PU)
    return Network(
        name=name,
        buses=feeder.buses(),
        branches=branches,
        regulators=Regulators(regulator, tap, step_pu, -limit, limit, *feeder.relays()),
        loads=feeder.loads(load_scale),
        shunts=feeder.shunts(),
        source_bus=feeder.index[feeder.data["source_bus"]],
        source_v_pu=float(feeder.data["source_v_pu"] if source_v_pu is None else source_v_pu),
        f_hz=feeder.data["f_hz"],
        source_note=feeder.data["source"],
    )


def feeder_tables(data: dict[str, Any]) -> _Feeder:
    """Buses in the order of a walk from the source, their nominal voltages and the switches of a feeder's tables."""
    return _Feeder(data)


class _Feeder:
    """The published tables of one feeder, read into columns."""

    def __init__(self, data: dict[str, Any]):
        self.data = data
        fed = {bus for table in ("lines", "regulators") for row in data[table] for bus in row[:2]}
        fed |= {row[key] for row in data["transformers"] for key in ("from", "to")}
        # An open switch to a bus that nothing else touches is a tie to a neighbouring feeder, without a source here.
        self.switches = [row for row in data["switches"] if row[2] or {row[0], row[1]} <= fed]
        names = dict.fromkeys([data["source_bus"]])
        rows = [*data["regulators"], *data["lines"], *self.switches]
        names.update(dict.fromkeys(bus for row in rows for bus in row[:2]))
        names.update(dict.fromkeys(row[key] for row in data["transformers"] for key in ("from", "to")))
        self.names = _walk(
            list(names), data["source_bus"], [*rows, *([r["from"], r["to"]] for r in data["transformers"])]
        )
        self.index = {bus: k for k, bus in enumerate(self.names)}
        self.vn_kv = np.full(len(self.names), float(data["base_kv_ll"]))
        for row in data["transformers"]:
            for bus in _below(row["to"], [*data["lines"], *self.switches]):
                self.vn_kv[self.index[bus]] = row["kv_low"]

    def buses(self) -> Buses:
        xy = np.array([self.data["positions"].get(bus, (np.nan, np.nan)) for bus in self.names], float)
        return Buses(tuple(self.names), self.vn_kv, ("",) * len(self.names), xy[:, 0].copy(), xy[:, 1].copy())

    def branches(self, neutral: bool) -> tuple[Branches, np.ndarray]:
        """Branches in the order lines, transformers, regulators, switches, and the tap of each regulator."""
        rows: list[tuple[Any, ...]] = []
        for first, second, length_ft, code in self.data["lines"]:
            rows.append(("line", first, second, *self._line(first, length_ft, code), 1.0))
        for row in self.data["transformers"]:
            per_mva = BASE_MVA / (row["kva"] / 1000) / 100
            z = complex(row["r_percent"], row["x_percent"]) * per_mva
            rows.append(("transformer", row["from"], row["to"], z, 0.0, row["kva"] / 1000, 1.0))
        tap = np.array([0.0 if neutral else _mean_tap(*row[2:4]) for row in self.data["regulators"]], float)
        for row, steps in zip(self.data["regulators"], tap, strict=True):
            ratio = 1 / (1 + steps * REGULATOR_STEP_PU)
            rows.append(("regulator", row[0], row[1], 1j * REGULATOR_X_PU, 0.0, np.nan, ratio))
        rows += [("switch", first, second, 0j, 0.0, np.nan, 1.0) for first, second, _ in self.switches]
        kind, first, second, z, b, rating, ratio = zip(*rows, strict=True)
        closed = np.ones(len(rows), bool)
        closed[len(rows) - len(self.switches) :] = [is_closed for *_, is_closed in self.switches]
        z_pu, zeros = np.array(z, complex), np.zeros(len(rows))
        return Branches(
            tuple(f"{a}-{b}" for a, b in zip(first, second, strict=True)),
            kind,
            np.array([self.index[bus] for bus in first]),
            np.array([self.index[bus] for bus in second]),
            z_pu.real.copy(),
            z_pu.imag.copy(),
            zeros,
            np.array(b, float),
            np.array(ratio, float),
            zeros.copy(),
            np.array(rating, float),
            closed,
        ), tap

    def relays(self) -> np.ndarray:
        """Relay columns of the regulators, in their order, ``(8, k)``."""
        rows = []
        for row, delay_s in zip(self.data["regulators"], relay_delays_s(self.data), strict=True):
            present, relay = ["ABC".index(phase) for phase in row[2]], row[4]
            r_v, x_v = (float(np.mean([relay[key][phase] for phase in present])) for key in ("r_v", "x_v"))
            ct_a = relay["ct_a"] * len(present) / 3
            rows.append((relay["pt_ratio"], ct_a, r_v, x_v, relay["level_v"], relay["bandwidth_v"], delay_s, 0.0))
        return np.array(rows, float).reshape(-1, 8).T

    def _line(self, bus: str, length_ft: float, code: str) -> tuple[complex, float, float]:
        """Series impedance and charging [pu] and rating [kA] of a line."""
        configuration = self.data["configurations"][code]
        miles = length_ft / FEET_PER_MILE
        z_base_ohm = self.vn_kv[self.index[bus]] ** 2 / BASE_MVA
        pairs = np.array(configuration["z_ohm_per_mile"], float)
        z = positive_sequence_z(pairs[..., 0] + 1j * pairs[..., 1]) * miles / z_base_ohm
        b = positive_sequence_b(np.array(configuration["b_us_per_mile"], float)) * 1e-6 * miles * z_base_ohm
        return z, b, configuration["max_i_ka"]

    def loads(self, scale: float) -> Loads:
        rows = [(bus, bus, sum(kw), sum(kvar)) for bus, _, _, kw, kvar in self.data["spot_loads"]]
        for first, second, _, _, kw, kvar in self.data["distributed_loads"]:
            rows += [(f"{first}-{second}/{bus}", bus, sum(kw) / 2, sum(kvar) / 2) for bus in (first, second)]
        name, bus, kw, kvar = zip(*rows, strict=True)
        at = np.array([self.index[b] for b in bus])
        return Loads(name, at, np.array(kw) * scale / 1000, np.array(kvar) * scale / 1000)

    def shunts(self) -> Shunts:
        rows = self.data["capacitors"]
        q_mvar = -np.array([sum(kvar) for _, kvar in rows]) / 1000
        at = np.array([self.index[bus] for bus, _ in rows])
        return Shunts(tuple(bus for bus, _ in rows), at, np.zeros(len(rows)), q_mvar, np.ones(len(rows), bool))


def relay_delays_s(data: dict[str, Any]) -> list[float]:
    """Delay of each regulator: the first stands at the head of the feeder, the others further down [s]."""
    return [DELAYS_S[min(row, 1)] for row in range(len(data["regulators"]))]


def _mean_tap(phases: str, taps: list[int]) -> float:
    return float(np.mean([taps["ABC".index(phase)] for phase in phases]))


def _below(bus: str, rows: list[list[Any]]) -> set[str]:
    """The buses that lines and switches connect to the low-voltage side of a transformer."""
    found, grown = {bus}, True
    while grown:
        new = {b for row in rows for b in row[:2] if set(row[:2]) & found}
        grown = not new <= found
        found |= new
    return found


def _walk(names: list[str], source: str, rows: list[list[Any]]) -> list[str]:
    """Bus names in the order in which a walk from the source meets them."""
    neighbours: dict[str, list[str]] = {bus: [] for bus in names}
    for first, second, *_ in rows:
        neighbours[first].append(second)
        neighbours[second].append(first)
    order, stack, met = [], [source], {source}
    while stack:
        here = stack.pop(0)
        order.append(here)
        new = [bus for bus in neighbours[here] if bus not in met]
        met.update(new)
        stack += new
    return order
