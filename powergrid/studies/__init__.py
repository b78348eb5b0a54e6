"""Studies of a network for people: result tables, diagnosis, taps at rest, drawings.

They stand on networks and the power flow; no step of a simulation needs them. ``power_flow``, ``sensitivities``,
``settled`` and ``draw`` are methods of a network, too. A study is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "power_flow": "powergrid.studies.power_flow",
    "sensitivities": "powergrid.studies.sensitivities",
    "settled": "powergrid.studies.settled",
    "draw": "powergrid.studies.drawing",
    "explain": "powergrid.studies.diagnosis",
    "find_faults": "powergrid.studies.faults",
}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
