"""The devices of a v1 environment as agents of a version 2 configuration."""

from __future__ import annotations

from math import hypot, isnan
from typing import Any

import numpy as np

from powergrid.v1.devices import DG, ESS, RES, Device, Grid, Shunt, Transformer
from powergrid.v1.grid_base_env import GridBaseEnv
from powergrid.v1.net_file import is_regulator, regulator


def agents(env: GridBaseEnv, notes: list[str]) -> list[dict[str, Any]]:
    """An operator and its devices; what has no counterpart is added to the notes."""
    found = [agent for name, dev in env.devices.items() if (agent := _agent(env, name, dev, notes))]
    operator = {
        "id": "operator", "type": "GridCoordinator", "policy": "learned", "protocol": "setpoint",
        "sub_agents": [agent["id"] for agent in found],
    }  # fmt: skip
    return [operator, *found]


def _agent(env: GridBaseEnv, name: str, dev: Device, notes: list[str]) -> dict[str, Any]:
    """One device, empty where it has no counterpart."""
    own = {"id": name.lower().replace(" ", "_")}
    if isinstance(dev, Grid):
        if (np.asarray(env.dataset["price"]) < 0).any():
            notes.append(f"{name}: negative prices count as zero, in both directions")
        params = {"feed_in_share": dev.sell_discount, "retail_adder_per_mwh": 0.0}
        return own | {"type": "GridConnection", "params": params}
    if isinstance(dev, ESS):
        return own | _placed(env, name, "ESS", _battery(dev, name, notes), "learned")
    if isinstance(dev, DG):
        return own | _placed(env, name, "DG", _generator(dev, name, notes), "learned")
    if isinstance(dev, RES):
        policy = "learned" if dev.action.dim_c else "mppt"
        return own | _placed(env, name, "RES", _renewable(dev, name, notes), policy)
    if isinstance(dev, Transformer) and is_regulator(env, name):
        tap = regulator(env, name)
        params = {"local_control": False, "tap_init": tap["tap"], "move_cost": dev.tap_change_cost}
        params |= {key: tap[key] for key in ("step_pu", "tap_min", "tap_max")}
        params["max_steps_per_tick"] = tap["tap_max"] - tap["tap_min"]
        notes.append(f"{name}: starts at tap {tap['tap']:g}; version 1 began at {tap['tap_min']:g}")
        place = str(env.net.trafo["name"].loc[env._pp_refs[name][1]])
        return own | {"type": "Regulator", "bus": place, "params": params, "policy": "learned"}
    if not isinstance(dev, Transformer) or dev.action.dim_d:
        kind = {Shunt: "Capacitor", Transformer: "Regulator"}.get(type(dev), "Switch")
        notes.append(f"{name}: a {type(dev).__name__} is not carried over; add an agent of type {kind}")
    return {}


def _placed(env: GridBaseEnv, name: str, kind: str, params: dict[str, Any], policy: str) -> dict[str, Any]:
    table, index = env._pp_refs[name]
    bus = str(env.net.bus["name"].loc[env.net[table].at[index, "bus"]])
    return {"type": kind, "bus": bus, "params": params, "policy": policy}


def _rating(dev: Any, name: str, p_mw: float, notes: list[str]) -> dict[str, float]:
    """Rating [MVA]; where only a reactive range is given, the one that allows it at full power."""
    if not isnan(dev.sn_mva):
        return {"sn_mva": dev.sn_mva}
    if isnan(dev.max_q_mvar):
        return {}
    q_mvar = max(abs(dev.max_q_mvar), abs(dev.min_q_mvar))
    notes.append(f"{name}: its reactive range became a rating, within which any reactive power is allowed")
    return {"sn_mva": hypot(p_mw, q_mvar)}


def _battery(dev: ESS, name: str, notes: list[str]) -> dict[str, Any]:
    p_mw = max(dev.max_p_mw, -dev.min_p_mw)
    if -dev.min_p_mw != dev.max_p_mw:
        notes.append(f"{name}: charges and discharges up to {p_mw} MW; version 1 had {dev.min_p_mw} to {dev.max_p_mw}")
    if any(dev.cost_curve_coefs):
        notes.append(f"{name}: its cost curve {dev.cost_curve_coefs} is not carried over; set wear_cost_per_mwh")
    params = {
        "capacity_mwh": dev.capacity, "max_p_mw": p_mw, "eta_charge": dev.ch_eff, "eta_discharge": dev.dsc_eff,
        "soc_min": round(dev.min_soc, 12), "soc_max": round(dev.max_soc, 12),
        "soc_init": round((dev.min_soc + dev.max_soc) / 2, 12), "soc_init_spread": round(dev.max_soc - dev.min_soc, 12),
        "wear_cost_per_mwh": 0.0,
    }  # fmt: skip
    return params | _rating(dev, name, p_mw, notes)


def _renewable(dev: RES, name: str, notes: list[str]) -> dict[str, Any]:
    params: dict[str, Any] = {"kind": dev.type, "p_max_mw": dev.sn_mva, "curtailable": False}
    if dev.action.dim_c:
        notes.append(f"{name}: its reactive power stays within its rating, which version 1 only penalised")
        params["sn_mva"] = dev.sn_mva
    return params


def _generator(dev: DG, name: str, notes: list[str]) -> dict[str, Any]:
    params: dict[str, Any] = {"p_min_mw": dev.min_p_mw, "p_max_mw": dev.max_p_mw}
    if len(dev.cost_curve_coefs) == 3:
        a, b, c = (float(value) for value in dev.cost_curve_coefs)
    else:
        a = 0.0
        b, c = (
            round(float(value), 9) for value in np.polyfit(dev.cost_curve_coefs[::2], dev.cost_curve_coefs[1::2], 1)
        )
        notes.append(f"{name}: the nearest line replaces its piecewise cost {dev.cost_curve_coefs}")
    params |= {"no_load_cost_per_h": max(c, 0.0), "marginal_cost_per_mwh": b, "marginal_cost_slope_per_mw2h": 2 * a}
    params |= _rating(dev, name, dev.max_p_mw, notes)
    if dev.min_pf is not None:
        params["min_power_factor"] = dev.min_pf
    if dev.startup_time is not None:
        params |= {"commitment": True, "start_cost": dev.startup_cost * dev.dt}
        params |= {"shut_down_cost": dev.shutdown_cost * dev.dt, "start_up_h": dev.startup_time * dev.dt}
        params["shut_down_h"] = (dev.shutdown_time or 0) * dev.dt
    return params
