"""v1's tasks on corrected feeders, without its defects: the Gymnasium ids ``...-v2``.

The feeders are the published ones (:func:`powergrid.network`); on pandapower's CIGRE network the generators are those
of the net instead of copies beside them. Actions and states of charge are kept within their limits, violations cost
1,000 $ per unit unless configured otherwise, taps stay, resets forget, and an episode ends by truncation.
"""

from __future__ import annotations

from typing import Any, ClassVar

from powergrid.v1.grid_base_env import FIXES
from powergrid.v1.single_agent import cigre_mv, ieee13_mg, ieee34_mg
from powergrid.v1.single_agent.microgrid import MicrogridEnv

SAFETY_SCALE = 1000.0
"""Cost of a unit of violation [$] where ``safety_scale`` is not given; v1 took 0."""


class CorrectedEnv(MicrogridEnv):
    """What the corrected environments do otherwise than v1's."""

    def __init__(self, env_config: dict[str, Any] | None = None):
        own = {"fix": tuple(FIXES), "safety_scale": SAFETY_SCALE, "power_flow": "sparse_lu"}
        super().__init__({**own, **(env_config or {})})


def published_feeder(name: str, area: str, source_v_pu: float) -> Any:
    """A feeder of version 2 as pandapower net, its elements named as v1's: ``"MG1 Bus 650"``.

    Regulators stand at neutral: the published taps belong to the published load, several times what the series give.
    """
    from powergrid.networks import network

    net = network(name, taps="neutral", source_v_pu=source_v_pu).to_pandapower()
    net.bus["name"] = [f"{area} Bus {bus}" for bus in net.bus["name"]]
    for table in ("line", "trafo", "load", "switch", "shunt"):
        net[table]["name"] = [f"{area} {element}" for element in net[table]["name"]]
    return net


class CorrectedIEEE13Env(CorrectedEnv, ieee13_mg.IEEE13Env):
    """:class:`~powergrid.v1.single_agent.ieee13_mg.IEEE13Env` on the published 13-bus feeder."""

    def _feeder(self) -> Any:
        return published_feeder("ieee13", self.area, 1.0)


class CorrectedIEEE34Env(CorrectedEnv, ieee34_mg.IEEE34Env):
    """:class:`~powergrid.v1.single_agent.ieee34_mg.IEEE34Env` on the published 34-bus feeder."""

    def _feeder(self) -> Any:
        return published_feeder("ieee34", self.area, 1.02)


class CorrectedCIGREMVEnv(CorrectedEnv, cigre_mv.CIGREMVEnv):
    """:class:`~powergrid.v1.single_agent.cigre_mv.CIGREMVEnv` with the net's own generators."""

    names: ClassVar[dict[str, str]] = {"Fuel cell": "Fuel cell 1", "CHP diesel": "CHP diesel 1"}
