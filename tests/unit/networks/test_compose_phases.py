"""Three-phase networks behind each other, and a whole preset phase by phase."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import powergrid
from powergrid.config import preset_names
from powergrid.core.errors import ConfigError, NetworkError
from powergrid.networks import compose, with_bus

UNIT = {"sn_mva": 1.0, "vk_percent": 5.75, "vkr_percent": 0.75}


@pytest.fixture(scope="module")
def park():
    host = powergrid.network("ieee34", phases="three", load_scale=0.5)
    for k, at in enumerate(("808", "834"), start=1):
        host = compose(
            host, powergrid.network("ieee13", phases="three"), at, name=f"mg{k}", transformer=UNIT, load_scale=0.2
        )
    return host


def test_the_transformer_obeys_ohm_phase_by_phase(park) -> None:
    found = park.power_flow(tol_pu=1e-12)
    assert found.converged
    v = dict(
        zip(
            found.bus.bus + "." + found.bus.phase,
            found.bus.v_pu * np.exp(1j * np.deg2rad(found.bus.va_degree)),
            strict=True,
        )
    )
    z_pu = complex(0.75, np.sqrt(5.75**2 - 0.75**2)) / 100 * 3  # 1 MVA of three phases on 1 MVA a phase
    rows = found.branch[found.branch.index.str.startswith("mg2.pcc.")]
    assert rows.phase.tolist() == ["a", "b", "c"]
    for row in rows.itertuples():
        near, far = v[f"834.{row.phase}"], v[f"mg2.650.{row.phase}"]
        current = np.conj((row.p_from_mw + 1j * row.q_from_mvar) / near)
        assert near - far == pytest.approx(z_pu * current, abs=1e-9)
    assert rows.p_from_mw.sum() == pytest.approx(0.2 * 3.466, rel=0.06)


def test_what_the_source_feeds_is_drawn_or_lost(park) -> None:
    found = park.power_flow(tol_pu=1e-12)
    bus = found.bus.p_mw.sum()  # loads and shunts negative, the source positive
    assert bus == pytest.approx(found.losses_mw, abs=1e-9)
    assert len(set(park.buses.name)) == len(park.buses.name)
    assert {"", "mg1", "mg2"} == set(park.buses.area)


def test_without_load_the_guest_changes_nothing() -> None:
    host = powergrid.network("ieee34", phases="three", load_scale=0.5)
    guest = powergrid.network("ieee13", phases="three")
    both = compose(host, guest, "808", name="mg", transformer=UNIT, load_scale=0.0).power_flow()
    alone = host.power_flow()
    count = len(alone.bus)
    assert np.abs(both.bus.v_pu[:count] - alone.bus.v_pu).max() < 2e-3  # the guest's cables charge a little


def test_a_preset_turns_to_its_full_feeder() -> None:
    env = powergrid.make("p2p_microgrids", phases="three", episode_length=4)
    env.reset(seed=0, options={"day": 100})
    balanced = powergrid.make("p2p_microgrids", episode_length=4)
    balanced.reset(seed=0, options={"day": 100})
    assert env.possible_agents == balanced.possible_agents
    for _ in range(4):
        infos = [one.step(one.policy_actions("rule_based"))[4] for one in (env, balanced)]
        assert env.output.flow.converged
        assert abs(env.output.flow.p_slack_mw - balanced.output.flow.p_slack_mw) < 0.05
        assert env.output.transfers.sum() == pytest.approx(0.0, abs=1e-9)
        for agent in env.possible_agents:
            money = [info[agent]["money"].sum() for info in infos]
            assert money[0] == pytest.approx(money[1], abs=1.5)


def test_rules_hold_the_band_on_all_phases_of_the_preset() -> None:
    """Compensators left at the published settings would lift a third of the phases of some buses out of it."""
    env = powergrid.make("p2p_microgrids", phases="three")
    shares = []
    for day in (15, 355):
        env.reset(seed=0, options={"day": day})
        for _ in range(96):
            env.step(env.policy_actions("rule_based"))
            v_pu = np.asarray(env.output.flow.v_pu)
            shares.append(((v_pu < 0.95) | (v_pu > 1.05)).mean())
    assert np.mean(shares) < 0.005


def test_a_bus_is_added_with_the_phases_of_its_neighbour() -> None:
    host = powergrid.network("ieee34", phases="three")  # with delta loads, whose places come behind all buses
    alone = host.power_flow(tol_pu=1e-11)
    both = with_bus(with_bus(host, "side", 24.9, "822"), "low", 4.16, "834")
    found = both.power_flow(tol_pu=1e-11)
    np.testing.assert_allclose(found.bus.v_pu[: len(alone.bus)], alone.bus.v_pu, atol=1e-9)
    v = found.bus.set_index(["bus", "phase"]).v_pu
    assert found.bus.bus.tolist()[len(alone.bus) :] == ["side", "low", "low", "low"]
    assert v["side", "a"] == pytest.approx(v["822", "a"], abs=1e-12)
    for phase in "abc":
        assert v["low", phase] == pytest.approx(v["834", phase], abs=1e-9)


def test_the_new_bus_is_fed_through_its_transformer() -> None:
    host = powergrid.network("ieee34", phases="three")
    wide = with_bus(host, "low", 4.16, "834")
    loads, node = wide.loads, wide.bus("low.b")
    one = {"name": ("new.b",), "bus": [node], "p_mw": [0.1], "q_mvar": [0.05]}
    columns = [
        (*own, *one["name"]) if field == "name" else np.append(own, one.get(field, [0.0]))
        for field, own in loads._asdict().items()
    ]
    columns[1] = columns[1].astype(int)
    found = replace(wide, loads=type(loads)(*columns)).power_flow(tol_pu=1e-12)
    v = found.bus.assign(v=found.bus.v_pu * np.exp(1j * np.deg2rad(found.bus.va_degree)))
    v = v.set_index(["bus", "phase"]).v
    z_pu = complex(1, 8) / abs(complex(1, 8)) * 0.0575 / 2.5 * 3  # 2.5 MVA of three phases on 1 MVA a phase
    drop = z_pu * np.conj(complex(0.1, 0.05) / v["low", "b"])
    assert v["834", "b"] - v["low", "b"] == pytest.approx(drop, abs=1e-8)


BALANCED_ONLY = {"iso_case30", "iso_three_level_lmp"}
"""Presets on networks that are known by their positive sequence alone, or whose market is one of such networks."""


@pytest.mark.parametrize("preset", sorted(set(preset_names()) - BALANCED_ONLY))
def test_every_preset_runs_a_day_on_every_phase(preset: str) -> None:
    env = powergrid.make(preset, phases="three", backend="numpy")
    assert env.world.network.is_three_phase
    observations, _ = env.reset(seed=0)
    while env.agents:
        observations, rewards, *_ = env.step(env.policy_actions("rule_based"))
        flow = env.output.flow
        assert flow.converged
        assert all(np.isfinite(part).all() for part in (flow.v_pu, *rewards.values(), *observations.values()))
        assert flow.v_pu.min() > 0.9


def test_what_does_not_fit_is_refused() -> None:
    three, one = powergrid.network("ieee34", phases="three"), powergrid.network("ieee13")
    guest = powergrid.network("ieee13", phases="three")
    with pytest.raises(NetworkError, match="take both phase by phase, or both balanced"):
        compose(three, one, "808", name="mg", transformer=UNIT)
    with pytest.raises(NetworkError, match='bus "822" of "ieee34" has phase a only'):
        compose(three, guest, "822", name="mg", transformer=UNIT)
    with pytest.raises(NetworkError, match='no bus "80l"'):
        compose(three, guest, "80l", name="mg", transformer=UNIT)
    with pytest.raises(NetworkError, match='bus "822" of "ieee34" has phase a only; a transformer to "new" needs all'):
        with_bus(three, "new", 4.16, "822")
    with pytest.raises(NetworkError, match='already has a bus "808"'):
        with_bus(three, "808", 24.9, "822")
    with pytest.raises(NetworkError, match='no bus "80l"'):
        with_bus(three, "new", 24.9, "80l")
    modification = {"add_bus": {"name": "new", "vn_kv": 4.16, "at_bus": "822"}}
    with pytest.raises(ConfigError, match=r"network\.modifications\[0\]\.add_bus.*phase a only"):
        powergrid.make({"network": {"base": "ieee34", "phases": "three", "modifications": [modification]}})
