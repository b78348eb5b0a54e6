"""Protocols over messages: as on an ideal network without delay and loss, and right in the end with them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.agents.protocol import Context, Member, Members
from powergrid.agents.protocols._links import LinkSettings
from powergrid.agents.protocols.consensus import Choice, Consensus
from powergrid.core import random
from powergrid.core.errors import ConfigError
from powergrid.core.graph import of_pairs
from powergrid.testing.coordination import check_protocol
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation

BATTERY = {"type": "ESS", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.25}}
TICKS = 12
VERTICAL = {
    "price_signal": {},
    "incentive": {},
    "setpoint": {"as": "reference", "tracking_price_per_mwh": 20},
}
HORIZONTAL = {
    "consensus": ({"value": "voltage"}, "neighbours"),
    "admm": ({"form": "consensus", "target_mw": 0.5}, "star"),
}
CHILDREN = ("ess_1", "dg_1", "dg_2")


def generator(id: str, bus: str, cost: float, slope: float) -> dict[str, Any]:
    costs = {"marginal_cost_per_mwh": cost, "marginal_cost_slope_per_mw2h": slope}
    return {"id": id, "type": "DG", "bus": bus, "policy": "rule_based", "params": {"p_max_mw": 0.4, **costs}}


def config(name: str, over: bool = True, messages: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Three units that the protocol coordinates, with an operator above them where it is vertical; and a learner."""
    params = VERTICAL.get(name) if name in VERTICAL else HORIZONTAL[name][0]
    params = {**deepcopy(params), **more.pop("params", {})}
    if over:
        params["over_messages"] = True
    agents = [
        {**BATTERY, "id": "ess_1", "bus": "671", "policy": "rule_based"},
        generator("dg_1", "675", 40, 60),
        generator("dg_2", "680", 30, 120),
        {**BATTERY, "id": "learner", "bus": "634", "policy": "learned"},
    ]
    simulation = {"time_step": 900, "episode_length": TICKS}
    found: dict[str, Any] = {"network": {"base": "ieee13", "load_scale": 0.6}, "simulation": simulation}
    if name in VERTICAL:
        own = {"type": name, "params": params}
        operator = {"id": "op", "type": "GridCoordinator", "sub_agents": list(CHILDREN), "policy": "learned"}
        agents.append({**operator, "protocol": own, **more})
    else:
        found["protocols"] = [
            {"type": name, "members": list(CHILDREN), "topology": HORIZONTAL[name][1], "params": params}
        ]
    return {**found, "agents": agents, **({} if messages is None else {"messages": {"width": 0, **messages}})}


def played(source: dict[str, Any], ticks: int = TICKS) -> tuple[dict[str, np.ndarray], Any, Any]:
    """Powers, money, violations and signals of every tick, the last state, and the layout."""
    world = build(source)
    simulation = Simulation(world)
    state = simulation.reset(random.key_from_seed(np, np.array(3)), np.array(40, np.int32)).state
    rng, rows = np.random.default_rng(0), []
    for _ in range(ticks):
        actions = rng.uniform(-1, 1, (len(world.layout.actors), world.layout.action_size))
        state, output = simulation.step(state, actions)
        rows.append((output.p_mw, output.money, output.costs, state.signals))
    names = ("p_mw", "money", "costs", "signals")
    return dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True)), state, world.layout


@pytest.mark.parametrize("name", [*VERTICAL, *HORIZONTAL])
def test_without_delay_and_loss_no_bit_changes(name):
    """Neither where the links are ideal, nor where everything passes the queue and arrives at once."""
    one_round = {} if name in VERTICAL else {"params": {"rounds_per_tick": 1}}
    wanted, _, layout = played(config(name, over=False, **one_round))
    ideal, _, same = played(config(name, messages={"delay": 0}))
    for what, values in wanted.items():
        np.testing.assert_array_equal(ideal[what], values, err_msg=what)
    assert same.coordination.signals == layout.coordination.signals
    queued, *_ = played(config(name, messages={"delay": 0, "loss": 1e-12}))
    for what in ("p_mw", "money", "costs"):
        if name == "admm":  # another order of the same sums
            np.testing.assert_allclose(queued[what], wanted[what], rtol=0, atol=1e-9, err_msg=what)
        else:
            np.testing.assert_array_equal(queued[what], wanted[what], err_msg=what)


