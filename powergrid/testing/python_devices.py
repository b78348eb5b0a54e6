"""The examiner of plain Python devices."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from powergrid.agents.device_agent import DeviceAgent
from powergrid.agents.python_device import METHODS, Windows
from powergrid.core.errors import DeviceError
from powergrid.core.types import Array
from powergrid.datasets import load
from powergrid.engine.python.trial import examined
from powergrid.engine.python.units import Template, answers_of, guarded
from powergrid.testing.trial import DeviceFaults, rating_faults
from powergrid.worlds.python_devices import reader

DT_S = 900.0
TICKS = 96
_DAY = 100
_PRICE = 50.0


def check_python_device(kind: type[DeviceAgent], **params: Any) -> None:
    """Examine a plain Python device for a day of the embedded data.

    The device must have both methods and a well-defined action. For every action in its range its results must be
    finite. It must not change its parameters, its class or the data, must repeat an episode exactly, and must not
    depend on other units of its class. Its observations must stay within their bounds, and its power within its
    attribute ``p_max_mw``, if it has one.

    Parameters
    ----------
    kind
        The class.
    **params
        Parameters of its constructor.

    Raises
    ------
    AssertionError
        With one sentence per fault, which names the method and the value.
    """
    read = reader(load("embedded_2022"), DT_S)
    try:
        unit: Any = kind(id="examined", bus="1", **params)
    except Exception as error:  # a constructor may raise anything
        raise AssertionError(f"{kind.__name__} cannot be made: {type(error).__name__}: {error}") from error
    if not hasattr(unit, "settings"):
        raise AssertionError(f"{kind.__name__}.__init__ does not call super().__init__(**kwargs)")
    unit.dt, unit.dt_h = DT_S, DT_S / 3600.0
    try:
        unit.facts = examined(unit, read, TICKS)
        trial = _Trial(unit, read)
        faults = [*_not_repeatable(trial), *_without_units(trial), *_out_of_bounds(trial), *_beyond_rating(trial)]
        _warn_of_free_energy(trial)
    except DeviceError as error:
        raise DeviceFaults(kind.__name__, [error.sentence]) from error
    if faults:
        raise DeviceFaults(kind.__name__, faults)


class _Trial:
    """A device, and runs of its copies."""

    def __init__(self, unit: Any, read: Any):
        self.unit, self.template, self._read = unit, Template(unit), read
        self.low, self.high = unit.action.bounds()

    @property
    def name(self) -> str:
        """Name of the class."""
        return type(self.unit).__name__

    def actions(self, seed: int) -> Array:
        """Random actions, ``(ticks, dim_c)``."""
        return np.random.default_rng(seed).uniform(self.low, self.high, (TICKS, len(self.low)))

    def start(self) -> Any:
        """Copy of the device at the start of the day."""
        dataset, unit = Windows(self._read, TICKS + 1), self.template.made()
        dataset.begin(_DAY * TICKS)
        self.template.restore(unit, dataset)
        if type(unit).reset is not DeviceAgent.reset:
            guarded(unit, "reset", 0.5)
        return unit

    def answers(self, actions: Array, beside: Array | None = None) -> Array:
        """Results of a copy ``(ticks, n)``, alone or with another copy that acts in between."""
        unit, other = self.start(), self.start()
        rows = []
        for tick, action in enumerate(actions):
            rows.append(_tick(unit, tick, action))
            if beside is not None:
                _tick(other, tick, beside[tick])
        return np.array(rows)


def _tick(unit: Any, tick: int, action: Array) -> list[float]:
    unit.t, unit.action.c = tick, action.copy()
    unit.price_per_mwh = unit.electricity_price = _PRICE
    for method in METHODS:
        guarded(unit, method)
    return answers_of(unit)


def _not_repeatable(trial: _Trial) -> Iterator[str]:
    """The same actions give the same results, for any actions of other units."""
    actions = trial.actions(0)
    names = ("state.P", "state.Q", "cost", "safety", *trial.unit.facts.readings)
    first = trial.answers(actions)
    for beside, why in (
        (None, "two episodes with the same actions differ"),
        (trial.actions(1), "another unit of the class changes this one"),
    ):
        again = trial.answers(actions, beside)
        if not np.array_equal(first, again):
            tick, column = np.argwhere(first != again)[0]
            hint = "keep everything that changes in attributes of self, and draw random numbers from reset's alone"
            both = f"{first[tick, column]:.6g} and {again[tick, column]:.6g}"
            yield f"{why}: {names[column]} = {both} at tick {tick}; {hint}"
            return


def _without_units(trial: _Trial) -> Iterator[str]:
    """Every entry has a unit."""
    for entry in (*trial.unit.observation_entries(), *trial.unit.action_entries().values()):
        if not (isinstance(entry.unit, str) and entry.unit.strip()):
            yield f'entry "{entry.name}" needs a unit, found {entry.unit!r}; of a pure number it is "1"'


def _out_of_bounds(trial: _Trial) -> Iterator[str]:
    """Observations stay within their bounds."""
    answers = np.concatenate([trial.answers(trial.actions(seed))[:, 4:] for seed in range(3)])
    for column, entry in enumerate(trial.unit.observation_entries()):
        outside = (answers[:, column] < entry.low) | (answers[:, column] > entry.high)
        if outside.any():
            row = int(np.argmax(outside))
            yield (
                f'observation "{entry.name}" = {answers[row, column]:.6g} leaves [{entry.low:.6g}, {entry.high:.6g}] '
                f"at tick {row % TICKS}"
            )


def _beyond_rating(trial: _Trial) -> Iterator[str]:
    """Power stays within the unit's own rating."""
    p_mw = max(float(np.abs(trial.answers(trial.actions(seed))[:, 0]).max()) for seed in range(3))
    for limit, reached, what in rating_faults(trial.unit, p_mw, 0.0):
        yield f"it {what} {reached:.6g}, beyond its own {limit}; are these kW or MW?"


def _warn_of_free_energy(trial: _Trial) -> None:
    """Warn of a unit that feeds in for half a day at one extreme action: no store has so much energy."""
    for end in (trial.low, trial.high):
        fed_in = trial.unit.p_sign * trial.answers(np.tile(end, (TICKS, 1)))[TICKS // 2 :, 0]
        if (fed_in > 0.0).all():
            warnings.warn(
                f"{trial.name}: with the action {end.tolist()} it still feeds {fed_in.mean():.6g} MW into the grid "
                "after half a day; if that energy comes from nowhere (cooling that generates), let state.P be the draw",
                stacklevel=3,
            )
            return
