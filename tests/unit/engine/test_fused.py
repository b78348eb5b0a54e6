"""The compiled step: its vocabulary, what it refuses, what it keeps on disk, and that it says what it does."""

from __future__ import annotations

import logging
from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from small_worlds import config

import powergrid
from powergrid.core import random
from powergrid.devices.storage import Storage
from powergrid.engine.compiled import common, kernels, plan, vector_types
from powergrid.engine.compiled import tables as at
from powergrid.engine.compiled.flow import RowFlow
from powergrid.engine.compiled.kernels import NotCompilableError, compile_family
from powergrid.engine.compiled.layer_kernels import compile_layer
from powergrid.engine.compiled.plan import floor_plan, pack
from powergrid.engine.compiled.rows import MANY, ONE
from powergrid.engine.compiled.rules import Rule
from powergrid.plugins.registries import DEVICES
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation

NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 0.5, 1.5, 2.5, float("inf"), -float("inf"), float("nan")])


def _with(lanes: Any, word: Callable, count: int) -> Callable:
    """A function of arrays ``(count, lanes)`` that says one word to each lane."""
    get, put = lanes.get, lanes.put
    if count == 1:

        @njit(error_model="numpy")
        def said(table, out):
            put(out, 0, word(get(table, 0)))
    else:

        @njit(error_model="numpy")
        def said(table, out):
            put(out, 0, word(get(table, 0), get(table, 1)))

    def call(*numbers: float) -> np.ndarray:
        table, out = np.repeat(np.array(numbers, float), lanes.lanes), np.empty(lanes.lanes)
        said(table, out)
        return out

    return call


OPERATIONS: dict[str, tuple[Callable, int]] = {
    "minimum": (njit(lambda a, b: vector_types.minimum(a, b)), 2),
    "maximum": (njit(lambda a, b: vector_types.maximum(a, b)), 2),
    "abs": (njit(lambda a: vector_types.abs(a)), 1),
    "sqrt": (njit(lambda a: vector_types.sqrt(a)), 1),
    "floor": (njit(lambda a: vector_types.floor(a)), 1),
    "add": (njit(lambda a, b: a + b), 2),
    "subtract": (njit(lambda a, b: a - b), 2),
    "multiply": (njit(lambda a, b: a * b), 2),
    "divide": (njit(lambda a, b: a / b), 2),
    "negative": (njit(lambda a: -a), 1),
    "less": (njit(lambda a, b: vector_types.where(a < b, 1.0, 0.0)), 2),
    "less_equal": (njit(lambda a, b: vector_types.where(a <= b, 1, 0)), 2),
    "greater": (njit(lambda a, b: vector_types.where(vector_types.logical_not(a > b), 0.0, 1)), 2),
    "greater_equal": (njit(lambda a, b: vector_types.where(~(a >= b), 0.0, 1.0)), 2),
    "equal": (njit(lambda a, b: (a == b) * 1.0), 2),
    "not_equal": (njit(lambda a, b: vector_types.where((a != b) | False, 1.0, 0.0)), 2),
}
SAID = {
    (name, lanes.lanes): _with(lanes, word, count)
    for name, (word, count) in OPERATIONS.items()
    for lanes in (ONE, MANY)
}


@settings(deadline=None)  # the first call compiles
@given(NUMBERS, NUMBERS)
def test_words_mean_what_numpy_means_in_every_lane(a, b):
    with np.errstate(all="ignore"):
        for (name, _), said in SAID.items():
            given_ = (a, b)[: OPERATIONS[name][1]]
            expected = getattr(np, name)(*map(np.float64, given_))
            assert np.array_equal(said(*given_), np.full_like(said(*given_), expected), equal_nan=True), name


@pytest.mark.parametrize("lanes", [ONE, MANY], ids=["one", "many"])
def test_words_of_the_library_are_the_same_in_every_lane(lanes):
    for name in ("exp", "log", "sin", "cos"):
        word = getattr(vector_types, name)
        said = _with(lanes, _on_a_float(word), 1)
        for number in (0.3, 1.0, 2.5):
            assert said(number) == pytest.approx(getattr(np, name)(number), rel=1e-15), name
            assert np.all(said(number) == SINGLE[name](number))
    rounded = _with(lanes, njit(lambda a: vector_types.round(a, 2)), 1)
    assert [rounded(x)[0] for x in (0.125, 0.135, -2.675)] == [np.round(x, 2) for x in (0.125, 0.135, -2.675)]
    assert _with(lanes, njit(lambda a: a**2), 1)(3.0)[0] == 9.0


def _on_a_float(word: Callable) -> Callable:
    return njit(lambda a: word(a))


SINGLE = {name: _on_a_float(getattr(vector_types, name)) for name in ("exp", "log", "sin", "cos")}