def observed(source: dict[str, Any], agent: str, name: str, actions: list[float]) -> list[float]:
    """What an agent observes after each tick, while the operator chooses its numbers alike for all children."""
    source["agents"] = [{**own, "policy": "learned"} if own["id"] == agent else own for own in source["agents"]]
    env = powergrid.make(source, backend="numpy")
    env.reset(seed=0)
    at = [label.split(" ")[0] for label in env.observation_labels(agent)].index(f"{agent}.{name}")
    found = []
    for value in actions:
        chosen = {id: np.zeros(env.action_space(id).shape) for id in env.agents}
        chosen["op"] = np.full(env.action_space("op").shape, value)
        found.append(float(env.step(chosen)[0][agent][at]))
    return found


def test_a_price_arrives_late_and_the_newest_one_holds():
    """A delay of 1,000 s is two ticks of 900 s; before anything arrives the middle of the range holds."""
    sent = [-1.0, -0.5, 0.0, 0.5]
    prices = observed(config("price_signal", messages={"delay": 1000}), "ess_1", "signal_price", sent)
    assert prices == pytest.approx([100.0, 100.0, 0.0, 50.0])
    ages = observed(config("price_signal", messages={"delay": 1000}), "ess_1", "signal_price_age", sent)
    assert ages == pytest.approx([86_400.0, 86_400.0, 2700.0, 2700.0])


def test_a_price_that_is_lost_leaves_the_last_one_in_force_until_the_next_decision():
    lost = observed(config("price_signal", messages={"loss": 1.0}), "dg_1", "signal_price", [0.3] * 4)
    assert lost == [100.0] * 4
    hourly = config("price_signal", messages={"loss": 0.5}, interval=3600)
    prices = observed(hourly, "ess_1", "signal_price", [-0.8, -0.6, -0.4, -0.2, 0.2, 0.4, 0.6, 0.8])
    assert set(np.round(prices, 3)) <= {100.0, 20.0, 120.0}  # those of its two decisions, or none


def test_an_incentive_is_paid_as_it_has_arrived():
    """A battery that injects 0.25 MW for a quarter of an hour, at incentives of 50, -50 and -50 $/MWh that are late."""
    source = config("incentive", messages={"delay": 900})
    source["agents"][0]["policy"] = "learned"
    env = powergrid.make(source, backend="numpy")
    env.reset(seed=0)
    paid = []
    for value in (1.0, -1.0, -1.0):
        env.step({"op": np.full(3, value), "ess_1": np.ones(1), "learner": np.zeros(1)})
        money = {id: account["money"].get("incentive", 0.0) for id, account in env.accounts.items()}
        assert sum(money.values()) == pytest.approx(0.0, abs=1e-12)
        paid.append(-money["ess_1"])
    assert paid == pytest.approx([0.0, 50 * 0.0625, -50 * 0.0625])


def ends(name: str) -> list[tuple[str, str]]:
    """Sender and receiver of every link over which a protocol of `config` sends."""
    if name in VERTICAL:
        return [("op", child) for child in CHILDREN]
    if HORIZONTAL[name][1] == "star":
        return [(a, b) for a in CHILDREN for b in CHILDREN if a != b and CHILDREN[0] in (a, b)]
    return [(a, b) for a in CHILDREN for b in CHILDREN if a != b]


@pytest.mark.parametrize("name", [*VERTICAL, *HORIZONTAL])
def test_links_of_a_protocol_with_the_values_of_all_are_alike_to_the_bit(name):
    """Delay and loss that every link has of its own, and the same as those of all links."""
    delay, loss = {"dist": "uniform", "mean": 1500, "std": 600}, 0.3
    links = [{"sender": a, "receiver": b, "delay": delay, "loss": loss} for a, b in ends(name)]
    wanted, _, _layout = played(config(name, messages={"delay": delay, "loss": loss}))
    found, _, same = played(config(name, messages={"delay": {"dist": "uniform"}, "links": links}))
    assert sorted(same.coordination.layers[0].added.carries) == sorted(ends(name))
    for what, values in wanted.items():
        np.testing.assert_array_equal(found[what], values, err_msg=what)
    on_time, *_ = played(config(name, messages={"delay": 0}))
    assert not np.array_equal(on_time["signals"], wanted["signals"][..., : on_time["signals"].shape[-1]])


@pytest.mark.parametrize("name", VERTICAL)
def test_each_child_is_told_at_the_time_of_its_own_link(name):
    """What each child knows is, to the bit, what it knows where all links have the delay of its own."""
    delay_s = {"ess_1": 0, "dg_1": 1000, "dg_2": 2700}
    own = [{"sender": "op", "receiver": child, "delay": late} for child, late in delay_s.items() if late]
    mixed, _, layout = played(config(name, messages={"links": own, "loss": 0}))
    columns = layout.coordination.signals
    for child, late in delay_s.items():
        alike, *_ = played(config(name, messages={"delay": late, "loss": 1e-12}))
        at = [k for k, column in enumerate(columns) if column.owner == child]
        assert len(at) >= 2
        np.testing.assert_array_equal(mixed["signals"][:, at], alike["signals"][:, at], err_msg=child)


