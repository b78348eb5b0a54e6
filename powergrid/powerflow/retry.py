"""A fixed-point method whose failures are tried again by Newton's method, behind the same two functions.

Near voltage collapse the fixed point needs more and more iterations, while Newton's method still converges in a few.
What neither solves keeps the fixed point's flow, marked as not converged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from powergrid.core.types import Control, Flow, NodeLoad
from powergrid.powerflow import newton

MAX_ITER = 20
"""Newton steps of a second attempt."""


def with_retry(method: Any) -> Retry:
    """A method with ``plan`` and ``solve`` that asks Newton's method where `method` does not converge."""
    return Retry(method)


@dataclass(frozen=True)
class Retry:
    """See :func:`with_retry`.

    Attributes
    ----------
    method
        The first method's module.
    """

    method: Any

    def RowSolver(self, plan: RetryPlan) -> Any:
        """The first method's row solver, followed by Newton's method for the rows it leaves."""
        return RetryRows(plan, self.method.RowSolver(plan.first))

    def plan(self, network: Any, **options: Any) -> RetryPlan:
        """Plan of the first method; Newton's is made when it is first needed."""
        own = {name: value for name, value in options.items() if name not in ("topologies", "forming")}
        return RetryPlan(self.method.plan(network, **options), network, own)

    def solve(self, plan: RetryPlan, load: NodeLoad, control: Control | None = None, start: Any = None) -> Flow:
        """Solve by the first method, then what it left by Newton's, from the start that the network suggests."""
        flow = self.method.solve(plan.first, load, control, start)
        failed = ~np.asarray(flow.converged)
        if control is not None and control.topology is not None:
            failed &= np.broadcast_to(control.topology, failed.shape) == 0  # Newton's plan knows no other topology
            control = control._replace(topology=None)
        if not failed.any():
            return flow
        # From neither `start` nor the fixed point's last voltages: equal loads give equal flows, whatever was before.
        chosen = Control() if control is None else control
        again = newton.solve(plan.second, _picked(load, failed), _picked(chosen, failed))
        solved = np.asarray(again.converged)
        if not solved.any():
            return flow
        place = np.flatnonzero(failed.ravel())[solved]
        columns = []
        for name, first, second in zip(Flow._fields, flow, again, strict=True):
            if name in ("p_form_mw", "q_form_mvar"):  # the network as given has no islands
                columns.append(first)
                continue
            values = np.array(first)
            rows = values.reshape(failed.size, *values.shape[failed.ndim :])
            rows[place] = np.asarray(second)[solved]
            columns.append(rows.reshape(values.shape))
        return Flow(*columns)


@dataclass(frozen=True, eq=False)
class RetryPlan:
    """Plans of both methods.

    Attributes
    ----------
    first
        The first method's plan.
    network, options
        What Newton's plan is made of.
    """

    first: Any
    network: Any
    options: dict[str, Any]

    @cached_property
    def second(self) -> newton.Plan:
        """Newton's plan."""
        return newton.plan(self.network, **(self.options | {"max_iter": MAX_ITER}))


class RetryRows:
    """A row solver, see :class:`powergrid.powerflow.sparse_lu.RowSolver`, whose failures are tried again.

    Parameters
    ----------
    plan
        Plans of both methods.
    first
        The first method's row solver.
    """

    def __init__(self, plan: RetryPlan, first: Any):
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
        _, tap, cap, _, p, q, *by_voltage = self._plan.first.inputs
        chosen = rows[who]
        load = NodeLoad(chosen[:, p], chosen[:, q], *(chosen[:, part] for part in by_voltage if has_zip))
        control = Control(tap_ratio=chosen[:, tap], cap_on=chosen[:, cap], v_source_pu=chosen[:, 0])
        flow = newton.solve(self._plan.second, load, control)
        solved = np.flatnonzero(flow.converged)
        below = np.minimum(flow.residual_pu, np.nextafter(self.tol_pu, 0.0))
        last = np.stack([flow.loss_mw, flow.p_slack_mw, flow.q_slack_mvar, below], axis=-1)
        parts = (*flow[:4], flow.p_meter_mw, flow.q_meter_mvar, last)
        out[who[solved]] = np.concatenate(parts, axis=-1)[solved]
        iterations[who[solved]] = flow.iterations[solved]


_SCALARS = {"topology", "v_source_pu"}  # one value a scenario, without an axis of elements


def _picked(table: Any, failed: np.ndarray) -> Any:
    """The failed scenarios of a table of inputs, ``(failed, ...)``."""
    columns: list[Any] = []
    for name, value in zip(table._fields, table, strict=True):
        if value is None:
            columns.append(None)
            continue
        tail = () if name in _SCALARS else np.shape(value)[-1:]
        columns.append(np.broadcast_to(value, failed.shape + tail)[failed])
    return type(table)(*columns)
