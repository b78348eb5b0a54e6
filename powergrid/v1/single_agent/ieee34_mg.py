"""v1's microgrid on its 34-bus feeder."""

from __future__ import annotations

from typing import Any

from powergrid.v1.datasets import read_data
from powergrid.v1.devices import DG, ESS, RES, Grid
from powergrid.v1.networks.ieee34 import IEEE34Bus
from powergrid.v1.single_agent.microgrid import PRICE_NODE, MicrogridEnv


class IEEE34Env(MicrogridEnv):
    """Two batteries, two generators, sun and wind: action ``(6,)``, observation ``(173,)``.

    The regulators go to neutral at the first step, see :class:`~powergrid.v1.devices.Transformer`.
    """

    def _build_net(self) -> None:
        self.area = "MG1"
        devices = [
            ESS("ESS1", "Bus 810", -0.5, 0.5, 3.0, max_e_mwh=2.7, min_e_mwh=0.3),
            ESS("ESS2", "Bus 826", -0.4, 0.4, 2.0, max_e_mwh=1.8, min_e_mwh=0.2),
            DG("DG1", "Bus 838", 0.0, 0.4, sn_mva=0.5, min_pf=0.8, cost_curve_coefs=[100, 51.6, 0.4615]),
            DG("DG2", "Bus 890", 0.0, 0.5, sn_mva=0.625, min_pf=0.8, cost_curve_coefs=[100, 72.4, 0.5011]),
            RES("PV1", "Bus 826", 0.1, "solar"),
            RES("PV2", "Bus 822", 0.1, "solar"),
            RES("PV3", "Bus 890", 0.1, "solar"),
            RES("WT1", "Bus 838", 0.15, "wind"),
            RES("WT2", "Bus 810", 0.15, "wind"),
            Grid("Grid", "Bus 800", 2.5, sell_discount=0.9),
        ]
        self._take(self._feeder(), devices)
        self.dataset = read_data(self.train, "AZPS", "SP15", PRICE_NODE, source=self.cfg.get("data"))

    def _feeder(self) -> Any:
        """The net."""
        return IEEE34Bus(self.area)
