"""Cooperative dispatch by the alternating direction method of multipliers (ADMM).

The units of all members together and their tie with the utility cover the members' own load at the least cost,

    minimise  sum_j f_j(p_j) + g(u)   subject to   sum_j p_j + u = D,   low_j <= p_j <= high_j,   -limit <= u <= limit,

with convex costs ``f_j(p) = b_j p + s_j p^2 / 2`` of units, and of the tie what the utility charges for a purchase and
pays for a sale, ``g(u) = retail max(u, 0) + feed_in min(u, 0)``. As feed-in never exceeds retail, it is convex, and its
proximal step has a closed form (Parikh and Boyd, "Proximal algorithms", Foundations and Trends in Optimization 1, 2014,
section 6.5.2: soft thresholding about two prices in place of two signs):

    argmin g(u) + rho / 2 (u - v)^2 = max(v - retail / rho, 0) + min(v - feed_in / rho, 0)

The tie is one more participant; the optimum is that of one bill of the whole community. No unit shows its cost or its
limits to anybody. Two forms, in which `p_j` stands for all participants:

``exchange`` (Boyd et al., "Distributed optimization and statistical learning via the alternating direction method of
multipliers", Foundations and Trends in Machine Learning 3, 2011, section 7.3.2): everybody knows the average imbalance
of the last iteration,

    p_j    <- argmin f_j(p) - price p + rho / 2 (p - p_j + imbalance)^2,   imbalance = (sum p - D) / n
    price  <- price - rho imbalance

``consensus`` (section 7.1 on the dual problem, with neighbours in place of a centre: Chang, Hong and Wang, "Multi-agent
distributed optimization via inexact consensus ADMM", IEEE Trans. Signal Processing 63, 2015, algorithm 1): everybody
has a price of its own and learns the prices of its neighbours alone,

    y_i      <- y_i + c sum_j (price_i - price_j)
    p_i      <- argmin f_i(p) - m_i p + (p - l_i + y_i)^2 / (2 w_i),   m_i = mean_j (price_i + price_j) / 2
    price_i  <- m_i - (p_i - l_i + y_i) / w_i,   w_i = 2 c d_i

with the number of neighbours `d_i`. A member with its load `l_i` is a node, and so is each of its units, which is
linked with its member alone. The tie is linked with the first member.

Over the links of `messages` there is one iteration in a tick, and what members know of each other is old or missing.
The form above then keeps errors for ever: what one end of a link adds to its `y` the other one does not take off. There
the same method has a number for each end of a link, which only an arrival changes (relaxed ADMM with relaxation 1/2:
Bastianello, Carli, Schenato and Todescato, "Asynchronous distributed optimization over lossy networks via relaxed ADMM:
stability and linear convergence", IEEE Trans. Automatic Control 66, 2021, algorithm 3):

    p_i      <- argmin f_i(p) + (p - l_i - Z_i)^2 / (2 w_i),   Z_i = sum_j z_ij
    price_i  <- (Z_i + l_i - p_i) / w_i
    z_ji     <- (z_ji + q_ij) / 2 where q_ij = 2 w price_i - z_ij has arrived at j
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from powergrid.agents.protocol import Added, Channel, Context, HorizontalProtocol, Members, Unit
from powergrid.agents.protocols._links import (
    IDEAL,
    LOST,
    LinkSettings,
    OverMessages,
    Queue,
    delays_between,
    deliver,
    tables_of,
)
from powergrid.core.backend import Namespace, sum_into
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Array
from powergrid.plugins import register_protocol

_PRICE_PER_MWH = 10_000.0
"""Bound of prices in observations."""
_ANY_MW = 1e6
"""Limit of a tie without a limit."""
_LEAST_RISE_PER_MWH = 10.0
"""Rise of the marginal cost over the whole range of a unit, below which a penalty does not follow it."""


class Settings(OverMessages):
    """Parameters of cooperative dispatch."""

    form: Literal["exchange", "consensus"] = Field(
        "exchange",
        description="exchange: everybody knows the average imbalance; consensus: everybody knows the prices of its "
        "neighbours in `topology`",
    )
    rounds_per_tick: int = Field(50, ge=1, le=500, description="iterations in a tick")
    rho: float | None = Field(
        None, gt=0, description="penalty [$/MWh per MW]; twice the geometric mean of the units' marginal-cost slopes"
    )
    utility: bool = Field(
        True, description="whether the utility sells and buys at the members' tariff; false: units cover all they can"
    )
    pcc_limit_mw: float | None = Field(
        None, ge=0, description="most power that all members together exchange with the utility, either way [MW]"
    )
    target_mw: float | None = Field(
        None,
        description="injection of all units together [MW], whatever the utility charges; the members' own load where "
        "it is not given",
    )
    other_cost_per_mwh: float | None = Field(
        None,
        description="marginal cost of units that burn no fuel, such as the worth of stored energy [$/MWh]; not given: "
        "they keep what their policies command",
    )

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if self.over_messages and self.form == "exchange":
            raise ValueError("over_messages needs form: consensus: in the exchange form everybody knows the imbalance")
        if self.over_messages and "rounds_per_tick" in self.changed and self.rounds_per_tick != 1:
            raise ValueError("over_messages means one iteration in a tick: leave rounds_per_tick out")
        if self.pcc_limit_mw is not None and not self.has_tie:
            raise ValueError(
                "pcc_limit_mw limits the exchange with the utility: leave utility: false and target_mw out"
            )
        return self

    @property
    def has_tie(self) -> bool:
        """Whether the utility takes part."""
        return self.utility and self.target_mw is None


class Penalty(NamedTuple):
    """Penalty [$/MWh per MW], iterations in a tick, form (1 consensus), target [MW] and whether it is given.

    Then whether the utility takes part. Whether prices take their time, the length of a tick [s] and the distribution
    of delays concern `over_messages`.
    """

    rho: float
    rounds_per_tick: float
    consensus: float
    target_mw: float
    has_target: float
    has_tie: float
    late: float
    dt_s: float
    distribution: float


class Agreement(NamedTuple):
    """What is kept between iterations and ticks.

    Attributes
    ----------
    power_mw
        Power of each unit, and of the tie behind them [MW].
    price_per_mwh, dual_mw
        Price of each node, members before units [$/MWh], and what holds it to its neighbours' [MW].
    load_mw
        Own load of each member [MW], metered in the last tick.
    link_mw
        Over links that are late: `z` at the receiver of each link [MW].
    payload, arrives, sent_at, shown, delivered
        Of a :class:`~powergrid.agents.protocols._links.Queue` of the links among members.
    """

    power_mw: Array
    price_per_mwh: Array
    dual_mw: Array
    load_mw: Array
    link_mw: Array
    payload: Array
    arrives: Array
    sent_at: Array
    shown: Array
    delivered: Array


class Tables(NamedTuple):
    """Costs and limits of the nodes, members before units before the tie, and their links.

    Attributes
    ----------
    cost_per_mwh, slope_per_mw2h
        Marginal cost at zero power and its rise [$/MWh per MW]; nodes of members and the tie have neither.
    low_mw, high_mw
        Limits [MW]; zero for nodes of members.
    degree
        Number of links of each node.
    sender, receiver
        Nodes of each directed link, links among members before those with units.
    reverse
        Link in the other direction.
    unit_member
        Member of each unit.
    unit_place
        Place of each unit among all that inject.
    keeps
        1 for each unit that keeps what its policy commands.
    ago, link_of_number, number_of_number
        Places in the queue of the links among members, see :class:`~powergrid.agents.protocols._links.Tables`.
    loss, low_s, span_s
        Share lost by link among members, least delay [s] and its range [s].
    """

    cost_per_mwh: np.ndarray
    slope_per_mw2h: np.ndarray
    low_mw: np.ndarray
    high_mw: np.ndarray
    degree: np.ndarray
    sender: np.ndarray
    receiver: np.ndarray
    reverse: np.ndarray
    unit_member: np.ndarray
    unit_place: np.ndarray
    keeps: np.ndarray
    ago: np.ndarray
    link_of_number: np.ndarray
    number_of_number: np.ndarray
    loss: np.ndarray
    low_s: np.ndarray
    span_s: np.ndarray


class Sent(NamedTuple):
    """Price of each member [$/MWh], and what units and tie give beyond what is needed [MW]."""

    admm_price: Array
    admm_residual: Array


class Curves(NamedTuple):
    """What nodes ask for and can give in this tick, ``(*batch, nodes)``.

    Attributes
    ----------
    above_per_mwh, below_per_mwh
        Marginal cost at zero power on the way up and on the way down [$/MWh]: the two prices of the tie.
    slope_per_mw2h
        Its rise [$/MWh per MW].
    low_mw, high_mw
        Limits [MW].
    """

    above_per_mwh: Array
    below_per_mwh: Array
    slope_per_mw2h: Array
    low_mw: Array
    high_mw: Array


def nearest(xp: Namespace, curves: Curves, pull_per_mwh: Array, weight: Any) -> Array:
    """Power at which the marginal cost and the pull of a quadratic penalty are equal, within the limits [MW].

    Parameters
    ----------
    pull_per_mwh
        What the price and the penalty offer at zero power [$/MWh].
    weight
        Rise of the penalty [$/MWh per MW].
    """
    rise = curves.slope_per_mw2h + weight
    up = xp.maximum((pull_per_mwh - curves.above_per_mwh) / rise, 0.0)
    down = xp.minimum((pull_per_mwh - curves.below_per_mwh) / rise, 0.0)
    return xp.minimum(xp.maximum(up + down, curves.low_mw), curves.high_mw)


def exchange(
    xp: Namespace,
    curves: Curves,
    rho: float,
    rounds: int,
    load_mw: Array,
    power_mw: Array,
    price: Array,
) -> tuple[Array, Array]:
    """Iterations in which everybody knows the average imbalance.

    Parameters
    ----------
    curves
        Of the participants, ``(*batch, n)``.
    load_mw
        What they have to give together [MW], ``(*batch, 1)``, within their limits.
    power_mw, price
        Where to start: powers of the participants [MW], ``(*batch, n)``, and the price [$/MWh], ``(*batch, 1)``.

    Returns
    -------
    power_mw, price
        Likewise.
    """
    count = power_mw.shape[-1]
    power, price = 1.0 * power_mw, 1.0 * price
    imbalance = (xp.sum(power, axis=-1, keepdims=True) - load_mw) / count
    for _ in range(rounds):
        power = nearest(xp, curves, price + rho * (power - imbalance), rho)
        imbalance = (xp.sum(power, axis=-1, keepdims=True) - load_mw) / count
        price = price - rho * imbalance
    return power, price


def consensus(
    xp: Namespace,
    here: Tables,
    curves: Curves,
    rho: float,
    rounds: int,
    load_mw: Array,
    price: Array,
    dual_mw: Array,
) -> tuple[Array, Array, Array]:
    """Iterations in which every node knows the prices of its neighbours.

    Parameters
    ----------
    curves
        Of the nodes; those of members have limits of zero.
    load_mw
        Load at the nodes [MW], ``(*batch, nodes)``.
    price, dual_mw
        Where to start: prices [$/MWh] and what holds them together [MW], ``(*batch, nodes)``.

    Returns
    -------
    power_mw, price, dual_mw
        Powers of the nodes [MW], and the others likewise.
    """
    nodes = price.shape[-1]
    link = 0.5 / rho
    weight = 2.0 * link * here.degree
    price, dual, power = 1.0 * price, 1.0 * dual_mw, 0.0 * price
    for _ in range(rounds):
        heard = sum_into(xp, xp.take(price, here.sender, axis=-1), here.receiver, nodes)
        dual = dual + link * (here.degree * price - heard)
        middle = 0.5 * (price + heard / here.degree)
        power = nearest(xp, curves, middle + (load_mw - dual) / weight, 1.0 / weight)
        price = middle - (power - load_mw + dual) / weight
    return power, price, dual


def consensus_over_links(
    xp: Namespace, ctx: Context, state: Agreement, curves: Curves, load_mw: Array
) -> tuple[Agreement, Array]:
    """One iteration over links that are late and lose what is sent.

    Parameters
    ----------
    curves
        Of the nodes; those of members have limits of zero.
    load_mw
        Load at the nodes [MW], ``(*batch, nodes)``.

    Returns
    -------
    state, power_mw
        What is kept, and the powers of the nodes [MW].
    """
    here, nodes, count = ctx.tables, load_mw.shape[-1], len(ctx.tables.loss)
    weight = 1.0 / ctx.params.rho
    held = sum_into(xp, state.link_mw, here.receiver, nodes) + load_mw
    own = weight * here.degree
    power = nearest(xp, curves, held / own, 1.0 / own)
    price = (held - power) / own
    sent = 2.0 * weight * xp.take(price, here.sender, axis=-1) - xp.take(state.link_mw, here.reverse, axis=-1)
    queue = Queue(state.payload, state.arrives, state.sent_at, state.shown, state.delivered)
    after = deliver(xp, ctx, queue, sent[..., :count], 1.0 + 0.0 * sent[..., :count])
    fresh = xp.where(after.sent_at > state.sent_at, after.shown, state.link_mw[..., :count])
    arrived = xp.concatenate((fresh, sent[..., count:]), axis=-1)  # a unit is where its member is
    link_mw = 0.5 * (state.link_mw + arrived)
    units = state.power_mw.shape[-1]
    kept = Agreement(power[..., nodes - units :], price, state.dual_mw, state.load_mw, link_mw,
                     after.payload, after.arrives, after.sent_at, after.shown, after.delivered)  # fmt: skip
    return kept, power


@register_protocol("admm")
class CooperativeDispatch(HorizontalProtocol):
    """Members' units and the utility cover the members' own load at the least cost; no unit shows its cost to anybody.

    The protocol commands the active power (``p_mw``) of the units of its members that burn fuel. Others, such as
    batteries and vehicles, keep what their policies command, for what they hold is worth more or less in other ticks;
    with `other_cost_per_mwh` they are dispatched at this cost. The utility takes part at the mean tariff of the
    members' meters in this tick. The optimum is that of one bill: where each member pays its own, what one sells and
    another buys costs the difference between the prices, so let a protocol such as ``mid_market`` pool the bills. With
    `target_mw`, or `utility` false, as in an island, units cover what they can whatever the utility charges.

    The load is what the members' meters
    showed in the last tick, less what the units were commanded to inject: power that a unit could not deliver, such as
    that of an empty battery, is spread over all of them in the next tick. What lies beyond the limits of all units
    together is left to the utility. Units are taken as they are committed, and those out of service give nothing;
    energy limits and ramps are not part of the problem. Prices and powers are kept from tick to tick, so that few
    iterations follow a load that changes slowly. With ``over_messages`` there is one iteration in a tick, over the
    links of `messages`.
    """

    Settings, Params, State = Settings, Penalty, Agreement
    linked = True
    one_bill = True
    needs_connected = True
    compared = ({"form": "exchange"}, {"form": "consensus"})

    def __init__(self, **params: Any):
        super().__init__(**params)
        self._rho, self._dt_s = 1.0, 0.0
        self._links: LinkSettings = IDEAL

    def over(self, links: LinkSettings) -> CooperativeDispatch:
        """One iteration in a tick, over links with a delay and a loss."""
        given = self.settings.model_dump(exclude={"over_messages"})
        found = type(self)(**{**given, "rounds_per_tick": 1})
        found._links, found.noisy = links, not links.are_ideal  # type: ignore[misc]
        return found

    def params(self) -> Penalty:
        """Penalty, iterations, form, target and timing."""
        given = self.settings
        target = 0.0 if given.target_mw is None else given.target_mw
        numbers = self._rho, float(given.rounds_per_tick), float(given.form == "consensus"), target
        timing = float(self.noisy), self._dt_s, self._links.distribution
        return Penalty(*numbers, float(given.target_mw is not None), float(given.has_tie), *timing)

    def entries(self, members: Members) -> Added:
        """Price and residual; the units' power is governed."""
        units = [unit for member in members for unit in member.units]
        if not units:
            hint = "name members with a unit whose power is free, such as a DG or an ESS"
            raise ConfigError([Issue("protocols", "admm: its members have no unit to dispatch", hint)])
        exchanged = self.settings.form == "exchange"
        if exchanged and not members.graph.is_full:
            message = f"admm: topology {members.graph.name}: in the exchange form everybody knows the imbalance"
            raise ConfigError([Issue("protocols", message, "leave topology out, or choose form: consensus")])
        self._dt_s = members.dt_h * 3600.0
        tables = self._tables(members, units, exchanged)
        first = len(members)
        own = slice(first, first + len(units))
        slope, span = tables.slope_per_mw2h[own], (tables.high_mw - tables.low_mw)[own]
        rises = np.maximum(slope, _LEAST_RISE_PER_MWH / np.maximum(span, 1e-6))
        self._rho = self.settings.rho or 2.0 * float(np.exp(np.log(rises).mean()))
        nodes, most = len(tables.cost_per_mwh), float(np.abs([tables.low_mw[own], tables.high_mw[own]]).sum())
        givers = nodes - first
        queue = [len(tables.ago)] * 2 + [len(tables.loss)] * 2  # a number for each link
        return Added(
            channels=(
                Channel("admm_price", "$/MWh", -_PRICE_PER_MWH, _PRICE_PER_MWH),
                Channel("admm_residual", "MW", -most, most),
            ),
            governs=("p_mw",),
            tables=tables,
            widths=(givers, nodes, nodes, first, len(tables.sender) if self.noisy else 0, *queue, 1),
            draws=self._links.draws * len(tables.loss) if self.noisy else None,
            # each meter's load; in each round one to and one from each participant, or one over each directed link
            messages=first + self.settings.rounds_per_tick * (2 * givers if exchanged else len(tables.sender)),
            carries=self._ends(members),
        )

    @classmethod
    def initial(cls, xp: Namespace, batch: tuple[int, ...], widths: Sequence[int], dtype: Any) -> Agreement:
        """Nothing is agreed, and nothing is on its way."""
        nothing = Agreement(*(xp.zeros((*batch, width), dtype=dtype) for width in widths))
        return nothing._replace(arrives=nothing.arrives + LOST, sent_at=nothing.sent_at - 1.0)

    def _ends(self, members: Members) -> tuple[tuple[str, str], ...]:
        """Sender and receiver of each link among members that is late."""
        pairs = members.graph.links.tolist() if self.noisy else []
        return tuple((members[sender].id, members[receiver].id) for sender, receiver in pairs)

    def _tables(self, members: Members, units: list[Unit], exchanged: bool) -> Tables:
        """Costs, limits and links of the nodes."""
        first = len(members)
        given, none = self.settings, np.zeros(int(self.settings.has_tie))
        tie_mw = none + (_ANY_MW if given.pcc_limit_mw is None else given.pcc_limit_mw)
        unit_of = np.array([k for k, member in enumerate(members) for _ in member.units], dtype=int)
        of = np.concatenate([unit_of, none.astype(int)])
        costs = [unit.cost_per_mwh if unit.burns_fuel else given.other_cost_per_mwh or 0.0 for unit in units]
        keeps = [float(given.other_cost_per_mwh is None and not unit.burns_fuel) for unit in units]
        above, unit = np.zeros(first), first + np.arange(len(of))
        among = np.zeros((0, 2), int) if exchanged else members.graph.links
        down, up = np.stack([of, unit], axis=1), np.stack([unit, of], axis=1)
        links = np.concatenate([among, down, up])
        at = {(sender, receiver): k for k, (sender, receiver) in enumerate(links.tolist())}
        late = self._ends(members)
        number, delays = np.arange(len(late)), delays_between(self._links, late)
        queue = tables_of(delays, self._dt_s, number, number[None])
        return Tables(
            cost_per_mwh=np.concatenate([above, costs, none]),
            slope_per_mw2h=np.concatenate([above, [unit.slope_per_mw2h for unit in units], none]),
            low_mw=np.concatenate([above, [unit.p_low_mw for unit in units], -tie_mw]),
            high_mw=np.concatenate([above, [unit.p_high_mw for unit in units], tie_mw]),
            degree=np.bincount(links[:, 1], minlength=first + len(of)).astype(float),
            sender=links[:, 0],
            receiver=links[:, 1],
            reverse=np.array([at[receiver, sender] for sender, receiver in links.tolist()], dtype=int),
            unit_member=unit_of,
            unit_place=_places(members),
            keeps=np.array(keeps),
            **{name: getattr(queue, name) for name in Tables._fields if hasattr(queue, name) and name != "sender"},
        )

    @staticmethod
    def before(xp: Namespace, ctx: Context, state: Agreement, orders: Any) -> tuple[Agreement, Sent, Array]:
        """Iterate from where the last tick ended, and command the powers that result."""
        here, given, members = ctx.tables, ctx.params, state.load_mw.shape[-1]
        curves = _curves(xp, ctx, members)
        low, high, units = curves.low_mw[..., members:], curves.high_mw[..., members:], len(here.unit_member)
        load = xp.sum(state.load_mw, axis=-1, keepdims=True)
        if given.has_target > 0.0:
            load = 0.0 * load + given.target_mw
        needed = xp.maximum(load, xp.sum(low, axis=-1, keepdims=True))
        needed = xp.minimum(needed, xp.sum(high, axis=-1, keepdims=True))
        rounds, dual, kept = int(given.rounds_per_tick), 1.0 * state.dual_mw, state
        if given.consensus > 0.0:
            # what the utility covers, or the target, changes the load of all members alike
            own = state.load_mw + (needed - xp.sum(state.load_mw, axis=-1, keepdims=True)) / members
            own = xp.concatenate((own, 0.0 * state.power_mw), axis=-1)
            if given.late > 0.0:
                kept, power = consensus_over_links(xp, ctx, state, curves, own)
                price = 1.0 * kept.price_per_mwh
            else:
                power, price, dual = consensus(xp, here, curves, given.rho, rounds, own, state.price_per_mwh, dual)
            power = power[..., members:]
        else:
            start = state.price_per_mwh[..., :1]
            above, below = curves.above_per_mwh[..., members:], curves.below_per_mwh[..., members:]
            givers = Curves(above, below, curves.slope_per_mw2h[..., members:], low, high)
            power, common = exchange(xp, givers, given.rho, rounds, needed, state.power_mw, start)
            price = common + 0.0 * state.price_per_mwh
        residual = xp.sum(power, axis=-1, keepdims=True) - needed
        sent = Sent(price[..., :members], residual + 0.0 * state.load_mw)
        agreed = Agreement(power, price, dual, state.load_mw, kept.link_mw,
                           kept.payload, kept.arrives, kept.sent_at, kept.shown, kept.delivered)  # fmt: skip
        return agreed, sent, power[..., :units]

    @staticmethod
    def after(
        xp: Namespace, ctx: Context, state: Agreement, metered_mwh: Array
    ) -> tuple[Agreement, tuple[()], tuple[()], tuple[()]]:
        """Own load of each member: what was metered, and what its units were to inject."""
        of = ctx.tables.unit_member
        own = sum_into(xp, state.power_mw[..., : len(of)], of, metered_mwh.shape[-1])
        return state._replace(load_mw=metered_mwh / ctx.dt_h + own), (), (), ()


