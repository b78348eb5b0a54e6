"""Energy market on the network: an operator clears offers and bids at locational marginal prices.

In each tick the operator solves

    minimise    accepted offers - accepted bids + demand that is not served, each at its price
    subject to  power balance and the limits of the network

and pays and charges everybody the price of one more MWh at its bus (F. C. Schweppe, M. C. Caramanis, R. D. Tabors and
R. E. Bohn, "Spot Pricing of Electricity", Kluwer, 1988). Models of the network and methods are those of
:mod:`powergrid.markets`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from powergrid.agents.market import Market
from powergrid.agents.protocol import (
    Action,
    Added,
    Channel,
    Context,
    Members,
    Position,
    ProtocolSettings,
    Unit,
    VerticalProtocol,
)
from powergrid.core.backend import Namespace, sum_into
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Array
from powergrid.plugins import register_protocol

_ROOM = 1.2
"""Source without a limit: its blocks exceed all that it could have to deliver or take by this factor."""
_LEAST_MW = 1.0
"""And by this power."""
_NOT_CONVERGED = 3
"""Status of a clearing without an optimum, as of :mod:`powergrid.markets`."""
_FAR_MW = 1e9
"""End of the last block of a unit, beyond whatever it can inject."""
_BOUND_MW = 10_000.0
"""Bound of powers in observations, as that of meters."""
_RADIAL_ONLY = ("v_min_pu", "v_max_pu", "voltage_bus", "rounds")
_NETWORK_ONLY = ("limit_percent", "monitored", "limit_per_mwh")


class Settings(ProtocolSettings):
    """Parameters of the market."""

    model_config = ConfigDict(populate_by_name=True)

    model: Literal["dc", "lindistflow", "copper_plate"] = Field(
        "dc",
        description="dc: meshed transmission networks; lindistflow: radial feeders, with losses and voltage limits; "
        "copper_plate: one price everywhere",
    )
    clearing: Literal["ipm", "highs"] = Field(
        "ipm",
        description="ipm: interior-point method for one environment, batches and JAX; highs: simplex method, one "
        "environment after the other, not on JAX",
    )
    as_: Literal["command", "reference"] = Field(
        "command",
        alias="as",
        description="command: units are commanded what is cleared; reference: who decides for them now does so, and "
        "sees what is cleared",
    )
    blocks: int = Field(5, ge=1, le=50, description="blocks that the rising marginal cost of a unit is offered in")
    markup_max_per_mwh: float = Field(
        20.0, gt=0, description="most that a member may add to its prices, or take off them [$/MWh]"
    )
    store_price_min_per_mwh: float = Field(
        0.0, description="least value that a member may set on stored energy [$/MWh]"
    )
    store_price_max_per_mwh: float = Field(200.0, description="most value of that kind [$/MWh]")
    import_mw: float | None = Field(
        None, ge=0, description="most that the source sells, at the market price of the data [MW]; as much as is needed"
    )
    export_mw: float | None = Field(None, ge=0, description="most that the source buys [MW]; as much as there is")
    export_spread_per_mwh: float = Field(
        1.0, ge=0, description="what the source pays less than the market price of the data [$/MWh]"
    )
    reserve_mw: float = Field(0.0, ge=0, description="reserve that generators are to hold, upwards [MW]")
    reserve_shortage_per_mwh: float = Field(1_000.0, gt=0, description="price of reserve that nobody holds [$/MWh]")
    lost_load_per_mwh: float = Field(10_000.0, gt=0, description="price of demand that offers do not cover [$/MWh]")
    curtailment_per_mwh: float = Field(0.0, description="price of generation out of command that is not taken [$/MWh]")
    limit_per_mwh: float = Field(
        20_000.0, gt=0, description="price at which a limit of the network is exceeded [$/MWh]"
    )
    limit_percent: float = Field(100.0, gt=0, description="loading at which a branch is full [%]")
    monitored: list[str] | None = Field(None, description="branches that are held to their ratings; all with a rating")
    v_min_pu: float = Field(0.95, description="lowest voltage, model lindistflow [pu]")
    v_max_pu: float = Field(1.05, description="highest voltage, model lindistflow [pu]")
    voltage_bus: list[str] | None = Field(
        None, description="buses that are held to the voltage limits, model lindistflow; all but the source"
    )
    rounds: int = Field(
        1, ge=1, le=5, description="clearings in a tick, each linear around the dispatch of the one before, lindistflow"
    )
    reference_bus: str | None = Field(
        None, description="bus at which components other than energy are zero; the load-weighted mean of all buses"
    )

    @model_validator(mode="after")
    def _check(self) -> Settings:
        low, high = self.store_price_min_per_mwh, self.store_price_max_per_mwh
        if not low < high:
            raise ValueError(f"store_price_min_per_mwh {low} must be below store_price_max_per_mwh {high}")
        if not self.v_min_pu < self.v_max_pu:
            raise ValueError(f"v_min_pu {self.v_min_pu} must be below v_max_pu {self.v_max_pu}")
        changed = self.changed
        idle = [name for name in _RADIAL_ONLY if name in changed and self.model != "lindistflow"]
        idle += [name for name in _NETWORK_ONLY if name in changed and self.model == "copper_plate"]
        if idle:
            raise ValueError(f"{', '.join(idle)}: without effect with model: {self.model}; leave out")
        if "reserve_shortage_per_mwh" in changed and not self.reserve_mw:
            raise ValueError("reserve_shortage_per_mwh has an effect only with reserve_mw; leave it out")
        if self.export_mw == 0 and "export_spread_per_mwh" in changed:
            raise ValueError("export_spread_per_mwh has no effect with export_mw: 0; leave it out")
        return self


class Rates(NamedTuple):
    """Plain numbers of the kernels.

    Attributes
    ----------
    command
        Whether units are commanded what is cleared.
    import_mw, export_mw
        Limits of the source [MW]; negative for none.
    export_spread_per_mwh, reserve_mw, lost_load_per_mwh, rounds
        As in the settings.
    """

    command: float
    import_mw: float
    export_mw: float
    export_spread_per_mwh: float
    reserve_mw: float
    lost_load_per_mwh: float
    rounds: float


class Cleared(NamedTuple):
    """The last clearing.

    Attributes
    ----------
    set_mw
        Injection that is cleared for each unit [MW].
    price_per_mwh
        Price at each member's bus [$/MWh].
    cleared_mw
        Injection that is cleared for each member, less what it draws out of command [MW].
    others_per_h
        What demand that is no member's pays [$/h].
    source_per_mwh
        Price at the source [$/MWh].
    dispatch_mw
        Injection of all offers less all bids at each bus [MW].
    held_mw, reserve_per_mwh
        Reserve of each member [MW], and its price [$/MWh].
    shed_mw
        Demand that offers do not cover [MW].
    """

    set_mw: Array
    price_per_mwh: Array
    cleared_mw: Array
    others_per_h: Array
    source_per_mwh: Array
    dispatch_mw: Array
    held_mw: Array
    reserve_per_mwh: Array
    shed_mw: Array


class Orders(NamedTuple):
    """What each member adds to its prices [$/MWh]."""

    markup: Array


class OrdersWithQuantity(NamedTuple):
    """The same, and the share that members with generators or stores offer of their quantities [1]."""

    markup: Array
    quantity: Array


class OrdersWithStores(NamedTuple):
    """The same, and the value that members with stores set on stored energy [$/MWh]."""

    markup: Array
    quantity: Array
    store_price: Array


class Blocks(NamedTuple):
    """Blocks of power [MW] at a price [$/MWh]."""

    quantity_mw: Array
    price_per_mwh: Array


class Tables(NamedTuple):
    """Where everything is.

    Attributes
    ----------
    unit_member, unit_bus
        Member and bus of each unit.
    unit_quantity, quantity_member
        Place of each unit's member among those that choose a quantity, -1 for units that are offered in full; and
        those members.
    unit_store, store_member
        Place of each unit's member among those with stores, 0 for units that store nothing; and those members.
    stores, eta_in, eta_out, wear_per_mwh
        1 for stores; efficiencies and wear.
    worth_per_mwh
        What demand that may be left out is worth [$/MWh]; 0 for others.
    by_share, low, high
        1 where the command is a share of what is possible, and its range.
    offer_unit, offer_from_mw, offer_to_mw, offer_per_mwh
        Unit of each block, the injections at its ends [MW], and its marginal cost [$/MWh].
    bid_unit
        Units that bid.
    reserve_unit
        Units that offer reserve.
    member_bus, source_bus
        Buses of the members, and that of the source.
    offer_bus, bid_bus
        Bus of each block, those of the source first.
    bus
        All buses.
    """

    unit_member: np.ndarray
    unit_bus: np.ndarray
    unit_quantity: np.ndarray
    quantity_member: np.ndarray
    unit_store: np.ndarray
    store_member: np.ndarray
    stores: np.ndarray
    eta_in: np.ndarray
    eta_out: np.ndarray
    wear_per_mwh: np.ndarray
    worth_per_mwh: np.ndarray
    by_share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    offer_unit: np.ndarray
    offer_from_mw: np.ndarray
    offer_to_mw: np.ndarray
    offer_per_mwh: np.ndarray
    bid_unit: np.ndarray
    reserve_unit: np.ndarray
    member_bus: np.ndarray
    source_bus: np.ndarray
    offer_bus: np.ndarray
    bid_bus: np.ndarray
    bus: np.ndarray


class Sent(NamedTuple):
    """What is sent of a clearing.

    Attributes
    ----------
    lmp, lmp_congestion, lmp_loss, lmp_voltage
        Price at each member's bus, and its components [$/MWh].
    cleared
        Injection that is cleared for each member, less what it draws out of command [MW].
    lmp_energy
        Price at the reference [$/MWh].
    market_shed
        Demand that offers do not cover [MW].
    market_status
        0: all is served within all limits; 1: some is not; 2: a limit is exceeded; 3: no optimum was found.
    """

    lmp: Array
    lmp_congestion: Array
    lmp_loss: Array
    lmp_voltage: Array
    cleared: Array
    lmp_energy: Array
    market_shed: Array
    market_status: Array


class Missed(NamedTuple):
    """What each member injected beyond what was cleared in the last tick [MW]."""

    deviation: Array


class Paid(NamedTuple):
    """What members, the operator and the utility pay for energy, and for reserve [$]."""

    market_energy: Array
    market_reserve: Array


class Shed(NamedTuple):
    """Price of demand that offers do not cover [$], on the operator's account."""

    market_shed: Array


