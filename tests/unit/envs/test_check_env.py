"""Each rule of the examiner of environments finds a wrapper that breaks it, and its sentence has the place."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import VectorWrapper
from pettingzoo.utils import BaseParallelWrapper, BaseWrapper

import powergrid
from powergrid.core.errors import ArgumentError
from powergrid.testing import check_env

AGENT = "microgrid_2"


class Wrapper(BaseParallelWrapper):
    """Counts ticks and passes everything on."""

    tick = 0

    def reset(self, seed=None, options=None):
        self.tick = 0
        return self.broken_reset(*super().reset(seed=seed, options=options))

    def step(self, actions):
        self.tick += 1
        return self.broken_step(actions, *super().step(actions))

    def broken_reset(self, observations, infos):
        return observations, infos

    def broken_step(self, actions, *results):
        return results


def grid(**keywords):
    return powergrid.make("two_microgrids", **{"episode_length": 6, **keywords})


def faults(env) -> str:
    with pytest.raises(AssertionError) as caught:
        check_env(env)
    return str(caught.value)


class VectorOutlier(VectorWrapper):
    """Breaks the bounds of one agent in one environment."""

    def step(self, actions):
        observations, *rest = self.env.step(actions)
        observations[AGENT][1, 0] = 3.0
        return observations, *rest


def test_vectors():
    found = faults(VectorOutlier(powergrid.make_vec("two_microgrids", 2, episode_length=6)))
    assert f'observation of agent "{AGENT}[1]" at tick 1 is 3.0 at number 0, outside of [-1.0, 1.0]' in found


def test_a_wrapper_that_breaks_nothing_passes():
    check_env(Wrapper(grid()))
    check_env(gym.Wrapper(powergrid.make("ieee13_single", api="gymnasium", episode_length=4)))


def test_other_forms_are_refused():
    with pytest.raises(ArgumentError, match=r"object is no environment of powergrid\.make or make_vec"):
        check_env(object())


class Turns(BaseWrapper):
    """An AEC environment that passes everything on."""


def test_turns_that_break_nothing_pass():
    check_env(Turns(powergrid.make("two_microgrids", api="aec", episode_length=6)))


def test_rewards_that_last_does_not_tell():
    class Broken(Turns):
        def last(self, observe=True):
            observation, _, *rest = super().last(observe)
            return observation, 0.0, *rest

    found = faults(Broken(powergrid.make("two_microgrids", api="aec", episode_length=6)))
    assert 'last() pays agent "microgrid_1" at its turn after tick 1 0.0, and the tick has paid -' in found


def test_observations_and_turns_of_an_aec_environment():
    class Louder(Turns):
        def observe(self, agent):
            return super().observe(agent) * np.float32(1e6 if agent == AGENT else 1.0)

    class Stuck(Turns):
        @property
        def agent_selection(self):
            return "microgrid_1"

    aec = powergrid.make("two_microgrids", api="aec", episode_length=6)
    assert f'observation of agent "{AGENT}" at tick 0 is ' in faults(Louder(aec))
    assert 'at tick 1 it is the turn of agent "microgrid_1", while microgrid_2 have not acted' in faults(Stuck(aec))


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (Discrete(3), 'action space of agent "microgrid_2" is Discrete(3), not a Box'),
        (Box(-np.inf, np.inf, (2,)), 'action space of agent "microgrid_2" has no finite bounds'),
    ],
)
def test_action_spaces(space, sentence):
    class Broken(Wrapper):
        def action_space(self, agent):
            return space if agent == AGENT else super().action_space(agent)

    assert sentence in faults(Broken(grid()))


def test_new_spaces_at_each_call_and_wrong_types():
    class Broken(Wrapper):
        def observation_space(self, agent):
            return Box(-1e5, 1e5, super().observation_space(agent).shape, np.float64)

    found = faults(Broken(grid()))
    assert 'observation space of agent "microgrid_1" has the type float64, not float32' in found
    assert "another object at each call" in found


def test_types_of_observations():
    class Broken(Wrapper):
        def broken_step(self, actions, observations, *rest):
            return {**observations, AGENT: observations[AGENT].astype(float)}, *rest

    assert f'observation of agent "{AGENT}" at tick 1 has the type float64, its space float32' in faults(Broken(grid()))


def test_bounds_at_extreme_actions():
    class Broken(Wrapper):
        def broken_step(self, actions, observations, *rest):
            if (actions[AGENT] == 1.0).all() and self.tick == 3:
                observations[AGENT][4] = 2e4
            return observations, *rest

    found = faults(Broken(grid()))
    assert f'observation of agent "{AGENT}" at tick 3 with all actions at the high end is 20000.0 at ' in found
    assert "price_per_mwh:lz_north [$/MWh], outside of [-10000.0, 10000.0]" in found


def test_rewards_that_are_no_numbers():
    class Broken(Wrapper):
        def broken_step(self, actions, observations, rewards, *rest):
            return observations, {**rewards, AGENT: float("nan")}, *rest

    assert f'reward of agent "{AGENT}" at tick 1 is nan, not a finite number' in faults(Broken(grid()))


def test_missing_agents():
    class Broken(Wrapper):
        def broken_step(self, actions, observations, *rest):
            return {"microgrid_1": observations["microgrid_1"], "nobody": observations[AGENT]}, *rest

    found = faults(Broken(grid()))
    assert f'observations at tick 1 lack agent "{AGENT}"' in found
    assert 'hold "nobody", which is none of possible_agents' in found


def test_seeds():
    class Broken(Wrapper):
        def broken_step(self, actions, observations, rewards, *rest):
            return observations, {**rewards, AGENT: rewards[AGENT] + np.random.default_rng().random()}, *rest

    found = faults(Broken(grid()))
    assert f'the same seed and the same actions give another result: reward of agent "{AGENT}" is ' in found
    assert "at tick 1" in found


def test_agents_that_end_in_different_ways():
    class Broken(Wrapper):
        def broken_step(self, actions, observations, rewards, terminations, truncations, infos):
            if self.tick == 6:
                terminations[AGENT], truncations[AGENT] = True, False
            return observations, rewards, terminations, truncations, infos

    assert 'agents end in different ways at tick 6: "microgrid_1" truncated, "microgrid_2" terminated' in faults(
        Broken(grid())
    )


def test_an_episode_that_is_cut_and_goes_on():
    class Broken(Wrapper):
        def broken_step(self, actions, observations, rewards, terminations, truncations, infos):
            return observations, rewards, terminations, {**truncations, AGENT: self.tick >= 3}, infos

    assert f'agent "{AGENT}" is truncated at tick 3, and the episode goes on to tick 6' in faults(Broken(grid()))


def test_an_episode_without_end():
    class Broken(Wrapper):
        @property
        def agents(self):
            return self.possible_agents

        def broken_step(self, actions, observations, rewards, terminations, truncations, infos):
            return observations, rewards, terminations, dict.fromkeys(truncations, False), infos

    assert "the episode has not ended at tick 6, the last of its 6" in faults(Broken(grid()))


def test_arrays_that_are_used_again():
    class Broken(Wrapper):
        def broken_step(self, actions, observations, *rest):
            self.buffer = getattr(self, "buffer", np.empty_like(observations[AGENT]))
            self.buffer[:] = observations[AGENT]
            return {**observations, AGENT: self.buffer}, *rest

    found = faults(Broken(grid()))
    assert f'observation of agent "{AGENT}" number' in found
    assert "at tick 1 once it has been returned; return new arrays" in found


def test_arrays_that_the_environment_goes_on_with():
    class Broken(Wrapper):
        def broken_reset(self, observations, infos):
            self.last = observations[AGENT]
            return observations, infos

        def broken_step(self, actions, observations, rewards, *rest):
            change = float(np.abs(observations[AGENT] - self.last).sum())
            self.last = observations[AGENT]
            return observations, {**rewards, AGENT: change}, *rest

    assert "changing what was returned changes what comes next; return new arrays: reward of agent" in faults(
        Broken(grid())
    )


def test_actions_that_are_changed():
    class Broken(Wrapper):
        def step(self, actions):
            results = super().step(actions)
            actions[AGENT] *= 0.5
            return results

    assert f'step changes the action of agent "{AGENT}" at tick 1 in place' in faults(Broken(grid()))


def test_money_that_is_not_of_the_ledger():
    class Broken(Wrapper):
        def broken_step(self, actions, *results):
            results[-1][AGENT]["money"] = results[-1][AGENT]["money"] + 1.0
            return results

    found = faults(Broken(grid()))
    assert "in the ledger" in found
    assert f'in the info of agent "{AGENT}" at tick 1' in found


def test_transfers_that_do_not_sum_to_zero():
    class Broken(Wrapper):
        def broken_step(self, actions, *results):
            output = self.unwrapped.output
            lost = np.array(output.transfers)
            lost[..., 0] += 7.0
            self.unwrapped._output = _Changed(output, lost)
            return results

    assert "transfers at tick 1 sum to 7 $, not to zero" in faults(Broken(grid()))


class _Changed:
    """An output with other transfers."""

    def __init__(self, output, transfers):
        self._output, self.transfers = output, transfers

    def __getattr__(self, name):
        return getattr(self._output, name)


def test_promises_of_who_is_due():
    class Broken(Wrapper):
        def broken_step(self, actions, *results):
            results[-1][AGENT]["due_next"] = self.tick != 2
            return results

    assert f'due of agent "{AGENT}" at tick 3 is True, and due_next before it False' in faults(Broken(grid()))


def test_actions_of_agents_that_are_not_due():
    class Broken(Wrapper):
        def broken_step(self, actions, observations, rewards, *rest):
            return observations, {**rewards, "ess_1": float(actions["ess_1"][0])}, *rest

    env = powergrid.make("ieee34_multi", intervals={"device": 3600}, episode_length=6)
    assert 'the action of an agent that is not due has an effect: reward of agent "ess_1"' in faults(Broken(env))
