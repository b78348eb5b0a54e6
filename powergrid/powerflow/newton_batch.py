"""Scenarios of Newton's method as rows of numbers: inputs for compiled code, and results by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from powergrid.core.types import Array, Flow
from powergrid.powerflow.compiled import Compiled, Terms
from powergrid.powerflow.generation import Units

Given = Sequence[Array | None]
"""Flat inputs ``(count, ...)``: the six columns of a load, the five of a control, and a start; ``None`` for none."""


def blank(compiled: Compiled, terms: Terms, count: int) -> tuple[np.ndarray, Flow]:
    """Rows of results, and the flow whose columns are views of them."""
    m, b, meters = compiled.n_bus, compiled.n_branch, len(terms.start) - 2
    *parts, width = np.cumsum([m, m, m, b, meters, meters, 4]).tolist()
    out = np.full((count, width), np.nan)
    v_re, v_im, v_pu, loading, p_meter, q_meter, _ = np.split(out, parts, axis=1)
    return out, Flow(
        v_re, v_im, v_pu, loading, out[:, -4], out[:, -3], out[:, -2], p_meter, q_meter, out[:, -1],
        np.zeros(count, np.int64), np.zeros(count, bool), np.ones((count, m), bool), np.zeros((count, 0)),
        np.zeros((count, 0)),
    )  # fmt: skip


def filled(compiled: Compiled, own: Units, count: int, given: Given, begin: Callable[[int], np.ndarray]) -> np.ndarray:
    """Rows of inputs for :func:`powergrid.powerflow.newton_rows.solve_rows`.

    `begin` gives the complex bus voltages from which a scenario without a start sets out.
    """
    p, q, *by_voltage, tap, cap, _, source, v_set, v_re, v_im = given
    parts: list[tuple[int, Array | float | None]] = [
        (1, compiled.source_v_pu if source is None else source[:, None]),
        (len(compiled.regulator), compiled.tap_ratio if tap is None else tap),
        (len(compiled.cap_bus), 1.0 if cap is None else cap),
        (len(own.bus), own.v_set_pu if v_set is None else v_set),
        (compiled.n_bus, p),
        (compiled.n_bus, q),
    ]
    if has_zip(given):
        parts += [(compiled.n_bus, part) for part in by_voltage]
    parts += [(compiled.n_bus, v_re), (compiled.n_bus, v_im)]
    stops = np.cumsum([0, *(width for width, _ in parts)]).tolist()
    rows = np.empty((count, stops[-1]))
    for first, last, (_, values) in zip(stops[:-1], stops[1:], parts, strict=True):
        rows[:, first:last] = 0.0 if values is None else values
    start = rows[:, stops[-3] :]
    lost = np.ones(count, bool) if v_re is None or v_im is None else ~np.isfinite(start).all(axis=1)
    for k in np.flatnonzero(lost).tolist():
        v = begin(k)
        start[k, : compiled.n_bus], start[k, compiled.n_bus :] = v.real, v.imag
    return rows


def has_zip(given: Given) -> bool:
    """Whether a load follows the voltage."""
    return any(part is not None for part in given[2:6])
