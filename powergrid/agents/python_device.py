"""What a plain Python device holds besides its own attributes: an action, a state, a window on the data.

A plain Python device is a class with `update_state` and `update_cost_safety` and no `step` kernel. Its objects are run
one by one by ``powergrid.engine.python.devices``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.errors import DeviceError
from powergrid.core.types import Array, Entry

METHODS = ("update_state", "update_cost_safety")
"""What a plain Python device must have."""

_POWER_BOUND = 1e4
_READING_BOUND = 1e6


class DeviceAction:
    """Action of a plain Python device.

    Attributes
    ----------
    c
        Continuous action in physical units, ``(dim_c,)``; filled before each tick.
    dim_c
        Its length.
    range
        Lowest and highest values, ``(2, dim_c)``.
    names, units
        Name and unit of each number, for labels; ``c_0``, ``c_1`` ... and ``1`` if left empty.
    """

    def __init__(self) -> None:
        self.c: np.ndarray = np.zeros(0)
        self.dim_c = 0
        self.range: Any = None
        self.names: Sequence[str] = ()
        self.units: Sequence[str] = ()

    def entries(self) -> dict[str, Entry]:
        """Entry of each number."""
        low, high = self.bounds()
        names = tuple(self.names) or tuple(f"c_{i}" for i in range(self.dim_c))
        units = tuple(self.units) or ("1",) * self.dim_c
        rows = zip(names, units, low.tolist(), high.tolist(), strict=True)
        return {name: Entry(name, unit, *bounds) for name, unit, *bounds in rows}

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest values, ``(dim_c,)`` each."""
        if not self.dim_c:
            return np.zeros(0), np.zeros(0)
        low, high = np.asarray(self.range, dtype=float)
        return low, high

    def idle(self) -> np.ndarray:
        """Zero where the range allows it, else the nearest bound."""
        nearest: np.ndarray = np.clip(0.0, *self.bounds())
        return nearest


class DeviceState:
    """What a plain Python device does to the network.

    Attributes
    ----------
    P, Q
        Active and reactive power [MW, Mvar], consumption positive unless the unit has ``p_sign=+1``.
    """

    def __init__(self) -> None:
        self.P = 0.0
        self.Q = 0.0


class Windows(dict[str, Array]):
    """Series of one episode by name, each an array with one value per tick; ``dataset["ambient_temp"][self.t]`` is now.

    Parameters
    ----------
    read
        ``read(name, rows)`` gives the values of a series at rows of the year; beyond its end it begins again.
    ticks
        Length of a window.
    """

    def __init__(self, read: Callable[[str, Array], Array] | None = None, ticks: int = 0):
        super().__init__()
        self._read, self._ticks, self._row = read, ticks, 0

    def begin(self, row: int) -> None:
        """Begin a window at a row of the year."""
        self.clear()
        self._row = row

    def __missing__(self, name: str) -> Array:
        if self._read is None:
            raise KeyError(f'there is no series "{name}" before the device is in an environment')
        window = self._read(name, self._row + np.arange(self._ticks))
        window.setflags(write=False)  # the devices of an episode share it
        self[name] = window
        return window


class Facts(NamedTuple):
    """Results of a trial run of a plain Python device.

    Attributes
    ----------
    kernel
        The family of arrays that stands for it in the step.
    readings
        Attributes that are observed.
    entries
        Their entries.
    series
        Series that it reads, as the environment's columns.
    parameters
        Attributes that its constructor was given and that must stay as they are.
    """

    kernel: Any
    readings: tuple[str, ...]
    entries: tuple[Entry, ...]
    series: tuple[str, ...]
    parameters: tuple[str, ...]


def furnish(device: Any) -> None:
    """Give a device the attributes that its methods work with."""
    device.action, device.state, device.dataset = DeviceAction(), DeviceState(), Windows()
    device.t, device.dt, device.dt_h = 0, 900.0, 0.25
    device.price_per_mwh = device.electricity_price = 0.0
    device.v_pu = 1.0
    device.cost = device.safety = 0.0


def default_entries(readings: Sequence[str]) -> tuple[Entry, ...]:
    """Entries of readings for which the class names none."""
    powers = {"state.P": Entry("P", "MW", -_POWER_BOUND, _POWER_BOUND)}
    powers["state.Q"] = Entry("Q", "Mvar", -_POWER_BOUND, _POWER_BOUND)
    return tuple(
        powers.get(name, Entry(name.removeprefix("state."), "1", -_READING_BOUND, _READING_BOUND)) for name in readings
    )


def check_action(device: Any) -> None:
    """Check that the action of a device is well defined.

    Raises
    ------
    DeviceError
        If its length and range do not fit, a bound is not finite, or the range is upside down.
    """
    action = device.action

    def refuse(sentence: str) -> DeviceError:
        return DeviceError(device.id, type(device).__name__, sentence)

    if getattr(action, "dim_d", 0):
        raise refuse("action.dim_d: discrete actions are not available; use a number of action.c and compare it")
    if not isinstance(action.dim_c, (int, np.integer)) or action.dim_c < 0:
        raise refuse(f"action.dim_c = {action.dim_c!r} must be a whole number of at least 0")
    if action.dim_c == 0:
        if action.range is not None:
            raise refuse("action.range is set but action.dim_c is 0; set self.action.dim_c to the length of the action")
        return
    try:
        found = np.asarray(action.range, dtype=float)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if action.range is None or found.shape != (2, action.dim_c):
        what = "is missing" if action.range is None else f"has shape {found.shape}"
        raise refuse(
            f"action.range {what}, expected (2, {action.dim_c}): np.array([[lowest, ...], [highest, ...]]) for "
            f"action.dim_c = {action.dim_c}"
        )
    for i, (low, high) in enumerate(found.T.tolist()):
        if not (np.isfinite(low) and np.isfinite(high)):
            raise refuse(f"action.range [{low}, {high}] of number {i} must be finite")
        if low >= high:
            raise refuse(f"action.range of number {i} is upside down: lowest {low} is not below highest {high}")
    for name in ("names", "units"):
        given = getattr(action, name)
        if given and len(given) != action.dim_c:
            raise refuse(f"action.{name} {tuple(given)} needs {action.dim_c} entries")