FUEL, NATURE, STORE, DEMAND = "fuel", "nature", "store", "demand"
"""Kinds of units that the market dispatches."""


def kind_of(unit: Unit) -> str | None:
    """Kind of a unit; ``None`` where the market has no price for it, or where more than a price decides."""
    if not unit.plannable:
        return None
    if unit.burns_fuel:
        return FUEL
    if unit.follows_nature:
        return NATURE
    if unit.field == "served_share":
        return DEMAND if unit.curtailment_per_mwh > 0.0 else None
    return STORE if unit.field == "p_mw" and unit.p_low_mw < 0.0 < unit.p_high_mw else None


@register_protocol("lmp_market", aliases=("lmp",))
class LmpMarket(VerticalProtocol):
    """An operator clears offers and bids of its members on the network, at locational marginal prices.

    Members offer what their generators, plants and stores can inject in the tick, and bid for what stores and flexible
    loads can draw. Weather, stored energy, ramps and commitment limit the quantities. Prices are marginal costs, 0 for
    sun, wind and water, the cost of curtailment for loads, and for stores the value that their member sets on stored
    energy, over the efficiency. A member's orders are a markup on its prices, the share that it offers of what its
    generators and stores can do, and where it has stores the value of stored energy. By rule it adds nothing, offers
    everything and takes the mean of the day-ahead prices of the next hours as that value.

    The source sells at the market price of the data and buys a little below. All other demand and generation is fixed
    and served before all else; what offers do not cover is priced at `lost_load_per_mwh`. The source carries it, for
    loads of the network are never cut.

    Everybody pays and receives the price of its bus for what its meters read: a deviation from what was cleared settles
    at the same price. The utility pays for the demand that is no member's and is paid for what the source delivers. The
    surplus is the operator's: congestion rent and marginal-loss surplus, less the price of deviations such as the
    losses that ``dc`` leaves out.

    With ``as: command`` the units' power is commanded, and nobody else chooses it; ``as: reference`` leaves it to those
    who decide for the units, who see what was cleared and respond to the price of their bus.
    """

    Settings, Params, State = Settings, Rates, Cleared
    Orders: ClassVar[Any] = Orders
    counterparty = "parent"
    settles_bills = True
    settles_source = True
    no_derivative = (
        "what a linear program clears jumps from one of its corners to the next; trade by p2p_trading, or learn with "
        "an algorithm that needs no derivative of the step"
    )
    speakers = "members"

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.commands_units = self.settings.as_ == "command"

    def params(self) -> Rates:
        """The settings as plain numbers."""
        given = self.settings
        return Rates(
            command=float(self.commands_units),
            import_mw=-1.0 if given.import_mw is None else given.import_mw,
            export_mw=-1.0 if given.export_mw is None else given.export_mw,
            export_spread_per_mwh=given.export_spread_per_mwh,
            reserve_mw=given.reserve_mw,
            lost_load_per_mwh=given.lost_load_per_mwh,
            rounds=float(given.rounds),
        )

    def dispatches(self, unit: Unit) -> bool:
        """Generators, plants, stores and flexible loads that nothing but power, energy and weather limits."""
        return kind_of(unit) is not None

    def entries(self, members: Members) -> Added:
        """Orders of each member, prices and results, and the market on the network.

        Raises
        ------
        ConfigError
            If there is no member, a member has nothing to offer, a generator has no marginal cost, or nobody can hold
            the reserve.
        """
        _refuse(members, self.settings)
        units = [unit for member in members for unit in member.dispatched]
        owner = np.array([k for k, member in enumerate(members) for _ in member.dispatched], dtype=int)
        kinds = [kind_of(unit) for unit in units]
        tables = self._tables(members, units, owner, kinds)
        made = Orders, OrdersWithQuantity, OrdersWithStores
        self.Orders = made[bool(len(tables.quantity_member)) + bool(len(tables.store_member))]  # type: ignore[misc]
        return Added(
            actions=self._actions(tables),
            channels=self._channels(),
            money_names=Paid._fields,
            violation_names=Shed._fields,
            tables=tables,
            widths=(len(units), len(members), len(members), 1, 1, members.buses, len(members), 1, 1),
            market=self._market(tables),
        )

    def _actions(self, tables: Tables) -> tuple[Action, ...]:
        given = self.settings
        dear, low, high = given.markup_max_per_mwh, given.store_price_min_per_mwh, given.store_price_max_per_mwh
        actions = (
            Action("markup", "$/MWh", -dear, dear),
            Action("quantity", "1", 0.0, 1.0, at=tuple(tables.quantity_member.tolist())),
            Action("store_price", "$/MWh", low, high, at=tuple(tables.store_member.tolist())),
        )
        return actions[: len(self.Orders._fields)]

    def _channels(self) -> tuple[Channel, ...]:
        """Prices and components that the model has, what is cleared, and how the clearing ended."""
        bound = max(self.settings.lost_load_per_mwh, self.settings.limit_per_mwh)
        parts = {"copper_plate": (), "dc": ("congestion",), "lindistflow": ("congestion", "loss", "voltage")}
        return (
            Channel("lmp", "$/MWh", -bound, bound, stands_for="price_per_mwh", whole_tariff=True),
            *(Channel(f"lmp_{part}", "$/MWh", -bound, bound) for part in parts[self.settings.model]),
            Channel("cleared", "MW", -_BOUND_MW, _BOUND_MW),
            Channel("deviation", "MW", -_BOUND_MW, _BOUND_MW),
            Channel("lmp_energy", "$/MWh", -bound, bound, each=False),
            Channel("market_shed", "MW", 0.0, _BOUND_MW, each=False),
            Channel("market_status", "1", 0.0, 3.0, each=False),
        )

    def _tables(self, members: Members, units: list[Unit], owner: np.ndarray, kinds: list[str | None]) -> Tables:
        """Units, their blocks, and buses."""
        given = self.settings
        blocks = np.array(
            [
                row
                for k, (unit, kind) in enumerate(zip(units, kinds, strict=True))
                for row in self._blocks(k, unit, kind)
            ]
        ).reshape(-1, 4)
        number, first, last, price = blocks.T
        number = number.astype(int)
        bids = np.array([k for k, kind in enumerate(kinds) if kind in (STORE, DEMAND)], dtype=int)
        choosing, unit_quantity = _places(owner, kinds, (FUEL, STORE))
        storing, unit_store = _places(owner, kinds, (STORE,))
        bus = np.array([unit.bus for unit in units], dtype=int)
        sells, buys = ([members.source_bus] if most != 0 else [] for most in (given.import_mw, given.export_mw))

        def column(name: str) -> np.ndarray:
            return np.array([getattr(unit, name) for unit in units], dtype=float)

        return Tables(
            unit_member=owner,
            unit_bus=bus,
            unit_quantity=unit_quantity,
            quantity_member=choosing,
            unit_store=np.maximum(unit_store, 0),
            store_member=storing,
            stores=np.array([float(kind == STORE) for kind in kinds]),
            eta_in=column("eta_in"),
            eta_out=column("eta_out"),
            wear_per_mwh=column("wear_per_mwh"),
            worth_per_mwh=column("curtailment_per_mwh") * np.array([kind == DEMAND for kind in kinds]),
            by_share=np.array([float(unit.field != "p_mw") for unit in units]),
            low=column("low"),
            high=column("high"),
            offer_unit=number,
            offer_from_mw=first,
            offer_to_mw=last,
            offer_per_mwh=price,
            bid_unit=bids,
            reserve_unit=np.array([k for k, kind in enumerate(kinds) if kind == FUEL], dtype=int),
            member_bus=np.array([member.bus for member in members], dtype=int),
            source_bus=np.array([members.source_bus]),
            offer_bus=np.array([*sells, *bus[number]], dtype=int),
            bid_bus=np.array([*buys, *bus[bids]], dtype=int),
            bus=np.arange(members.buses),
        )

    def _blocks(self, k: int, unit: Unit, kind: str | None) -> list[tuple[int, float, float, float]]:
        """Unit, ends and marginal cost of the blocks that a unit offers."""
        if kind == DEMAND:
            return []
        count = self.settings.blocks if kind == FUEL and unit.slope_per_mw2h > 0.0 else 1
        ends = np.linspace(0.0, max(unit.p_high_mw, 0.0), count + 1)
        costs = unit.cost_per_mwh + unit.slope_per_mw2h * 0.5 * (ends[1:] + ends[:-1])
        ends[-1] = _FAR_MW
        return [(k, ends[i], ends[i + 1], costs[i] if kind == FUEL else 0.0) for i in range(count)]

    def _market(self, tables: Tables) -> Market:
        """What :func:`powergrid.markets.plan` needs."""
        given = self.settings
        options: dict[str, Any] = {
            name: getattr(given, name)
            for name in ("model", "lost_load_per_mwh", "curtailment_per_mwh", "limit_per_mwh", "limit_percent")
        }
        if given.model == "lindistflow":
            options |= {name: getattr(given, name) for name in ("v_min_pu", "v_max_pu", "voltage_bus")}
        options["monitored"] = given.monitored
        options["reference"] = "load" if given.reference_bus is None else given.reference_bus
        if given.reserve_mw:
            own = [f"unit {k}" for k in tables.offer_unit]
            names = ["source"] * (len(tables.offer_bus) - len(own)) + own
            options["offer_participant"] = names
            options["reserve_participant"] = [f"unit {k}" for k in tables.reserve_unit]
            options["reserve_shortage_per_mwh"] = given.reserve_shortage_per_mwh
        offers, bids = (tuple(int(bus) for bus in buses) for buses in (tables.offer_bus, tables.bid_bus))
        return Market(offers, bids, options, given.clearing)

    @staticmethod
    def before(xp: Namespace, ctx: Context, state: Cleared, orders: Any) -> tuple[Cleared, Sent, Array]:
        """Clear, and command what is cleared."""
        here, given, market = ctx.tables, ctx.params, ctx.market
        curve = _curve(xp, ctx, orders)
        load_mw = market.load_mw - sum_into(xp, curve.must_mw, here.unit_bus, len(here.bus))
        offers, bids = _with_source(xp, ctx, load_mw, curve)
        reserve: dict[str, Any] = {}
        if given.reserve_mw > 0.0:
            room_mw = xp.take(curve.room_mw, here.reserve_unit, axis=-1)
            reserve = {
                "reserve": Blocks(room_mw, 0.0 * room_mw),
                "reserve_mw": given.reserve_mw + 0.0 * load_mw[..., 0],
            }
        found = market.clear(
            xp,
            offers=offers,
            bids=bids if len(here.bid_bus) else None,
            load_mw=load_mw,
            load_mvar=market.load_mvar,
            dispatch_mw=state.dispatch_mw,
            control=market.control,
            rounds=int(given.rounds),
            **reserve,
        )
        solved = (found.status != _NOT_CONVERGED)[..., None]
        new = _cleared(xp, ctx, curve, found)
        kept = Cleared(*(xp.where(solved, a, b) for a, b in zip(new, state, strict=True)))
        sent = Sent(
            lmp=kept.price_per_mwh,
            lmp_congestion=xp.take(found.congestion_per_mwh, here.member_bus, axis=-1),
            lmp_loss=xp.take(found.loss_per_mwh, here.member_bus, axis=-1),
            lmp_voltage=xp.take(found.voltage_per_mwh, here.member_bus, axis=-1),
            cleared=kept.cleared_mw,
            lmp_energy=found.energy_per_mwh[..., None],
            market_shed=kept.shed_mw,
            market_status=found.status[..., None] + 0.0 * kept.shed_mw,
        )
        return kept, sent, _commands(xp, ctx, kept.set_mw) if given.command > 0.0 else ctx.governed

    @staticmethod
    def after(xp: Namespace, ctx: Context, state: Cleared, metered_mwh: Array) -> tuple[Cleared, Missed, Paid, Shed]:
        """Everybody pays the price of its bus for what its meter reads; the operator has what is left."""
        members = state.price_per_mwh.shape[-1]
        own, source = metered_mwh[..., :members], metered_mwh[..., members:]
        alive = 1.0 * (xp.max(ctx.v_pu, axis=-1, keepdims=True) > 0.0)  # nothing is delivered where no flow is solved
        energy = state.price_per_mwh * own
        utility = alive * state.others_per_h * ctx.dt_h - state.source_per_mwh * source
        operator = -(xp.sum(energy, axis=-1, keepdims=True) + utility)
        reserve = -alive * state.reserve_per_mwh * state.held_mw * ctx.dt_h
        cost = -xp.sum(reserve, axis=-1, keepdims=True)
        shed = alive * ctx.params.lost_load_per_mwh * state.shed_mw * ctx.dt_h
        return (
            state,
            Missed(-own / ctx.dt_h - state.cleared_mw),
            Paid(
                xp.concatenate((energy, operator, utility), axis=-1),
                xp.concatenate((reserve, cost, 0.0 * cost), axis=-1),
            ),
            Shed(xp.concatenate((0.0 * own, shed), axis=-1)),
        )

    @staticmethod
    def rule(xp: Namespace, ctx: Context, state: Cleared, position: Position) -> Any:
        """Offer everything at cost; energy in store is worth the mean of the prices to come."""
        return _orders(xp, ctx, 1.0)

    @staticmethod
    def abstain(xp: Namespace, ctx: Context, state: Cleared, position: Position) -> Any:
        """Offer nothing beyond what cannot be held back."""
        return _orders(xp, ctx, 0.0)


