"""What an agent observes follows from its observability, and grows with what it may see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import small_worlds
from small_worlds import DG, ESS, METER, operator

import powergrid
from powergrid.core.errors import ArgumentError, ConfigError
from powergrid.devices.storage import Storage
from powergrid.engine.assembly.neighbours import MOST, neighbours
from powergrid.worlds.build import build

SCOPES = ("local", "local+communication", "neighbours", "full")


def labels(source: dict[str, Any], agent: str) -> dict[str, set[str]]:
    """Labels of an agent's observation under each observability."""
    found = {}
    for scope in SCOPES:
        agents = [{**given, **({"observability": scope} if given["id"] == agent else {})} for given in source["agents"]]
        layout = build({**source, "agents": agents}).layout
        found[scope] = set(layout.view.labels(layout.actors.index(agent)))
    return found


def test_each_observability_adds_to_the_one_before():
    """Microgrids that trade: what they have cleared is communication, and the other's battery is the neighbour's."""
    source = small_worlds.microgrids(protocols=[{"type": "p2p_trading"}])
    seen = labels(source, "microgrid_1")
    local, communication, near, full = (seen[scope] for scope in SCOPES)
    assert local < communication < near < full
    assert communication - local
    assert all(label.startswith("microgrid_1.") for label in communication - local)
    assert "ess_1.soc [1]" in local
    assert not {label for label in communication if label.startswith(("ess_2.", "bus_mg2."))}
    assert {"ess_2.soc [1]", "dg_2.p [MW]", "bus_mg2.671.v [pu]"} <= near
    assert "bus_834.v [pu]" not in near
    assert "bus_834.v [pu]" in full
    peer = build(source).layout  # of what the neighbour receives from its peers, the agent sees nothing
    received = set(peer.view.labels(peer.actors.index("microgrid_2")))
    assert not {label for label in received if label.startswith("microgrid_2.") and "price" in label} & near


def test_what_an_agent_above_sends_is_local():
    """A battery that is steered by a price observes the price."""
    grid = operator(protocol="price_signal", sub_agents=["ess_1", "dg_1"])
    seen = labels(small_worlds.config(ESS, DG, METER, grid), "ess_1")
    assert all("operator_1.signal_price [$/MWh]" in seen[scope] for scope in SCOPES)


def test_the_default_is_local_and_communication():
    source = small_worlds.microgrids(protocols=[{"type": "p2p_trading"}])
    layout = build(source).layout
    row = layout.actors.index("microgrid_1")
    assert set(layout.view.labels(row)) == labels(source, "microgrid_1")["local+communication"]


def test_full_is_the_central_state():
    agents = [{**ESS, "observability": "full"}, DG, METER]
    env = small_worlds.make(*agents)
    observations, _ = env.reset(seed=1)
    for _ in range(3):
        assert np.array_equal(observations["ess_1"], env.state())
        observations, *_ = env.step({agent: np.full(1, 0.3) for agent in env.agents})


def batteries(count: int, **keys: Any) -> dict[str, Any]:
    """Batteries at every third bus of a feeder."""
    battery = {"type": "ESS", "policy": "learned", "params": {"capacity_mwh": 0.1}, **keys}
    agents = [{**battery, "id": f"ess_{i}", "bus": f"b{3 * i + 1}"} for i in range(count)]
    return {"network": {"base": "radial", "options": {"n": 3 * count + 1}}, "agents": agents}


def test_neighbours_are_nearest_along_the_feeder_and_of_the_same_level():
    """On the trunk 800-802-806-808-812-814 of the IEEE 34 feeder, whose bus 808 also feeds 810."""
    places = {"a": "802", "b": "806", "c": "810", "d": "812", "e": "814", "f": "890"}
    battery = {"type": "ESS", "policy": "learned", "params": {"capacity_mwh": 0.1}}
    agents = [{**battery, "id": id, "bus": bus} for id, bus in places.items()]
    grid = {"id": "grid_1", "type": "GridCoordinator", "policy": "learned", "protocol": "price_signal"}
    world = build({"network": "ieee34", "agents": [*agents, {**grid, "sub_agents": ["a"]}]})
    acting = [agent for agent in world.agents if agent.id in world.layout.actors]
    found = neighbours(world.network, acting)
    assert found["a"] == ["b", "c", "d", "e"]
    assert found["b"] == ["a", "c", "d", "e"]
    assert found["d"] == ["e", "b", "c", "a"]
    assert found["f"][0] == "e"
    assert found["grid_1"] == []
    assert max(map(len, found.values())) == MOST


def test_entries_grow_linearly_with_the_agents():
    """Over 10, 100 and 1000 agents an observation stays as long as it is, and `full` grows by what there is to see."""
    sizes = {
        scope: [build(batteries(count, observability=scope)).layout.view.sizes for count in (10, 100, 1000)]
        for scope in ("local", "neighbours")
    }
    for scope, bound in (("local", 0), ("neighbours", 4 * MOST)):
        for rows in sizes[scope][1:]:
            assert max(rows) <= max(sizes[scope][0]) + bound
    small, large = (np.mean(rows) for rows in sizes["neighbours"][::2])
    assert large == pytest.approx(small, rel=0.1)
    one = [batteries(count) for count in (10, 100)]
    for source in one:
        source["agents"][0]["observability"] = "full"
    few, many = (build(source).layout.view for source in one)
    assert few.sizes[0] == len(few.entries)
    assert many.sizes[0] == len(many.entries)
    assert 9.0 < (many.sizes[0] - many.sizes[1]) / (few.sizes[0] - few.sizes[1]) < 12.0


def test_unknown_observability_is_refused_with_the_nearest():
    source = small_worlds.config({**ESS, "observability": "neighbors"}, {**DG, "observability": "local+comm"}, METER)
    with pytest.raises(ConfigError) as caught:
        powergrid.load_config(source)
    issues = {issue.path: issue for issue in caught.value.issues}
    assert 'did you mean "neighbours"?' in issues["agents[0].observability"].hint
    assert '"local+comm" must be' in issues["agents[1].observability"].message
    with pytest.raises(ArgumentError, match=r'agent "a": there is no observability "globl"; .*available: local, '):
        Storage("a", "671", observability="globl")
