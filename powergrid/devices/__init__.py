"""Device families, one file each: columns, kernels, class.

The classes of version 1 keep their names here: ``from powergrid.devices import DG, ESS``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["DG", "RES", "ESS", "Shunt", "Transformer", "Grid", "Switch", "Device"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("powergrid.v1.devices"), name)
