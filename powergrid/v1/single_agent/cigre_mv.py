"""v1's environment on pandapower's CIGRE medium-voltage network."""

from __future__ import annotations

from typing import ClassVar

from powergrid.v1.datasets import read_data
from powergrid.v1.devices import DG, ESS, RES, Grid
from powergrid.v1.single_agent.microgrid import PRICE_NODE, MicrogridEnv

FUEL = {
    "Residential fuel cell 1": ("Bus 5", 0.033, [100, 51.6, 0.5011]),
    "Residential fuel cell 2": ("Bus 10", 0.014, [100, 72.4, 0.4615]),
    "Fuel cell": ("Bus 9", 0.212, [100, 40.7, 1.1532]),
    "CHP diesel": ("Bus 9", 0.310, [100, 35.8, 1.3156]),
}
"""Bus, rating [MVA] and cost curve of the generators.

The net calls the last two "Fuel cell 1" and "CHP diesel 1", so these are added, and the net's own run on for ever.
"""
SOLAR_MW = {3: 0.02, 4: 0.02, 5: 0.03, 6: 0.03, 8: 0.03, 9: 0.03, 10: 0.04, 11: 0.01}


class CIGREMVEnv(MicrogridEnv):
    """Two batteries, four generators, sun and wind: action ``(10,)``, observation ``(111,)``."""

    names: ClassVar[dict[str, str]] = {}
    """Other names of the generators."""

    def _build_net(self) -> None:
        from pandapower.networks import create_cigre_network_mv

        self.area = ""
        devices = [
            ESS("Battery 1", "Bus 5", -0.6, 0.6, 4.0, max_e_mwh=3.6, min_e_mwh=0.4),
            ESS("Battery 2", "Bus 10", -0.2, 0.2, 1.0, max_e_mwh=0.9, min_e_mwh=0.1),
            *(
                DG(self.names.get(name, name), bus, 0.0, p_mw, sn_mva=p_mw, cost_curve_coefs=coefs)
                for name, (bus, p_mw, coefs) in FUEL.items()
            ),
            *(RES(f"PV {bus}", f"Bus {bus}", p_mw, "solar") for bus, p_mw in SOLAR_MW.items()),
            RES("WKA 7", "Bus 7", 1.5, "wind"),
            Grid("GRID", "Bus 0", 5000.0, sell_discount=0.9),
        ]
        self._take(create_cigre_network_mv(with_der="all"), devices)
        self.dataset = read_data(self.train, "BANC", "NP15", PRICE_NODE, source=self.cfg.get("data"))
