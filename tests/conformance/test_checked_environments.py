"""Every preset passes the public examiner of environments, in every form."""

from __future__ import annotations

import pytest

import powergrid
from powergrid.config.sources import preset_names
from powergrid.envs.registry import SINGLE
from powergrid.testing import check_env

pytestmark = pytest.mark.filterwarnings("ignore:lmp_solver")
LARGE = {"feeder_100_agents", "feeder_1000_agents", "iso_case30", "iso_three_level", "iso_three_level_lmp"}


@pytest.mark.parametrize(
    "preset", [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in preset_names()]
)
def test_preset(preset):
    short = {"episode_length": 24} if preset == "feeder_1000_agents" else {}  # a day of it takes two minutes
    check_env(powergrid.make(preset, **short))


@pytest.mark.parametrize("preset", SINGLE)
def test_gymnasium(preset):
    check_env(powergrid.make(preset, api="gymnasium", normalize=True), seed=1)


@pytest.mark.parametrize("preset", ["ieee34_multi", "voltage_control_13", "two_microgrids"])
@pytest.mark.parametrize("form", [{"pad": "role", "agent_id": True}, {"pad": "all", "infos": "none"}])
def test_forms(preset, form):
    check_env(powergrid.make(preset, normalize=True, **form))


LEAVES = {"id": "ess_2", "type": "ESS", "bus": "675", "params": {"capacity_mwh": 1.0}, "presence": {"leaves": 3600}}
JOINS = {**LEAVES, "presence": {"joins": 3600}}


@pytest.mark.parametrize("other", [LEAVES, JOINS], ids=["leaves", "joins"])
def test_agents_in_turn_where_one_is_absent(other):
    stays = {"id": "ess_1", "type": "ESS", "bus": "671", "params": {"capacity_mwh": 1.0}}
    check_env(powergrid.make({"network": "ieee13", "agents": [stays, other]}, api="aec", episode_length=12))


@pytest.mark.parametrize("preset", ["ieee34_multi", "two_microgrids"])
def test_agents_in_turn(preset):
    check_env(powergrid.make(preset, api="aec", normalize=True, episode_length=12))


@pytest.mark.parametrize("autoreset", ["same_step", "next_step"])
def test_vectors(autoreset):
    keywords = {"autoreset": autoreset, "episode_length": 12}
    check_env(powergrid.make_vec("two_microgrids", 3, **keywords))
    check_env(powergrid.make_vec("ieee34_multi", 2, normalize=True, pad="role", **keywords))
    check_env(powergrid.make_vec("ieee13_single", 2, api="gymnasium", **keywords))


def test_agents_with_intervals():
    check_env(powergrid.make("ieee34_multi", intervals={"device": 3600}))
