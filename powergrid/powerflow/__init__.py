"""Power flow: one compiler, several methods behind the same two functions.

Every method is a module with ``plan(network, *, tol_pu, max_iter, meters, topologies) -> Plan`` and
``solve(plan, load, control, start=None) -> Flow``.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from powergrid.core.errors import unknown_name

METHODS = ("sparse_lu", "zbus", "pandapower")
"""``sparse_lu``: the CPU default. ``zbus``: JAX, for GPUs and inside jit. ``pandapower``: the oracle."""

__all__ = ["METHODS", "method"]


def method(name: str = "auto") -> ModuleType:
    """Module of a power-flow method; heavy libraries are imported only now.

    Parameters
    ----------
    name
        One of :data:`METHODS`, or ``"auto"`` for ``sparse_lu``.

    Raises
    ------
    UnknownNameError
        If there is no such method; names the nearest.
    """
    if name == "auto":
        name = "sparse_lu"
    if name not in METHODS:
        raise unknown_name("power-flow method", name, ("auto", *METHODS))
    return importlib.import_module(f"powergrid.powerflow.{name}")
