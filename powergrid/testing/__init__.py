"""Public examiners: each looks at one kind of extension and raises an `AssertionError` that says what is wrong."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {"check_device": "devices", "device_test": "devices"}
"""Examiner and its file; the files have other names, because a module would hide the function of its name."""
__all__ = ["check_device", "device_test"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
