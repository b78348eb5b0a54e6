"""Reserve: the parent requires headroom of its children, pays for what they hold and charges for what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field

from powergrid.agents.protocol import (
    Action,
    Added,
    Channel,
    Context,
    Member,
    Position,
    ProtocolSettings,
    VerticalProtocol,
    memberwise,
)
from powergrid.core.backend import Namespace, sum_into
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Array
from powergrid.plugins import register_protocol


class Settings(ProtocolSettings):
    """Parameters of reserve."""

    price_per_mw_h: float = Field(10.0, ge=0, description="paid for headroom, up to what is required [$/(MW h)]")
    missing_price_per_mw_h: float = Field(50.0, ge=0, description="charged for missing headroom [$/(MW h)]")
    rule_share: float = Field(
        0.2, ge=0, le=1, description="what a parent with a rule requires, as a share of each child's most [1]"
    )


class Prices(NamedTuple):
    """Prices [$/(MW h)] and the share that the rule requires."""

    price_per_mw_h: float
    missing_price_per_mw_h: float
    rule_share: float


class Limits(NamedTuple):
    """Power that each unit can always reach [MW], its member, and the most headroom of each member [MW]."""

    firm_mw: Array
    unit_member: Array
    most_mw: Array


class Kept(NamedTuple):
    """Headroom required of each child [MW], ``(*batch, members)``."""

    required_mw: Array


class Required(NamedTuple):
    """Headroom required of each child [MW]."""

    reserve: Array


class Sent(NamedTuple):
    """Headroom required of each child [MW]."""

    reserve: Array


class Held(NamedTuple):
    """Headroom of each child in the last tick [MW]."""

    headroom: Array


class Paid(NamedTuple):
    """What children pay their parent [$]: for missing headroom, less what they get for headroom."""

    reserve: Array


@register_protocol("reserve")
class ReserveProtocol(VerticalProtocol):
    r"""The parent requires headroom upwards of each child [MW], pays for it, and charges for what is missing.

    The headroom of child :math:`k` in a tick is :math:`h_k = \max(F_k - P_k, 0)`: the power :math:`F_k` that its units
    can always reach less what they inject, :math:`P_k`, both at their terminals. With the requirement :math:`R_k` it
    receives

    .. math:: (\pi \min(h_k, R_k) - \mu \max(R_k - h_k, 0)) \, \Delta t

    from its parent. This is the settlement of capacity of an operating reserve, see Kirschen and Strbac, "Fundamentals
    of Power System Economics", Wiley (2004), chapter 5. Each child observes what is required and, after the tick, the
    headroom that it had. Where a child has no voltage nothing is settled.

    What a unit can always reach is the highest power of a generator, and zero for a battery: a battery offers the
    charging that it can stop, which needs no energy. What it could discharge on top is not counted, since its state of
    charge is no part of this settlement. Units whose reach depends on weather, on users or on earlier ticks are refused
    by name: renewables, loads, vehicles, and generators with ramp limits or commitment. A unit that is out of service
    holds nothing: what is required of its member is missing then. Headroom downwards, and the call of reserve after a
    fault, are not modelled.

    A parent with a rule requires the share `rule_share` of the most headroom of each child.
    """

    Settings, Params, State, Orders = Settings, Prices, Kept, Required
    counterparty = "parent"

    def entries(self, members: Sequence[Member]) -> Added:
        """A requirement for each child, as an action of the parent and as a signal; the headroom that it had.

        Raises
        ------
        ConfigError
            If a child has a unit whose reach is not firm, or no headroom at all.
        """
        for member in members:
            if member.not_firm:
                message = f'"{member.not_firm[0]}" cannot promise power: it follows weather, users, ramps or starts'
                action = "take it out of sub_agents; generators without ramp limit and commitment and batteries can"
                raise ConfigError([Issue("protocol", f"reserve: {message}", action)])
        firm = np.array([member.p_firm_mw for member in members])
        most = firm - np.minimum([member.p_low_mw for member in members], 0.0)
        for member, headroom_mw in zip(members, most, strict=True):
            if headroom_mw <= 0.0:
                message = f'reserve: "{member.id}" has no unit with headroom'
                raise ConfigError([Issue("protocol", message, "take it out of sub_agents, or give it a generator")])
        bounds = 0.0, float(max(most, default=1.0))
        return Added(
            actions=(Action("reserve", "MW", (0.0,) * len(most), tuple(most.tolist()), each=True),),
            channels=(Channel("reserve", "MW", *bounds), Channel("headroom", "MW", *bounds)),
            money_names=Paid._fields,
            tables=Limits(
                np.array([power for member in members for power in member.firm_mw], dtype=float),
                np.array([k for k, member in enumerate(members) for _ in member.firm_mw], dtype=int),
                most,
            ),
        )

    @staticmethod
    @memberwise
    def before(xp: Namespace, ctx: Context, state: Kept, orders: Required) -> tuple[Kept, Sent, Array]:
        """Tell every child what is required."""
        return Kept(orders.reserve), Sent(orders.reserve), ctx.governed

    @staticmethod
    def after(xp: Namespace, ctx: Context, state: Kept, metered_mwh: Array) -> tuple[Kept, Held, Paid, tuple[()]]:
        """Pay for headroom up to what is required, and charge for the rest."""
        alive = 1.0 * (ctx.v_pu > 0.0)
        reach_mw = sum_into(xp, ctx.works * ctx.tables.firm_mw, ctx.tables.unit_member, metered_mwh.shape[-1])
        headroom_mw = alive * xp.maximum(reach_mw + metered_mwh / ctx.dt_h, 0.0)
        held_mw = xp.minimum(headroom_mw, state.required_mw)
        missing_mw = alive * (state.required_mw - held_mw)
        paid = ctx.params.missing_price_per_mw_h * missing_mw - ctx.params.price_per_mw_h * held_mw
        paid = paid * ctx.dt_h
        return (
            state,
            Held(headroom_mw),
            Paid(xp.concatenate((paid, -xp.sum(paid, axis=-1, keepdims=True)), axis=-1)),
            (),
        )

    @staticmethod
    def rule(xp: Namespace, ctx: Context, state: Kept, position: Position) -> Required:
        """Require a share of the most that each child can hold."""
        return Required(ctx.params.rule_share * ctx.tables.most_mw + 0.0 * ctx.v_pu)
