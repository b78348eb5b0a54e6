"""Incentives: the parent rewards or charges each child for its energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from pydantic import Field, model_validator

from powergrid.agents.protocol import (
    Action,
    Added,
    Channel,
    Context,
    Member,
    Members,
    Position,
    VerticalProtocol,
    memberwise,
)
from powergrid.agents.protocols._links import (
    MAX_AGE_S,
    LinkSettings,
    OverLinks,
    OverMessages,
    Queue,
    age_s,
    deliver,
)
from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.plugins import register_protocol

_PRICE_BOUND = 10_000.0
"""Bound of the price with its incentive in observations [$/MWh]; market prices stay below it."""


class Settings(OverMessages):
    """Parameters of incentives."""

    incentive_min_per_mwh: float = Field(-50.0, ge=-5000, le=5000, description="lowest incentive [$/MWh]")
    incentive_max_per_mwh: float = Field(50.0, ge=-5000, le=5000, description="highest incentive [$/MWh]")
    deadband_pu: float = Field(
        0.02, ge=0, le=0.5, description="deviation from 1 pu up to which the parent's rule pays nothing [pu]"
    )
    full_pu: float = Field(
        0.05, gt=0, le=0.5, description="deviation from 1 pu at which the rule pays or charges the most [pu]"
    )

    @model_validator(mode="after")
    def _check(self) -> Settings:
        low, high = self.incentive_min_per_mwh, self.incentive_max_per_mwh
        if not low < high:
            raise ValueError(f"incentive_min_per_mwh {low} must be below incentive_max_per_mwh {high}")
        if not self.deadband_pu < self.full_pu:
            raise ValueError(f"deadband_pu {self.deadband_pu} must be below full_pu {self.full_pu}")
        return self


class Rates(NamedTuple):
    """Bounds [$/MWh], and the voltage deviations of the rule [pu]."""

    incentive_min_per_mwh: float
    incentive_max_per_mwh: float
    deadband_pu: float
    full_pu: float


class Kept(NamedTuple):
    """Incentives that hold [$/MWh], ``(*batch, members)``."""

    incentive_per_mwh: Array


class Incentives(NamedTuple):
    """Incentive of each child [$/MWh]; positive rewards injection."""

    incentive: Array


class Sent(NamedTuple):
    """Incentive of each child, and the price that holds for it with the incentive [$/MWh]."""

    incentive: Array
    incentive_price: Array


class Paid(NamedTuple):
    """What children pay their parent [$]; negative where they receive."""

    incentive: Array


@register_protocol("incentive")
class IncentiveProtocol(VerticalProtocol):
    r"""The parent's action is one reward or penalty per MWh for each child [$/MWh], paid between their accounts.

    Child :math:`k` receives :math:`r_k E_k` from its parent, where :math:`r_k` is its incentive and :math:`E_k` the
    energy that its units inject in the tick [MWh], negative where they draw: a positive incentive rewards injection and
    charges consumption alike. The sum over the children is what the parent pays; the utility has no part in it. A child
    on its parent's account, such as a battery with a local policy below a learned operator, is paid within that
    account, which changes nobody's money.

    Each child observes its incentive. It comes on top of what energy costs or earns at the child's meter: local
    policies of the child and of everybody below it respond to :math:`p_\text{retail} + r_k` for energy that they save
    and to :math:`p_\text{feed-in} + r_k` for energy that they sell, so that a generator runs where its marginal cost
    equals this sum. An incentive is a rate, not an order: what the child does with it is the child's choice, and load
    of the network behind a child's meter is not paid for.

    A parent with a rule supports the voltage: it pays nothing while the voltage at the child is within `deadband_pu` of
    1 pu, and beyond it linearly up to the bounds at `full_pu`, a reward where the voltage is low and a penalty where it
    is high, as a volt-watt curve does (IEEE Std 1547-2018, 5.4.2) but by a price. Where the bounds exclude zero, the
    nearest of them stands for nothing.

    Payments of this kind are incentive-based demand response in the terms of Albadi and El-Saadany, "A summary of
    demand response in electricity markets", Electric Power Systems Research 78 (2008).
    """

    Settings, Params, State, Orders = Settings, Rates, Kept, Incentives
    counterparty = "parent"

    def entries(self, members: Sequence[Member]) -> Added:
        """One incentive for each child, as an action of the parent and as a signal, and the price with it."""
        low, high = self.settings.incentive_min_per_mwh, self.settings.incentive_max_per_mwh
        price = Channel("incentive_price", "$/MWh", -_PRICE_BOUND, _PRICE_BOUND, stands_for="price_per_mwh")
        return Added(
            actions=(Action("incentive", "$/MWh", low, high, each=True),),
            channels=(Channel("incentive", "$/MWh", low, high, min(max(0.0, low), high)), price),
            money_names=Paid._fields,
        )

    @staticmethod
    @memberwise
    def before(xp: Namespace, ctx: Context, state: Kept, orders: Incentives) -> tuple[Kept, Sent, Array]:
        """Tell every child its incentive."""
        price = ctx.price_per_mwh + orders.incentive
        return Kept(orders.incentive), Sent(orders.incentive, price), ctx.governed

    @staticmethod
    def after(xp: Namespace, ctx: Context, state: Kept, metered_mwh: Array) -> tuple[Kept, tuple[()], Paid, tuple[()]]:
        """Pay each child for what it injected."""
        paid = state.incentive_per_mwh * metered_mwh
        return state, (), Paid(xp.concatenate((paid, -xp.sum(paid, axis=-1, keepdims=True)), axis=-1)), ()

    @staticmethod
    @memberwise
    def rule(xp: Namespace, ctx: Context, state: Kept, position: Position) -> Incentives:
        """Support the voltage at each child."""
        low, high = ctx.params.incentive_min_per_mwh, ctx.params.incentive_max_per_mwh
        missing_pu = 1.0 - ctx.v_pu
        beyond = xp.maximum(xp.abs(missing_pu) - ctx.params.deadband_pu, 0.0)
        share = xp.minimum(beyond / (ctx.params.full_pu - ctx.params.deadband_pu), 1.0)
        wanted = xp.where(missing_pu > 0.0, high * share, low * share)
        return Incentives(xp.minimum(xp.maximum(wanted, low), high))

    def over(self, links: LinkSettings) -> IncentiveProtocol:
        """Incentives over links with a delay and a loss; the same where they have neither."""
        return self if links.are_ideal else IncentiveOverLinks(links, self.settings)


class LateRates(NamedTuple):
    """As :class:`Rates`, with the timing of the links and the incentive before anything arrives [$/MWh]."""

    incentive_min_per_mwh: float
    incentive_max_per_mwh: float
    deadband_pu: float
    full_pu: float
    dt_s: float
    distribution: float
    max_age_s: float
    default_per_mwh: float


class Received(NamedTuple):
    """As :class:`Sent`, as far as it has arrived, and its age [s]."""

    incentive: Array
    incentive_price: Array
    incentive_age: Array


def arrived(xp: Namespace, ctx: Context, state: Queue) -> Array:
    """Incentive that has reached each child [$/MWh], ``(*batch, members)``."""
    return xp.where(state.sent_at < 0.0, ctx.params.default_per_mwh, state.shown)


class IncentiveOverLinks(OverLinks, IncentiveProtocol):
    """The parent sends each child its incentive when it decides; what has arrived is what is paid."""

    Params: ClassVar[Any] = LateRates
    State: ClassVar[Any] = Queue

    def params(self) -> LateRates:
        """Bounds and the rule's deviations, timing, and the incentive that holds at first."""
        low, high = self.settings.incentive_min_per_mwh, self.settings.incentive_max_per_mwh
        timing = self._dt_s, self.links.distribution, MAX_AGE_S, min(max(0.0, low), high)
        return LateRates(low, high, self.settings.deadband_pu, self.settings.full_pu, *timing)

    def entries(self, members: Members) -> Added:  # type: ignore[override]
        """The incentives as actions of the parent, and what each child knows of its own."""
        added = super().entries(members)
        age = Channel("incentive_age", "s", 0.0, MAX_AGE_S, MAX_AGE_S)
        carried = self.carried(members, each=True)
        return added._replace(channels=(*added.channels, age), **carried)

    @staticmethod
    def before(  # type: ignore[override]
        xp: Namespace, ctx: Context, state: Queue, orders: Incentives
    ) -> tuple[Queue, Received, Array]:
        """Send where the parent decides, and deliver."""
        after = deliver(xp, ctx, state, orders.incentive, xp.take(ctx.due, ctx.tables.sender, axis=-1))
        told = arrived(xp, ctx, after)
        return after, Received(told, ctx.price_per_mwh + told, age_s(xp, ctx, after.sent_at)), ctx.governed

    @staticmethod
    def after(  # type: ignore[override]
        xp: Namespace, ctx: Context, state: Queue, metered_mwh: Array
    ) -> tuple[Queue, tuple[()], Paid, tuple[()]]:
        """Pay each child for what it injected, at the incentive that it knows."""
        paid = arrived(xp, ctx, state) * metered_mwh
        return state, (), Paid(xp.concatenate((paid, -xp.sum(paid, axis=-1, keepdims=True)), axis=-1)), ()
