"""Set points: the parent's action holds its children's commands, or tells them what to keep to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, model_validator

from powergrid.agents.protocol import (
    Action,
    Added,
    Channel,
    Context,
    Member,
    ProtocolSettings,
    VerticalProtocol,
)
from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.plugins import register_protocol


class Settings(ProtocolSettings):
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
    def before(xp: Namespace, ctx: Context, state: Kept, orders: SetPoints) -> tuple[Kept, Sent, Array]:
        """Send every child its set point."""
        return Kept(orders.setpoint), Sent(orders.setpoint), ctx.governed

    @staticmethod
    def after(xp: Namespace, ctx: Context, state: Kept, metered_mwh: Array) -> tuple[Kept, tuple[()], Paid, tuple[()]]:
        """Charge each child for what it missed."""
        missed_mwh = xp.abs(-metered_mwh - state.setpoint_mw * ctx.dt_h)
        paid = ctx.params.tracking_price_per_mwh * missed_mwh
        return state, (), Paid(xp.concatenate((paid, -xp.sum(paid, axis=-1, keepdims=True)), axis=-1)), ()
