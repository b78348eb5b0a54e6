"""Small environments of the IEEE 13 feeder for tests of the engine."""

from __future__ import annotations

from typing import Any

import powergrid

ESS = {"id": "ess_1", "type": "ESS", "bus": "671", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.25}}
DG = {
    "id": "dg_1",
    "type": "DG",
    "bus": "675",
    "params": {"p_max_mw": 0.4, "marginal_cost_per_mwh": 45.0, "marginal_cost_slope_per_mw2h": 80.0},
}
PV = {"id": "pv_1", "type": "RES", "bus": "680", "params": {"kind": "solar", "p_max_mw": 0.6}, "policy": "learned"}
METER = {"id": "grid_1", "type": "Grid"}

NETWORK = {
    "base": "ieee13",
    "source_pu": 1.0,
    "load_scale": 0.6,
    "load_series": "load_p_pu:com_1",
    "regulators": {"v_set_pu": 1.01, "bandwidth_v": 2.0},
}


def operator(**keys: Any) -> dict[str, Any]:
    """A coordinator of all four devices that pays at the source."""
    return {
        "id": "operator_1",
        "type": "GridCoordinator",
        "policy": "learned",
        "protocol": "setpoint",
        "sub_agents": ["ess_1", "dg_1", "pv_1", "grid_1"],
        **keys,
    }


def config(*agents: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Configuration with the given agents, by default an operator of battery, generator, sun and meter."""
    return {
        "name": "small",
        "network": NETWORK,
        "agents": list(agents) or [ESS, DG, PV, METER, operator()],
        "simulation": {"episode_length": 8, "time_step": 3600},
        **sections,
    }


def make(*agents: dict[str, Any], **sections: Any) -> Any:
    """Environment of :func:`config`."""
    return powergrid.make(config(*agents, **sections))


def microgrids(count: int = 2, **sections: Any) -> dict[str, Any]:
    """Configuration of `count` microgrids on the IEEE 34 feeder, each with a battery, a generator and its own meter."""
    attach = [
        {
            "attach": {
                "network": "ieee13",
                "name": f"mg{k}",
                "at_bus": bus,
                "load_scale": 0.2,
                "load_series": f"load_p_pu:res_{k}",
                "transformer": {"sn_mva": 1.0, "vk_percent": 5.75, "vkr_percent": 0.75},
            }
        }
        for k, bus in zip(range(1, count + 1), ("808", "830", "834"), strict=False)
    ]
    agents: list[dict[str, Any]] = []
    for k in range(1, count + 1):
        ess, dg = ({**device, "id": f"{device['id'][:-1]}{k}", "bus": f"mg{k}.{device['bus']}"} for device in (ESS, DG))
        agents += [ess, dg, operator(id=f"microgrid_{k}", area=f"mg{k}", sub_agents=[ess["id"], dg["id"]])]
    return {
        "name": "small_microgrids",
        "network": {
            "base": "ieee34",
            "source_pu": 1.03,
            "load_scale": 0.5,
            "load_series": "load_p_pu:res_2",
            "modifications": attach,
            "regulators": [{"match": "*", "v_set_pu": 1.02, "bandwidth_v": 2.0}, {"match": "mg*", "v_set_pu": 1.0}],
        },
        "agents": agents,
        "simulation": {"episode_length": 8, "time_step": 3600},
        **sections,
    }
