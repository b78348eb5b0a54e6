"""The recorded runs of version 0.0.2, number by number."""

from __future__ import annotations

import numpy as np
import pytest
from powergrid.envs.multiagent.ieee34_ieee13 import MultiAgentMicrogrids
from powergrid.envs.single_agent.cigre_mv import CIGREMVEnv
from powergrid.envs.single_agent.ieee13_mg import IEEE13Env
from powergrid.envs.single_agent.ieee34_mg import IEEE34Env
from powergrid.networks.ieee13 import IEEE13Bus
from powergrid.networks.ieee34 import IEEE34Bus
from powergrid.networks.ieee123 import IEEE123Bus

from powergrid.v1.power_flow import TablePowerFlow

ENVS = {"ieee13_mg": IEEE13Env, "ieee34_mg": IEEE34Env, "cigre_mv": CIGREMVEnv}
SINGLE_RUNS = (
    "ieee13_mg/train/seed0/zero10",
    "ieee13_mg/train/seed0/pattern26",
    "ieee34_mg/train/seed0/zero10",
    "cigre_mv/train/seed0/zero10",
)
TABLES = {
    "bus_vm_pu": ("res_bus", "vm_pu"),
    "bus_va_degree": ("res_bus", "va_degree"),
    "line_loading_percent": ("res_line", "loading_percent"),
    "trafo_loading_percent": ("res_trafo", "loading_percent"),
    "ext_grid_p_mw": ("res_ext_grid", "p_mw"),
    "ext_grid_q_mvar": ("res_ext_grid", "q_mvar"),
}


def agree(found, recorded, rtol=1e-8, atol=1e-8):
    wanted = np.array([np.nan if value is None else value for value in np.atleast_1d(recorded)], float)
    np.testing.assert_allclose(np.asarray(found, float), wanted, rtol=rtol, atol=atol)


def tables_agree(net, step):
    for key, (table, column) in TABLES.items():
        agree(net[table][column], step[key])


@pytest.mark.parametrize("build", [IEEE13Bus, IEEE34Bus, IEEE123Bus])
def test_feeders_have_the_tables_and_the_base_case_of_version_1(recorded, build):
    net = build("MG1")
    wanted = recorded["networks"][build.__name__.lower().removesuffix("bus")]
    assert {table: len(net[table]) for table in wanted["n"]} == wanted["n"]
    assert net.bus["name"].tolist() == wanted["bus_name"]
    assert net.load[wanted["load_columns"]].to_numpy().tolist() == wanted["loads"]
    for found, line in zip(net.line[wanted["line_columns"]].to_numpy(), wanted["lines"], strict=True):
        assert found[:4].tolist() == line[:4]
        agree(found[4:], line[4:], rtol=1e-11)
    for found, trafo in zip(net.trafo[wanted["trafo_columns"]].to_numpy(), wanted["trafos"], strict=True):
        assert [None if value != value else value for value in found] == trafo
    switch = ["bus", "element", "et", "closed", "z_ohm"]
    assert net.switch[switch].to_numpy().tolist() == wanted["switches"]
    assert net.shunt[["name", "bus", "q_mvar", "step", "max_step"]].to_numpy().tolist() == wanted["shunts"]
    assert net.ext_grid[["bus", "vm_pu"]].to_numpy()[0].tolist() == wanted["ext_grid"]
    flow = TablePowerFlow(net)
    assert flow.solve()
    assert flow.fallback == ""
    tables_agree(net, wanted["pf"])
    assert build().bus["name"].iloc[0] == wanted["bus_name"][0].removeprefix("MG1 ")


@pytest.mark.parametrize("run", SINGLE_RUNS)
def test_a_single_agent_run_repeats(recorded, v1_data, run):
    wanted = recorded["runs_single_v1"][run]
    np.random.seed(wanted["np_random_seed_before_construction"])  # noqa: NPY002 - v1 draws from it
    env = ENVS[run.split("/")[0]]({**wanted["env_config"], "data": v1_data(wanted["data_window"])})
    assert list(env.devices) == wanted["device_order"]
    assert {name: list(ref) for name, ref in env._pp_refs.items()} == {
        name: device["pp_ref"] for name, device in wanted["devices"].items()
    }
    agree(env.action_space.low, wanted["action_space"]["low"])
    agree(env.action_space.high, wanted["action_space"]["high"])
    obs, info = env.reset(seed=wanted["reset_seed"])
    assert info == wanted["reset"]["info"]
    agree(obs, wanted["reset"]["obs"], 1e-6, 1e-6)
    for step in wanted["steps"]:
        obs, reward, terminated, truncated, info = env.step(np.array(step["action"], np.float32))
        agree(obs, step["obs"], 1e-6, 1e-6)
        agree([reward], [step["reward"]], rtol=1e-8, atol=0)
        assert (terminated, truncated, info) == (step["terminated"], step["truncated"], step["info"])
        for found, terms in ((env.reward, step["reward_terms"]), (env.safety, step["safety_terms"])):
            assert found.keys() == terms.keys()
            agree(list(found.values()), [terms[name] for name in found])
        agree([env.devices[name].state.soc for name in step["soc"]], list(step["soc"].values()))
        agree(env.net.trafo["tap_pos"], step["tap_pos"])
        tables_agree(env.net, step)
    assert env._flow is not None
    assert env._flow.fallback == ""


