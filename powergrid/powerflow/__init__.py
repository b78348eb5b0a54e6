"""Power flow: one compiler, several methods behind the same two functions.

Every method is a module with ``plan(network, *, tol_pu, max_iter, meters, topologies, forming) -> Plan`` and
``solve(plan, load, control, start=None) -> Flow``.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from powergrid.core.errors import unknown_name

if TYPE_CHECKING:
    from powergrid.networks.network import Network
    from powergrid.powerflow.diagnosis import Explanation

METHODS = ("sparse_lu", "newton", "zbus", "pandapower")
"""``sparse_lu``: the CPU default. ``newton``: generators and meshes. ``zbus``: JAX, for GPUs and inside jit.
``pandapower``: the oracle."""

__all__ = ["METHODS", "Choice", "choose", "explain", "method"]


class Choice(NamedTuple):
    """Name of a method, and why it was chosen."""

    name: str
    reason: str


def choose(network: Any) -> Choice:
    """The method that ``"auto"`` takes for a network.

    Returns
    -------
    Choice
        ``newton`` for networks with generators or several sources, and where the fixed point does not solve the
        network's own loads; ``sparse_lu`` for all others.

    Raises
    ------
    NetworkError
        If the network cannot be compiled.
    """
    if hasattr(network, "blocks"):
        return Choice("sparse_lu", "the method that knows phases")
    held, others = len(network.generators.name), len(network.sources.name)
    if held or others:
        found = [
            f"{count} {what}{'s' * (count > 1)}" for count, what in ((held, "generator"), (others, "further source"))
        ]
        count = held + others
        shown = " and ".join(text for text in found if not text.startswith("0 "))
        return Choice("newton", f"{shown} hold{'s' * (count == 1)} a voltage")
    from powergrid.powerflow import sparse_lu

    flow = sparse_lu.solve(sparse_lu.plan(network), network.node_load())
    if not flow.converged:
        return Choice("newton", "the fixed point does not converge at the network's own loads")
    return Choice(
        "sparse_lu", f"one source; the fixed point takes {int(flow.iterations)} iterations at the network's own loads"
    )


def method(name: str = "auto", network: Network | None = None) -> ModuleType:
    """Module of a power-flow method; heavy libraries are imported only now.

    Parameters
    ----------
    name
        One of :data:`METHODS`, or ``"auto"``: what :func:`choose` chooses for `network`, ``sparse_lu`` without one.
    network
        The network to be solved.

    Raises
    ------
    UnknownNameError
        If there is no such method; names the nearest.
    """
    if name == "auto":
        name = "sparse_lu" if network is None else choose(network).name
    if name not in METHODS:
        raise unknown_name("power-flow method", name, ("auto", *METHODS))
    return importlib.import_module(f"powergrid.powerflow.{name}")


def explain(network: Any, loading: float = 1.0, rows: int = 8) -> Explanation:
    """Why a power flow has no solution, or how far it is from that: :func:`powergrid.powerflow.diagnosis.explain`."""
    from powergrid.powerflow import diagnosis

    return diagnosis.explain(network, loading, rows)
