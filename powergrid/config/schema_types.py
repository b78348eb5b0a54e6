"""Types that the sections of a configuration share: names, paths, and the short forms of a section."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from powergrid.core.files import path_fault
from powergrid.core.settings import NumberSettings


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]}),
]
"""A name; numbers such as ``bus: 800`` are read as text."""


def _may_be_a_path(text: str) -> str:
    if fault := path_fault(text):
        raise ValueError(f"{text[:40]}{'...' if len(text) > 40 else ''} is no path: {fault}")
    return text


Place = Annotated[str, AfterValidator(_may_be_a_path)]
"""Path of a file or folder."""


def from_text(section: Any, key: str) -> BeforeValidator:
    """Accept a plain text as the short form of ``{key: text}``."""

    def expand(value: Any) -> Any:
        return {key: value} if isinstance(value, str) else value

    return BeforeValidator(expand, json_schema_input_type=section | str)


def one_or_many(section: Any) -> BeforeValidator:
    """Accept one section in place of a list of them."""

    def expand(value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    return BeforeValidator(expand, json_schema_input_type=list[section] | section)


def list_of_one(value: Any) -> Any:
    """Accept one value in place of a list of them."""
    return value if isinstance(value, list) else [value]


def same_twice(value: Any) -> Any:
    """Accept one number in place of a pair of equal numbers."""
    return (value, value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def defaults(section: Any, description: str) -> Any:
    """Field of a section that may be left out; every key then has its default."""
    return Field(default_factory=section, description=description)


class Section(NumberSettings):
    """Base of all sections: unknown keys are refused, and values do not change after reading."""
