"""Average consensus: its spectral bound, the mean that it keeps, losses, refused graphs, and all forms of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import powergrid
from powergrid.agents.protocol import Context, Member, Members
from powergrid.agents.protocols.consensus import Consensus, Tracked, track
from powergrid.core import graph
from powergrid.core.errors import ConfigError
from powergrid.core.graph import Graph
from powergrid.testing.coordination import check_protocol

_IDS = ("battery_1", "battery_2", "battery_3")


def _path(size: int) -> Graph:
    return graph.of_pairs(size, ((k, k + 1) for k in range(size - 1)))


@st.composite
def _graphs(draw: Any) -> Graph:
    """Paths, rings, stars, full graphs, and random connected ones."""
    size = draw(st.integers(2, 12))
    kind = draw(st.sampled_from(["path", "ring", "star", "full", "random"]))
    if kind != "random":
        return {"path": _path, "ring": graph.ring, "star": graph.star, "full": graph.full}[kind](size)
    tree = [(k, draw(st.integers(0, k - 1))) for k in range(1, size)]
    more = draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=8))
    return graph.of_pairs(size, tree + more)


def _context(links: Graph, uniform: np.ndarray | None = None, **params: Any) -> tuple[Context, Tracked]:
    """What the kernel uses on a graph, and its state at reset."""
    protocol, count = Consensus(**params), links.size
    members = [Member(f"m{k}", 0.0, 0.0) for k in range(count)]
    added = protocol.entries(Members(members, links, 1.0))
    nothing = np.zeros(count)
    ctx = Context(
        params=protocol.params(),
        dt_h=1.0,
        tick=np.zeros(1),
        due=nothing,
        retail_per_mwh=nothing,
        feed_in_per_mwh=nothing,
        price_per_mwh=nothing[:1],
        v_pu=nothing,
        governed=nothing[:0],
        command_member=np.zeros(0, int),
        tables=added.tables,
        uniform=nothing if uniform is None else uniform,
        frequency_hz=nothing,
        island=nothing,
        works=np.zeros(0),
    )
    return ctx, protocol.initial(np, (), added.widths, float)


@settings(max_examples=200, deadline=None)
@given(links=_graphs(), seed=st.integers(0, 10_000))
def test_error_stays_below_the_spectral_bound_and_the_mean_is_kept(links, seed):
    value = np.random.default_rng(seed).uniform(-1.0, 1.0, links.size)
    ctx, state = _context(links, rounds_per_tick=1)
    start = np.linalg.norm(value - value.mean())
    for k in range(1, 31):
        state = track(np, ctx, state, value)
        assert np.linalg.norm(state.total - value.mean()) <= links.contraction**k * start + 1e-12
        assert abs(state.total.mean() - value.mean()) <= 1e-12


def test_the_bound_is_reached_on_a_path():
    # the slowest mode of averaging loses no more than the bound says
    links = _path(6)
    weights = np.zeros((6, 6))
    weights[links.links[:, 1], links.links[:, 0]] = links.metropolis
    weights += np.diag(1.0 - weights.sum(axis=1))
    slowest = np.linalg.eigh(weights)[1][:, -2]
    ctx, state = _context(links, rounds_per_tick=5)
    state = track(np, ctx, state, slowest)
    assert np.linalg.norm(state.total) == pytest.approx(links.contraction**5, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(links=_graphs(), seed=st.integers(0, 10_000))
def test_the_mean_is_kept_when_values_change(links, seed):
    rng = np.random.default_rng(seed)
    ctx, state = _context(links, rounds_per_tick=2)
    for _ in range(20):
        value = rng.uniform(-1.0, 1.0, links.size)
        state = track(np, ctx, state, value)
        assert abs(state.total.mean() - value.mean()) <= 1e-12
    for _ in range(400):
        state = track(np, ctx, state, value)
    assert state.total == pytest.approx(value.mean(), abs=1e-6)


def test_a_measurement_that_is_no_number_leaves_the_last_one_in_force():
    ctx, state = _context(_path(3), rounds_per_tick=1)
    state = track(np, ctx, state, np.array([1.0, 2.0, 6.0]))
    state = track(np, ctx, state, np.array([np.nan, np.inf, 6.0]))
    assert state.value.tolist() == [1.0, 2.0, 6.0]
    assert state.total.mean() == pytest.approx(3.0, abs=1e-12)


def _lossy(push_sum: bool, rounds: int, seed: int) -> tuple[Tracked, np.ndarray]:
    """The state after many rounds on a ring that loses two messages of five."""
    rng, links = np.random.default_rng(seed), graph.ring(6)
    value = rng.uniform(-1.0, 1.0, 6)
    uniform = rng.uniform(size=rounds * len(links.links))
    ctx, state = _context(links, uniform, rounds_per_tick=rounds, loss=0.4, push_sum=push_sum)
    return track(np, ctx, state, value), value


@pytest.mark.parametrize("seed", range(10))
def test_push_sum_finds_the_mean_in_spite_of_losses(seed):
    after, value = _lossy(True, 200, seed)
    assert after.total.sum() == pytest.approx(value.sum(), abs=1e-12)
    assert after.weight.sum() == pytest.approx(6.0, abs=1e-12)
    assert (after.weight > 0.0).all()
    assert after.total / after.weight == pytest.approx(value.mean(), abs=1e-9)


def test_plain_averaging_agrees_on_a_wrong_value_under_losses():
    misses = []
    for seed in range(50):
        after, value = _lossy(False, 200, seed)
        assert np.ptp(after.total) <= 1e-9
        misses.append(after.total.mean() - value.mean())
    # it moves either way from one run to the next: no bias on average, but none of the runs is right
    assert np.abs(misses).min() > 1e-6
    assert abs(np.mean(misses)) < 3.0 * np.std(misses) / np.sqrt(50)


def _config(topology: Any = "neighbours", **params: Any) -> dict[str, Any]:
    agents = [
        {"id": id, "type": "ESS", "bus": bus, "params": {"capacity_mwh": 1.0, "max_p_mw": 0.25}, "policy": "learned"}
        for id, bus in zip(_IDS, ("671", "675", "680"), strict=True)
    ]
    protocol = {"type": "consensus", "members": list(_IDS), "topology": topology, "params": params}
    return {
        "network": "ieee13",
        "agents": agents,
        "simulation": {"time_step": 900, "episode_length": 12},
        "protocols": [protocol],
    }


def test_members_choose_and_observe_the_mean():
    env = powergrid.make(_config(rounds_per_tick=60), backend="numpy")
    env.reset(seed=0)
    assert env.action_labels("battery_1")[-1] == "battery_1.consensus_value [1]"
    chosen = np.array([0.6, -0.2, 0.2], np.float32)
    observations, *_ = env.step({id: np.array([0.0, value]) for id, value in zip(_IDS, chosen, strict=True)})
    for id, value in zip(_IDS, chosen, strict=True):
        seen = dict(zip(env.observation_labels(id), observations[id], strict=True))
        assert seen[f"{id}.consensus [1]"] == pytest.approx(0.2, abs=1e-6)
        assert seen[f"{id}.consensus_deviation [1]"] == pytest.approx(0.2 - value, abs=1e-6)
    env.close()


@pytest.mark.parametrize(("value", "unit"), [("power", "MW"), ("voltage", "pu")])
def test_measured_values_are_averaged(value, unit):
    env = powergrid.make(_config("full", value=value), backend="numpy")
    env.reset(seed=0)
    observations, *_ = env.step({id: np.array([0.5]) for id in _IDS})
    name, rows = f"consensus_{value}", []
    for id in _IDS:
        seen = dict(zip(env.observation_labels(id), observations[id], strict=True))
        estimate, deviation = seen[f"{id}.{name} [{unit}]"], seen[f"{id}.{name}_deviation [{unit}]"]
        rows.append((estimate, estimate - deviation))
    estimates, own = np.array(rows).T
    assert estimates == pytest.approx(own.mean(), abs=1e-6)
    if value == "power":
        assert own == pytest.approx(-0.125, abs=1e-6)
    else:
        assert ((own > 0.9) & (own < 1.1)).all()
        assert np.ptp(own) > 1e-4
    env.close()


def test_a_graph_that_is_not_connected_is_refused_by_name():
    with pytest.raises(ConfigError, match='"battery_1" reaches "battery_3" over no link'):
        powergrid.load_config(_config([["battery_1", "battery_2"]]))


def test_coordinators_that_nothing_joins_are_refused_by_name():
    config = _config()
    operators = [
        {"id": f"operator_{k}", "type": "GridCoordinator", "sub_agents": [id]} for k, id in enumerate(_IDS, start=1)
    ]
    config["agents"] += operators
    # without members the coordinators take part, which are known when the environment is built
    config["protocols"] = [
        {"type": "consensus", "topology": [["operator_1", "operator_3"]], "params": {"value": "power"}}
    ]
    with pytest.raises(ConfigError, match='"operator_1" reaches "operator_2" over no link'):
        powergrid.make(config, backend="numpy")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"low": 2.0}, "low 2 must be below high 1"),
        ({"push_sum": False}, "loss above 0"),
        ({"rounds_per_tick": 0}, "rounds_per_tick"),
        ({"value": "energy"}, "energy"),
        ({"loss": 1.0}, "loss"),
    ],
)
def test_wrong_settings_are_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        powergrid.load_config(_config(**params))


def test_too_many_lossy_links_are_refused():
    protocol = Consensus(loss=0.1)
    members = Members((Member(f"m{k}", 0.0, 0.0) for k in range(1000)), graph.full(1000), 1.0)
    with pytest.raises(ConfigError, match="at most 200,000 in a tick"):
        protocol.entries(members)


@pytest.mark.slow
@pytest.mark.parametrize("params", [{}, {"value": "power"}, {"value": "voltage"}, {"loss": 0.3}], ids=str)
def test_it_is_the_same_in_every_form(params):
    check_protocol("consensus", **params)
