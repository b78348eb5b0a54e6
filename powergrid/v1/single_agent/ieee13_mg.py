"""v1's microgrid on its 13-bus feeder."""

from __future__ import annotations

from typing import Any

from powergrid.v1.datasets import read_data
from powergrid.v1.devices import DG, ESS, RES, Grid
from powergrid.v1.networks.ieee13 import IEEE13Bus
from powergrid.v1.single_agent.microgrid import PRICE_NODE, MicrogridEnv


class IEEE13Env(MicrogridEnv):
    """One battery, two generators, sun and wind: action ``(5,)``, observation ``(65,)``."""

    def _build_net(self) -> None:
        self.area = "MG1"
        devices = [
            ESS("ESS1", "Bus 645", -0.5, 0.5, 3.0, max_e_mwh=2.7, min_e_mwh=0.3),
            DG("DG1", "Bus 675", 0.0, 0.4, sn_mva=0.5, min_pf=0.8, cost_curve_coefs=[100, 51.6, 0.4615]),
            DG("DG2", "Bus 611", 0.0, 0.5, sn_mva=0.625, min_pf=0.8, cost_curve_coefs=[100, 72.4, 0.5011]),
            RES("PV1", "Bus 652", 0.5, "solar"),
            RES("WT1", "Bus 645", 0.5, "wind"),
            Grid("Grid", "Bus 650", 5.0, sell_discount=0.9),
        ]
        self._take(self._feeder(), devices)
        self.dataset = read_data(self.train, "AVA", "NP15", PRICE_NODE, source=self.cfg.get("data"))

    def _feeder(self) -> Any:
        """The net."""
        return IEEE13Bus(self.area)
