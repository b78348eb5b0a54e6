"""Configurations: YAML in, a checked `ResolvedConfig` out, or every fault at once."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "load_config": "powergrid.config.resolve:resolve",
    "with_overrides": "powergrid.config.resolve:with_overrides",
    "ResolvedConfig": "powergrid.config.resolve:ResolvedConfig",
    "EnvironmentConfig": "powergrid.config.schema:EnvironmentConfig",
    "json_schema": "powergrid.config.export:json_schema",
    "preset_names": "powergrid.config.sources:preset_names",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*__all__, *globals()]
