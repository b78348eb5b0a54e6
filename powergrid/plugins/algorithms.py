"""Hyperparameters of registered algorithms: their settings models, and what each setting means."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from powergrid.core.errors import ArgumentError, Issue, nearest
from powergrid.plugins.registries import ALGORITHMS

DEFAULT = "mappo"
"""Algorithm of a run for which nothing else is said."""


class Hyperparameter(NamedTuple):
    """One setting of an algorithm.

    Attributes
    ----------
    name
        Its name.
    type
        What its value is: ``whole number``, ``number``, ``true or false``, ``list of whole numbers`` and so on, with
        the bounds.
    default
        Its default, as it is written in YAML.
    meaning
        Its meaning.
    """

    name: str
    type: str
    default: str
    meaning: str


def settings_model(algorithm: str) -> type[BaseModel]:
    """The settings of a registered algorithm: what it has as ``Settings``, or else what the file has that defines it.

    Raises
    ------
    UnknownNameError
        If there is no such algorithm.
    ArgumentError
        If it has no settings model.
    """
    factory = ALGORITHMS.get(algorithm)
    module = sys.modules.get(getattr(factory, "__module__", ""))
    model = getattr(factory, "Settings", None) or getattr(module, "Settings", None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ArgumentError(
            f'algorithm "{algorithm}" does not state its hyperparameters: its file needs a class Settings of '
            "powergrid.learn.learner.AlgorithmSettings"
        )
    return model


def hyperparameters(model: type[BaseModel]) -> tuple[Hyperparameter, ...]:
    """Every setting of a model, in the order in which the model has them."""
    return tuple(
        Hyperparameter(name, _allowed(field), _default(field), field.description or "")
        for name, field in model.model_fields.items()
    )


def setting_issues(model: type[BaseModel], given: Mapping[str, Any]) -> Iterator[Issue]:
    """Every fault of some settings: the name, the value, what is allowed, and the nearest name."""
    try:
        model.model_validate(dict(given))
    except ValidationError as error:
        table = {item.name: item for item in hyperparameters(model)}
        for fault in error.errors(include_url=False):
            name = str(fault["loc"][0]) if fault["loc"] else ""
            message = fault["msg"].removeprefix("Value error, ")
            if fault["type"] == "extra_forbidden":
                hint = f"available: {', '.join(table)}"
                yield Issue(name, "unknown hyperparameter", "; ".join(filter(None, (nearest(name, table), hint))))
            elif name in table:
                place = ".".join(str(part) for part in fault["loc"])
                allowed = f"allowed: {table[name].type}; default {table[name].default}: {table[name].meaning}"
                yield Issue(place, f"{message} (found {fault['input']!r})", allowed)
            else:
                yield Issue(name, message)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    return _written(value)


def _written(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(_written(item) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _allowed(field: FieldInfo) -> str:
    """Type and bounds of a field."""
    signs = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
    bounds = [
        f"{sign} {getattr(item, name):g}" for name, sign in signs for item in field.metadata if hasattr(item, name)
    ]
    return " ".join([_kind(field.annotation), ", ".join(bounds)]).strip()


def _kind(annotation: object) -> str:
    """A type in plain words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(_written(value) for value in inner)
    if origin in (tuple, list):
        return f"list of {_kind(inner[0])}s"
    if origin in (Union, UnionType):
        return " or ".join("null" if one is NoneType else _kind(one) for one in inner)
    if hasattr(annotation, "__metadata__"):
        return _kind(inner[0])
    words: dict[object, str] = {int: "whole number", float: "number", bool: "true or false", str: "text"}
    return words.get(annotation) or str(getattr(annotation, "__name__", annotation))
