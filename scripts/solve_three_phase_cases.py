"""Solve the three-phase IEEE feeders with OpenDSS, built here from the published tables, and write tests/golden/.

    python scripts/solve_three_phase_cases.py

Needs opendssdirect.py (0.9.4 was used), which is not among the package's dependencies. The circuits are written from
powergrid/networks/data/<feeder>.json without any code of the package, so that a mistake in the one is not repeated in
the other: phase matrices and charging of lines, loads with their models, regulators as single-phase
transformers with the package's 0.1 % on 10 MVA, at the published taps.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import opendssdirect as dss

ROOT = Path(__file__).resolve().parents[1]
FEEDERS = ("ieee13", "ieee34", "ieee123")
MODEL = {"PQ": 1, "Z": 2, "I": 5}
README = """Three-phase base case of the network "{name}": published taps, loads and load models.

three_phase.json  v_pu and va_degree by bus and phase, losses and source power; powers in MW and Mvar

Computed by {version} from powergrid/networks/data/{name}.json by scripts/solve_three_phase_cases.py, which
uses no code of the package.
"""


def main() -> None:
    for name in FEEDERS:
        data = json.loads((ROOT / "powergrid" / "networks" / "data" / f"{name}.json").read_text())
        for command in circuit(data):
            dss.Text.Command(command)
        folder = ROOT / "tests" / "golden" / f"{name}_three_phase"
        folder.mkdir(parents=True, exist_ok=True)
        version = dss.Basic.Version().split(" revision")[0]
        (folder / "README.txt").write_text(README.format(name=name, version=f"OpenDSS ({version})"))
        (folder / "three_phase.json").write_text(json.dumps(solution(data), indent=1) + "\n")


def circuit(data: dict[str, Any]) -> list[str]:
    """The feeder in OpenDSS's own language."""
    kv, pu = data["base_kv_ll"], data["source_v_pu"]
    lines = [
        "clear",
        f"new circuit.feeder basekv={kv} pu={pu} phases=3 bus1={data['source_bus']} r1=0 x1=1e-6 r0=0 x0=1e-6",
    ]
    low = low_voltage_buses(data)

    def base(bus: str) -> float:
        return low.get(bus, kv)

    for code, row in data["configurations"].items():
        nphases = len(row["phases"])
        r, x = (matrix([[z[k] for z in line] for line in row["z_ohm_per_mile"]]) for k in (0, 1))
        # microsiemens a mile at 60 Hz to nanofarad a mile
        c = matrix([[b * 1e3 / (2 * 3.141592653589793 * 60) for b in line] for line in row["b_us_per_mile"]])
        lines.append(f"new linecode.{code} nphases={nphases} units=mi rmatrix=({r}) xmatrix=({x}) cmatrix=({c})")
    for k, (first, second, length, code) in enumerate(data["lines"]):
        phases = data["configurations"][code]["phases"]
        lines.append(
            f"new line.l{k} phases={len(phases)} bus1={first}{dots(phases)} bus2={second}{dots(phases)} "
            f"linecode={code} length={length / 5280} units=mi"
        )
    fed = {bus for table in ("lines", "regulators") for row in data[table] for bus in row[:2]}
    for k, (first, second, closed) in enumerate(data["switches"]):
        if closed and {first, second} & fed:
            lines.append(
                f"new line.s{k} phases=3 bus1={first} bus2={second} r1=1e-5 x1=1e-5 r0=1e-5 x0=1e-5 c1=0 c0=0 length=1"
            )
    for k, row in enumerate(data["transformers"]):
        lines.append(
            f"new transformer.t{k} phases=3 windings=2 buses=({row['from']} {row['to']}) conns=(wye wye) "
            f"kvs=({row['kv_high']} {row['kv_low']}) kvas=({row['kva']} {row['kva']}) xhl={row['x_percent']} "
            f"%loadloss={row['r_percent']} ppm_antifloat=0"
        )
    for k, (first, second, phases, taps, _) in enumerate(data["regulators"]):
        for phase in phases:
            i, v = "ABC".index(phase), base(first) / 3**0.5
            lines.append(
                f"new transformer.r{k}{phase} phases=1 windings=2 buses=({first}.{i + 1} {second}.{i + 1}) "
                f"conns=(wye wye) kvs=({v} {v}) kvas=({1e4 / 3} {1e4 / 3}) xhl=0.1 %loadloss=1e-6 ppm_antifloat=0 "
                f"taps=(1 {1 + taps[i] * 0.00625})"
            )
    spot = [(bus, *row) for bus, *row in data["spot_loads"]]
    spread = [
        (bus, c, m, [p / 2 for p in kw], [q / 2 for q in kvar])
        for a, b, c, m, kw, kvar in data["distributed_loads"]
        for bus in (a, b)
    ]
    for k, (bus, connection, model, kw, kvar) in enumerate([*spot, *spread]):
        for i in range(3):
            if not (kw[i] or kvar[i]):
                continue
            star = connection == "Y"
            ends = f".{i + 1}" if star else f".{i + 1}.{(i + 1) % 3 + 1}"
            lines.append(
                f"new load.d{k}{i} phases=1 bus1={bus}{ends} conn={'wye' if star else 'delta'} "
                f"kv={base(bus) / (3**0.5 if star else 1)} kw={kw[i]} kvar={kvar[i]} model={MODEL[model]} "
                "vminpu=0.5 vmaxpu=1.5"
            )
    for k, (bus, kvar) in enumerate(data["capacitors"]):
        for i, q in enumerate(kvar):
            if q:
                lines.append(f"new capacitor.c{k}{i} phases=1 bus1={bus}.{i + 1} kv={base(bus) / 3**0.5} kvar={q}")
    bases = sorted({kv, *low.values()})
    return [*lines, f"set voltagebases=({' '.join(map(str, bases))})", "calcvoltagebases", "set tolerance=1e-9",
            "set maxiterations=200", "set controlmode=off", "solve"]  # fmt: skip


