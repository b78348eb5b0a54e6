"""Agents: who decides. Devices (level 1), grid coordinators (level 2) and the system operator (level 3)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Agent": "base",
    "Message": "base",
    "Observation": "base",
    "DeviceAgent": "device_agent",
    "GridAgent": "grid_agent",
    "GridCoordinatorAgent": "grid_agent",
    "SystemAgent": "system_agent",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
