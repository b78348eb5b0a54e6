"""v1's CIGRE low-voltage network."""

from __future__ import annotations

from typing import Any

_UNITS_MW = {"MT 1": ("Bus R15", 0.03, 0.025), "FC 1": ("Bus R18", 0.05, 0.0375), "MT 2": ("Bus C17", 0.04, 0.03)}
"""Bus, highest power [MW] and reactive power [Mvar] of the engines and the fuel cell, which stand still."""
_RENEWABLES = {
    "PV 1": "Bus R16", "PV 2": "Bus R17", "PV 3": "Bus C19", "WP 1": "Bus R16", "WP 2": "Bus C20",
}  # fmt: skip
_BATTERIES = {"Battery 1": ("Bus R11", 0.1, 0.5), "Battery 2": ("Bus C13", 0.06, 0.3)}
"""Bus, charging power [MW] and capacity [MWh]."""


def CIGRE_LV() -> Any:
    """CIGRE low-voltage benchmark network with eight generators and two batteries, as v1 had it.

    Returns
    -------
    pandapowerNet
        44 buses, pandapower's own ``create_cigre_network_lv()`` and the units.

    References
    ----------
    CIGRE Task Force C6.04.02, "Benchmark systems for network integration of renewable and distributed energy
    resources", 2014.
    """
    import pandapower as pp
    from pandapower.networks import create_cigre_network_lv

    net = create_cigre_network_lv()
    bus = dict(zip(net.bus["name"], net.bus.index, strict=True))
    for name, (at, p_mw, q_mvar) in _UNITS_MW.items():
        pp.create_sgen(
            net, bus[at], p_mw=0.0, q_mvar=0.0, name=name, max_p_mw=p_mw, min_p_mw=0.0, max_q_mvar=q_mvar,
            min_q_mvar=-q_mvar,
        )  # fmt: skip
    for name, at in _RENEWABLES.items():
        pp.create_sgen(
            net, bus[at], p_mw=0.01, type=name[:2], name=name, max_p_mw=0.01, min_p_mw=0.0, max_q_mvar=0.0,
            min_q_mvar=0.0,
        )  # fmt: skip
    for name, (at, p_mw, e_mwh) in _BATTERIES.items():
        pp.create_storage(
            net, bus[at], p_mw=p_mw, max_e_mwh=e_mwh, sn_mva=0.1, soc_percent=50.0, min_e_mwh=e_mwh / 10, name=name
        )
    return net
