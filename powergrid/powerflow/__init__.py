"""Power flow: one compiler, several methods behind the same two functions.

Every method is a module with ``plan(network, *, tol_pu, max_iter, meters, topologies, forming) -> Plan`` and
``solve(plan, load, control, start=None) -> Flow``.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from powergrid.core import machine_code
from powergrid.core.errors import Issue, NotCompilableError, unknown_name

if TYPE_CHECKING:
    from powergrid.networks.kinds import AnyNetwork

METHODS = ("sparse_lu", "newton", "zbus", "pandapower")
"""``sparse_lu``: the CPU default. ``newton``: generators and meshes. ``zbus``: JAX, for GPUs and inside jit.
``pandapower``: the oracle."""

__all__ = ["METHODS", "Choice", "choose", "method", "topology_issue"]


class Choice(NamedTuple):
    """Name of a method, and why it was chosen."""

    name: str
    reason: str


def choose(network: AnyNetwork) -> Choice:
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
    if network.is_three_phase:
        return Choice("sparse_lu", "the network has three phases")
    from powergrid.powerflow.compile import holding

    if holding(network):
        return Choice("newton", holding(network))
    if machine_code.problem():
        return Choice(_instead(network), "the fixed point cannot be compiled here")
    from powergrid.powerflow import sparse_lu

    flow = sparse_lu.solve(sparse_lu.plan(network), network.node_load())
    if not flow.converged:
        return Choice("newton", "the fixed point does not converge at the network's own loads")
    return Choice(
        "sparse_lu", f"one source; the fixed point takes {int(flow.iterations)} iterations at the network's own loads"
    )


def topology_issue(network: AnyNetwork) -> Issue | None:
    """Why switches and outages cannot change a network while it runs; ``None`` where they can.

    Raises
    ------
    NetworkError
        If the network cannot be compiled.
    """
    from powergrid.powerflow.faults import fixed_topology

    choice = choose(network)
    if network.is_three_phase or choice.name != "newton":
        return None
    return fixed_topology(network, choice.reason)


def method(name: str = "auto", network: AnyNetwork | None = None) -> ModuleType:
    """Module of a power-flow method; heavy libraries are imported on this call.

    Where nothing can be compiled, see :func:`powergrid.core.machine_code.problem`, ``newton`` takes the place of
    ``sparse_lu``, and ``zbus`` that of networks with phases.

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
    if name == "sparse_lu" and machine_code.problem():
        name = _instead(network)
    return importlib.import_module(f"powergrid.powerflow.{name}")


def _instead(network: AnyNetwork | None) -> str:
    """Method in place of ``sparse_lu``, logged once per process.

    Raises
    ------
    NotCompilableError
        If the network has phases, which only ``zbus`` solves as well, and JAX is not installed.
    """
    name = "zbus" if network is not None and network.is_three_phase else "newton"
    if name == "zbus" and importlib.util.find_spec("jax") is None:
        raise NotCompilableError(f"no power flow with phases: {machine_code.problem()}, or install JAX for zbus")
    _warn_once(f"{machine_code.problem()}; until then {name}, which is slower, solves the power flow")
    return name


@cache
def _warn_once(what: str) -> None:
    logging.getLogger("powergrid").warning("%s", what)
