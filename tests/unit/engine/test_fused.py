"""The compiled step: its vocabulary, what it refuses, what it keeps on disk, and that it says what it does."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_worlds import config

import powergrid
from powergrid.core import random
from powergrid.devices.storage import Storage
from powergrid.engine.fused import kernels, loops, scalars
from powergrid.engine.fused.flow import RowFlow
from powergrid.engine.fused.kernels import NotCompilableError, compile_family
from powergrid.engine.fused.plan import floor_plan, pack
from powergrid.envs.build import build
from powergrid.envs.simulation import Simulation
from powergrid.plugins.registries import DEVICES

NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 0.5, 1.5, 2.5, float("inf"), -float("inf"), float("nan")])


@settings(deadline=None)  # the first call compiles
@given(NUMBERS, NUMBERS)
def test_words_mean_what_numpy_means(a, b):
    with np.errstate(all="ignore"):
        for name in ("minimum", "maximum"):
            assert np.array_equal(getattr(scalars, name)(a, b), getattr(np, name)(a, b), equal_nan=True), name
        for name in ("abs", "sqrt", "floor"):
            assert np.array_equal(getattr(scalars, name)(a), getattr(np, name)(np.float64(a)), equal_nan=True), name
        for decimals in (0, 6):
            expected = np.round(np.float64(a), decimals)
            assert np.array_equal(scalars.round(a, decimals), expected, equal_nan=True), decimals
        assert scalars.exp(min(a, 10.0)) == pytest.approx(np.exp(min(a, 10.0)), rel=1e-15, nan_ok=True)


def family_of(kernel: Any, **fields: Any) -> Any:
    unit = kernel("unit", "bus")
    params = kernel.Params(*(np.array([value]) for value in unit.params()))
    return SimpleNamespace(kernel=kernel, params=params, size=1, sources=(), **fields)


class Summing(Storage):
    """A battery whose kernel wants all units at once."""

    @staticmethod
    def money(xp, params, state, injection, exogenous, dt_h):
        return (injection.p_mw.sum(-1) * dt_h,)


class Pricey(Storage):
    """A battery with another price of wear."""

    price: ClassVar[float] = 7.0

    @staticmethod
    def money(xp, params, state, injection, exogenous, dt_h):
        return (7.0 * xp.abs(injection.p_mw) * dt_h,)


def test_a_kernel_that_needs_arrays_is_refused_by_name():
    with pytest.raises(NotCompilableError, match="Summing"):
        compile_family(family_of(Summing))


def test_a_kernel_that_closes_over_a_variable_is_refused_by_name():
    price = 3.0

    class Closing(Storage):
        @staticmethod
        def money(xp, params, state, injection, exogenous, dt_h):
            return (price * injection.p_mw,)

    with pytest.raises(NotCompilableError, match="Closing"):
        compile_family(family_of(Closing))


def test_the_fingerprint_follows_the_kernels():
    text = "the same"
    assert kernels._fingerprint(Storage, text) == kernels._fingerprint(Storage, text)
    assert kernels._fingerprint(Storage, text) != kernels._fingerprint(Pricey, text)


def test_a_world_of_its_own_method_solves_rows_in_place():
    assert RowFlow(build(config()).layout)._direct is not None


@pytest.fixture
def summing_world(monkeypatch) -> Any:
    """A small environment whose battery cannot be compiled."""
    monkeypatch.setitem(DEVICES._items, "Summing", Summing)
    changed = config()
    changed["agents"] = [
        {**agent, "type": "Summing"} if agent["type"] == "ESS" else agent for agent in changed["agents"]
    ]
    return build(changed)


def test_auto_falls_back_to_numpy_and_says_so(summing_world, caplog):
    with caplog.at_level(logging.WARNING, logger="powergrid"):
        assert Simulation(summing_world, "auto").backend == "numpy"
    assert "Summing" in caplog.text
    assert "NumPy" in caplog.text
    with pytest.raises(NotCompilableError, match="Summing"):
        Simulation(summing_world, "fused")


def test_a_folder_that_cannot_be_written_only_costs_time(monkeypatch):
    def closed(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "read-only")

    kernels._folder.cache_clear()
    monkeypatch.setattr(kernels.Path, "mkdir", closed)
    folder = kernels._folder()
    kernels._folder.cache_clear()
    assert folder.name.startswith("powergrid-")


def test_a_damaged_cache_is_compiled_anew(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.setattr(kernels, "_folder", lambda: tmp_path)
    family = family_of(Pricey)
    outputs = kernels._outputs(family)
    source = kernels._source(Pricey, (), *outputs)
    path = tmp_path / f"Pricey_{kernels._fingerprint(Pricey, source)}.py"
    path.write_text("KERNEL.nonsense\n", encoding="utf-8")
    found = kernels._compiled.__wrapped__(Pricey, (), *outputs)
    assert found.step != 0
    assert path.read_text(encoding="utf-8") == source  # not trusted: it did not read as it should


def test_both_backends_through_the_environment():
    runs = []
    for backend in ("numpy", "fused"):
        env = powergrid.make(config(), backend=backend)
        assert env.backend == backend
        env.reset(seed=5)
        total = np.zeros(len(env.possible_agents))
        while env.agents:
            _, rewards, *_ = env.step(env.policy_actions("rule_based"))
            total += list(rewards.values())
        runs.append(total)
    assert np.allclose(*runs, rtol=1e-9)


def test_a_state_of_somebody_else_steps_alike():
    """The compiled step remembers the last states it made; any other state is read from its columns."""
    simulation = Simulation(build(config()), "fused")
    key = random.fold_in(np, random.key_from_seed(np, np.array(1)), np.array(0))
    state, *_ = simulation.reset(key, np.array(30, np.int32))
    actions = np.full((1, simulation.layout.action_size), 0.3)
    first, one = simulation.step(state, actions)
    simulation.step(first, actions)
    _, two = simulation.step(state, actions)  # back in time
    assert np.array_equal(one.observation, two.observation)


def test_loops_see_the_floor_plan_that_was_packed():
    simulation = Simulation(build("p2p_microgrids"), "fused")
    layout = simulation.layout
    inputs = RowFlow(layout).inputs
    plan, _ = floor_plan(layout, [compile_family(family) for family in layout.families], inputs, (1.0, 2.0, 3.0))
    for part, seen in zip(plan, loops.unpacked(*pack(plan)), strict=True):
        for one, other in zip(*((x if isinstance(x, tuple) else (x,)) for x in (part, seen)), strict=True):
            assert np.array_equal(one.reshape(other.shape), other)
