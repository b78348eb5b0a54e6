"""A v1 feeder from its table file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from powergrid.v1.networks.lines import line_code

DATA = Path(__file__).parent / "data"


def build(feeder: str, name: str, *, named: bool = True) -> Any:
    """Build the pandapower net of a feeder.

    Parameters
    ----------
    feeder
        Stem of the table file.
    name
        Prefix of the element names, such as ``"MG1"`` for ``"MG1 Bus 650"``; none if empty.
    named
        Whether the net itself bears the name too; v1's 123-bus feeder does not.

    Returns
    -------
    pandapowerNet
        Balanced single-phase equivalent with bus limits of 0.95 to 1.05 pu.
    """
    import pandapower as pp

    tables = json.loads((DATA / f"{feeder}.json").read_text())
    net = pp.create_empty_network(name if named else "")
    prefix = f"{name} " if name else ""

    def label(template: str) -> str:
        return template.format(prefix)

    for code in dict.fromkeys(row[3] for row in tables["line"]):
        pp.create_std_type(net, line_code(code), name=code, element="line")
    for bus, vn_kv in tables["bus"]:
        pp.create_bus(net, vn_kv, name=label(bus), max_vm_pu=1.05, min_vm_pu=0.95)
    for line, first, second, code, km in tables["line"]:
        pp.create_line(net, first, second, length_km=km, std_type=code, name=label(line))
    for row in tables["trafo"]:
        _create_trafo(net, label(row[0]), row[1:])
    for load, bus, p_mw, q_mvar in tables["load"]:
        pp.create_load(net, bus, p_mw=p_mw, q_mvar=q_mvar, name=label(load))
    for number, (first, second, z_ohm) in enumerate(tables["switch"], 1):
        pp.create_switch(net, first, second, et="b", type="LS", z_ohm=z_ohm, name=f"{prefix}Switch {number}")
    for sgen, bus, sn_mva in tables["sgen"]:
        pp.create_sgen(net, bus, p_mw=0.0, q_mvar=0.0, sn_mva=sn_mva, name=label(sgen))
    for storage, bus, max_e_mwh in tables["storage"]:
        pp.create_storage(net, bus, p_mw=0.0, max_e_mwh=max_e_mwh, name=label(storage))
    for shunt, bus, q_mvar, max_step in tables["shunt"]:
        pp.create_shunt(net, bus, q_mvar=q_mvar, step=0, max_step=max_step, name=label(shunt))
    bus, vm_pu = tables["ext_grid"]
    pp.create_ext_grid(net, bus, vm_pu=vm_pu)
    return net


def _create_trafo(net: Any, name: str, row: list[Any]) -> None:
    """One transformer; the last six values are those of the tap changer, empty where there is none."""
    import pandapower as pp

    hv_bus, lv_bus, sn_mva, vn_hv_kv, vn_lv_kv, vkr_percent, vk_percent, shift_degree = row[:8]
    columns = ("tap_side", "tap_neutral", "tap_min", "tap_max", "tap_step_percent", "tap_pos")
    taps = dict(zip(columns, row[8:], strict=True))
    pp.create_transformer_from_parameters(
        net, hv_bus, lv_bus, sn_mva=sn_mva, vn_hv_kv=vn_hv_kv, vn_lv_kv=vn_lv_kv, vkr_percent=vkr_percent,
        vk_percent=vk_percent, pfe_kw=0.0, i0_percent=0.0, shift_degree=shift_degree, name=name,
        **({} if taps["tap_side"] is None else {**taps, "tap_changer_type": "Ratio"}),
    )  # fmt: skip
