"""The comparison of protocols: one world for all, bills and messages by hand, and files that hold the table."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import powergrid
from powergrid.benchmarks.arrangements import Community, arrangements
from powergrid.benchmarks.comparison import PARTS
from powergrid.benchmarks.files import write
from powergrid.benchmarks.protocols import compare
from powergrid.cli.app import app
from powergrid.config.resolve import with_overrides
from powergrid.core.errors import ArgumentError, ConfigError, UnknownNameError
from powergrid.learn.evaluate import play

import strange  # isort: skip  (registers protocols)

TICKS, DAYS = 8, (30, 200)
CHEAP = {"agents.dg_1.params.marginal_cost_per_mwh": 10}  # sells at night, when its neighbour buys
SHORT = with_overrides(powergrid.load_config("two_microgrids"), episode_length=TICKS, **CHEAP)
ROWS = ("mid_market", "consensus", "mpc", "setpoint", "centralized", "price_signal", "admm:rounds_per_tick=5")


@pytest.fixture(scope="module")
def found():
    return compare(SHORT, protocols=ROWS, days=DAYS, show=False)


def test_costs_without_coordination_are_those_of_an_environment(found):
    community = Community.of(SHORT)
    env = powergrid.make(community.arranged({}), backend="numpy")
    assert env.possible_agents == []
    played = play(env, "by hand", lambda sim, state, seen: np.zeros((2, 0, 0)), np.array(DAYS), 0)
    total = sum(money.sum(-1) + costs.sum(-1) for money, costs in played.other_accounts.values())
    np.testing.assert_allclose(found["none"].objective, total, rtol=0, atol=1e-9)
    assert found.days == DAYS


def test_every_row_has_the_same_loads_and_none_pays_less_than_the_bound(found):
    for played in found.played:
        assert (played.money > found.bound - 1e-6).all(), played.name
        assert set(played.parts) == set(PARTS)
        assert played.step_s > 0
    assert found["centralized"].objective.mean() < found["mpc"].objective.mean()
    assert not np.allclose(found["admm rounds_per_tick=5"].parts["devices"], found["none"].parts["devices"])


def test_a_pool_changes_bills_alone(found):
    none, pool = found["none"].parts, found["mid_market"].parts
    for part in ("devices", "stored", "voltage", "loading"):
        np.testing.assert_allclose(pool[part], none[part], rtol=0, atol=1e-9)
    assert (pool["utility"] <= none["utility"]).all()
    assert not found.same_as_none("mid_market")


def test_what_nobody_acts_upon_costs_nothing(found):
    assert found.same_as_none("consensus value=power")
    assert "consensus value=power" in found.notes()[0]


def test_a_planner_s_set_points_are_its_plan(found):
    for part in PARTS:
        np.testing.assert_array_equal(found["setpoint"].parts[part], found["mpc"].parts[part])


def test_messages_by_hand(found):
    """Two microgrids with four units each, two of which are commanded."""
    per_tick = {
        "none": 0,
        "mid_market": 2 * 2,  # a meter to the pool, and its price back
        "consensus value=power": 2,  # all are linked with all: one round, two directed links
        "mpc": 2 * (4 + 2),  # readings and commands
        "setpoint": 2 * (4 + 2),
        "centralized": 8 + 4 + 2 * 2,  # with the pool's
        "price_signal": 2 * 4,  # one to each unit
        "price_signal, plan": 2 * (4 + 4),  # with the readings
        # the members' loads; to and from each of four units and the utility in each round; with the pool's
        "admm rounds_per_tick=5": 2 + 5 * 2 * (4 + 1) + 2 * 2,
    }
    assert {played.name: played.messages for played in found.played} == pytest.approx(
        {name: 96 * count for name, count in per_tick.items()}
    )


def test_links_carry_messages_in_every_round():
    community = Community.of(SHORT)
    rows, _ = arrangements(community, ("admm:form=consensus,rounds_per_tick=3", "consensus:value=power,loss=0.1"))
    layers = [powergrid.make(row.resolved, backend="numpy").world.layout.coordination.layers[0] for row in rows[1:]]
    assert [layer.messages for layer in layers] == [2 + 3 * (2 + 2 * (4 + 1)), 10 * 2]


def test_table_fits_80_columns_and_files_hold_the_same(found, tmp_path):
    stream = io.StringIO()
    Console(file=stream, width=80).print(found.table())
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    objectives = [f"{played.objective.mean():,.1f}" for played in found.played]
    assert all(any(number in line for line in lines) for number in objectives)
    write(found, tmp_path)
    with open(tmp_path / "protocols.csv", newline="") as file:
        rows = {row["protocol"]: row for row in csv.DictReader(file)}
    content = json.loads((tmp_path / "protocols.json").read_text())
    assert list(rows) == [played.name for played in found.played] == [row["protocol"] for row in content["protocols"]]
    saved = (found["none"].objective - found["mpc"].objective).mean()
    assert float(rows["mpc"]["saved"]) == pytest.approx(saved)
    assert float(rows["mpc"]["saved_low_95"]) <= saved <= float(rows["mpc"]["saved_high_95"])
    assert float(rows["mpc"]["objective"]) == pytest.approx(sum(float(rows["mpc"][part]) for part in PARTS))
    with open(tmp_path / "protocols-by-day.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(found.played) * len(DAYS)
    assert (tmp_path / "protocols.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["protocols.csv", "protocols-by-day.csv", "protocols.json", "protocols.png", "protocols.svg"]
    )


def test_a_registered_protocol_is_found_and_what_does_not_fit_says_why():
    rows, unfit = arrangements(Community.of(SHORT))
    names = [row.name for row in rows]
    assert names[0] == "none"
    assert {"fund", "mid_market", "p2p_trading", "p2p_trading, plan", "admm form=consensus"} <= set(names)
    assert strange.Fund.__module__  # it is registered, and nothing in the package knows its name
    assert '"pv_1" cannot promise power' in unfit["reserve"]
    assert "learned agents" in unfit["messages"]
    assert "nobody learns" in unfit["federated"]
    assert "coordinates nobody" in unfit["demand_charge"]
    assert "in place of the tariff" in unfit["lmp_market"]


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (("reserve",), ConfigError, "cannot promise power"),
        (("mid_markt",), UnknownNameError, "mid_market"),
        (("admm:consensus",), ArgumentError, "not key=value"),
        (("admm:forms=consensus",), ConfigError, "forms"),
        (("messages",), ArgumentError, "learned agents"),
    ],
)
def test_a_protocol_that_is_named_fits_or_is_refused(names, error, message):
    with pytest.raises(error, match=message):
        compare(SHORT, protocols=names, days=DAYS, show=False)


def test_a_configuration_without_coordinators_is_refused():
    with pytest.raises(ArgumentError, match="no coordinator"):
        compare("ieee34_multi", show=False)


@pytest.mark.parametrize("preset", ["iso_three_level", "iso_three_level_lmp", "p2p_microgrids", "two_microgrids"])
def test_presets_with_coordinators_can_be_compared(preset):
    rows, _ = arrangements(Community.of(powergrid.load_config(preset)))
    assert {"none", "mpc", "centralized", "p2p_trading"} <= {row.name for row in rows}


def test_intervals_of_agents_that_decide_nothing_are_left_out():
    timed = with_overrides(SHORT, **{"agents.microgrid_1.interval": 1800})
    rows, _ = arrangements(Community.of(timed), ("mpc", "mid_market"))
    planned = powergrid.make(rows[1].resolved, backend="numpy").world.layout
    assert planned.slots.interval[: len(planned.python_agents)].tolist() == [2, 1]


def test_command_line(tmp_path):
    arguments = ["--preset", "two_microgrids", "--most", "1", "--protocol", "mid_market", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["benchmark", "protocols", *arguments])
    assert result.exit_code == 0, result.output
    assert "mid_market" in result.output
    assert (tmp_path / "protocols.csv").exists()
    refused = CliRunner().invoke(app, ["benchmark", "protocols", "--protocol", "adm"])
    assert refused.exit_code == 1
    assert 'did you mean "admm"' in refused.output
