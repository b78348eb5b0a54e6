"""Average consensus: members find the mean of their values by exchanging estimates with their neighbours alone.

In each round member i moves towards its neighbours, ``x_i += sum_j w_ij (x_j - x_i)``, with the weights of Metropolis
``w_ij = 1 / (1 + max(d_i, d_j))``, which each pair knows from the numbers of its own neighbours (Xiao and Boyd, "Fast
linear iterations for distributed averaging", Systems & Control Letters 53, 2004). After k rounds the distance from the
mean is at most `rho ** k` times what it was, with :attr:`powergrid.core.graph.Graph.contraction` as `rho`.

When values change, ``x_i += new_i - old_i`` comes first, so that the mean of the estimates stays the mean of the values
(Zhu and Martinez, "Discrete-time dynamic average consensus", Automatica 46, 2010).

Where links lose messages, members push shares of a sum and of a weight, ``s_j += w_ij s_i`` and ``g_j += w_ij g_i``,
and estimate ``s_i / g_i`` (Kempe, Dobra and Gehrke, "Gossip-based computation of aggregate information", FOCS 2003).
What is lost stays with its sender, who receives no acknowledgement for it, so that both totals are kept. Without this
the mean moves with every loss, because one end of a link takes a step and the other one does not.

Over the links of `messages` there is one round in a tick, and shares take their time. What is on its way belongs to
nobody but counts in both totals, so that the estimates reach the mean with delays as well (Hadjicostis and
Charalambous, "Average consensus in the presence of delays in directed graph topologies", IEEE Trans. Automatic Control
59, 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from powergrid.agents.protocol import Action, Added, Channel, Context, HorizontalProtocol, Members
from powergrid.agents.protocols._links import IDEAL, LOST, LinkSettings, OverMessages, delay_ticks, delays_between
from powergrid.core.backend import Namespace, sum_into
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Array
from powergrid.plugins import register_protocol

_USUAL = {"chosen": ("1", -1.0, 1.0), "power": ("MW", -10.0, 10.0), "voltage": ("pu", 0.8, 1.2)}
"""Unit and usual bounds of each kind of value; before the first estimate the middle is observed."""
_MOST_DRAWS = 200_000
"""Random numbers in a tick, beyond which a graph has too many links to lose messages on."""
_NO_VALUE = 1e9
"""A measurement beyond this, or none at all, leaves the last value in force."""


class Settings(OverMessages):
    """Parameters of average consensus."""

    value: Literal["chosen", "power", "voltage"] = Field(
        "chosen",
        description="what is averaged: a number that members choose, their metered net power (import positive), or "
        "the voltage where they are connected",
    )
    rounds_per_tick: int = Field(10, ge=1, le=200, description="rounds of exchange in a tick")
    loss: float = Field(0.0, ge=0, lt=1, description="share of messages that links lose, in each direction [1]")
    push_sum: bool = Field(True, description="whether the mean is kept in spite of losses; false: plain averaging")
    low: float | None = Field(None, description="lower bound of values; -1, -10 MW or 0.8 pu")
    high: float | None = Field(None, description="upper bound of values; 1, 10 MW or 1.2 pu")

    @property
    def unit_and_bounds(self) -> tuple[str, float, float]:
        """Unit and bounds of the values."""
        unit, low, high = _USUAL[self.value]
        return unit, low if self.low is None else self.low, high if self.high is None else self.high

    @model_validator(mode="after")
    def _check(self) -> Settings:
        _, low, high = self.unit_and_bounds
        if not low < high:
            raise ValueError(f"low {low:g} must be below high {high:g}")
        if not self.push_sum and self.loss == 0.0:
            raise ValueError("push_sum: false has an effect only with a loss above 0")
        if self.over_messages and "rounds_per_tick" in self.changed and self.rounds_per_tick != 1:
            raise ValueError("over_messages means one round in a tick: leave rounds_per_tick out")
        if self.over_messages and self.loss > 0.0:
            raise ValueError("over_messages has the loss of the links of messages: leave loss out")
        return self


class Rounds(NamedTuple):
    """Rounds in a tick, share of messages lost, whether shares are pushed, and whether all are linked with all.

    Whether shares take their time, the length of a tick [s] and the distribution of delays concern `over_messages`.
    """

    rounds_per_tick: float
    loss: float
    push_sum: float
    everybody: float
    late: float
    dt_s: float
    distribution: float


class Tracked(NamedTuple):
    """Values, sums and weights of the members; an estimate is a sum over its weight.

    Shares of both that are on their way, and the tick at which each arrives, by ticks since it was sent and link.
    """

    value: Array
    total: Array
    weight: Array
    total_on_its_way: Array
    weight_on_its_way: Array
    arrives: Array


class Tables(NamedTuple):
    """Directed links: their sender, their receiver, and the weight of Metropolis.

    Share lost by link, least delay [s] and its range [s], of links that are late.
    """

    sender: np.ndarray
    receiver: np.ndarray
    weight: np.ndarray
    loss: np.ndarray
    low_s: np.ndarray
    span_s: np.ndarray


class Choice(NamedTuple):
    """The value that a member chooses."""

    consensus_value: Array


class Chosen(NamedTuple):
    """Estimated mean of the chosen values, and its distance from the own one."""

    consensus: Array
    consensus_deviation: Array


class Power(NamedTuple):
    """Estimated mean of the net powers [MW], import positive, and its distance from the own one."""

    consensus_power: Array
    consensus_power_deviation: Array


class Voltage(NamedTuple):
    """Estimated mean of the voltages [pu], and its distance from the own one."""

    consensus_voltage: Array
    consensus_voltage_deviation: Array


def track(xp: Namespace, ctx: Context, state: Tracked, value: Array) -> Tracked:
    """Take new values in and exchange estimates for the rounds of one tick.

    Parameters
    ----------
    value
        New values, ``(*batch, members)``; what is no number leaves the last one in force.
    """
    here, rounds = ctx.tables, int(ctx.params.rounds_per_tick)
    size, links = value.shape[-1], len(here.sender)
    value = xp.where(xp.abs(value) < _NO_VALUE, value, state.value)
    total, weight = state.total + value - state.value, 1.0 * state.weight
    if ctx.params.late > 0.0:
        return push_over_links(xp, ctx, state, value, total)
    if ctx.params.everybody > 0.0:
        # all weights are 1 / n: the first round gives the mean
        mean = xp.sum(total, axis=-1, keepdims=True) / size + 0.0 * total
        return Tracked(value, mean, weight, state.total_on_its_way, state.weight_on_its_way, state.arrives)
    for k in range(rounds):
        if ctx.params.loss > 0.0:
            arrives = xp.where(ctx.uniform[..., k * links : (k + 1) * links] >= ctx.params.loss, here.weight, 0.0)
        else:
            arrives = 1.0 * here.weight
        if ctx.params.push_sum > 0.0:
            total, weight = _pushed(xp, here, arrives, total, size), _pushed(xp, here, arrives, weight, size)
        else:
            pull = arrives * (xp.take(total, here.sender, axis=-1) - xp.take(total, here.receiver, axis=-1))
            total = total + sum_into(xp, pull, here.receiver, size)
    return Tracked(value, total, weight, state.total_on_its_way, state.weight_on_its_way, state.arrives)


def push_over_links(xp: Namespace, ctx: Context, state: Tracked, value: Array, total: Array) -> Tracked:
    """One round over links with delays and losses: send shares, and take in what arrives in this tick.

    Parameters
    ----------
    value, total
        Values and sums of the members with the values of this tick, ``(*batch, members)``.
    """
    here, size, links = ctx.tables, total.shape[-1], len(ctx.tables.sender)
    older = state.arrives.shape[-1] - links
    sends = ctx.uniform[..., :links] >= here.loss
    share = xp.where(sends, here.weight, 0.0)
    sent = share * xp.take(total, here.sender, axis=-1)
    sent_weight = share * xp.take(state.weight, here.sender, axis=-1)
    arrival = xp.where(sends, ctx.tick + delay_ticks(xp, ctx, links), LOST)
    flying = xp.concatenate((sent, state.total_on_its_way[..., :older]), axis=-1)
    flying_weight = xp.concatenate((sent_weight, state.weight_on_its_way[..., :older]), axis=-1)
    arrives = xp.concatenate((arrival, state.arrives[..., :older]), axis=-1)
    landed, landed_weight = 0.0 * sent, 0.0 * sent_weight
    for k in range(older // links + 1):
        now = arrives[..., k * links : (k + 1) * links] == ctx.tick
        landed = landed + xp.where(now, flying[..., k * links : (k + 1) * links], 0.0)
        landed_weight = landed_weight + xp.where(now, flying_weight[..., k * links : (k + 1) * links], 0.0)
    total = total + sum_into(xp, landed, here.receiver, size) - sum_into(xp, sent, here.sender, size)
    weight = state.weight + sum_into(xp, landed_weight, here.receiver, size)
    weight = weight - sum_into(xp, sent_weight, here.sender, size)
    return Tracked(value, total, weight, flying, flying_weight, arrives)


def _pushed(xp: Namespace, here: Tables, arrives: Array, values: Array, size: int) -> Array:
    """Values after every member has pushed shares of its own to its neighbours."""
    share = arrives * xp.take(values, here.sender, axis=-1)
    return values + sum_into(xp, share, here.receiver, size) - sum_into(xp, share, here.sender, size)


@register_protocol("consensus", aliases=("average_consensus",))
class Consensus(HorizontalProtocol):
    """Members average a value over the links of a connected graph, and observe their estimate of the mean.

    With ``value: chosen`` a member that learns chooses the number in every tick, and everybody observes the estimates
    of the same tick. ``power`` and ``voltage`` are metered: estimates of the past tick are observed. Estimates are kept
    from tick to tick; ``rounds_per_tick`` sets how closely they follow. With ``over_messages`` there is one round in a
    tick, over the links of `messages`.
    """

    Settings, Params, State = Settings, Rounds, Tracked
    linked = True
    needs_connected = True
    compared = ({"value": "power"},)
    _sent: Any = Chosen

    def __new__(cls, **params: Any) -> Any:
        """The form for the kind of value; what is not valid is refused when the settings are read."""
        return super().__new__(_FORMS.get(params.get("value", "chosen"), cls) if cls is Consensus else cls)

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.noisy = self.settings.loss > 0.0  # type: ignore[misc]
        self._everybody, self._dt_s = False, 0.0
        self._links: LinkSettings = IDEAL

    def over(self, links: LinkSettings) -> Consensus:
        """One round in a tick, over links with a delay and a loss."""
        given = self.settings.model_dump(exclude={"over_messages"})
        found = type(self)(**{**given, "rounds_per_tick": 1})
        found._links, found.noisy = links, not links.are_ideal  # type: ignore[misc]
        return found

    @property
    def _late(self) -> bool:
        return not self._links.are_ideal

    def params(self) -> Rounds:
        """Rounds, loss, whether shares are pushed, whether all are linked with all, and the timing of links."""
        given = self.settings
        pushes = given.loss > 0.0 and given.push_sum
        numbers = float(given.rounds_per_tick), given.loss, float(pushes), float(self._everybody)
        return Rounds(*numbers, float(self._late), self._dt_s, self._links.distribution)

    def entries(self, members: Members) -> Added:
        """Estimate and deviation of each member; the number to choose, if it is one.

        Raises
        ------
        ConfigError
            If a member may be absent, or a graph has more links than losses can be drawn for.
        """
        for member in members:
            if member.may_be_absent:
                message = f'consensus: "{member.id}" may be absent, and the mean is one of all members'
                raise ConfigError([Issue("protocols", message, "take it out of members, or its presence away")])
        unit, low, high = self.settings.unit_and_bounds
        self._everybody, self._dt_s = members.graph.is_full and not self.noisy, members.dt_h * 3600.0
        if members.graph.is_full and self.noisy:
            self._check_draws(len(members) * (len(members) - 1))
        links = np.zeros((0, 2), int) if self._everybody else members.graph.links
        self._check_draws(len(links))
        estimate, deviation = self._sent._fields
        ends = tuple((members[a].id, members[b].id) for a, b in links.tolist()) if self._late else ()
        delays = delays_between(self._links, ends)
        depth = delays.depth(self._dt_s) if self._late else 0
        tables = Tables(
            sender=links[:, 0],
            receiver=links[:, 1],
            weight=members.graph.metropolis if len(links) else np.zeros(0),
            loss=delays.loss,
            low_s=delays.low_s,
            span_s=delays.span_s,
        )
        return Added(
            actions=tuple(Action(name, unit, low, high) for name in self.Orders._fields),
            channels=(
                Channel(estimate, unit, low, high, 0.5 * (low + high)),
                Channel(deviation, unit, low - high, high - low),
            ),
            tables=tables,
            widths=(*(len(members),) * 3, *(depth * len(links),) * 3),
            draws=self._draws * len(links) if self.noisy else None,
            # where all are linked with all and nothing is lost, the first round gives the mean
            messages=len(members) * (len(members) - 1)
            if self._everybody
            else len(links) * self.settings.rounds_per_tick,
            carries=ends,
        )

    @property
    def _draws(self) -> int:
        """Random numbers of a link in a tick."""
        return self._links.draws if self._late else int(self.settings.rounds_per_tick)

    def _check_draws(self, links: int) -> None:
        """Refuse graphs with more links than losses can be drawn for."""
        draws = links * self._draws
        if self.noisy and draws > _MOST_DRAWS:
            message = f"{self.settings.rounds_per_tick} rounds over {links:,} lossy links are {draws:,} random numbers"
            action = f"at most {_MOST_DRAWS:,} in a tick: choose topology star, neighbours or feeder, or fewer rounds"
            raise ConfigError([Issue("protocols", f"consensus: {message}", action)])

    @classmethod
    def initial(cls, xp: Namespace, batch: tuple[int, ...], widths: Sequence[int], dtype: Any) -> Tracked:
        """Nothing is known, and everybody weighs one."""
        nothing = Tracked(*(xp.zeros((*batch, width), dtype=dtype) for width in widths))
        return nothing._replace(weight=nothing.weight + 1.0, arrives=nothing.arrives + LOST)


class ConsensusOnChoice(Consensus):
    """Consensus on numbers that members choose."""

    Orders = Choice

    @staticmethod
    def before(xp: Namespace, ctx: Context, state: Tracked, orders: Choice) -> tuple[Tracked, Chosen, Array]:
        """Average what is chosen now."""
        after = track(xp, ctx, state, orders.consensus_value)
        estimate = after.total / after.weight
        return after, Chosen(estimate, estimate - after.value), ctx.governed


class ConsensusOnPower(Consensus):
    """Consensus on metered net power."""

    _sent = Power

    @staticmethod
    def after(
        xp: Namespace, ctx: Context, state: Tracked, metered_mwh: Array
    ) -> tuple[Tracked, Power, tuple[()], tuple[()]]:
        """Average what was metered."""
        after = track(xp, ctx, state, metered_mwh / ctx.dt_h)
        estimate = after.total / after.weight
        return after, Power(estimate, estimate - after.value), (), ()


class ConsensusOnVoltage(Consensus):
    """Consensus on voltage."""

    _sent = Voltage

    @staticmethod
    def after(
        xp: Namespace, ctx: Context, state: Tracked, metered_mwh: Array
    ) -> tuple[Tracked, Voltage, tuple[()], tuple[()]]:
        """Average the voltages of this tick."""
        after = track(xp, ctx, state, 1.0 * ctx.v_pu)
        estimate = after.total / after.weight
        return after, Voltage(estimate, estimate - after.value), (), ()


_FORMS: dict[Any, Any] = {"chosen": ConsensusOnChoice, "power": ConsensusOnPower, "voltage": ConsensusOnVoltage}
