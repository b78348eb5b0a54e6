"""Public examiners of environments and of each kind of extension: an `AssertionError` describes every fault."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "check_device": "devices",
    "device_test": "devices",
    "check_network": "extensions",
    "check_dataset": "extensions",
    "check_policy": "coordination",
    "check_protocol": "coordination",
    "check_env": "environments",
}
"""Examiner -> its file; the files have other names, since a module would hide a function of the same name."""
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
