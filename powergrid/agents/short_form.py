"""The short form of a device family: what can be derived from `Settings`, `State` and `ranges` need not be written.

A family in short form has a class attribute ``ranges`` with the bounds of its command fields, and of its state fields
where they are known, or inherits from such a family. Then

- `Params` follows from `Settings`: one column per number, and one per property with the annotation ``-> float``;
- `reset` follows from the defaults of `State`, and `idle` from those of `Command`;
- `action_entries` and `observation_entries` follow from `ranges`, and the latter from ``reading_ranges`` where the
  family has `readings` of its own;
- a family without command fields needs no `rule`, and one that injects nothing (its `role` says so) no `energy`.

A bound in ``ranges`` or ``reading_ranges`` and a default of `State` or `Command` is a number, or the name of a setting
or of such a property, with a minus sign if need be: ``{"p_mw": ("-p_max_mw", "p_max_mw")}``. A command field whose
bounds are equal has no entry, since there is nothing to choose.

Kernels may stand in the class without ``@staticmethod``. They may also stand beside it: with
``class Heater(DeviceAgent, from_module=True)`` the types and kernels of the class's module belong to the family under
their names. That form has types that a type checker understands.

Shorter still, columns may be written as what they hold: ``Settings`` and ``State`` as names with defaults, ``Command``
as names with bounds, which are its ranges then, and ``Exogenous`` as names.
"""

from __future__ import annotations

import sys
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from types import FunctionType
from typing import Any

from pydantic import create_model

from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Energy, Entry, Injection

KERNELS = ("reset", "step", "failed", "money", "worth", "violation", "readings", "rule", "marginal_cost", "energy")
TYPES = ("Settings", "Params", "State", "Command", "Exogenous")
Bound = float | str
"""A number, or the name of a setting that holds it."""
Ranges = Mapping[str, tuple[Bound, Bound]]
"""Lowest and highest value of fields."""
_UNITS = {
    "kw": "kW",
    "mw": "MW",
    "mwh": "MWh",
    "kwh": "kWh",
    "mvar": "Mvar",
    "c": "degC",
    "k": "K",
    "pu": "pu",
    "h": "h",
}
_BOUND = 1e6
_NUMBERS = (float, int, bool, "float", "int", "bool")


def complete(family: Any, base: Any, from_module: bool = False) -> None:
    """Add to a family what follows from the rest of it; `base` is the class that all families come from."""
    if from_module:
        _take_from_module(family, base)
    own = vars(family)
    for name in KERNELS:
        kernel = own.get(name)
        if isinstance(kernel, FunctionType) and next(iter(signature(kernel).parameters), "self") != "self":
            setattr(family, name, staticmethod(kernel))
    _spell_out(family, own)
    inherits = hasattr(family.Params, "of_settings")
    if not (from_module or inherits or "ranges" in vars(family)):
        return
    if family.Params is base.Params or inherits:
        record: Any = namedtuple
        family.Params = record("Params", _columns(family.Settings))
        family.Params.of_settings = True
    if family.reset is base.reset or hasattr(family.reset, "of_state"):
        family.reset = staticmethod(_reset(family.State))
    if family.readings is base.readings and not family.reading_ranges:
        family.readings = staticmethod(_whole_state)
    if family.rule is base.rule and not family.Command._fields:
        family.rule = staticmethod(_no_command)
    if family.energy is base.energy and family.role != "injection":
        family.energy = staticmethod(_no_energy)
    if family.step is not base.step:
        _check_bounds(family)


def _take_from_module(family: Any, base: Any) -> None:
    """Types, kernels and other static methods of families that the class's module defines under their names."""
    module, own = sys.modules[family.__module__], vars(family)
    for name, value in vars(module).items():
        if name in own or getattr(value, "__module__", None) != family.__module__:
            continue
        if name in TYPES:
            setattr(family, name, value)
        elif isinstance(value, FunctionType) and isinstance(base.__dict__.get(name), staticmethod):
            setattr(family, name, staticmethod(value))


