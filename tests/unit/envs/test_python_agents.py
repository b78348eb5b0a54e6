"""Agents that decide in Python: asked when they are due, beside those from outside, in every form on the CPU."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.agents import Agent, DeviceAgent, GridAgent
from powergrid.agents.base import Entries
from powergrid.config import load_config
from powergrid.core.errors import AgentError, ConfigError
from powergrid.worlds.simulation import Simulation
from tests.unit.engine.small_worlds import DG, ESS, METER, PV, config

MODULE = "tests.unit.envs.test_python_agents"


class Half:
    """Returns to half of the energy; counts, and draws from its generator."""

    def __init__(self, gain: float = 1.0):
        self.gain, self.asked, self.draws = gain, 0, []

    def reset(self, rng):
        self.rng, self.asked, self.draws = rng, 0, []

    def act(self, observation):
        self.asked += 1
        self.draws.append(float(self.rng.random()))
        return [self.gain * (observation["ess_1.soc"] - 0.5) + 0.2 * self.draws[-1]]


class Foreman(GridAgent):
    """Tells its devices what it wants, and commands them."""

    def __init__(self, id, p_mw=0.1):
        super().__init__(id)
        self.p_mw = p_mw

    def act(self, observation):
        self.send_message({"p_mw": self.p_mw}, ["pv_1", *self.subordinates])
        return {"ess_1.p": self.p_mw, "dg_1.p [MW]": 9.9}


class Listener(DeviceAgent):
    """Counts messages as they come."""

    def __init__(self, id, **keys):
        super().__init__(id)
        self.seen = []

    def observe(self, global_state):
        observation = super().observe(global_state)
        self.seen.append(len(observation.messages))
        return observation

    def act(self, observation):
        return np.ones(len(self.action_labels))


class Planner:
    """Keeps what its site offers."""

    def start(self, site):
        self.site = site

    def act(self, observation):
        forecast = self.site.forecast(30)
        self.kept = forecast, self.site.linear(forecast), self.site.tariff(forecast), self.site.tick
        return np.zeros(len(self.site.decisions))


def bad(kind: str):
    class Bad:
        def act(self, observation):
            if kind == "raises":
                raise RuntimeError("no plan")
            return {"shape": [0.0, 0.0], "nan": [np.nan], "text": "up", "label": {"ess_1.q": 0.0}}[kind]

    return Bad


BAD = {kind: bad(kind) for kind in ("raises", "shape", "nan", "text", "label")}
BadRaises, BadShape, BadNan, BadText, BadLabel = BAD.values()


def mild(observation, share=0.25):
    return [share]


def python(name: str, **params: Any) -> dict[str, Any]:
    return {"python": f"{MODULE}:{name}", **({"params": params} if params else {})}


def mixed(policy: Any, **keys: Any) -> dict[str, Any]:
    """A battery with that policy beside a generator that learns."""
    return config({**ESS, "policy": policy, **keys}, DG, METER)


def acted(env: Any) -> dict[str, np.ndarray]:
    return {agent: np.full(env.action_space(agent).shape, 0.4) for agent in env.agents}


def test_python_agents_act_beside_learned_ones_which_alone_are_public():
    env = powergrid.make(mixed(python("Half", gain=-1.5)), backend="numpy")
    assert env.possible_agents == ["dg_1"]
    observations, infos = env.reset(seed=2)
    assert list(observations) == list(infos) == ["dg_1"]
    for _ in range(3):
        observations, rewards, *_, infos = env.step(acted(env))
    assert list(observations) == list(rewards) == list(infos) == ["dg_1"]
    seen = env.step_array(np.zeros((1, env.world.layout.action_size))).observation
    assert len(seen) == len(env.observation_labels("dg_1"))
    assert env.agent("ess_1").policy_object.asked == 4
    assert "ess_1" in env.accounts


def test_a_python_agent_pays_like_one_with_a_local_policy():
    def totals(policy):
        env = powergrid.make(mixed(policy), backend="numpy")
        env.reset(seed=1)
        _, rewards, *_ = env.step(acted(env))
        return set(env.accounts), rewards["dg_1"], sum(sum(row["money"].values()) for row in env.accounts.values())

    python_agent, local = totals(python("mild", share=0.0)), totals("all_import")
    assert python_agent[:2] == local[:2]
    assert python_agent[2] != local[2]  # they do not do the same


def test_it_is_asked_only_while_it_is_there():
    env = powergrid.make(mixed(python("Half", gain=0.0), presence={"joins": 7200, "leaves": 4 * 3600}), backend="numpy")
    env.reset(seed=5)
    powers = []
    for _ in range(6):
        env.step(acted(env))
        powers.append(float(env.output.p_mw[0]))
    assert env.agent("ess_1").policy_object.asked == 2
    assert np.flatnonzero(powers).tolist() == [2, 3]


def test_it_is_asked_only_when_it_is_due_and_holds_in_between():
    given = mixed(python("Half", gain=0.0), interval=3 * 3600, offset=3600)
    env = powergrid.make(given, backend="numpy")
    env.reset(seed=5)
    powers = []
    while env.agents:
        env.step(acted(env))
        powers.append(float(env.output.p_mw[env.world.layout.units.index("ess_1")]))
    draws = env.agent("ess_1").policy_object.draws
    assert len(draws) == 3  # ticks 1, 4 and 7 of 8
    assert powers[0] == 0.0
    assert powers[1:4] == pytest.approx([0.25 * 0.2 * draws[0]] * 3)
    assert powers[4] == pytest.approx(0.25 * 0.2 * draws[1])


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_the_seed_decides_and_every_form_gives_the_same(backend):
    given = mixed(python("Half"))
    env, vec = powergrid.make(given, backend=backend), powergrid.make_vec(given, 3, backend=backend)
    rewards = []
    for seed in (7, 7, 8):
        env.reset(seed=seed)
        rewards.append([env.step(acted(env))[1]["dg_1"] for _ in range(3)])
        soc = env.agent("ess_1").policy_object.draws
    assert rewards[0] == rewards[1] != rewards[2]
    vec.reset(seed=7)
    many = [vec.step({"dg_1": np.full((3, 1), 0.4)})[1]["dg_1"] for _ in range(3)]
    assert [row[0] for row in many] == rewards[0]
    assert [row[1] for row in many] == rewards[2]
    assert len(soc) == 3


def test_an_episode_that_ends_in_a_batch_starts_its_agents_anew():
    vec = powergrid.make_vec(mixed(python("Half")), 2, backend="numpy")
    vec.reset(seed=0)
    for _ in range(11):
        vec.step({"dg_1": np.zeros((2, 1))})
    for environment in vec._blocks[0].simulation.python_agents._environments:
        assert environment.seats[0].policy.asked == 3


@pytest.mark.parametrize("api", ["parallel", "aec", "gymnasium"])
def test_every_interface_steps(api):
    env = powergrid.make(mixed(python("Half")), api=api, backend="numpy")
    env.reset(seed=0)
    if api == "parallel":
        env.step(acted(env))
    else:
        env.step(np.zeros(1, np.float32))
    inner = {"parallel": lambda: env, "aec": lambda: env._parallel, "gymnasium": lambda: env.env}[api]()
    assert inner.agent("ess_1").policy_object.asked == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_go_on_with_the_same_memory(copied):
    env = powergrid.make(mixed(python("Half")), backend="numpy")
    env.reset(seed=3)
    env.step(acted(env))
    twin = copied(env)
    follow = [[e.step(acted(e))[1]["dg_1"] for _ in range(3)] for e in (env, twin)]
    assert follow[0] == follow[1]
    assert twin.agent("ess_1").policy_object is not env.agent("ess_1").policy_object
    assert twin.agent("ess_1").policy_object.draws == env.agent("ess_1").policy_object.draws


def test_a_function_may_decide_and_replace_a_class():
    env = powergrid.make(mixed("python"), backend="numpy")
    env.reset(seed=0)
    with pytest.raises(AgentError, match=r'env.agent\("ess_1"\).decide'):
        env.step(acted(env))
    env.agent("ess_1").decide = lambda observation: {"ess_1.p": 0.125}
    env.step(acted(env))
    assert env.output.p_mw[env.world.layout.units.index("ess_1")] == pytest.approx(0.125)
    other = powergrid.make(mixed(python("Half")), backend="numpy")
    other.agent("ess_1").decide = lambda observation: [0.5]
    other.reset(seed=0)
    other.step(acted(other))
    assert other.output.p_mw[other.world.layout.units.index("ess_1")] == pytest.approx(0.125)
    with pytest.raises(AgentError, match='follows its local policy "rule_based" inside the step'):
        powergrid.make(mixed("rule_based"), backend="numpy").agent("ess_1").decide = mild


def microgrid() -> dict[str, Any]:
    boss = {"id": "mg_1", "type": "GridAgent", "sub_agents": ["ess_1", "dg_1"], "policy": python("Foreman", p_mw=0.05)}
    return config(ESS, DG, {**PV, "policy": python("Listener")}, METER, boss)


def test_a_coordinator_without_a_protocol_commands_and_its_messages_arrive_at_the_next_observation():
    env = powergrid.make(microgrid(), backend="numpy")
    assert env.possible_agents == []
    env.reset(seed=0)
    for _ in range(3):
        env.step({})
    power = dict(zip(env.world.layout.units, env.output.p_mw.tolist(), strict=True))
    assert (power["ess_1"], power["dg_1"]) == pytest.approx((0.05, 0.4))  # what is beyond the range is clipped
    listener = env.agent("pv_1").policy_object
    assert isinstance(listener, Agent)
    assert listener.seen == [0, 1, 2]
    assert [(m.sender, m.content, m.tick) for m in env.agent("ess_1").mailbox[:2]] == [
        ("mg_1", {"p_mw": 0.05}, 0),
        ("mg_1", {"p_mw": 0.05}, 1),
    ]
    assert env.agent("mg_1").policy_object.subordinates == env.agent("mg_1").subordinates
    env.reset()
    assert not env.agent("ess_1").mailbox


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_messages_with_delay_and_loss_reach_and_leave_python_agents_as_numbers(backend):
    env = powergrid.make({**mixed("python"), "messages": {"width": 1}}, backend=backend)
    heard = []
    env.reset(seed=0)
    env.agent("ess_1").decide = lambda seen: heard.append(seen["ess_1.msg_new_0"]) or {"ess_1.msg_0": 0.7}
    for _ in range(3):
        observations, *_ = env.step(acted(env))
    labels = env.observation_labels("dg_1")
    assert observations["dg_1"][labels.index("dg_1.msg_new_0 [1]")] == pytest.approx(0.7)
    assert heard == pytest.approx([0.0, 0.4, 0.4])


def test_messages_to_nobody_are_refused_with_the_nearest_name():
    env = powergrid.make(microgrid(), backend="numpy")
    env.reset(seed=0)
    env.agent("mg_1").decide = lambda observation: env.agent("mg_1").send_message({}, ["ess_2"])
    with pytest.raises(AgentError, match=r'"mg_1" sends a message to "ess_2", which is no agent; did you mean "ess_1"'):
        env.step({})


def test_entries_are_known_by_their_labels_with_and_without_unit():
    entries = Entries(("ess_1.soc [1]", "ess_1.p [MW]"), np.array([0.5, -0.1]))
    assert "ess_1.soc" in entries
    assert "ess_1.soc [1]" in entries
    assert "ess_1.socs" not in entries
    with pytest.raises(KeyError, match=r"ess_1\.soc"):
        entries["ess_1.socs"]


def test_its_site_knows_forecasts_linear_models_and_tariffs():
    env = powergrid.make(mixed(python("Planner")), backend="numpy")
    env.reset(seed=0, options={"day": 10})
    for _ in range(3):
        observed = env.agent("ess_1").observe(env.global_state())
        env.step(acted(env))
    forecast, linear, tariff, tick = env.agent("ess_1").policy_object.kept
    price = env.world.layout.columns.series[env.world.layout.columns.price]
    assert tick == 2
    assert forecast[price][:3].tolist() == [observed[price], observed[f"{price}+1h"], observed[f"{price}+2h"]]
    assert len(forecast[price]) == 30
    assert forecast[price][24] == forecast[price][29]  # nothing is known beyond a day
    assert linear["ess_1"].e_start_mwh == pytest.approx(observed["ess_1.soc"] * 1.0)
    retail, feed_in = tariff["ess_1"]
    assert (retail >= feed_in).all()
    assert retail[0] == pytest.approx(forecast[price][0] + 45.0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("BadRaises", "act fails with RuntimeError: no plan"),
        ("BadShape", r"has shape \(2,\), expected \(1,\): ess_1.p \[MW\]"),
        ("BadNan", r"is not finite at ess_1.p \[MW\]: nan"),
        ("BadText", "is no vector of numbers: 'up'"),
        ("BadLabel", r'names "ess_1.q", which it does not choose; .*it chooses: ess_1.p \[MW\]'),
    ],
)
def test_what_goes_wrong_inside_names_the_agent(name, message):
    env = powergrid.make(mixed(python(name)), backend="numpy")
    env.reset(seed=0)
    with pytest.raises(AgentError, match=f'agent "ess_1" \\({MODULE}:{name}\\): .*{message}'):
        env.step(acted(env))


@pytest.mark.parametrize(
    ("policy", "path", "message"),
    [
        ({"python": "nowhere:Agent"}, "policy.python", 'there is no module "nowhere"'),
        ({"python": f"{MODULE}:Hal"}, "policy.python", 'has no "Hal"; did you mean "Half"?'),
        ({"python": "just_a_word"}, "policy.python", "names no class"),
        ({"python": f"{MODULE}:MODULE"}, "policy.python", "is no class"),
        (python("Half", gian=2.0), "policy.params", "unexpected keyword argument 'gian'"),
        ({"params": {}}, "policy", "either python: module:Class or type: NAME"),
        ({"type": "mpt"}, "policy", 'unknown policy "mpt"'),
        ({"type": "mppt", "params": {"gain": 1}}, "policy.params", "takes none here"),
    ],
)
def test_policies_that_cannot_be_made_are_refused_at_their_place(policy, path, message):
    with pytest.raises(ConfigError) as caught:
        load_config(mixed(policy))
    noted = {issue.path: issue.message for issue in caught.value.issues}
    assert message in noted[f"agents[0].{path}"]


def test_jax_refuses_python_agents_by_name():
    pytest.importorskip("jax")
    with pytest.raises(ConfigError, match=r"agents: ess_1: its policy in Python .* runs on the CPU only"):
        powergrid.make_functional(mixed(python("Half")))


def test_the_module_stands_beside_the_file_and_is_executed_when_told(tmp_path: Path):
    marks = tmp_path / "executed"
    (tmp_path / "own_agents.py").write_text(
        f"open({str(marks)!r}, 'a').write('x')\nclass Mine:\n    def act(self, observation):\n        return [1.0]\n"
    )
    (tmp_path / "own.yaml").write_text(
        "network: ieee13\nagents:\n"
        "  - {id: ess_1, type: ESS, bus: '671', policy: {python: 'own_agents:Mine'}}\n"
        "  - {id: dg_1, type: DG, bus: '675'}\n"
    )
    unread = load_config(tmp_path / "own.yaml", plugins=False)
    assert not marks.exists()
    assert [issue.message for issue in unread.unchecked] == ['"own_agents:Mine" could not be checked']
    env = powergrid.make(tmp_path / "own.yaml", backend="numpy")
    assert "own_agents" not in sys.modules
    env.reset(seed=0)
    env.step(acted(env))
    elsewhere = tmp_path / "runs" / "one"
    elsewhere.mkdir(parents=True)
    text = env.world.resolved.to_yaml(elsewhere)
    assert "../../own_agents.py:Mine" in text
    (elsewhere / "config.yaml").write_text(text)
    assert powergrid.make(elsewhere / "config.yaml", backend="numpy").possible_agents == ["dg_1"]


def test_simulations_of_the_same_world_leave_the_running_agents_alone():
    env = powergrid.make(mixed(python("Half")), backend="numpy")
    env.reset(seed=0)
    env.step(acted(env))
    object_ = env.agent("ess_1").policy_object
    env.export_episode(5)
    other = Simulation(env.world)
    other.reset(np.zeros((2, 2), np.uint32), np.zeros(2, np.int32))
    assert env.agent("ess_1").policy_object is object_
    assert object_.asked == 1
