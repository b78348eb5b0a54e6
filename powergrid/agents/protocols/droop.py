"""Secondary control of frequency in islands: units that share by droop bring their island back to nominal frequency.

Units that form the grid of an island share its load by droop, which leaves the frequency off nominal (primary control,
see :mod:`powergrid.engine.island_droop`): unit i with the set point ``p_set,i`` and the droop ``m_i`` [Hz/MW] delivers
``p_i = p_set,i + (o_i - (f - f0)) / m_i``. The protocol moves the shifts ``o_i`` of their frequency set points by
distributed averaging with integral action (DAPI; Simpson-Porco, Doerfler and Bullo, "Synchronization and power sharing
for droop-controlled inverters in islanded microgrids", Automatica 49, 2013, pp. 2603-2611),

    d o_i / dt = k (f0 - f_i) - sum_j a_ij (o_i - o_j),   k = 1 / restoration_time_s

which is at rest where the frequency is nominal and all shifts are equal, so that the units share as by droop alone.

Within a tick the load is constant and droop acts at once, so equal shifts follow ``o(t) = o* - (o* - o_0) exp(-k t)``:
the integral over a tick is ``(1 - exp(-k dt)) (f0 - f)`` with the frequency `f` of its beginning. Averaging runs for
`rounds_per_tick` rounds with the weights of Metropolis for `a_ij` (Xiao and Boyd, Systems & Control Letters 53, 2004):

    o_i <- o_i + sum_j w_ij (o_j - o_i)                                 in each round,
    o_i <- o_i + (1 - exp(-k dt)) (f0 - f_i)                            once a tick.

Both together contract for every restoration time and every connected graph: equal shifts keep the share ``exp(-k dt)``
of their error in a tick, differences among them ``rho ** rounds`` with :attr:`powergrid.core.graph.Graph.contraction`
as `rho`.

Messages that take d ticks bring differences that are d ticks old, ``w_ij / (1 + 2 d) (o_j(t - d) - o_i(t - d))``, once
a tick. A difference with the eigenvalue `u` of ``I - W``, below 2, then follows ``x(t + 1) = x(t) - u / (1 + 2 d)
x(t - d)``, which is stable since ``u / (1 + 2 d) < 2 sin(pi / (2 (2 d + 1)))`` (e.g. Levin and May, "A note on
difference-delay equations", Theoretical Population Biology 9, 1976).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from powergrid.agents.protocol import Added, Channel, Context, HorizontalProtocol, Members, ProtocolSettings
from powergrid.core.backend import Namespace, sum_into
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Array
from powergrid.plugins import register_protocol

_MOST_LINKS = 100_000
"""Directed links in a graph, beyond which a tick takes too long."""
_HELD = (
    "the reference of an island holds 1 pu, so no deviation of the voltage is left to restore, and the units share "
    "reactive power in the proportions of active power"
)


class Settings(ProtocolSettings):
    """Parameters of secondary frequency control."""

    restores: str = Field("frequency", description="what is brought back to nominal: frequency, the only one")
    restoration_time_s: float = Field(
        60.0, gt=0, description="time in which the deviation of the frequency falls to 1 / e [s]"
    )
    rounds_per_tick: int = Field(10, ge=1, le=500, description="rounds of averaging in a tick, where nothing delays it")
    delay_s: float = Field(0.0, ge=0, description="how long a neighbour's shift travels, in started ticks [s]")
    max_offset_percent: float = Field(
        10.0, gt=0, le=20, description="largest shift of a frequency set point, either way [% of nominal]"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.restores != "frequency":
            raise ValueError(f'restores: "{self.restores}" is not possible, only "frequency": {_HELD}')
        if self.delay_s > 0.0 and "rounds_per_tick" in self.changed and self.rounds_per_tick > 1:
            raise ValueError(
                f"rounds_per_tick {self.rounds_per_tick} and delay_s {self.delay_s:g}: messages that take time "
                "allow one round a tick; leave rounds_per_tick out"
            )
        return self


class Gains(NamedTuple):
    """Share of a deviation taken back in a tick, rounds, delay in ticks, nominal frequency and largest shift [Hz]."""

    gain: float
    rounds_per_tick: float
    delay_ticks: float
    f_hz: float
    most_hz: float


class Shifts(NamedTuple):
    """What is kept from tick to tick.

    Attributes
    ----------
    offset_hz
        Shift of each member's frequency set point [Hz].
    sent_hz
        Shifts of the last ticks, the oldest first, as many ticks as messages take; without columns if they take none.
    """

    offset_hz: Array
    sent_hz: Array


class Tables(NamedTuple):
    """Members at both ends of each directed link, and its weight [1]; the member of each unit."""

    sender: np.ndarray
    receiver: np.ndarray
    weight: np.ndarray
    unit_member: np.ndarray


class Sent(NamedTuple):
    """Shift of each member's frequency set point [Hz]."""

    frequency_offset: Array


