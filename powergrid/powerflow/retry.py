"""A fixed-point method whose failures are tried again by Newton's method, behind the same two functions.

Near voltage collapse the fixed point needs more and more iterations, while Newton's method still converges in a few.
What neither solves keeps the fixed point's flow, marked as not converged. Each topology has a plan of its own, made
when it is first needed; only islands held by a reference are not tried again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from powergrid.core.types import Control, Flow, NodeLoad
from powergrid.networks.compose_tables import joined
from powergrid.networks.network import Network
from powergrid.powerflow import newton
from powergrid.powerflow.inputs import Voltages
from powergrid.powerflow.topology import Topologies

if TYPE_CHECKING:
    from powergrid.powerflow.sparse_lu import RowSolver

Inputs = TypeVar("Inputs", NodeLoad, Control)
MAX_ITER = 20
"""Newton steps of a second attempt."""


def with_retry(method: ModuleType) -> Retry:
    """A method with ``plan`` and ``solve`` that turns to Newton's method where `method` does not converge."""
    return Retry(method)


@dataclass(frozen=True)
class Retry:
    """See :func:`with_retry`.

    Attributes
    ----------
    method
        The first method's module.
    """

    method: ModuleType

    def RowSolver(self, plan: RetryPlan) -> RetryRows:
        """The first method's row solver, followed by Newton's method for the rows it leaves."""
        return RetryRows(plan, self.method.RowSolver(plan.first))

    def plan(self, network: Network, **options: Any) -> RetryPlan:  # noqa: ANN401 (the method's own)
        """Plan of the first method; Newton's are made when they are first needed."""
        own = {name: value for name, value in options.items() if name not in ("topologies", "forming")}
        return RetryPlan(self.method.plan(network, **options), network, own, tuple(options.get("topologies", ())))

    def solve(
        self, plan: RetryPlan, load: NodeLoad, control: Control | None = None, start: Voltages | None = None
    ) -> Flow:
        """Solve by the first method, then what it left by Newton's, from Newton's own start."""
        flow: Flow = self.method.solve(plan.first, load, control, start)
        failed = ~np.asarray(flow.converged)
        if not failed.any():
            return flow
        chosen = Control() if control is None else control
        topology = np.broadcast_to(0 if chosen.topology is None else chosen.topology, failed.shape)
        columns = list(flow)
        for which, second in plan.seconds(topology[failed]):
            # From neither `start` nor the last voltages: equal loads give equal flows, whatever was before.
            some = failed & (topology == which)
            again = second.solve(_picked(load, some), _picked(chosen._replace(topology=None), some))
            solved = np.asarray(again.converged)
            place = np.flatnonzero(some.ravel())[solved]
            for k, (name, found) in enumerate(zip(Flow._fields, again, strict=True)):
                if len(place) and name not in ("p_form_mw", "q_form_mvar"):  # no reference is in service there
                    values = np.array(columns[k])
                    values.reshape(failed.size, *values.shape[failed.ndim :])[place] = np.asarray(found)[solved]
                    columns[k] = values
        return Flow(*columns)


