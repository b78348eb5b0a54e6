"""Checks of numbers in settings: no truth values, and nothing beyond physical sense."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, signature
from typing import Any, ClassVar, Literal, NamedTuple, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationInfo, create_model, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError


class Range(NamedTuple):
    """Values that a quantity takes in any power system, both ends included."""

    low: float
    high: float
    unit: str = ""


RANGES: tuple[tuple[str, Range], ...] = (
    (r"cost|price|adder|_per_(mwh|pu|percent|kg|t|k)(_h)?$", Range(-1e9, 1e9)),  # any currency
    (r"_per_\w+$", Range(-1e7, 1e7)),
    (r"(^|_)(mw|mva|mvar)$", Range(-1e5, 1e5, "MW")),  # the largest power station has 22,500 MW
    (r"(^|_)mwh$", Range(-1e7, 1e7, "MWh")),  # the largest reservoir holds 8,000,000 MWh
    (r"(^|_)(kw|kwh)$", Range(-1e8, 1e8)),
    (r"_kv$", Range(0.01, 2000.0, "kV")),
    (r"(^|_)(efficiency|eta)(_|$)", Range(0.1, 1.0)),
    (r"^cop(_|$)", Range(0.2, 30.0)),
    (r"^v_.*_?pu$", Range(0.1, 2.0, "pu")),
    (r"_pu$", Range(-100.0, 100.0, "pu")),
    (r"_percent$", Range(-1000.0, 1000.0, "%")),
    (r"_share$", Range(0.0, 10.0)),
    (r"_c$", Range(-100.0, 1500.0, "degC")),
    (r"_degree$", Range(-360.0, 360.0, "degree")),
    (r"_m_s$", Range(0.0, 150.0, "m/s")),
    (r"_m3_s$", Range(0.0, 1e6, "m3/s")),
    (r"_h$", Range(-1e6, 1e6, "h")),
    (r"_s$", Range(-1e9, 1e9, "s")),
    (r"_(v|a)$", Range(-1e6, 1e6)),
    (r"_m$", Range(-1e4, 1e4, "m")),
    (r"_(scale|ratio)$", Range(0.0, 1e6)),
    (r"", Range(-1e12, 1e12)),
)
"""Pattern on a parameter's name, which ends with its unit, and its range; the first that matches counts.

A range is wide: what lies outside is a slip of the unit or the keyboard in any power system. A field that has bounds
of its own (``ge``, ``gt``, ``le``, ``lt``) keeps them in place of the range's end on that side.
"""


def plausible(name: str) -> Range:
    """The range of a quantity by its name."""
    return next(bounds for pattern, bounds in RANGES if re.search(pattern, name))


class NumberSettings(BaseModel):
    """Base of everything that people configure: closed and frozen, with checked numbers.

    Fields of numbers refuse ``true`` and ``false``, which Python counts as 1 and 0, and values beyond the range in
    `RANGES` that their name has.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True, allow_inf_nan=False)

    _ranges: ClassVar[Mapping[str, tuple[Range, Range, str]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **keywords: object) -> None:
        super().__pydantic_init_subclass__(**keywords)
        kinds = {name: _number_kind(field.annotation) for name, field in cls.model_fields.items()}
        cls._ranges = {name: (*_ranges(name, cls.model_fields[name]), kind) for name, kind in kinds.items() if kind}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> Any:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, (bounds, _, _) in cls._ranges.items():
            written = properties.get(name, {})
            for option in written.get("anyOf", [written]):
                if option.get("type") in ("number", "integer"):
                    ends = {"minimum": bounds.low, "maximum": bounds.high}
                    option.update({end: value for end, value in ends.items() if math.isfinite(value)})
        return schema

    @field_validator("*", mode="before")
    @classmethod
    def _is_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        found = cls._ranges.get(info.field_name or "")
        if found is not None:
            check_number(value, *found)
        return value


def check_number(value: object, bounds: Range, shown: Range, kind: str = "float") -> None:
    """Refuse truth values, and numbers outside of `bounds`, at any depth of lists and mappings.

    Parameters
    ----------
    bounds, shown
        The range to check, and that to name: the same, but for sides that the field checks itself.
    kind
        ``float`` or ``int``: type of the field, for the message.

    Raises
    ------
    PydanticCustomError
        With a message that gives the range.
    """
    for number in _leaves(value):
        if isinstance(number, bool | np.bool_):
            wanted = "a whole number" if kind == "int" else "a number"
            raise PydanticCustomError("truth_value", f"Input should be {wanted}, not true or false")
        if not bounds.low <= number <= bounds.high:
            unit = f" {shown.unit}" if shown.unit else ""
            message = f"Input should be between {shown.low:,.12g} and {shown.high:,.12g}{unit}; check its unit"
            raise PydanticCustomError("beyond_sense", message)


def check_argument(argument: Parameter, value: object) -> None:
    """Refuse what is no value for an argument of a function that checks nothing itself.

    Raises
    ------
    ValueError
        If `value` is a truth value where the default or the annotation is a number, or a number that is not finite or
        beyond the range that the argument's name has.
    """
    number = type(argument.default) in (int, float) or argument.annotation in (int, float, "int", "float")
    if isinstance(value, bool):
        if number:
            raise ValueError("a number is needed, not true or false")
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a finite number is needed")
    bounds = plausible(argument.name)
    try:
        check_number(value if isinstance(value, int | float) else None, bounds, bounds)
    except PydanticCustomError as error:
        raise ValueError(error.message().replace("Input should be", "the value must lie")) from None


def _leaves(value: object) -> Iterator[Any]:
    """Finite numbers and truth values inside of a value; what is neither is left to the field's own type."""
    if isinstance(value, bool | np.bool_ | int):
        yield value
    elif isinstance(value, float | np.number | str):
        try:
            number = float(value)
        except ValueError:
            return
        if math.isfinite(number):
            yield number
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)


