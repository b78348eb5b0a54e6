"""Protocols and a policy that no file of the package knows: one file each would be enough to add them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from powergrid.agents.policy import LocalPolicy, NoMemory
from powergrid.agents.protocol import (
    Action,
    Added,
    Channel,
    Context,
    HorizontalProtocol,
    Member,
    VerticalProtocol,
    memberwise,
)
from powergrid.core.settings import NumberSettings
from powergrid.plugins import register_policy, register_protocol


class Harm(NamedTuple):
    """Priced use beyond a share."""

    peak: Any


class Allowed(NamedTuple):
    """Share of the commanded power that children may deliver."""

    allowed_share: Any


class AllowedSent(NamedTuple):
    """The share, as children receive it."""

    allowed: Any


@register_protocol("curtailment")
class Curtailment(VerticalProtocol):
    """The parent scales what its children are commanded: it governs commands."""

    Orders = Allowed

    def entries(self, members: Sequence[Member]) -> Added:
        """One share; the children see it; it governs active power."""
        share = Channel("allowed", "1", 0.0, 1.0, default=1.0, each=False)
        return Added(
            actions=(Action("allowed_share", "1", 0.0, 1.0),),
            channels=(share,),
            governs=("p_mw",),
            violation_names=Harm._fields,
        )

    @staticmethod
    def before(xp: Any, ctx: Context, state: Any, orders: Allowed) -> Any:
        """Scale the commands."""
        return state, AllowedSent(orders.allowed_share), ctx.governed * orders.allowed_share

    @staticmethod
    def after(xp: Any, ctx: Context, state: Any, metered_mwh: Any) -> Any:
        """A price on all that is commanded in the end, which every form must know alike."""
        return state, (), (), Harm(metered_mwh * 0.0 + xp.sum(xp.abs(ctx.governed), axis=-1, keepdims=True))


class Heard(NamedTuple):
    """What each member has heard so far."""

    opinion: Any


class Opinion(NamedTuple):
    """What a member says."""

    says: Any


class Rumour(NamedTuple):
    """The mean that reaches a member."""

    rumour: Any


@register_protocol("gossip")
class Gossip(HorizontalProtocol):
    """A noisy average of neighbours with a memory."""

    State, Orders, noisy = Heard, Opinion, True

    def entries(self, members: Sequence[Member]) -> Added:
        """One number said, one received."""
        return Added(actions=(Action("says", "1", -1.0, 1.0),), channels=(Channel("rumour", "1", -2.0, 2.0),))

    @staticmethod
    def before(xp: Any, ctx: Context, state: Heard, orders: Opinion) -> Any:
        """Move half of the way to a noisy mean of what the others say."""
        noise = 0.1 * (ctx.uniform - 0.5)
        said = xp.sum(orders.says + noise, axis=-1, keepdims=True)
        opinion = 0.5 * state.opinion + 0.5 * (said - orders.says)
        return Heard(opinion), Rumour(opinion), ctx.governed


class Fee(NamedTuple):
    """What members pay to a fund."""

    fund: Any


@register_protocol("fund")
class Fund(HorizontalProtocol):
    """Members pay a counterparty for each MWh that they draw, and too much of it is a violation."""

    def entries(self, members: Sequence[Member]) -> Added:
        """No order: it only settles."""
        return Added(money_names=Fee._fields, violation_names=Harm._fields)

    @staticmethod
    def after(xp: Any, ctx: Context, state: Any, metered_mwh: Any) -> Any:
        """10 $/MWh to the counterparty; 5 $/MWh of harm beyond 0.05 MWh."""
        paid = 10.0 * xp.maximum(metered_mwh, 0.0)
        harm = 5.0 * xp.maximum(metered_mwh - 0.05, 0.0)
        return state, (), Fee(xp.concatenate((paid, -xp.sum(paid, axis=-1, keepdims=True)), axis=-1)), Harm(harm)


@register_protocol("leak")
class Leak(HorizontalProtocol):
    """Members pay, and nobody receives it: the examiner must refuse it."""

    def entries(self, members: Sequence[Member]) -> Added:
        """One name of money."""
        return Added(money_names=Fee._fields)

    @staticmethod
    def after(xp: Any, ctx: Context, state: Any, metered_mwh: Any) -> Any:
        """The counterparty gets nothing."""
        paid = 10.0 * xp.maximum(metered_mwh, 0.0)
        return state, (), Fee(xp.concatenate((paid, 0.0 * xp.sum(paid, axis=-1, keepdims=True)), axis=-1)), ()


class Wish(NamedTuple):
    """Share of the commands that a member would like, and a number that it lets everybody know."""

    share: Any
    mood: Any


@register_protocol("wishes")
class Wishes(HorizontalProtocol):
    """Members scale their own commands, by rules that use all that rules may know."""

    State, Orders, noisy = Heard, Wish, True
    governing = True

    def entries(self, members: Sequence[Member]) -> Added:
        """Two numbers said, one received; it governs active power."""
        return Added(
            actions=(Action("share", "1", 0.0, 1.0), Action("mood", "1", -2.0, 3.0)),
            channels=(Channel("rumour", "1", -4.0, 4.0),),
            governs=("p_mw",) if self.governing else (),
            violation_names=Harm._fields,
        )

    @staticmethod
    def rule(xp: Any, ctx: Context, state: Heard, position: Any) -> Wish:
        """More the more is imported and the dearer the own generator, less of what has been heard."""
        share = 0.4 + position.imported_mw + 0.004 * position.marginal_cost_per_mwh - 0.2 * state.opinion
        said = xp.sum(xp.abs(ctx.governed), axis=-1, keepdims=True) + ctx.uniform + 0.01 * ctx.retail_per_mwh
        return Wish(share, said)

    @staticmethod
    @memberwise
    def abstain(xp: Any, ctx: Context, state: Heard, position: Any) -> Wish:
        """All of it, without a word."""
        return Wish(xp.where(position.imported_mw > -1.0, 1.0, 0.5), 0.0 * ctx.v_pu)

    @staticmethod
    def before(xp: Any, ctx: Context, state: Heard, orders: Wish) -> Any:
        """Everybody hears the mood of all; the mean share scales the commands."""
        opinion = 0.5 * state.opinion + 0.1 * xp.sum(orders.mood, axis=-1, keepdims=True)
        return Heard(opinion), Rumour(opinion), ctx.governed * xp.max(orders.share, axis=-1, keepdims=True)

    @staticmethod
    def after(xp: Any, ctx: Context, state: Heard, metered_mwh: Any) -> Any:
        """A price on what is heard."""
        return state, (), (), Harm(xp.abs(state.opinion) + xp.abs(metered_mwh))


@register_protocol("moods")
class Moods(Wishes):
    """The same among members who govern nothing."""

    governing = False


@register_protocol("hermits")
class Hermits(Moods):
    """The same among members who hear nobody: every kernel before the flow treats each by itself."""

    noisy = False

    @staticmethod
    @memberwise
    def rule(xp: Any, ctx: Context, state: Heard, position: Any) -> Wish:
        """More the more is imported and the dearer the own generator, less of what one has said."""
        share = 0.4 + position.imported_mw + 0.004 * position.marginal_cost_per_mwh - 0.2 * state.opinion
        return Wish(share, 0.01 * (ctx.retail_per_mwh - ctx.feed_in_per_mwh) + ctx.v_pu)

    @staticmethod
    @memberwise
    def before(xp: Any, ctx: Context, state: Heard, orders: Wish) -> Any:
        """Everybody hears the own mood and wish, louder in each tick in which one decides."""
        opinion = 0.5 * state.opinion + 0.1 * orders.mood * orders.share + 0.01 * ctx.tick * ctx.due
        return Heard(opinion), Rumour(opinion), ctx.governed


class Hertz(NamedTuple):
    """Frequency [Hz] and island of each member."""

    hertz: Any
    island: Any


@register_protocol("frequency_meter")
class FrequencyMeter(HorizontalProtocol):
    """Tells each member the frequency at its unit and its island."""

    def entries(self, members: Sequence[Member]) -> Added:
        """Two numbers received."""
        return Added(channels=(Channel("hertz", "Hz", 0.0, 100.0), Channel("island", "1", -1.0, 9.0)))

    @staticmethod
    def after(xp: Any, ctx: Context, state: Any, metered_mwh: Any) -> Any:
        """What holds after the flow."""
        return state, Hertz(1.0 * ctx.frequency_hz, 1.0 * ctx.island), (), ()


class Told(NamedTuple):
    """A number that a parent tells its children."""

    told: Any


@register_protocol("teller")
class Teller(VerticalProtocol):
    """A parent that decides by a rule, of what it has told so far."""

    State, Orders = Heard, Told

    def entries(self, members: Sequence[Member]) -> Added:
        """One number told to each child, which sees it."""
        return Added(
            actions=(Action("told", "1", -1.0, 5.0, each=True),), channels=(Channel("rumour", "1", -9.0, 9.0),)
        )

    @staticmethod
    def rule(xp: Any, ctx: Context, state: Heard, position: Any) -> Told:
        """The market price and the voltage, less what has been told."""
        return Told(0.02 * ctx.price_per_mwh + ctx.v_pu - 0.3 * state.opinion)

    @staticmethod
    def before(xp: Any, ctx: Context, state: Heard, orders: Told) -> Any:
        """Remember and tell."""
        return Heard(0.5 * state.opinion + orders.told), Rumour(orders.told), ctx.governed


@register_protocol("averager")
class Averager(Teller):
    """A parent whose seam is marked as one that treats every member by itself, and does not."""

    @staticmethod
    @memberwise
    def before(xp: Any, ctx: Context, state: Heard, orders: Told) -> Any:
        """Tell everybody the sum."""
        return state, Rumour(xp.sum(orders.told, axis=-1, keepdims=True)), ctx.governed


class Integral(NamedTuple):
    """Sum of the voltage's deviation [pu]."""

    deviation_pu: Any