@pytest.mark.parametrize("count", [3, 8, 21])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_tables_of_lanes_turn_there_and_back(count, dtype):
    rng = np.random.default_rng(count)
    given_, found = rng.random((9, count + 5)), np.zeros((9, count + 2), dtype)
    for lanes in (ONE, MANY):
        read, write, wide = lanes.read, lanes.write, lanes.lanes
        who, table = rng.permutation(9)[:wide], np.zeros((count + 1) * wide)

        @njit
        def there_and_back(given_, who, table, found, read=read, write=write, count=count):
            read(given_.reshape(-1), given_.shape[1], who, 4, count, table, 1)
            write(table, 1, count, found.reshape(-1), found.shape[1], who, 2)

        there_and_back(given_, who, table, found)
        assert np.array_equal(table.reshape(count + 1, wide)[1:], given_[who, 4 : count + 4].T)
        assert np.array_equal(found[who, 2:], given_[who, 4 : count + 4].astype(dtype))
        assert not found[:, :2].any()


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
    assert kernels._fingerprint(Storage, text, kernels.KERNELS) == kernels._fingerprint(Storage, text, kernels.KERNELS)
    assert kernels._fingerprint(Storage, text, kernels.KERNELS) != kernels._fingerprint(Pricey, text, kernels.KERNELS)


def test_the_fingerprint_follows_the_order_of_columns():
    """Kernels compiled for one order must not read a table in another."""

    class Swapped(Storage):
        Params = namedtuple("Params", Storage.Params._fields[::-1])

    assert kernels._fingerprint(Storage, "", kernels.KERNELS) != kernels._fingerprint(Swapped, "", kernels.KERNELS)


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
    outputs = kernels.outputs_of(family)
    source = kernels._source(Pricey, (), *outputs, 1)
    path = tmp_path / f"Pricey_{kernels._fingerprint(Pricey, source, kernels.KERNELS)}.py"
    path.write_text("KERNEL.nonsense\n", encoding="utf-8")
    found = kernels._compiled.__wrapped__(Pricey, (), *outputs, 1)
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


def test_loops_find_the_parts_of_the_floor_plan_that_was_packed():
    simulation = Simulation(build("p2p_microgrids"), "fused")
    layout = simulation.layout
    inputs = RowFlow(layout).inputs
    families, layers = (
        [compile_family(family) for family in layout.families],
        list(map(compile_layer, layout.coordination.layers)),
    )
    plan, _ = floor_plan(layout, families, [Rule(0, 0, 0)] * len(families), [], layers, inputs, (1.0, 2.0, 3.0))
    ints, floats = pack(plan)

    @njit
    def found(ints, floats, number):
        return common.whole(ints, number).copy(), common.real(ints, floats, number).copy()

    parts: list[tuple[str, int, np.ndarray]] = []
    for name, array in plan._asdict().items():
        number = getattr(at.PLAN, name)
        if isinstance(array, tuple):
            parts += [(f"{name}.{field}", *both) for field, *both in zip(array._fields, number, array, strict=True)]
        else:
            parts.append((name, number, array))
    for name, number, array in parts:
        part = found(ints, floats, number)[array.dtype.kind == "f"]
        assert np.array_equal(part, array.ravel()), name
    assert [number for _, number, _ in parts] == list(range(len(parts)))


class Before(NamedTuple):
    """A table with a named tuple inside."""

    first: Any
    inside: at.Meters
    last: Any


class After(NamedTuple):
    """The same with a column that somebody has inserted."""

    first: Any
    inserted: Any
    inside: at.Meters
    last: Any


def test_columns_are_numbered_by_their_names():
    before, after = at.numbered(Before), at.numbered(After)
    assert (before.first, *before.inside, before.last) == (0, 1, 2, 3, 4, 5)
    assert (after.first, *after.inside, after.last) == (0, 2, 3, 4, 5, 6)
    for numbers in (at.CALL, at.WIDTH, at.NUMBER, at.INPUT):
        assert [getattr(numbers, name) for name in type(numbers)._fields] == list(range(len(numbers)))


@pytest.mark.parametrize("name", ["CallRow", "Widths", "Numbers", "Meters", "FloorPlan"])
def test_a_column_that_nobody_fills_is_refused(name: str, monkeypatch: pytest.MonkeyPatch):
    """No other column takes its place, as it would in a table that is filled by position."""
    own: Any = getattr(at, name)
    longer = NamedTuple(name, [("inserted", Any), *((field, Any) for field in own._fields)])  # type: ignore[misc]
    monkeypatch.setattr(plan, name, longer)
    layout = build(config()).layout
    with pytest.raises(TypeError, match="inserted"):
        floor_plan(
            layout,
            [kernels.Kernels(0, 0, 0, 0, 0, 0) for _ in layout.families],
            [Rule(0, 0, 0) for _ in layout.families],
            [],
            [],
            RowFlow(layout).inputs,
            (1.0, 2.0, 3.0),
        )
