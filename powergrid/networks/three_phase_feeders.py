"""Published unbalanced feeder figures -> three-phase network, phase by phase, nothing averaged.

- Lines: the published phase matrices, charging included.
- Loads: star or delta, constant power, current or impedance at nominal voltage, as published; a distributed load half
  at each end of its line, as in the published solution.
- Transformers: 24.9/4.16 kV and 4.16/0.48 kV, star-star earthed, in per unit of their own rating.
- Regulators: one per phase, an ideal ratio before 0.1 % reactance on 10 MVA, with published taps and relay settings.

Reference: W. H. Kersting, "Radial distribution test feeders", IEEE Transactions on Power Systems 6(3), 1991,
doi:10.1109/59.119237.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.networks.feeders import FEET_PER_MILE, Taps, feeder_tables, relay_delays_s
from powergrid.networks.phase_builder import PhaseBuilder
from powergrid.networks.unbalanced import UnbalancedNetwork


def build_three_phase_feeder(
    name: str, *, source_v_pu: float | None, load_scale: float, taps: Taps
) -> UnbalancedNetwork:
    """One of the shipped feeders with all its phases.

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
    data = json.loads(files("powergrid.networks").joinpath("data", f"{name}.json").read_text())
    builder = PhaseBuilder()
    _buses(builder, data)
    _lines(builder, data)
    for row in data["transformers"]:
        builder.transformer(
            row["from"], row["to"], "YNyn0", sn_mva=row["kva"] / 1000,
            z_pu=complex(row["r_percent"], row["x_percent"]) / 100, kv=(row["kv_high"], row["kv_low"]),
        )  # fmt: skip
    _regulators(builder, data, neutral=taps == "neutral")
    for first, second, closed in feeder_tables(data).switches:
        builder.switch(first, second, _switched(data, first, second), closed)
    _loads(builder, data)
    for bus, kvar in data["capacitors"]:
        for phase, q in zip("abc", kvar, strict=True):
            if q:
                builder.capacitor(bus, phase, q)
    return builder.build(
        name,
        data["source_bus"],
        source_v_pu=float(data["source_v_pu"] if source_v_pu is None else source_v_pu),
        f_hz=data["f_hz"],
        source_note=data["source"],
        load_scale=load_scale,
    )


def _buses(builder: PhaseBuilder, data: dict[str, Any]) -> None:
    """Buses in the order of the balanced equivalent, each with the phases that reach it."""
    tables = feeder_tables(data)
    phases: dict[str, set[str]] = {name: set() for name in tables.names}
    phases[data["source_bus"]] = set("abc")
    for first, second, _, code in data["lines"]:
        for bus in (first, second):
            phases[bus] |= set(data["configurations"][code]["phases"].lower())
    for row in data["transformers"]:
        for key in ("from", "to"):
            phases[row[key]] = set("abc")
    for first, second, present, *_ in data["regulators"]:
        phases[second] |= set(present.lower())
        phases[first] |= set(present.lower())
    for _ in range(2):  # a bus that only a switch reaches has the phases of its other end
        for first, second, _ in tables.switches:
            phases[first] = phases[first] or phases[second]
            phases[second] = phases[second] or phases[first]
    for name, kv in zip(tables.names, tables.vn_kv, strict=True):
        x, y = data["positions"].get(name, (np.nan, np.nan))
        builder.bus(name, float(kv), "".join(sorted(phases[name])), x, y)


def _switched(data: dict[str, Any], first: str, second: str) -> str:
    """Phases of a switch: those of the lines at both of its ends, where there are any."""
    found = set("abc")
    for bus in (first, second):
        here = {
            phase
            for a, b, _, code in data["lines"]
            for phase in data["configurations"][code]["phases"].lower()
            if bus in (a, b)
        }
        found &= here or found
    return "".join(sorted(found))


def _lines(builder: PhaseBuilder, data: dict[str, Any]) -> None:
    for first, second, length_ft, code in data["lines"]:
        row, miles = data["configurations"][code], length_ft / FEET_PER_MILE
        z = np.array(row["z_ohm_per_mile"], float) @ [1, 1j] * miles
        b = np.array(row["b_us_per_mile"], float) * 1e-6 * miles
        builder.line(first, second, row["phases"].lower(), z, b, row["max_i_ka"])


def _regulators(builder: PhaseBuilder, data: dict[str, Any], neutral: bool) -> None:
    for row, delay_s in zip(data["regulators"], relay_delays_s(data), strict=True):
        first, second, present, taps, relay = row
        for phase in present.lower():
            k = "abc".index(phase)
            builder.regulator(
                first, second, phase, 0.0 if neutral else float(taps[k]),
                pt_ratio=relay["pt_ratio"], ct_a=relay["ct_a"], r_v=relay["r_v"][k], x_v=relay["x_v"][k],
                v_set_v=relay["level_v"], bandwidth_v=relay["bandwidth_v"], delay_s=delay_s,
                gang=relay["gang"],
            )  # fmt: skip


def _loads(builder: PhaseBuilder, data: dict[str, Any]) -> None:
    for bus, connection, model, kw, kvar in data["spot_loads"]:
        builder.load(bus, bus, connection, model, kw, kvar)
    for first, second, connection, model, kw, kvar in data["distributed_loads"]:
        for bus in (first, second):
            half = [[value / 2 for value in row] for row in (kw, kvar)]
            builder.load(f"{first}-{second}/{bus}", bus, connection, model, *half)
