"""A trial run of plain Python devices when an environment is built: what they observe, what they read, what is wrong.

Every device is run for a day on copies, with its lowest, middle and highest actions in turn. Faults are raised as
`DeviceError` before any episode begins.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from powergrid.agents.device_agent import DeviceAgent
from powergrid.agents.python_device import METHODS, Facts, Windows, check_action, default_entries
from powergrid.core.errors import DeviceError
from powergrid.core.types import Array
from powergrid.engine.python.family import family_of
from powergrid.engine.python.units import Template, answers_of, changed, guarded

TRIAL_TICKS = 96
"""Longest trial run [ticks]."""
_WORKED_WITH = ("t", "dt", "dt_h", "cost", "safety", "electricity_price", "price_per_mwh", "v_pu")
_AGENT = ("id", "bus", "phases", "policy", "p_sign", "interval_s", "offset_s")
"""What the constructor of every device is given, and nobody changes."""
_OWN = frozenset((*_WORKED_WITH, "p_sign", "interval_s", "offset_s"))
"""Numbers of every plain device that are not observed as its own."""


def examined(device: Any, read: Callable[[str, Array], Array], ticks: int) -> Facts:
    """Facts about one device, from a trial run of at most a day; its `dt` is set already.

    Parameters
    ----------
    read
        Values of a series at rows of the year, by its name.
    ticks
        Ticks of an episode.

    Raises
    ------
    DeviceError
        If the device lacks a method, raises, answers anything but finite numbers, changes a parameter, or has an
        action that is not well defined.
    """
    check_methods(device)
    check_action(device)
    device.action.c = device.action.idle()
    parameters = _parameters(device)
    kind = type(device)
    device.facts = Facts(None, (), (), (), parameters)
    try:
        template = Template(device)
    except Exception as error:  # whatever cannot be copied
        raise _refused(device, f"its attributes cannot be copied, which every episode needs: {error}") from error
    dataset = Windows(read, ticks + 1)
    shared = {owner: _class_values(owner) for owner in _owners(kind)}
    moved = _run(template, dataset, min(ticks, TRIAL_TICKS))
    for owner, before in shared.items():
        for name, value in _class_values(owner).items():
            if name not in before or not _same(before[name], value):
                sentence = (
                    f"its methods change {owner.__name__}.{name} to {value!r}: all units share what a class holds"
                )
                raise _refused(device, f"{sentence}; set self.{name} instead")
    readings, entries = _readings(device, moved)
    money, violation = (*kind.money_names, "cost")[0], (*kind.violation_names, "safety")[0]
    return Facts(
        family_of(len(readings), len(dataset), money, violation), readings, entries, tuple(dataset), parameters
    )


def check_methods(device: Any) -> None:
    """Check that a device has the methods that it needs.

    Raises
    ------
    DeviceError
        If a method is missing.
    """
    if device.role != "injection":
        raise _refused(device, f'role "{device.role}" needs a `step` kernel; a plain Python device injects power')
    for name in METHODS:
        if not callable(getattr(device, name, None)):
            has = next((other for other in METHODS if hasattr(device, other)), "none of them")
            raise _refused(device, f"there is no method `{name}` beside `{has}`; a plain Python device needs both")


def _run(template: Template, dataset: Windows, ticks: int) -> list[str]:
    """Run a copy; the names of numbers that moved."""
    device, unit = template.unit, template.made()
    dataset.begin(0)
    template.restore(unit, dataset)
    held = {name: value for name in device.facts.parameters if isinstance(value := getattr(unit, name), _CONTAINERS)}
    kept = copy.deepcopy(held)
    first: dict[str, float] = _numbers(unit)
    moved: dict[str, None] = {}
    fixed = [getattr(unit, name) for name in device.facts.parameters]
    agent = {name: getattr(unit, name) for name in _AGENT}
    low, high = unit.action.bounds()
    if type(unit).reset is not DeviceAgent.reset:
        guarded(unit, "reset", 0.5)
    for tick in range(ticks):
        unit.t, unit.action.c = tick, (low, 0.5 * (low + high), high)[tick % 3].copy()
        unit.price_per_mwh = unit.electricity_price = 50.0
        for method in METHODS:
            guarded(unit, method)
        answers_of(unit)
        if unit.safety < 0.0:
            sentence = (
                f"update_cost_safety left safety = {float(unit.safety)!r} at tick {tick}; it must not be negative"
            )
            raise _refused(device, sentence)
        moved.update({name: None for name, value in _numbers(unit).items() if first.get(name) != value})
        if any(getattr(unit, name) is not old for name, old in zip(device.facts.parameters, fixed, strict=True)):
            raise changed(unit, fixed)
    for name, before in agent.items():
        if getattr(unit, name) != before:
            sentence = f"its methods change {name} from {before!r} to {getattr(unit, name)!r}; it stays as it was given"
            raise _refused(device, sentence)
    if not np.array_equal(unit.action.bounds(), (low, high)):
        raise _refused(device, "its methods change action.range, which must stay what the constructor made it")
    for name, before in kept.items():
        if not _same(before, held[name]):
            sentence = f"its methods write into the parameter {name}: {before!r} has become {held[name]!r}"
            raise _refused(device, f"{sentence}; parameters stay as they are, work on a copy")
    return list(moved)


_CONTAINERS = (list, dict, set, np.ndarray)


def _numbers(unit: Any) -> dict[str, float]:
    """Public numbers of a device and of its state, by name."""
    found = {f"state.{name}": value for name, value in vars(unit.state).items()}
    found |= {name: value for name, value in vars(unit).items() if name not in _OWN and not name.startswith("_")}
    number = (int, float, np.integer, np.floating)
    mine = [name for name, value in found.items() if isinstance(value, number) and not isinstance(value, bool)]
    return {name: float(found[name]) for name in mine}


def _readings(device: Any, moved: Sequence[str]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """What is observed: what the class says, else every number that moved."""
    if type(device).observation_entries is DeviceAgent.observation_entries:
        return tuple(moved), default_entries(moved)
    entries = tuple(device.observation_entries())
    names = tuple(entry.name if hasattr(device, entry.name) else f"state.{entry.name}" for entry in entries)
    for entry, name in zip(entries, names, strict=True):
        if name.startswith("state.") and not hasattr(device.state, entry.name):
            raise _refused(device, f'observation_entries names "{entry.name}", which is no attribute of it')
        if not (np.isfinite([entry.low, entry.high]).all() and entry.low < entry.high):
            raise _refused(device, f'observation entry "{entry.name}" needs finite bounds low < high, has {entry[2:]}')
    return names, entries


def _parameters(device: Any) -> tuple[str, ...]:
    """Attributes that bear the name of a parameter of the constructor."""
    named = [
        name
        for owner in _owners(type(device))
        if "__init__" in vars(owner)
        for name, parameter in inspect.signature(vars(owner)["__init__"]).parameters.items()
        if name != "self" and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    return (*(name for name in dict.fromkeys(named) if name in vars(device) and name != "id"), "settings")


def _owners(kind: type) -> list[type]:
    """The classes of a stranger's device, without those of PowerGrid."""
    return [owner for owner in kind.__mro__ if issubclass(owner, DeviceAgent) and owner is not DeviceAgent]


def _class_values(owner: type) -> dict[str, Any]:
    """Copies of the plain values that a class holds."""
    plain = (int, float, str, bool, tuple, *_CONTAINERS)
    return {name: copy.deepcopy(value) for name, value in vars(owner).items() if isinstance(value, plain)}


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(np.all(one == other))
    except (TypeError, ValueError):
        return False


def _refused(device: Any, sentence: str) -> DeviceError:
    return DeviceError(device.id, type(device).__name__, sentence)
