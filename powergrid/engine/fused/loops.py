"""Compiled entries of the step, before and after the power flow, for one environment and for many side by side.

What the reference writes as gathers and matrix products over a batch is here a loop over what is really there, so that
the cost is linear in devices, buses and agents. The loops run over groups of ``lanes`` environments, as many as their
name says: each number is one vector, see :mod:`powergrid.engine.fused.words`. Every environment is computed by itself,
hence to the same bits in any batch. Functions release the interpreter lock.

Tables of lanes, ``(groups, numbers * lanes)``, hold for each environment:

- carried from tick to tick: ``[device states, slots, v_re, v_im, settlement prices]``;
- delivered: ``[slots in physical units, p_mw of all units, q_mvar of all units]``;
- worked out after the flow: ``[measurements, money columns, cost columns, readings, features]``;
- `wanted` and `ratio` of regulators.

Tables with one row an environment, ``(B, numbers)``, are inputs and outputs of the flow, see
:mod:`powergrid.engine.fused.flow`, ``clock`` with tick and exogenous row, and what agents are told.

Only these entries are cached on disk, with all that they call inside. numba's cache notices a change in the file of the
cached function and in what the function closes over, hence the fingerprint of the other files.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

from powergrid.engine import controls
from powergrid.engine.fused import after, before, common, plan, rows, show, tick, words
from powergrid.engine.fused.after import make_finish
from powergrid.engine.fused.before import make_before
from powergrid.engine.fused.common import compiled
from powergrid.engine.fused.rows import MANY, ONE
from powergrid.engine.fused.tick import make_tick
from powergrid.powerflow import columns

_before_one, _before_many = make_before(ONE), make_before(MANY)
_choose_one, _, _want_one, _again_one = _before_one
_choose_many, _, _want_many, _again_many = _before_many
_tick_one = make_tick(ONE, _before_one, make_finish(ONE))
_tick_many = make_tick(MANY, _before_many, make_finish(MANY))


def _fingerprint() -> int:
    """Number of what the compiled entries call in other files."""
    modules = (after, before, columns, common, controls, plan, rows, show, tick, words)
    parts = (Path(module.__file__ or "").read_bytes() for module in modules)
    return int.from_bytes(hashlib.sha256(b"".join(parts)).digest()[:7], "big")


def _entries(lanes: int, stamp: int) -> SimpleNamespace:
    """Entries for so many lanes; numba leaves out the branch that a constant excludes.

    `stamp`, which is never below zero, is part of their cache's key.
    """

    @compiled
    def choose(ints, floats, clock, actions, old, new, due, clipped):
        if lanes == 1:
            _choose_one(ints, clock, actions, old, new, due, clipped)
        else:
            _choose_many(ints, clock, actions, old, new, due, clipped)
        return stamp

    @compiled
    def want(ints, floats, tol_pu, new, out, wanted, ratio, busy):
        if lanes == 1:
            return min(_want_one(ints, floats, tol_pu, new, out, wanted, ratio, busy), stamp)
        else:
            return min(_want_many(ints, floats, tol_pu, new, out, wanted, ratio, busy), stamp)

    @compiled
    def again(ints, floats, chosen, new, wanted, ratio, inputs, out):
        if lanes == 1:
            _again_one(ints, floats, chosen, new, wanted, ratio, inputs, out)
        else:
            _again_many(ints, floats, chosen, new, wanted, ratio, inputs, out)
        return stamp

    @compiled
    def tick(
        ints, floats, solver, parts, first, rounds, may_fail, table, clock, actions, chosen, forecast, old, new, made,
        inputs, out, iterations, wanted, ratio, busy, received, seen, work, observation, reward, cost, money, costs,
        due, clipped, converged,
    ):  # fmt: skip
        if lanes == 1:
            first, rounds = _tick_one(
                ints, floats, solver, parts, first, rounds, may_fail, table, clock, actions, chosen, forecast, old, new,
                made, inputs, out, iterations, wanted, ratio, busy, received, seen, work, observation, reward, cost,
                money, costs, due, clipped, converged,
            )  # fmt: skip
        else:
            first, rounds = _tick_many(
                ints, floats, solver, parts, first, rounds, may_fail, table, clock, actions, chosen, forecast, old, new,
                made, inputs, out, iterations, wanted, ratio, busy, received, seen, work, observation, reward, cost,
                money, costs, due, clipped, converged,
            )  # fmt: skip
        return min(first, stamp), rounds

    return SimpleNamespace(choose=choose, want=want, again=again, tick=tick)


_of = {wide.lanes: _entries(wide.lanes, _fingerprint()) for wide in (ONE, MANY)}


def entries(lanes: int) -> SimpleNamespace:
    """The entries for so many lanes."""
    return _of[lanes]