class Second:
    """Newton's method for a network as it stands in one topology.

    A dead island hangs bare on the source, behind an impedance that nothing flows through, and is reported as dead.

    Parameters
    ----------
    network
        The network as given, balanced.
    closed
        Whether each branch is closed in the topology, ``(b,)``.
    energised
        Whether each bus has voltage in it, ``(m,)``.
    options
        Options of Newton's plan.
    """

    def __init__(self, network: Network, closed: np.ndarray, energised: np.ndarray, options: dict[str, Any]):
        branches, shunts, dead = network.branches, network.shunts, np.flatnonzero(~energised)
        none, one, unknown = np.zeros(len(dead)), np.ones(len(dead)), np.full(len(dead), np.nan)
        closed = closed & energised[branches.from_bus] & energised[branches.to_bus]
        stubs = branches._replace(
            name=tuple(f"without voltage: {network.buses.name[bus]}" for bus in dead),
            kind=("impedance",) * len(dead), from_bus=np.full(len(dead), network.source_bus), to_bus=dead, r_pu=none,
            x_pu=one, g_pu=none, b_pu=none, ratio=one, shift_degree=none, rating=unknown, rated_from_kv=unknown,
            rated_to_kv=unknown, closed=np.ones(len(dead), bool),
        )  # fmt: skip
        own = branches._replace(closed=closed)
        alive = energised[np.asarray(shunts.bus, np.int64)]
        bare = shunts._replace(p_mw=shunts.p_mw * alive, q_mvar=shunts.q_mvar * alive)
        standing = replace(network, branches=joined(own, stubs), shunts=bare) if len(dead) else replace(
            network, branches=own
        )  # fmt: skip
        self._energised, self._branches = energised, len(closed)
        self._plan = newton.plan(standing, **(options | {"max_iter": MAX_ITER}))

    def solve(self, load: NodeLoad, control: Control) -> Flow:
        """Solve scenarios ``(count, ...)`` of this topology."""
        alive = self._energised
        flow = newton.solve(self._plan, NodeLoad(*(None if part is None else part * alive for part in load)), control)
        return flow._replace(
            v_re=flow.v_re * alive, v_im=flow.v_im * alive, v_pu=flow.v_pu * alive,
            loading=flow.loading[..., : self._branches], energised=flow.energised & alive,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class RetryPlan:
    """Plans of both methods.

    Attributes
    ----------
    first
        The first method's plan.
    network, options, topologies
        What Newton's plans are made of.
    """

    first: Any
    network: Network
    options: dict[str, Any]
    topologies: tuple[Any, ...] = ()
    _made: dict[int, Second] = field(default_factory=dict)

    def seconds(self, topology: np.ndarray) -> Iterator[tuple[int, Second]]:
        """Newton's method for each of the topologies that occur, but those whose islands a reference holds."""
        moving = self.first.compiled.moving
        for t in np.unique(topology).astype(int).tolist():
            if moving.holds[t].any():
                continue
            if t not in self._made:
                closed = Topologies(self.network, self.topologies).closed()[t]
                self._made[t] = Second(self.network, closed, moving.energised[t], self.options)
            yield t, self._made[t]


class RetryRows:
    """A row solver, see :class:`powergrid.powerflow.sparse_lu.RowSolver`, whose failures are tried again.

    Parameters
    ----------
    plan
        Plans of both methods.
    first
        The first method's row solver.
    """

    def __init__(self, plan: RetryPlan, first: RowSolver):
        self._plan, self._first = plan, first
        self.taps, self.caps, self.tol_pu = first.taps, first.caps, first.tol_pu
        self.fill, self.compiled = first.fill, first.compiled

    def __call__(self, rows: np.ndarray, has_zip: bool, out: np.ndarray, iterations: np.ndarray) -> None:
        """Solve ``(batch, inputs)`` into ``(batch, outputs)`` and ``(batch,)``, all C-contiguous."""
        self._first(rows, has_zip, out, iterations)
        self.retry(rows, has_zip, out, iterations)

    def retry(self, rows: np.ndarray, has_zip: bool, out: np.ndarray, iterations: np.ndarray) -> None:
        """Newton's method for the rows that the first method has left."""
        who = np.flatnonzero(~(out[:, -1] < self.tol_pu) & (rows[:, 0] > 0.0))
        if len(who):
            self._again(who, rows, has_zip, out, iterations)

    def _again(self, who: np.ndarray, rows: np.ndarray, has_zip: bool, out: np.ndarray, iterations: np.ndarray) -> None:
        """Newton's method for some rows; those whose inputs were no numbers come emptied and are not among them."""
        _, tap, cap, topology, p, q, *by_voltage = self._plan.first.inputs
        chosen = rows[who, topology.start]
        for t, second in self._plan.seconds(chosen):
            some = who[chosen == t]
            given = rows[some]
            load = NodeLoad(given[:, p], given[:, q], *(given[:, part] for part in by_voltage if has_zip))
            control = Control(tap_ratio=given[:, tap], cap_on=given[:, cap], v_source_pu=given[:, 0])
            flow = second.solve(load, control)
            solved = np.flatnonzero(flow.converged)
            below = np.minimum(flow.residual_pu, np.nextafter(self.tol_pu, 0.0))
            last = np.stack([flow.loss_mw, flow.p_slack_mw, flow.q_slack_mvar, below], axis=-1)
            none = np.zeros((len(some), self._plan.first.holds.shape[-1]))  # what references deliver
            parts = (*flow[:4], flow.p_meter_mw, none, flow.q_meter_mvar, none, last)
            out[some[solved]] = np.concatenate(parts, axis=-1)[solved]
            iterations[some[solved]] = flow.iterations[solved]


_SCALARS = {"topology", "v_source_pu"}  # one value per scenario, without an axis of elements


def _picked(table: Inputs, failed: np.ndarray) -> Inputs:
    """The failed scenarios of a table of inputs, ``(failed, ...)``."""
    columns: list[Any] = []
    for name, value in zip(table._fields, table, strict=True):
        if value is None:
            columns.append(None)
            continue
        tail = () if name in _SCALARS else np.shape(value)[-1:]
        columns.append(np.broadcast_to(value, failed.shape + tail)[failed])
    return type(table)(*columns)