def test_one_direction_of_one_link_among_peers():
    """Nothing from the battery reaches the second generator, so that its neighbour alone tells it the mean."""
    lost = {"sender": "ess_1", "receiver": "dg_2", "loss": 1.0}
    _, _, layout = played(config("consensus", messages={"links": [lost]}), 1)
    (layer,) = layout.coordination.layers
    loss = dict(zip(layer.added.carries, layer.added.tables.loss, strict=True))
    assert {pair for pair, share in loss.items() if share} == {("ess_1", "dg_2")}


def test_a_link_without_a_receiver_is_every_link_of_its_sender_and_the_later_of_two_counts():
    links = [{"sender": "op", "delay": 900}, {"sender": "op", "receiver": "dg_2", "delay": 1800}]
    _, _, layout = played(config("price_signal", messages={"links": links}), 1)
    (layer,) = layout.coordination.layers
    assert layer.added.tables.low_s.tolist() == [900.0, 900.0, 1800.0]


def test_links_of_others_leave_a_protocol_on_an_ideal_network():
    """A link between peers who send each other messages does not concern their operator."""
    source = config("price_signal", messages={})
    source["agents"][0]["policy"] = "learned"
    talk = {"width": 1, "members": ["ess_1", "learner"], "topology": "neighbours"}
    source["messages"] = {**talk, "links": [{"sender": "ess_1", "receiver": "learner", "delay": 900}]}
    layers = build(source).layout.coordination.layers
    carries = {type(layer.protocol).__name__: layer.added.carries for layer in layers}
    assert carries["PriceSignalProtocol"] == ()
    assert sorted(carries["Messages"]) == [("ess_1", "learner"), ("learner", "ess_1")]


@pytest.mark.parametrize(
    ("name", "link", "wanted"),
    [
        ("price_signal", {"sender": "dg_1", "receiver": "op"}, 'sends from "op" to "dg_1": exchange'),
        ("price_signal", {"sender": "op", "receiver": "learner"}, 'nothing travels from "op" to "learner"'),
        ("price_signal", {"sender": "learner"}, 'nothing travels from "learner" over a link'),
        ("admm", {"sender": "dg_1", "receiver": "dg_2"}, '"dg_1" and "dg_2" are not linked'),
        ("admm", {"sender": "dg_1", "receiver": "learner"}, 'nothing travels from "dg_1" to "learner"'),
    ],
)
def test_a_link_that_carries_nothing_is_refused_with_its_place(name, link, wanted):
    source = config(name, messages={"links": [{"sender": CHILDREN[0] if name == "admm" else "op"}, link]})
    with pytest.raises(ConfigError, match=r"messages\.links") as caught:
        powergrid.load_config(source)
    assert "messages.links[1]" in str(caught.value)
    assert wanted in str(caught.value)


@pytest.mark.parametrize("members", [2.5, True, 5, "ess_1", {"ess_1": 1}])
def test_members_that_are_no_list_are_refused_by_the_schema(members):
    source = config("consensus", messages={"width": 1, "members": members})
    source["protocols"][0].update(members=members, topology=[["ess_1", "dg_1"]])
    with pytest.raises(ConfigError, match=r"a list"):
        powergrid.load_config(source)


def test_a_link_of_a_protocol_on_an_ideal_network_is_refused_with_what_puts_it_over_messages():
    source = config("price_signal", over=False, messages={"width": 1, "members": ["learner"]})
    source["messages"]["links"] = [{"sender": "op", "receiver": "dg_1", "delay": 900}]
    with pytest.raises(ConfigError, match="price_signal is on an ideal network: write over_messages: true"):
        powergrid.load_config(source)


def test_a_link_that_only_the_feeder_rules_out_is_refused_when_the_environment_is_built():
    """634, 671 and 680 lie one behind the other, so that the ends are not linked."""
    source = config("consensus", messages={"links": [{"sender": "dg_2", "receiver": "learner", "loss": 0.5}]})
    source["protocols"][0].update(members=["learner", "ess_1", "dg_2"], topology="feeder")
    with pytest.raises(ConfigError, match=r'messages.links\[0\]: nothing travels from "dg_2" to "learner"'):
        build(source)


LATE = {"dist": "uniform", "mean_s": 1800, "std_s": 700}