def _curves(xp: Namespace, ctx: Context, members: int) -> Curves:
    """What the nodes ask for and can give: units in service, those that keep their command, and the tie's tariff."""
    here, works = ctx.tables, xp.take(ctx.works, ctx.tables.unit_place, axis=-1)
    units = len(here.unit_member)
    end, none = members + units, 0.0 * works
    kept, keeps = ctx.governed * works, here.keeps > 0.0
    low = xp.where(keeps, kept, here.low_mw[members:end] * works)
    high = xp.where(keeps, kept, here.high_mw[members:end] * works)
    nodes = 0.0 * ctx.retail_per_mwh
    above = below = xp.concatenate((nodes, none + here.cost_per_mwh[members:end]), axis=-1)
    slope = xp.concatenate((nodes, none + here.slope_per_mw2h[members:end]), axis=-1)
    low, high = xp.concatenate((nodes, low), axis=-1), xp.concatenate((nodes, high), axis=-1)
    if ctx.params.has_tie > 0.0:
        retail = xp.sum(ctx.retail_per_mwh, axis=-1, keepdims=True) / members
        feed_in = xp.sum(ctx.feed_in_per_mwh, axis=-1, keepdims=True) / members
        zero = 0.0 * retail
        above, below = xp.concatenate((above, retail), axis=-1), xp.concatenate((below, feed_in), axis=-1)
        slope = xp.concatenate((slope, zero), axis=-1)
        low = xp.concatenate((low, zero + here.low_mw[end:]), axis=-1)
        high = xp.concatenate((high, zero + here.high_mw[end:]), axis=-1)
    return Curves(above, below, slope, low, high)


def _places(members: Members) -> np.ndarray:
    """Place of each unit that can be dispatched among all that inject, member by member."""
    place = {id: k for k, id in enumerate(id for member in members for id in member.injecting)}
    return np.array([place[unit.id] for member in members for unit in member.units], dtype=int)
