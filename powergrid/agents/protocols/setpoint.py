"""Set points: the parent's action holds its children's commands, or tells them what to keep to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import ConfigDict, Field, model_validator

from powergrid.agents.protocol import (
    Action,
    Added,
    Channel,
    Context,
    Member,
    Members,
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


class Settings(OverMessages):
    """Parameters of set points."""

    model_config = ConfigDict(populate_by_name=True)

    as_: Literal["command", "reference"] = Field(
        "command",
        alias="as",
        description="command: learned children execute their part of the parent's action; reference: children decide "
        "for themselves, see their set point and pay for missing it",
    )
    tracking_price_per_mwh: float = Field(
        0.0, ge=0, description="what a child pays for each MWh off its set point, with as: reference [$/MWh]"
    )

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if self.as_ == "command" and self.tracking_price_per_mwh > 0.0:
            raise ValueError("tracking_price_per_mwh has an effect only with as: reference")
        if self.as_ == "command" and self.over_messages:
            raise ValueError("over_messages has an effect only with as: reference: a command is no message")
        return self


class Tracking(NamedTuple):
    """Price of missing a set point [$/MWh]."""

    tracking_price_per_mwh: float


class Kept(NamedTuple):
    """Set points [MW], injection positive, ``(*batch, members)``."""

    setpoint_mw: Array


class SetPoints(NamedTuple):
    """Set point of each child [MW], injection positive."""

    setpoint: Array


class Sent(NamedTuple):
    """Set point of each child [MW], injection positive."""

    setpoint: Array


class Paid(NamedTuple):
    """What children pay for missing their set points [$]."""

    tracking: Array


@register_protocol("setpoint")
class SetpointProtocol(VerticalProtocol):
    """The parent assigns set points to its children.

    ``as: command`` (default): the parent's action holds each free number of its learned children, in their own ranges:
    -1 is the lowest, 1 the highest value; the device's limits clip the rest. A child with a local policy keeps that.

    ``as: reference``: the parent's action holds one active power per child [MW], injection positive; for a coordinator
    it is the total of its units. The child decides for itself, observes its set point, and pays the utility
    ``tracking_price_per_mwh`` for the energy by which it misses it, ``|injected - setpoint| dt``.
    """

    Settings, Params, State = Settings, Tracking, Kept
    commands_children = True

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.commands_children = self.settings.as_ == "command"
        if not self.commands_children:
            self.Orders = SetPoints  # type: ignore[misc]

    def entries(self, members: Sequence[Member]) -> Added:
        """With ``as: reference`` one set point per child."""
        if self.commands_children:
            return Added()
        low, high = tuple(m.p_low_mw for m in members), tuple(m.p_high_mw for m in members)
        bounds = min(low, default=0.0), max(high, default=0.0)
        return Added(
            actions=(Action("setpoint", "MW", low, high, each=True, meaning="power"),),
            channels=(Channel("setpoint", "MW", *bounds),),
            money_names=Paid._fields,
        )

    @staticmethod
    @memberwise
    def before(xp: Namespace, ctx: Context, state: Kept, orders: SetPoints) -> tuple[Kept, Sent, Array]:
        """Send every child its set point."""
        return Kept(orders.setpoint), Sent(orders.setpoint), ctx.governed

    @staticmethod
    def after(xp: Namespace, ctx: Context, state: Kept, metered_mwh: Array) -> tuple[Kept, tuple[()], Paid, tuple[()]]:
        """Charge each child for what it missed."""
        missed_mwh = xp.abs(-metered_mwh - state.setpoint_mw * ctx.dt_h)
        paid = ctx.params.tracking_price_per_mwh * missed_mwh
        return state, (), Paid(xp.concatenate((paid, -xp.sum(paid, axis=-1, keepdims=True)), axis=-1)), ()

    def over(self, links: LinkSettings) -> SetpointProtocol:
        """Set points over links with a delay and a loss; the same where they have neither."""
        return self if links.are_ideal else SetPointsOverLinks(links, self.settings)


class LateTracking(NamedTuple):
    """Price of missing a set point [$/MWh], and the timing of the links."""

    tracking_price_per_mwh: float
    dt_s: float
    distribution: float
    max_age_s: float


class Received(NamedTuple):
    """Set point that has reached each child [MW], injection positive, and its age [s]."""

    setpoint: Array
    setpoint_age: Array


class SetPointsOverLinks(OverLinks, SetpointProtocol):
    """The parent sends each child its set point when it decides; a child pays for missing what has arrived."""

    Params: ClassVar[Any] = LateTracking
    State: ClassVar[Any] = Queue
    Orders = SetPoints
    commands_children = False

    def params(self) -> LateTracking:
        """Price and timing."""
        timing = self._dt_s, self.links.distribution, MAX_AGE_S
        return LateTracking(self.settings.tracking_price_per_mwh, *timing)

    def entries(self, members: Members) -> Added:  # type: ignore[override]
        """The set points as actions of the parent, and what each child knows of its own."""
        added = super().entries(members)
        age = Channel("setpoint_age", "s", 0.0, MAX_AGE_S, MAX_AGE_S)
        carried = self.carried(members, each=True)
        return added._replace(channels=(*added.channels, age), **carried)

    @staticmethod
    def before(  # type: ignore[override]
        xp: Namespace, ctx: Context, state: Queue, orders: SetPoints
    ) -> tuple[Queue, Received, Array]:
        """Send where the parent decides, and deliver."""
        after = deliver(xp, ctx, state, orders.setpoint, xp.take(ctx.due, ctx.tables.sender, axis=-1))
        return after, Received(after.shown, age_s(xp, ctx, after.sent_at)), ctx.governed

    @staticmethod
    def after(  # type: ignore[override]
        xp: Namespace, ctx: Context, state: Queue, metered_mwh: Array
    ) -> tuple[Queue, tuple[()], Paid, tuple[()]]:
        """Charge each child for what it missed of the set point that it knows."""
        missed_mwh = xp.where(state.sent_at < 0.0, 0.0, xp.abs(-metered_mwh - state.shown * ctx.dt_h))
        paid = ctx.params.tracking_price_per_mwh * missed_mwh
        return state, (), Paid(xp.concatenate((paid, -xp.sum(paid, axis=-1, keepdims=True)), axis=-1)), ()