def _spell_out(family: Any, own: Mapping[str, Any]) -> None:
    """Columns that are written as names with what they hold become the types that they stand for."""
    record: Any = namedtuple
    if isinstance(written := own.get("Settings"), Mapping):
        fields: Any = {name: (type(value), value) for name, value in written.items()}
        family.Settings = create_model("Settings", __base__=family.__mro__[1].Settings, **fields)
    if isinstance(written := own.get("State"), Mapping):
        family.State = record("State", written, defaults=tuple(written.values()))
    if isinstance(written := own.get("Command"), Mapping):
        family.Command, family.ranges = record("Command", written), {**written, **family.ranges}
    if isinstance(written := own.get("Exogenous"), (list, tuple)) and not hasattr(written, "_fields"):
        family.Exogenous = record("Exogenous", written)


def command_entries(unit: Any) -> dict[str, Entry]:
    """Entry of each command field that has a range and can be chosen."""
    ranges = {name: unit.ranges[name] for name in unit.Command._fields if name in unit.ranges}
    found = _entries(unit.settings, ranges)
    return {name: entry for name, entry in found.items() if entry.low != entry.high}


def reading_entries(unit: Any) -> tuple[Entry, ...]:
    """Entry of each reading, those of the state with wide bounds where `ranges` has none."""
    if unit.reading_ranges:
        return tuple(_entries(unit.settings, unit.reading_ranges).values())
    if not unit.ranges:
        return ()
    wide = (-_BOUND, _BOUND)
    return tuple(_entries(unit.settings, {name: unit.ranges.get(name, wide) for name in unit.State._fields}).values())


def idle_values(unit: Any) -> Iterator[float]:
    """The default of each command field, zero where it has none."""
    defaults = unit.Command._field_defaults
    return (_number(unit.settings, defaults.get(name, 0.0)) for name in unit.Command._fields)


def _entries(settings: Any, ranges: Ranges) -> dict[str, Entry]:
    return {
        name: Entry(*_name_and_unit(name), _number(settings, low), _number(settings, high))
        for name, (low, high) in ranges.items()
    }


def _number(settings: Any, bound: Bound) -> float:
    if not isinstance(bound, str):
        return bound
    value = float(getattr(settings, bound.removeprefix("-")))
    return -value if bound.startswith("-") else value


def _check_bounds(family: Any) -> None:
    """Every name that stands for a number must be a setting or a property of the settings."""
    pairs = [(name, bounds) for ranges in (family.ranges, family.reading_ranges) for name, bounds in ranges.items()]
    for field, bounds in pairs:
        for bound in bounds:
            name = bound.removeprefix("-") if isinstance(bound, str) else ""
            if name and name not in family.Settings.model_fields and not hasattr(family.Settings, name):
                raise TypeError(f'{family.__name__}: the range of "{field}" names "{name}", which Settings has not')


def _name_and_unit(field: str) -> tuple[str, str]:
    name, _, suffix = field.rpartition("_")
    return (name, _UNITS[suffix]) if name and suffix in _UNITS else (field, "1")


def _columns(settings: Any) -> list[str]:
    """Names of the settings that are numbers, in order, and of the properties that are annotated as numbers."""
    fields = [name for name, field in settings.model_fields.items() if field.annotation in (float, int, bool)]
    derived = {
        name: None
        for kind in reversed(settings.__mro__)
        for name, value in vars(kind).items()
        if isinstance(value, property) and not name.startswith("_")
        if getattr(value.fget, "__annotations__", {}).get("return") in _NUMBERS
    }
    return [*fields, *derived]


def _reset(state: Any) -> Callable[..., Any]:
    defaults = state._field_defaults

    def reset(xp: Namespace, params: Any, uniform: Array) -> Any:
        numbers = (_default(params, defaults[name]) for name in state._fields)
        return state(*(uniform * 0.0 + number for number in numbers))

    reset.of_state = True  # type: ignore[attr-defined]
    return reset


def _default(params: Any, default: Bound) -> Array:
    if not isinstance(default, str):
        return default
    value = getattr(params, default.removeprefix("-"))
    return -value if default.startswith("-") else value


def _whole_state(xp: Namespace, params: Any, state: Any, injection: Injection) -> Any:
    return state


def _no_command(xp: Namespace, params: Any, state: Any, exogenous: Any, outlook: Any, dt_h: float) -> tuple[Array, ...]:
    """There is nothing to command."""
    return ()


def _no_energy(
    xp: Namespace, params: Any, before: Any, after: Any, injection: Injection, exogenous: Any, dt_h: float
) -> Energy:
    """All zero: what injects nothing has no energy account."""
    zero = injection.p_mw * 0.0
    return Energy(zero, zero, zero, zero)
