"""Arguments of compiled entries are named once: types, order and calls follow their names."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np
import pytest
from numba import njit, types
from small_worlds import config

import powergrid
from powergrid.engine.compiled import step
from powergrid.engine.compiled.arguments import TickArguments, entry, types_of
from powergrid.engine.compiled.loops import TICK


class Given(NamedTuple):
    """Arguments of a small entry."""

    numbers: Annotated[Any, types.Array(types.float64, 1, "C")]
    place: Annotated[int, types.int64]


def test_an_entry_gives_its_arguments_on_by_name():
    @njit
    def read(given: Any) -> float:
        return given.numbers[given.place]

    found = entry(Given, read, njit)
    assert found(*Given(place=2, numbers=np.array([1.0, 3.0, 5.0]))) == 5.0
    assert types_of(Given) == (types.Array(types.float64, 1, "C"), types.int64)
    assert found.overloads.keys() == {types_of(Given)}


def test_types_are_those_of_the_fields():
    assert len(TICK) == len(TickArguments._fields)
    assert TICK[TickArguments._fields.index("observation")] == types.Array(types.float32, 2, "C")


def test_an_argument_that_nobody_fills_is_refused(monkeypatch: pytest.MonkeyPatch):
    env = powergrid.make(config(), backend="fused")
    env.reset(seed=0)
    layout = env.world.layout
    actions = np.zeros((len(layout.actors), layout.action_size))
    longer = NamedTuple("TickArguments", [("inserted", Any), *((name, Any) for name in TickArguments._fields)])  # type: ignore[misc]
    monkeypatch.setattr(step, "TickArguments", longer)
    with pytest.raises(TypeError, match="inserted"):
        env.step_array(actions)
