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


@pytest.mark.parametrize("autoreset", ["same_step", "next_step"])
def test_vectors(autoreset):
    keywords = {"autoreset": autoreset, "episode_length": 12}
    check_env(powergrid.make_vec("two_microgrids", 3, **keywords))
    check_env(powergrid.make_vec("ieee34_multi", 2, normalize=True, pad="role", **keywords))
    check_env(powergrid.make_vec("ieee13_single", 2, api="gymnasium", **keywords))


def test_agents_with_intervals():
    check_env(powergrid.make("ieee34_multi", intervals={"device": 3600}))
