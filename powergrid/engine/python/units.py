"""One plain Python device: copies of it as its constructor left it, and sentences for what no device may do."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from enum import Enum
from operator import attrgetter
from typing import Any

import numpy as np

from powergrid.agents.python_device import DeviceAction, DeviceState, Windows
from powergrid.core.errors import DeviceError

_SHARED = frozenset(
    [
        "id",
        "policy",
        "interval_s",
        "offset_s",
        "observability",
        "level",
        "parent",
        "subordinates",
        "mailbox",
        "observation_labels",
        "action_labels",
        "observation_space",
        "action_space",
        "decisions",
        "make_policy",
        "policy_object",
        "_decide",
        "_post",
        "bus",
        "phases",
        "p_sign",
        "own_bill",
        "settings",
        "facts",
    ]
)
"""Attributes that belong to the agent, not to an episode."""


class Template:
    """A unit as its constructor left it, from which others are made.

    Attributes
    ----------
    unit
        The device itself.
    """

    def __init__(self, unit: Any):
        self.unit = unit
        own = {name: value for name, value in vars(unit).items() if name not in _SHARED and name != "dataset"}
        self._fixed = {name: value for name, value in own.items() if _immutable(value)}
        deep = {name: value for name, value in own.items() if name not in self._fixed}
        self._deep = copy.deepcopy(deep, {id(unit): unit, id(unit.dataset): unit.dataset})

    def made(self) -> Any:
        """Another unit."""
        twin = object.__new__(type(self.unit))
        twin.__dict__.update({name: value for name, value in vars(self.unit).items() if name in _SHARED})
        return twin

    def restore(self, unit: Any, dataset: Windows) -> None:
        """Make a unit what the constructor had made of it, with its own copy of everything that can change."""
        kept = {name: value for name, value in vars(unit).items() if name in _SHARED}
        memo = {id(self.unit): unit, id(self.unit.dataset): dataset}
        deep = {name: _copied(value, memo) for name, value in self._deep.items()}
        unit.__dict__.clear()
        unit.__dict__.update(kept, **self._fixed, **deep, dataset=dataset)

    def saved(self, unit: Any) -> dict[str, Any]:
        """Copies of a unit's own attributes, from which another one can go on."""
        own = {name: value for name, value in vars(unit).items() if name not in _SHARED and name != "dataset"}
        found: dict[str, Any] = copy.deepcopy(own, {id(unit): _Part.UNIT, id(unit.dataset): _Part.DATASET})
        return found

    def resume(self, unit: Any, dataset: Windows, saved: dict[str, Any]) -> None:
        """Make a unit what another one was when it was saved."""
        kept = {name: value for name, value in vars(unit).items() if name in _SHARED}
        own = copy.deepcopy(saved, {id(_Part.UNIT): unit, id(_Part.DATASET): dataset})
        unit.__dict__.clear()
        unit.__dict__.update(kept, **own, dataset=dataset)


class _Part(Enum):
    """What stands in saved attributes for the unit itself and for its window on the data."""

    UNIT = "unit"
    DATASET = "dataset"


def _immutable(value: Any) -> bool:
    return isinstance(value, (int, float, str, bytes, bool, type(None), np.generic)) or (
        isinstance(value, tuple) and all(map(_immutable, value))
    )


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """A deep copy; the two objects that every unit has are copied by hand, for `copy.deepcopy` is slow."""
    if id(value) not in memo and type(value) in (DeviceAction, DeviceState):
        twin = object.__new__(type(value))
        memo[id(value)] = twin
        twin.__dict__.update(
            {name: held if _immutable(held) else copy.deepcopy(held, memo) for name, held in vars(value).items()}
        )
        return twin
    return copy.deepcopy(value, memo)


# -- sentences -------------------------------------------------------------------------------------------------------


def guarded(device: Any, method: str, *arguments: Any) -> None:
    """Call a method of a device; what it raises becomes a `DeviceError`."""
    try:
        getattr(device, method)(*arguments)
    except (Exception, SystemExit) as error:  # whatever a stranger's method raises
        raise failed(device, error, method) from error


ANSWERS = ("state.P", "state.Q", "cost", "safety")
"""What every plain device answers, before its readings."""


def answers_of(device: Any) -> list[float]:
    """What a device answers, as numbers.

    Raises
    ------
    DeviceError
        If something is no finite number.
    """
    names = (*ANSWERS, *device.facts.readings)
    return checked(device, names, attrgetter(*names)(device))


def failed(device: Any, error: BaseException, method: str = "") -> DeviceError:
    """The sentence for a method that has raised."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if (
            code.co_name in ("update_state", "update_cost_safety", "reset")
            and trace.tb_frame.f_locals.get("self") is device
        ):
            method = code.co_name
            place = f" ({code.co_filename}, line {trace.tb_lineno})"
        trace = trace.tb_next
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, AttributeError) and not method:
        return DeviceError(device.id, type(device).__name__, f"an attribute that is asked for is gone: {error}")
    return DeviceError(device.id, type(device).__name__, f"{method} failed at tick {device.t}: {reason}{place}")


def checked(device: Any, names: Sequence[str], values: Sequence[Any]) -> list[float]:
    """Values as numbers.

    Raises
    ------
    DeviceError
        If one is no finite number.
    """
    for name, value in zip(names, values, strict=True):
        try:
            fine = np.ndim(value) == 0 and bool(np.isfinite(float(value)))
        except (TypeError, ValueError):
            fine = False
        if not fine:
            method = "update_cost_safety" if name in ("cost", "safety") else "update_state"
            raise DeviceError(
                device.id,
                type(device).__name__,
                f"{method} left {name} = {value!r} at tick {device.t}; it must be a finite number",
            )
    return [float(value) for value in values]


def changed(device: Any, fixed: Sequence[Any]) -> DeviceError:
    """The sentence for parameters that are no longer what they were."""
    names = device.facts.parameters
    name, old = next((n, old) for n, old in zip(names, fixed, strict=True) if getattr(device, n) is not old)
    return DeviceError(
        device.id,
        type(device).__name__,
        f"update_state or update_cost_safety changed the parameter {name} from {old!r} to {getattr(device, name)!r} at "
        f"tick {device.t}; parameters stay as they are: keep what changes in an attribute of another name",
    )