@register_protocol("droop", aliases=("dapi", "secondary_frequency"))
class SecondaryFrequencyControl(HorizontalProtocol):
    """Members that form the grid of an island restore its frequency, and go on sharing its load by droop.

    Members measure the frequency at their own units and know the shifts of their neighbours in `topology` that are in
    the same island. The frequency of a tick is the one that droop leaves at its load with the shifts of the tick
    before; the shifts move over the tick and are in force in the next one. A member that the source supplies, that has
    no voltage, or whose units are all out of service, has no shift: the secondary control begins anew with the next
    island. Shifts end at `max_offset_percent`, which has to exceed the droop of the units for their full range.

    Units of the island that are no members answer to the frequency by droop alone, so they return to their set points.
    The voltage is not controlled: an island's reference holds 1 pu, and its units share reactive power in the
    proportions of active power.
    """

    Settings, Params, State = Settings, Gains, Shifts
    linked = True
    needs_connected = True
    in_islands = True

    def __init__(self, **params: Any):
        super().__init__(**params)
        self._gains = Gains(1.0, 1.0, 0.0, 50.0, 5.0)

    def params(self) -> Gains:
        """Gain, rounds, delay and limits."""
        return self._gains

    def entries(self, members: Members) -> Added:
        """The shift of each member, which its units that form grids follow.

        Raises
        ------
        ConfigError
            If a member has no unit that forms grids, or the graph has too many links.
        """
        for member in members:
            if member.forming_mva <= 0.0:
                action = "give a battery or generator of it grid_forming: true and sn_mva, or take it out of members"
                raise ConfigError([Issue("protocols", f'droop: "{member.id}" has no unit that forms grids', action)])
        links = members.graph.links
        if len(links) > _MOST_LINKS:
            message = f"droop: topology {members.graph.name} has {len(links):,} directed links"
            action = f"at most {_MOST_LINKS:,}: choose topology star, neighbours or feeder"
            raise ConfigError([Issue("protocols", message, action)])
        given, tick_s = self.settings, 3600.0 * members.dt_h
        delay = math.ceil(given.delay_s / tick_s - 1e-9)
        most_hz = 0.01 * given.max_offset_percent * members.f_hz
        gain = -math.expm1(-tick_s / given.restoration_time_s)
        self._gains = Gains(gain, float(given.rounds_per_tick), float(delay), members.f_hz, most_hz)
        offset = Channel("frequency_offset", "Hz", -most_hz, most_hz, stands_for="frequency_offset_hz")
        return Added(
            channels=(offset,),
            tables=Tables(
                links[:, 0], links[:, 1], members.graph.metropolis / (1.0 + 2.0 * delay), members.of_injecting
            ),
            widths=(len(members), delay * len(members)),
        )

    def without_island(self, ids: Sequence[str]) -> str:
        """Say that droop does nothing beside the source."""
        names = ", ".join(f'"{id}"' for id in ids)
        return (
            f"droop: no outage or switch leaves {names} in an island, and beside the source the frequency is nominal "
            "whatever they do: nothing is controlled"
        )

    @staticmethod
    def after(
        xp: Namespace, ctx: Context, state: Shifts, metered_mwh: Array
    ) -> tuple[Shifts, Sent, tuple[()], tuple[()]]:
        """Average the shifts within each island, and take back the deviation of its frequency."""
        here, given, size = ctx.tables, ctx.params, state.offset_hz.shape[-1]
        works = sum_into(xp, ctx.works, here.unit_member, size)
        island = xp.where(works > 0.0, ctx.island, -1.0)
        sends, hears = xp.take(island, here.sender, axis=-1), xp.take(island, here.receiver, axis=-1)
        weight = here.weight * ((sends == hears) & (hears >= 0.0))
        offset, sent = 1.0 * state.offset_hz, 1.0 * state.sent_hz
        if given.delay_ticks > 0.0:
            told = sent[..., :size]
            pull = weight * (xp.take(told, here.sender, axis=-1) - xp.take(told, here.receiver, axis=-1))
            offset = offset + sum_into(xp, pull, here.receiver, size)
            sent = xp.concatenate((sent[..., size:], state.offset_hz), axis=-1)
        else:
            for _ in range(int(given.rounds_per_tick)):
                pull = weight * (xp.take(offset, here.sender, axis=-1) - xp.take(offset, here.receiver, axis=-1))
                offset = offset + sum_into(xp, pull, here.receiver, size)
        moved = offset + given.gain * (given.f_hz - ctx.frequency_hz)
        within = xp.minimum(xp.maximum(moved, -given.most_hz), given.most_hz)
        offset = xp.where(island >= 0.0, within, 0.0 * within)
        return Shifts(offset, sent), Sent(offset), (), ()
