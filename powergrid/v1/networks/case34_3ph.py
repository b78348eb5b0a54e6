"""v1's three-phase 34-bus feeder, for pandapower's ``runpp_3ph``."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from powergrid.v1.networks.lines import line_code
from powergrid.v1.networks.tables import DATA

KM_PER_FOOT = 0.0003048
REGULATED = {"RG10": "814", "RG11": "852"}
"""Where the published feeder has a short line behind a regulator, v1 has the regulator alone."""
UNITS = {
    "DG 1": ("848", 0.66, 0.5), "DG 2": ("890", 0.5, 0.375), "PV 1": ("822", 0.2, 0.0), "PV 2": ("856", 0.2, 0.0),
    "PV 3": ("838", 0.2, 0.0), "WP 1": ("822", 0.3, 0.0), "WP 2": ("826", 0.3, 0.0), "WP 3": ("838", 0.3, 0.0),
}  # fmt: skip
"""Bus, power [MW] and reactive power [Mvar] of the generators, which run at their highest power."""


def case34_3ph() -> Any:
    """IEEE 34 bus feeder with its loads by phase, as v1 had it.

    Returns
    -------
    pandapowerNet
        35 buses, lines with zero sequence, asymmetric loads (the published ones, distributed loads at the far end of
        their line), regulators at neutral, capacitors, generators and a battery. pandapower's lines carry all phases,
        so the single-phase laterals are balanced lines of a third of their impedance. At nominal load it has no
        solution, for the regulators do not boost; at half of it ``runpp_3ph`` converges.
    """
    import pandapower as pp

    feeder = json.loads(files("powergrid.networks").joinpath("data", "ieee34.json").read_text())
    net = pp.create_empty_network()
    bus = {"0": pp.create_bus(net, 24.9, name="Bus 0", zone="34_BUS", type="n")}
    for label, vn_kv in json.loads((DATA / "ieee34.json").read_text())["bus"]:
        name = label.rpartition(" ")[2]
        if name not in REGULATED:
            bus[name] = pp.create_bus(net, vn_kv, name=f"Bus {name}", zone="34_BUS", type="n")
    for code in sorted({row[3] for row in feeder["lines"]}):
        pp.create_std_type(net, line_code(f"CF{code}"), name=f"CF-{code}", element="line")
    for number, (first, second, feet, code) in enumerate(feeder["lines"]):
        if first not in REGULATED:
            first = "860" if second == "838" else first  # 862 in the published feeder
            pp.create_line(net, bus[first], bus[second], feet * KM_PER_FOOT, f"CF-{code}", name=f"Line {number}")
    _transformers(net, bus)
    _loads(net, bus, feeder)
    pp.create_ext_grid(
        net, bus["0"], vm_pu=1.0, s_sc_max_mva=10.0, s_sc_min_mva=10.0, rx_max=1.0, rx_min=1.0, r0x0_max=1.0,
        x0x_max=1.0,
    )  # fmt: skip
    for name, (at, p_mw, q_mvar) in UNITS.items():
        limits = {"max_p_mw": p_mw, "min_p_mw": 0.0, "max_q_mvar": q_mvar, "min_q_mvar": 0.0}
        pp.create_sgen(net, bus[at], p_mw=p_mw, q_mvar=q_mvar, name=name, **limits)
    for number, at in ((1, "840"), (2, "864")):
        pp.create_shunt(net, bus[at], q_mvar=-0.12, name=f"SCB {number}", step=4, max_step=4)
    battery = {"max_e_mwh": 1.0, "min_e_mwh": 0.2, "sn_mva": 1.0, "soc_percent": 50.0, "name": "Storage"}
    pp.create_storage(net, bus["810"], p_mw=0.2, **battery)
    pp.add_zero_impedance_parameters(net)
    return net


def _transformers(net: Any, bus: dict[str, int]) -> None:
    import pandapower as pp

    zero = {"vector_group": "YNyn", "mag0_percent": 100.0, "mag0_rx": 0.0, "si0_hv_partial": 0.9}
    common = {"vn_hv_kv": 24.9, "pfe_kw": 0.0, "i0_percent": 0.0, "shift_degree": 0.0, **zero}
    tap = {"tap_side": "lv", "tap_neutral": 0, "tap_changer_type": "Ratio"}
    fine = {**tap, "tap_max": 16, "tap_min": -16, "tap_step_percent": 0.625, "tap_pos": 0}
    coarse = {**tap, "tap_max": 2, "tap_min": -2, "tap_step_percent": 2.5, "tap_pos": -2}
    weak = {"vkr_percent": 0.320088, "vk_percent": 0.357539, "vkr0_percent": 0.452171, "vk0_percent": 0.665505}
    head = {"vkr_percent": 1.0, "vk_percent": 8.062257, "vkr0_percent": 1.0, "vk0_percent": 8.062257}
    down = {"vkr_percent": 1.9, "vk_percent": 4.5, "vkr0_percent": 1.9, "vk0_percent": 4.5}
    for name, first, second, sn_mva, own in (
        ("Substation", "0", "800", 2.5, {"vn_lv_kv": 24.9, **head, **coarse}),
        ("Regulator 1", "814", "850", 1.0, {"vn_lv_kv": 24.9, **weak, **fine}),
        ("Regulator 2", "852", "832", 1.0, {"vn_lv_kv": 24.9, **weak, **fine}),
        ("Traformer", "832", "888", 0.5, {"vn_lv_kv": 4.16, **down}),
    ):
        pp.create_transformer_from_parameters(net, bus[first], bus[second], sn_mva, name=name, **common, **own)


def _loads(net: Any, bus: dict[str, int], feeder: dict[str, Any]) -> None:
    """Constant powers; star or delta as published."""
    import pandapower as pp

    distributed = [(row[1], row[2], row[4], row[5], "") for row in feeder["distributed_loads"]]
    spot = [(row[0], row[1], row[3], row[4], " spot") for row in feeder["spot_loads"]]
    for at, kind, p_kw, q_kvar, suffix in [*distributed, *spot]:
        if (at, suffix) == ("846", ""):  # v1 entered the published 25 + j12 and 20 + j11 the other way round
            p_kw, q_kvar = [0.0, 25.0, 12.0], [0.0, 20.0, 11.0]
        powers = {f"p_{phase}_mw": value / 1000 for phase, value in zip("abc", p_kw, strict=True)}
        powers |= {f"q_{phase}_mvar": value / 1000 for phase, value in zip("abc", q_kvar, strict=True)}
        shape = "wye" if kind == "Y" else "delta"
        pp.create_asymmetric_load(net, bus[at], **powers, name=f"Load {at}{suffix}", type=shape)