def test_the_multi_agent_run_repeats(recorded, v1_data):
    wanted = recorded["runs_multi"]["gridages-head/zero10/trainTrue"]
    np.random.seed(wanted["np_random_seed_before_construction"])  # noqa: NPY002 - v1 draws from it
    with pytest.warns(DeprecationWarning, match="powergrid.make"):
        env = MultiAgentMicrogrids({**wanted["env_config"], "data": v1_data(wanted["data_window"]["MG1"])})
    assert env.agents == wanted["agents"]
    assert env.net.bus["name"].tolist() == wanted["bus_name"]
    assert {table: len(env.net[table]) for table in wanted["net_size"]} == wanted["net_size"]
    obs, _ = env.reset(seed=wanted["reset_seed"])
    for agent, numbers in wanted["reset"]["obs"].items():
        agree(env.action_space(agent).low, wanted["action_space"][agent]["low"])
        agree(obs[agent], numbers, 1e-6, 1e-6)
    agree(env.net.load["scaling"], wanted["reset"]["load_scaling"])
    tables_agree(env.net, wanted["reset"])
    for step in wanted["steps"]:
        actions = {agent: np.array(action, np.float32) for agent, action in step["action"].items()}
        obs, rewards, terminated, truncated, infos = env.step(actions)
        assert (terminated, truncated) == (step["terminated"], step["truncated"])
        for agent in env.possible_agents:
            agree(obs[agent], step["obs"][agent], 1e-6, 1e-6)
            agree([rewards[agent]], [step["reward"][agent]], atol=0)
            agree([infos[agent]["safety"]], [step["info"][agent]["safety"]])
            for dev in env.agent_envs[agent].devices:
                state = step["device_state"][agent][dev.name]
                agree([dev.state.P, dev.state.Q], [state["P"], state["Q"]])
        tables_agree(env.net, step)


def test_a_flow_that_does_not_converge(recorded, v1_data):
    wanted = next(case for name, case in recorded["edge_cases_v1"].items() if name.startswith("nonconverged"))
    window = recorded["runs_single_v1"][SINGLE_RUNS[0]]["data_window"]
    env = IEEE13Env({"train": True, "safety_scale": 20, "max_penalty": 5, "data": v1_data(window)})
    env.reset(seed=0)
    obs, reward, terminated, _, info = env.step(np.array([50, 0, 0, 0, 0], np.float32))
    assert (reward, terminated, info["converged"]) == (wanted["reward"], wanted["terminated"], wanted["converged"])
    assert (env.reward, env.safety) == (wanted["reward_terms"], wanted["safety_terms"])
    agree([env.devices["ESS1"].state.soc], [wanted["soc_after"]], rtol=1e-7)
    assert (obs[14:27] == 1).all()
    assert (obs[27:40] == 0).all()
    assert (obs[-9:] == 0).all()
    grid = env.devices["Grid"]
    assert np.isnan([grid.state.P, grid.state.Q, grid.cost]).all()
    _, reward, _, _, info = env.step(np.zeros(5, np.float32))
    agree([reward], [wanted["next_step_zero_action"]["reward"]])
    assert info["converged"]


def test_the_state_of_charge_goes_anywhere(recorded):
    wanted = next(case for name, case in recorded["edge_cases_v1"].items() if name.startswith("soc"))
    env = IEEE13Env({})
    env.reset(seed=0)
    env.devices["ESS1"].state.soc = wanted["soc"][0] - 0.49 / 3.0  # before the first of the recorded steps
    for soc, safety in zip(wanted["soc"], wanted["ess_safety"], strict=True):
        env.step(np.array([0.5, 0, 0, 0, 0], np.float32))
        assert env.devices["ESS1"].state.soc == pytest.approx(soc, abs=1e-3)
        assert env.safety["ESS1"] == pytest.approx(safety, abs=1e-3)


def test_days_go_on_where_the_last_episode_ended():
    env = IEEE13Env({"episode_length": 3})
    starts, ends = [], []
    for _ in range(3):
        starts.append(env.reset()[1]["t"])
        terminated = False
        while not terminated:
            *_, terminated, _, info = env.step(np.zeros(5, np.float32))
        ends.append(info["t"])
    assert (starts, ends) == ([0, 3, 6], [3, 6, 9])
    env.t = env.dataset["load"].size - 1
    with pytest.raises(IndexError):
        env.step(np.zeros(5, np.float32))


def test_seeds():
    env = IEEE13Env({"train": True})
    first, second = env.reset(seed=5)[0], env.reset(seed=5)[0]
    assert (first == second).all()
    assert (env.reset()[0] != first).any()
