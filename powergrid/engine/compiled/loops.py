"""Compiled entries of the step, before and after the power flow, for one environment and for many side by side.

What the reference writes as gathers and matrix products over a batch is here a loop over what is really there, so that
the cost is linear in devices, buses and agents. The loops run over groups of ``lanes`` environments, as many as their
name says: each number is one vector, see :mod:`powergrid.engine.compiled.vector_types`. Every environment is computed
by itself, hence to the same bits in any batch. Functions release the interpreter lock.

Tables of lanes, ``(groups, numbers * lanes)``, hold for each environment:

- carried from tick to tick: ``[device states, slots, v_re, v_im, settlement prices]``;
- delivered: ``[slots in physical units, p_mw of all units, q_mvar of all units]``, and where units form the grids of
  islands the frequency at all that inject;
- worked out after the flow: ``[measurements, money columns, cost columns, readings, features]``;
- `wanted` and `ratio` of regulators.

Tables with one row an environment, ``(B, numbers)``, are inputs and outputs of the flow, see
:mod:`powergrid.engine.compiled.flow`, ``clock`` with tick, exogenous row and what selects the topology, see
:mod:`powergrid.engine.compiled.topology_tables`, and what agents are told.

Only these entries are kept on disk, with all that they call inside, as long as no file changes that they are made of.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from powergrid.core.machine_code import cached
from powergrid.engine import formulas
from powergrid.engine.compiled.after import make_finish
from powergrid.engine.compiled.arguments import ENTRY, TickArguments, entry, types_of
from powergrid.engine.compiled.before import make_before
from powergrid.engine.compiled.rows import MANY, ONE
from powergrid.engine.compiled.tick import make_tick
from powergrid.networks import regulation
from powergrid.powerflow import columns

_MADE_OF = (
    Path(__file__).parent, Path(formulas.__file__), Path(regulation.__file__), Path(columns.__file__).parent
)  # fmt: skip


@cache
def tick(lanes: int) -> Any:
    """The tick for so many lanes; see :mod:`powergrid.engine.compiled.tick` for what it does."""
    rows = ONE if lanes == 1 else MANY
    compiled = cached(*_MADE_OF, name=f"-{lanes}", **ENTRY)
    before = make_before(rows)
    return entry(TickArguments, make_tick(rows, before, make_finish(rows)), compiled)


TICK = types_of(TickArguments)
"""Types of its arguments, with observations in single precision."""