def low_voltage_buses(data: dict[str, Any]) -> dict[str, float]:
    """Nominal voltage of the buses behind transformers [kV]."""
    found = {row["to"]: row["kv_low"] for row in data["transformers"]}
    for _ in data["lines"]:
        for first, second, *_ in data["lines"]:
            for near, far in ((first, second), (second, first)):
                if near in found and far not in found:
                    found[far] = found[near]
    return found


def matrix(rows: list[list[float]]) -> str:
    return " | ".join(" ".join(repr(value) for value in row) for row in rows)


def dots(phases: str) -> str:
    return "".join(f".{'ABC'.index(phase) + 1}" for phase in phases)


def solution(data: dict[str, Any]) -> dict[str, Any]:
    """Voltages, losses and source power of the circuit just solved."""
    if not dss.Solution.Converged():
        raise RuntimeError(f"OpenDSS did not converge on {data['name']}")
    names = {
        bus.lower(): bus for table in ("lines", "regulators", "switches") for row in data[table] for bus in row[:2]
    }
    names |= {row[key].lower(): row[key] for row in data["transformers"] for key in ("from", "to")}
    v_pu: dict[str, dict[str, float]] = {}
    va_degree: dict[str, dict[str, float]] = {}
    for bus in dss.Circuit.AllBusNames():
        dss.Circuit.SetActiveBus(bus)
        polar = dss.Bus.puVmagAngle()
        for node, size, angle in zip(dss.Bus.Nodes(), polar[::2], polar[1::2], strict=True):
            v_pu.setdefault(names[bus], {})["abc"[node - 1]] = round(size, 8)
            va_degree.setdefault(names[bus], {})["abc"[node - 1]] = round(angle, 5)
    power = dss.Circuit.TotalPower()
    losses = dss.Circuit.Losses()
    return {
        "loss_mw": round(losses[0] / 1e6, 8),
        "source_mw": round(-power[0] / 1e3, 8),
        "source_mvar": round(-power[1] / 1e3, 8),
        "v_pu": v_pu,
        "va_degree": va_degree,
    }


if __name__ == "__main__":
    main()