@register_policy("integral_voltage")
class IntegralVoltage(LocalPolicy):
    """Active power against the sum of the voltage's deviation from 1 pu: a policy with a memory."""

    State = Integral

    @staticmethod
    def act(xp: Any, params: NoMemory, memory: Integral, unit: Any, dt_h: float) -> Any:
        """Discharge where the voltage has been low."""
        deviation = memory.deviation_pu + (1.0 - unit.v_pu)
        return Integral(deviation), unit.rule._replace(p_mw=deviation)


class Gains(NumberSettings):
    """Numbers of a policy."""

    gain: float = 0.3


class Gain(NamedTuple):
    """The same as plain numbers."""

    gain: Any


class Seen(NamedTuple):
    """What a policy remembers of its unit."""

    held: Any
    drawn: Any


@register_policy("curious")
class Curious(LocalPolicy):
    """Uses all that the kernel of a policy may use, and remembers two numbers."""

    State, Settings, Params, noisy = Seen, Gains, Gain, True

    @staticmethod
    def act(xp: Any, params: Gain, memory: Seen, unit: Any, dt_h: float) -> Any:
        """A mixture of the rule, of what has been commanded so far, of prices, the voltage and chance."""
        look = unit.outlook
        price = 0.001 * (look.price_per_mwh - look.mean_price_per_mwh + look.price_ahead_per_mwh[1])
        own = 0.1 * memory.held + dt_h * look.net_load_mw - 0.01 * look.settlement_per_mwh + 0.01 * look.hour
        p_mw = params.gain * unit.rule.p_mw + own + price + 0.2 * (unit.uniform - 0.5) + (1.0 - unit.v_pu)
        return Seen(unit.held.p_mw, memory.drawn + unit.uniform), unit.rule._replace(p_mw=p_mw)


@register_policy("relays")
class RelaysOnly(LocalPolicy):
    """Regulators as their relays ask, without any curve."""

    relays = True