def _number_kind(annotation: Any) -> str:
    """``int`` or ``float`` for a field of numbers alone, alone or in lists and mappings; else an empty text."""
    kinds = set(_types(annotation))
    return "" if not kinds or kinds - {int, float} else "int" if kinds == {int} else "float"


def _types(annotation: Any) -> Iterator[Any]:
    """Types inside of an annotation, without containers, their keys and ``None``; of literals those of the values."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        yield from _types(inner[0])
    elif origin is Literal:
        yield from (type(value) for value in inner)
    elif origin is dict:
        yield from _types(inner[1])
    elif inner:
        for item in inner:
            yield from _types(item)
    elif annotation not in (type(None), Ellipsis):
        yield annotation


def _ranges(name: str, field: FieldInfo) -> tuple[Range, Range]:
    """The range to check, without the sides where the field has a bound of its own, and that to name in messages."""
    table = plausible(name)
    lows: list[Any] = [getattr(item, end) for item in field.metadata for end in ("ge", "gt") if hasattr(item, end)]
    highs: list[Any] = [getattr(item, end) for item in field.metadata for end in ("le", "lt") if hasattr(item, end)]
    # `gt=0` excludes a sign; of a quantity that is never near zero it does not limit the size
    lows = [low for low in lows if low > 0 or table.low <= 0]
    shown = table._replace(low=max(lows, default=table.low), high=min(highs, default=table.high))
    return table._replace(low=-math.inf if lows else table.low, high=math.inf if highs else table.high), shown


def options_model(function: Callable[..., Any], *, without: tuple[str, ...] = ()) -> type[NumberSettings]:
    """The keyword arguments of a function as settings, so that their values are checked like any other.

    Parameters
    ----------
    without
        Arguments that are given otherwise.
    """
    parameters = {name: item for name, item in signature(function).parameters.items() if name not in without}
    fields: dict[str, Any] = {
        name: (_hint(function, item.annotation), ... if item.default is Parameter.empty else item.default)
        for name, item in parameters.items()
        if item.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    }
    open_ended = any(item.kind is Parameter.VAR_KEYWORD for item in parameters.values())
    base = _OpenSettings if open_ended else NumberSettings
    return create_model(f"options of {getattr(function, '__name__', 'a function')}", __base__=base, **fields)


def _hint(function: Callable[..., Any], annotation: Any) -> Any:
    """An annotation as a type; ``Any`` where there is none, or one that only type checkers can read."""
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, getattr(function, "__globals__", {}))
        except Exception:  # an annotation of a plugin may raise anything
            return Any
    return Any if annotation is Parameter.empty else annotation


class _OpenSettings(NumberSettings):
    """Settings of a function that takes any keyword."""

    model_config = ConfigDict(extra="allow")
