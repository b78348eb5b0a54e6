"""The short form of a device family: what can be derived from `Settings`, `State` and `ranges` need not be written.

A family in short form has a class attribute ``ranges`` with the bounds of its command fields, and of its state fields
where they are known. From it follow `action_entries`, `observation_entries` and `readings`; from `Settings` follows
`Params`, from the defaults of `State` follows `reset`. Kernels may stand in the class without ``@staticmethod``.

Shorter still, columns may be written as what they hold: ``Settings`` and ``State`` as names with defaults, ``Command``
as names with bounds, which are its ranges then, and ``Exogenous`` as names.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
from inspect import signature
from types import FunctionType
from typing import Any

from pydantic import create_model

from powergrid.core.types import Array, Entry, Injection

KERNELS = ("reset", "step", "money", "worth", "violation", "readings", "rule", "marginal_cost", "energy")
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


def complete(kind: Any, base: Any) -> None:
    """Add to a family what follows from the rest of it; `base` is the class that all families come from."""
    own = vars(kind)
    for name in KERNELS:
        given = own.get(name)
        if isinstance(given, FunctionType) and next(iter(signature(given).parameters), "self") != "self":
            setattr(kind, name, staticmethod(given))
    _spell_out(kind, own)
    if "ranges" not in vars(kind):
        return
    if kind.Params is base.Params:
        record: Any = namedtuple
        kind.Params = record("Params", _numbers(kind.Settings))
    if kind.reset is base.reset:
        kind.reset = staticmethod(_reset(kind.State))
    if kind.readings is base.readings:
        kind.readings = staticmethod(_whole_state)


def _spell_out(kind: Any, own: Mapping[str, Any]) -> None:
    """Columns that are written as names with what they hold become the types that they stand for."""
    record: Any = namedtuple
    if isinstance(given := own.get("Settings"), Mapping):
        fields: Any = {name: (type(value), value) for name, value in given.items()}
        kind.Settings = create_model("Settings", __base__=kind.__mro__[1].Settings, **fields)
    if isinstance(given := own.get("State"), Mapping):
        kind.State = record("State", given, defaults=tuple(given.values()))
    if isinstance(given := own.get("Command"), Mapping):
        kind.Command, kind.ranges = record("Command", given), {**given, **kind.ranges}
    if isinstance(given := own.get("Exogenous"), (list, tuple)):
        kind.Exogenous = record("Exogenous", given)


def entries(fields: tuple[str, ...], ranges: Mapping[str, tuple[float, float]], known: bool) -> dict[str, Entry]:
    """Entry of each field: with its range, or, unless it has to be known, with wide bounds."""
    chosen = [name for name in fields if name in ranges or not known]
    return {name: Entry(*_name_and_unit(name), *ranges.get(name, (-_BOUND, _BOUND))) for name in chosen}


def _name_and_unit(field: str) -> tuple[str, str]:
    name, _, suffix = field.rpartition("_")
    return (name, _UNITS[suffix]) if name and suffix in _UNITS else (field, "1")


def _numbers(settings: Any) -> list[str]:
    """Names of the settings that are numbers, in order."""
    return [name for name, field in settings.model_fields.items() if field.annotation in (float, int, bool)]


def _reset(state: Any) -> Callable[..., Any]:
    def reset(xp: Any, params: Any, uniform: Array) -> Any:
        return state(*(uniform * 0.0 + state._field_defaults[name] for name in state._fields))

    return reset


def _whole_state(xp: Any, params: Any, state: Any, injection: Injection) -> Any:
    return state
