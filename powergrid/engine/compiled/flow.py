"""The power flow between the two compiled halves of a step: rows of inputs in, rows of outputs out.

An input row holds ``[source voltage, taps, capacitors, topology, p w, q w (, by voltage 4 w), start_re m, start_im m]``
and an output row ``[v_re m, v_im m, v_pu m, loading b, p_meter, p_form, q_meter, q_form, loss, p_slack, q_slack,
residual]``. Both are the compiled power flow's own, so that the halves write and read them in place; any other method
is served through its ``solve``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from powergrid.core.types import Array, Control, Flow, NodeLoad
from powergrid.engine.layout import Layout
from powergrid.engine.regulation import Start


class Inputs(NamedTuple):
    """First column of each kind of input."""

    tap: int
    cap: int
    load_p: int
    load_q: int
    by_voltage: int
    start_re: int
    start_im: int


class RowFlow:
    """A layout's power flow from rows to rows.

    Parameters
    ----------
    layout
        Whose power flow.

    Attributes
    ----------
    inputs
        Where inputs lie in their row.
    width
        Columns of an output row.
    tol_pu
        A row whose residual, the last output, lies below is solved.
    compiled
        Address, tables and limits for compiled code that solves rows by itself; the address is 0 where none can.
    """

    def __init__(self, layout: Layout):
        self._layout, self._direct = layout, layout.grid.by_rows
        ledger, families = layout.ledger, layout.families
        if self._direct is not None:
            taps, caps = self._direct.taps, self._direct.caps
        else:
            taps, caps = (0 if i is None else families[i].size for i in (layout.taps, layout.caps))
            taps = taps if layout.regulators.tap_of is None else len(layout.regulators.tap_of)
        m, w = len(layout.grid.v_start), layout.grid.load_p_mw.shape[1]
        islands = layout.grid.islands
        forms = 0 if islands is None else islands.fallen.shape[1]
        b, meters = ledger.cost_blocks.count.overload, layout.meters.branches
        # without any load the step fills no columns of loads that follow the voltage
        drawn = (layout.grid.load_p_mw, layout.grid.load_q_mvar, *layout.grid.load_by_voltage)
        self._has_zip = bool(layout.grid.load_by_voltage) and any(np.any(part) for part in drawn)
        stops = np.cumsum([1, taps, caps + 1, w, w, 4 * w * self._has_zip, m, m]).tolist()
        self.inputs = Inputs(*stops[:-1])
        self._width_in = stops[-1]
        self._caps = caps
        *self._parts, _ = np.cumsum([m, m, m, b, meters, forms, meters, forms, 4]).tolist()
        self._holds = None if islands is None else islands.fallen != np.arange(len(islands.fallen))[:, None]
        self.width = self._parts[-1] + 4
        self.tol_pu = 1.0 if self._direct is None else self._direct.tol_pu
        none = np.zeros(0, np.int64), np.zeros(0)
        self.compiled = (0, *none, self._has_zip, self.tol_pu, 0, none[1])
        if self._direct is not None:
            self.compiled = self._direct.compiled(self._has_zip)

    def rows(self, count: int) -> Array:
        """Input rows that hold the network's own settings."""
        rows = np.empty((count, self._width_in))
        if self._direct is not None:
            self._direct.fill(rows)
        return rows

    @property
    def retries(self) -> bool:
        """Whether :meth:`retry` can solve rows that compiled code leaves."""
        return hasattr(self._direct, "retry")

    def retry(self, rows: Array, out: Array, iterations: Array) -> None:
        """Solve the rows whose residual says that they are not."""
        self._direct.retry(rows, self._has_zip, out, iterations)

    def solve(self, rows: Array, out: Array, iterations: Array) -> None:
        """Solve every row."""
        if self._direct is not None:
            self._direct(rows, self._has_zip, out, iterations)
            return
        flow = self._solve(rows)
        form: tuple[Any, Any] = (out[:, :0], out[:, :0])
        if self._holds is not None:
            form = flow.p_form_mw, flow.q_form_mvar
        columns = (*flow[:4], flow.p_meter_mw, form[0], flow.q_meter_mvar, form[1])
        for place, values in zip(np.split(np.arange(self.width), self._parts), columns, strict=False):
            out[:, place] = values
        solved = np.where(flow.converged, 0.0, self.tol_pu)
        out[:, -4:] = np.stack([flow.loss_mw, flow.p_slack_mw, flow.q_slack_mvar, solved], axis=-1)
        iterations[:] = flow.iterations

    def _solve(self, rows: Array) -> Flow:
        """The same through the method's ``solve``."""
        layout, at = self._layout, self.inputs
        control = Control(
            tap_ratio=None if layout.taps is None else rows[:, at.tap : at.cap],
            cap_on=None if layout.caps is None else rows[:, at.cap : at.cap + self._caps],
            topology=None if layout.grid.switching is None else rows[:, at.load_p - 1].astype(np.int32),
        )
        start = Start(rows[:, at.start_re : at.start_im], rows[:, at.start_im :])
        return layout.grid.solve(self.load(rows), control, start)

    def load(self, rows: Array) -> NodeLoad:
        """What the buses draw in each row."""
        at = self.inputs
        by_voltage = np.split(rows[:, at.by_voltage : at.start_re], 4, axis=1) if self._has_zip else ()
        return NodeLoad(rows[:, at.load_p : at.load_q], rows[:, at.load_q : at.by_voltage], *by_voltage)

    def flow(self, out: Array, iterations: Array, topology: Array) -> Flow:
        """Named parts of output rows, as views, in the topologies ``(B,)``."""
        v_re, v_im, v_pu, loading, p_meter, p_form, q_meter, q_form, _ = np.split(out, self._parts, axis=1)
        residual: Any = out[:, -1]
        switching = self._layout.grid.switching
        if self._holds is not None:  # what the others' meters read is rounding
            p_form, q_form = (part * self._holds[topology] for part in (p_form, q_form))
        return Flow(
            v_re=v_re,
            v_im=v_im,
            v_pu=v_pu,
            loading=loading,
            loss_mw=out[:, -4],
            p_slack_mw=out[:, -3],
            q_slack_mvar=out[:, -2],
            p_meter_mw=p_meter,
            q_meter_mvar=q_meter,
            residual_pu=residual,
            iterations=iterations,
            converged=residual < self.tol_pu,
            energised=np.ones(v_pu.shape, bool) if switching is None else switching.energised_bus[topology],
            p_form_mw=p_form,
            q_form_mvar=q_form,
        )