class _Curve(NamedTuple):
    """What members offer and bid for: blocks, what units inject in any case, and what they offer beyond it [MW]."""

    offers: Blocks
    bids: Blocks
    must_mw: Array
    room_mw: Array


def _orders(xp: Namespace, ctx: Context, quantity: float) -> Any:
    """Orders without a markup, at the mean of the prices to come."""
    none, here = 0.0 * ctx.v_pu, ctx.tables
    if not len(here.quantity_member):
        return Orders(none)
    offered = quantity + xp.take(none, here.quantity_member, axis=-1)
    if not len(here.store_member):
        return OrdersWithQuantity(none, offered)
    ahead = ctx.market.price_ahead_per_mwh
    mean = xp.sum(ahead, axis=-1, keepdims=True) / ahead.shape[-1]
    return OrdersWithStores(none, offered, mean + xp.take(none, here.store_member, axis=-1))


def _places(owner: np.ndarray, kinds: list[str | None], wanted: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Members with a unit of some kinds, and the place of each such unit's member among them; -1 for other units."""
    ours = np.array([kind in wanted for kind in kinds], dtype=bool)
    members = np.unique(owner[ours])
    return members, np.where(ours, np.searchsorted(members, owner), -1)


def _curve(xp: Namespace, ctx: Context, orders: Any) -> _Curve:
    """Blocks of the members' units, in the order of the tables."""
    here, market = ctx.tables, ctx.market
    low = xp.minimum(market.at_low_mw, market.at_high_mw)
    high = xp.maximum(market.at_low_mw, market.at_high_mw)
    must = xp.minimum(xp.maximum(low, 0.0), high)
    share = 1.0 + 0.0 * must
    if len(here.quantity_member):
        chosen = xp.take(orders.quantity, np.maximum(here.unit_quantity, 0), axis=-1)
        share = xp.where(here.unit_quantity < 0, share, chosen)
    least, most = must - share * (must - low), must + share * (high - must)
    sell = xp.take(orders.markup, here.unit_member, axis=-1)
    buy = here.worth_per_mwh - sell
    if len(here.store_member):
        value = xp.take(orders.store_price, here.unit_store, axis=-1)
        sell = sell + here.stores * (value / here.eta_out + here.wear_per_mwh)
        buy = buy + here.stores * (value * here.eta_in - here.wear_per_mwh)
    start, end = xp.take(must, here.offer_unit, axis=-1), xp.take(most, here.offer_unit, axis=-1)
    width = xp.minimum(end, here.offer_to_mw) - xp.maximum(start, here.offer_from_mw)
    offers = Blocks(xp.maximum(width, 0.0), here.offer_per_mwh + xp.take(sell, here.offer_unit, axis=-1))
    bids = Blocks(xp.take(must - least, here.bid_unit, axis=-1), xp.take(buy, here.bid_unit, axis=-1))
    return _Curve(offers, bids, must, most - must)


def _with_source(xp: Namespace, ctx: Context, load_mw: Array, curve: _Curve) -> tuple[Blocks, Blocks]:
    """All blocks, with those of the source in front: it sells at the market price and buys a little below."""
    given, price = ctx.params, ctx.price_per_mwh
    offers, bids = curve.offers, curve.bids

    def total(values: Array) -> Array:
        return xp.sum(values, axis=-1, keepdims=True)

    needed = _ROOM * (total(xp.maximum(load_mw, 0.0)) + total(bids.quantity_mw)) + _LEAST_MW
    offered = _ROOM * (total(xp.maximum(-load_mw, 0.0)) + total(offers.quantity_mw)) + _LEAST_MW
    sides = []
    for blocks, most_mw, limit_mw, at in (
        (offers, needed, given.import_mw, price),
        (bids, offered, given.export_mw, price - given.export_spread_per_mwh),
    ):
        quantity = most_mw if limit_mw < 0.0 else limit_mw + 0.0 * most_mw
        front = Blocks(quantity, at + 0.0 * quantity)
        pairs = zip(front, blocks, strict=True)
        joined = Blocks(*(xp.concatenate(pair, axis=-1) for pair in pairs))
        sides.append(blocks if limit_mw == 0.0 else joined)
    return sides[0], sides[1]


def _cleared(xp: Namespace, ctx: Context, curve: _Curve, found: Any) -> Cleared:
    """What is kept of a clearing."""
    here, market = ctx.tables, ctx.market
    members, units, buses = len(here.member_bus), len(here.unit_bus), len(here.bus)
    sold = found.offer_mw[..., len(here.offer_bus) - len(here.offer_unit) :]
    bought = found.bid_mw[..., len(here.bid_bus) - len(here.bid_unit) :]
    power = curve.must_mw + sum_into(xp, sold, here.offer_unit, units) - sum_into(xp, bought, here.bid_unit, units)
    price = xp.take(found.price_per_mwh, here.member_bus, axis=-1)
    held, reserve_price = 0.0 * price, 0.0 * price[..., :1]
    if ctx.params.reserve_mw > 0.0:
        held = sum_into(xp, found.reserve_mw, here.unit_member[here.reserve_unit], members)
        reserve_price = found.reserve_price_per_mwh[..., None]
    at_buses = sum_into(xp, found.offer_mw, here.offer_bus, buses) - sum_into(xp, found.bid_mw, here.bid_bus, buses)
    return Cleared(
        set_mw=power,
        price_per_mwh=price,
        cleared_mw=sum_into(xp, power, here.unit_member, members) - market.fixed_mw,
        others_per_h=xp.sum(found.price_per_mwh * market.others_mw, axis=-1, keepdims=True),
        source_per_mwh=xp.take(found.price_per_mwh, here.source_bus, axis=-1),
        dispatch_mw=at_buses,
        held_mw=held,
        reserve_per_mwh=reserve_price,
        shed_mw=xp.sum(xp.maximum(found.unserved_mw, 0.0), axis=-1, keepdims=True),
    )


def _commands(xp: Namespace, ctx: Context, power_mw: Array) -> Array:
    """Commands with which units inject so much: the power itself, or the share of what is possible that it is."""
    here, market = ctx.tables, ctx.market
    span = market.at_high_mw - market.at_low_mw
    moves = xp.abs(span) > 0.0
    share = (power_mw - market.at_low_mw) / xp.where(moves, span, 1.0)
    share = xp.where(moves, here.low + share * (here.high - here.low), here.high)
    return xp.where(here.by_share > 0.0, share, power_mw)


def _refuse(members: Members, given: Settings) -> None:
    """Refuse members that have nothing to offer, generators without a cost, and reserve that nobody can hold."""

    def fault(message: str, hint: str) -> ConfigError:
        return ConfigError([Issue("protocol", f"lmp_market: {message}", hint)])

    if not members:
        raise fault("nobody trades: its operator has no sub_agents", "name microgrids or devices in sub_agents")
    for member in members:
        for unit in member.units:
            if kind_of(unit) is None and unit.plannable and unit.p_low_mw >= 0.0:
                hint = f'give the type of "{unit.id}" the kernel marginal_cost, or take "{unit.id}" out of the market'
                raise fault(f'"{unit.id}" feeds in, and its marginal cost is not known', hint)
        if not member.dispatched:
            hint = "give it a generator, a curtailable plant or load, or a battery, or take it out of sub_agents"
            raise fault(f'"{member.id}" has no unit that the market can dispatch', hint)
    if given.reserve_mw and not any(kind_of(unit) == FUEL for member in members for unit in member.dispatched):
        raise fault("no member has a generator that could hold reserve", "leave reserve_mw out, or add a generator")