@pytest.mark.parametrize("links", [LATE, {"loss": 0.4}, {"mean_s": 900, "loss": 0.2}])
def test_consensus_keeps_its_totals_and_finds_the_mean(links):
    """Random graphs and values; what is on its way counts."""
    rng = np.random.default_rng(0)
    for size in (2, 5, 8):
        protocol = Consensus(over_messages=True).over(LinkSettings(**links))
        pairs = [(k, int(rng.integers(k))) for k in range(1, size)]
        members = Members([Member(f"m{k}", 0.0, 0.0) for k in range(size)], of_pairs(size, pairs), 0.25)
        added = protocol.entries(members)
        state = protocol.initial(np, (), added.widths, float)
        values, none = rng.uniform(-1, 1, size), np.zeros(size)
        for tick in range(600):
            now = np.full(1, float(tick))
            uniform = rng.uniform(size=added.draws)
            ctx = Context(protocol.params(), 0.25, now, none, none, none, none[:1], none, none[:0], np.zeros(0, int),
                          added.tables, uniform, none, none, none[:0])  # fmt: skip
            state, *_ = protocol.before(np, ctx, state, Choice(values))
            flies = (state.arrives > tick) & (state.arrives < 1e8)
            assert (state.total.sum() + state.total_on_its_way[flies].sum()) == pytest.approx(values.sum(), abs=1e-9)
            assert (state.weight.sum() + state.weight_on_its_way[flies].sum()) == pytest.approx(size, abs=1e-9)
        np.testing.assert_allclose(state.total / state.weight, values.mean(), atol=1e-5)


@pytest.mark.parametrize(
    "messages", [{"delay": 900}, {"loss": 0.3, "delay": {"dist": "uniform", "mean": 900, "std": 500}}]
)
def test_admm_reaches_the_optimum_in_spite_of_delays_and_losses(messages):
    """At the optimum marginal costs are equal and the units inject the target."""
    source = config("admm", messages=messages)
    members = ("dg_1", "dg_2", "dg_3")
    source["agents"] = [generator("dg_3", "671", 35, 80), *source["agents"][1:]]
    source["protocols"][0]["members"] = list(members)
    source["simulation"]["episode_length"] = 288
    found, _, layout = played(source, 288)
    power = {id: found["p_mw"][-1][layout.units.index(id)] for id in members}
    assert sum(power.values()) == pytest.approx(0.5, abs=2e-3)
    marginal = [40 + 60 * power["dg_1"], 30 + 120 * power["dg_2"], 35 + 80 * power["dg_3"]]
    assert max(marginal) - min(marginal) < 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"messages": None}, "there are no messages whose delay and loss"),
        ({"params": {"as": "command", "tracking_price_per_mwh": 0, "over_messages": True}}, "only with as: reference"),
        ({"messages": {"width": 0, "members": ["learner"]}}, "with width 0 agents send no messages"),
    ],
)
def test_what_has_no_effect_is_refused(change, message):
    source = config("setpoint", messages={"delay": 60})
    if "messages" in change:
        source["messages"] = change["messages"]
    else:
        source["agents"][-1]["protocol"]["params"] = change["params"]
    with pytest.raises(ConfigError, match=message):
        build(source)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("consensus", {"rounds_per_tick": 5}, "one round in a tick"),
        ("consensus", {"loss": 0.1}, "loss of the links"),
        ("admm", {"form": "exchange"}, "needs form: consensus"),
        ("admm", {"rounds_per_tick": 5}, "one iteration in a tick"),
    ],
)
def test_settings_of_an_ideal_network_are_refused(name, params, message):
    with pytest.raises(ConfigError, match=message):
        build(config(name, messages={"delay": 60}, params=params))


def test_links_that_carry_nothing_are_refused():
    with pytest.raises(ConfigError, match="no protocol sends its signals over these links"):
        build(config("price_signal", over=False, messages={"delay": 60}))
    with pytest.raises(ConfigError, match="over_messages"):
        build({**config("price_signal"), "protocols": [{"type": "mid_market", "members": ["ess_1", "dg_1"],
               "params": {"over_messages": True}}], "messages": {"width": 0}})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("consensus", {"value": "power"}),
        pytest.param("price_signal", {}, marks=pytest.mark.slow),
        pytest.param("admm", {"form": "consensus", "target_mw": 0.3}, marks=pytest.mark.slow),
        pytest.param("incentive", {}, marks=pytest.mark.slow),
        pytest.param("setpoint", VERTICAL["setpoint"], marks=pytest.mark.slow),
    ],
)
def test_every_form_of_the_step_delivers_signals_alike(name, params):
    check_protocol(name, **params, over_messages=True)
