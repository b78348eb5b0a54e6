"""Bases of protocols: a vertical one belongs to a parent agent, a horizontal one to the environment.

One of kind learning belongs to the trainer, and is no part of a step. Any other protocol is a layer of the step with
two seams: `before` the power flow it takes orders, sends signals and may govern commands; `after` it, it settles what
was metered. Both are pure kernels over columns ``(*batch, members)``, in the vocabulary of device kernels and ``argsort
take_along_axis sort cumsum sum max min concatenate``; reductions run along the last axis and keep it. ``if`` may stand
on `Context.params`, which are plain numbers. The engine, observations, ledger and compiled step learn of a protocol
through :meth:`Protocol.entries` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np

from powergrid.agents.curves import Curve, Limit
from powergrid.agents.market import Market
from powergrid.agents.units import Unit as Unit
from powergrid.core.backend import Namespace
from powergrid.core.graph import Graph
from powergrid.core.settings import NumberSettings
from powergrid.core.types import Array, Entry


class ProtocolSettings(NumberSettings):
    """Base of a protocol's parameters."""

    @property
    def changed(self) -> set[str]:
        """Parameters that are given with another value than their default, which have to have an effect."""
        fields = type(self).model_fields
        return {name for name in self.model_fields_set if getattr(self, name) != fields[name].default}


class NoColumns(NamedTuple):
    """Columns of a protocol that has none."""


class Inverter(NamedTuple):
    """One unit of a member that offers reactive power, while an environment is built: its id and its rating [MVA]."""

    id: str
    rating_mva: float


class Member(NamedTuple):
    """One member while an environment is built.

    Attributes
    ----------
    id
        Its name.
    p_low_mw, p_high_mw
        Least and most that its units can inject together [MW].
    p_firm_mw
        What its units can inject at any time they are told to, whatever weather, users and stores are like [MW].
    not_firm
        Its units that can promise nothing.
    units
        Its units whose active power is free, in the order of their commands among those of `Context.governed` where
        ``p_mw`` alone is governed.
    forming_mva
        Rating of its units that can form the grid of an island [MVA].
    dispatched
        Its units that the protocol dispatches, in the order of their commands among those of `Context.governed`.
    bus
        Row of the bus at which it meets the network.
    inverters
        Its units that offer reactive power.
    injecting
        Names of its units that inject, in the order of `Context.works`.
    firm_mw
        What each of these can inject at any time [MW]; 0 for those that can promise nothing.
    may_be_absent
        Whether it may join an episode late, or leave it.
    """

    id: str
    p_low_mw: float
    p_high_mw: float
    p_firm_mw: float = 0.0
    not_firm: tuple[str, ...] = ()
    units: tuple[Unit, ...] = ()
    forming_mva: float = 0.0
    dispatched: tuple[Unit, ...] = ()
    bus: int = 0
    inverters: tuple[Inverter, ...] = ()
    injecting: tuple[str, ...] = ()
    firm_mw: tuple[float, ...] = ()
    may_be_absent: bool = False


class Members(tuple[Member, ...]):
    """The members of a protocol, in order.

    Attributes
    ----------
    graph
        Who is linked with whom.
    dt_h
        Length of a tick [h].
    f_hz
        Nominal frequency of the network [Hz].
    source_bus, buses
        Row of the source's bus in the network, and the number of its buses.
    parent
        Id of the parent of a vertical protocol; empty for a horizontal one.
    """

    graph: Graph
    dt_h: float
    f_hz: float
    source_bus: int
    buses: int
    parent: str

    def __new__(
        cls,
        members: Iterable[Member],
        graph: Graph,
        dt_h: float,
        f_hz: float = 50.0,
        source_bus: int = 0,
        buses: int = 1,
        parent: str = "",
    ) -> Members:
        """Members with their links."""
        made = super().__new__(cls, members)
        made.graph, made.dt_h, made.f_hz = graph, dt_h, f_hz
        made.source_bus, made.buses, made.parent = source_bus, buses, parent
        return made

    @property
    def of_injecting(self) -> np.ndarray:
        """Member of each unit that injects, in the order of `Context.works`."""
        return np.array([k for k, member in enumerate(self) for _ in member.injecting], dtype=int)


Meaning = Literal["", "price", "price_share", "power"]
Report = Literal["", "trade_price", "traded_energy"]


class Action(NamedTuple):
    """A number that a protocol adds to actions.

    Attributes
    ----------
    name, unit
        As of an :class:`~powergrid.core.types.Entry`.
    low, high
        Bounds; of an action for `each` member one per member, or one for all.
    each
        Vertical protocols: whether the parent has one number for each child, instead of one for all.
    at
        Where members speak: those that have it; ``None`` for all. Bounds are then one for each of them, or one for all.
    meaning
        What a policy that plans, such as ``mpc``, fills it with: ``price`` is the price that, in place of the market
        price, makes the tariff of the speaker's meter show the cost of one more MWh behind it, ``price_share`` this
        cost as a place between its feed-in price (0) and its retail price (1), and ``power`` the injection that is
        planned for the member [MW]. Empty where a plan has nothing to say.
    """

    name: str
    unit: str
    low: Any
    high: Any
    each: bool = False
    meaning: Meaning = ""
    at: tuple[int, ...] | None = None


class Channel(NamedTuple):
    """Something that agents receive: one column of the signals, or one for each member.

    Attributes
    ----------
    name, unit, low, high
        As of an :class:`~powergrid.core.types.Entry`. A price may go as far as those of the data.
    default
        What it holds until something is sent.
    each
        Whether every member has a column of its own. Otherwise the one column belongs to the parent, and everybody
        below it receives it.
    stands_for
        Series that it replaces in the rules of those who receive it, such as ``price_per_mwh``, or set point that it
        shifts: ``frequency_offset_hz`` is added to the frequency set point of units that form the grid of an island,
        ``volt_var_shift`` to what the volt-var curve of units asks for, over their rating [1].
        Empty for none. A member's own column holds for the member and for everybody below it.
    whole_tariff
        Of a price: whether its receivers pay and earn just this, and those below them what is sent on. Otherwise it
        stands for the market price alone, and what the tariff of their meters adds to that, or takes from it, goes on
        top.
    at, suffixes
        Members that have a column each, where not all have one, and what follows the name of each column; a member
        may have several.
    reports
        What a policy that plans learns from it: the last price at which a member traded [$/MWh], or the energy that it
        bought then, negative where it sold [MWh]. Empty for nothing.
    """

    name: str
    unit: str
    low: float
    high: float
    default: float = 0.0
    each: bool = True
    stands_for: str = ""
    whole_tariff: bool = False
    at: tuple[int, ...] | None = None
    suffixes: tuple[str, ...] = ()
    reports: Report = ""


class Added(NamedTuple):
    """What a protocol adds to an environment, at build time.

    Attributes
    ----------
    actions
        Numbers of the actions of the parent (vertical) or of every member (horizontal): fields of `Orders`.
    channels
        What is sent: fields of the signals that `before` and `after` give.
    governs
        Command fields of the members' devices that `before` may change, such as ``p_mw``.
    volt_var, volt_watt
        Curves that the units of its members follow, whoever chooses what they command: they rest on them within the
        tick, together with the power flow. Where one says nothing, the units' policies do.
    money_names, violation_names
        Names of what `after` books.
    tables
        Named tuple of constant arrays that the kernels use, such as links and weights; integers or real numbers.
    widths
        Number of columns of each field of `State`; ``None`` is one per member.
    draws
        Random numbers of a tick of a protocol that is `noisy`; ``None`` is one per member.
    messages
        Messages of a tick in which it runs: what members, and their parent where there is one, send each other, one for
        each sender, receiver and time. ``None`` is one from each member for its orders, one from each
        member for its meter where there is a kernel `after`, and one to each member where something is sent.
    carries
        Sender and receiver of each link of `messages` over which it sends, with its delay and loss; a receiver without
        a name stands for all members.
    market
        A clearing on the network that `before` needs; ``None`` for none. `Context.market` is then what it finds. The
        protocol dispatches at least one unit.
    """

    actions: tuple[Action, ...] = ()
    channels: tuple[Channel, ...] = ()
    governs: tuple[str, ...] = ()
    volt_var: Curve | None = None
    volt_watt: Limit | None = None
    money_names: tuple[str, ...] = ()
    violation_names: tuple[str, ...] = ()
    tables: Any = ()
    widths: tuple[int, ...] | None = None
    draws: int | None = None
    messages: int | None = None
    carries: tuple[tuple[str, str], ...] = ()
    market: Market | None = None


class Context(NamedTuple):
    """What the kernels of a protocol may use besides its own state.

    Attributes
    ----------
    params
        The protocol's `Params`: plain numbers.
    dt_h
        Length of a tick [h].
    tick
        Number of the tick in its episode, ``(*batch, 1)``.
    due
        1 where a speaker decides in this tick, else 0, ``(*batch, speakers)``.
    retail_per_mwh, feed_in_per_mwh
        Utility prices at the members' meters [$/MWh], ``(*batch, members)``.
    price_per_mwh
        Market price [$/MWh], ``(*batch, 1)``.
    v_pu
        Voltage at each member [pu], ``(*batch, members)``: of the last tick before the flow, of this one after it.
    governed
        Commands that the protocol governs, in physical units, ``(*batch, commands)``: member by member, and unit by
        unit in each.
    command_member
        Member whose command each of them is, ``(commands,)``.
    tables
        Constant arrays that the protocol's entries gave.
    uniform
        Random numbers in [0, 1), ``(*batch, draws)``; zeros unless the protocol is `noisy`.
    frequency_hz
        Frequency at the first unit of each member after the flow [Hz], ``(*batch, members)``: 0 without voltage, NaN
        where it has no unit that injects, and before the flow, when it is not known.
    island
        Number of the island that this unit's bus is in after the flow, ``(*batch, members)``: -1 where the source or
        nothing supplies it; NaN as `frequency_hz`.
    market
        The :class:`~powergrid.agents.market.MarketView` of a protocol with a market, in `rule`, `abstain` and `before`;
        else ``None``.
    works
        1 for each unit that injects and is in service in this tick, 0 for one that is out,
        ``(*batch, units of all members)``: member by member.
    """

    params: Any
    dt_h: float
    tick: Array
    due: Array
    retail_per_mwh: Array
    feed_in_per_mwh: Array
    price_per_mwh: Array
    v_pu: Array
    governed: Array
    command_member: Array
    tables: Any
    uniform: Array
    frequency_hz: Array
    island: Array
    works: Array
    market: Any = None


class Position(NamedTuple):
    """What a competent member knows when it decides by rule, ``(*batch, members)``.

    Attributes
    ----------
    marginal_cost_per_mwh
        Marginal cost of its dearest running generator [$/MWh]; 0 where none runs.
    imported_mw
        Its load less what its units inject in this tick [MW]; the load alone where the protocol governs commands.
    """

    marginal_cost_per_mwh: Array
    imported_mw: Array


class Trades(NamedTuple):
    """What a report shows of trading in one tick, ``(*batch, members)``.

    Attributes
    ----------
    bought_mwh
        Energy bought, negative where a member sells [MWh].
    price_per_mwh
        Price of the trades [$/MWh]; 0 where nobody trades.
    limit_per_mwh
        Limit price of each member [$/MWh].
    """

    bought_mwh: Array
    price_per_mwh: Array
    limit_per_mwh: Array


Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def memberwise(kernel: Kernel) -> Kernel:
    """Mark a `before`, `rule` or `abstain` whose results for a member follow from numbers of that member: a decorator.

    One number may stand for all members, such as the price. Compiled code runs such a kernel for many environments at
    once, with numbers in place of arrays: it has operators and the vocabulary of device kernels, without reductions and
    indices, and :class:`Context` has no ``governed``, ``command_member``, ``tables``, ``uniform`` and ``works``.
    Results are those of the kernel without the mark. The mark stands below ``@staticmethod``.
    """
    kernel.memberwise = True  # type: ignore[attr-defined]
    return kernel


def is_memberwise(kernel: Callable[..., Any]) -> bool:
    """Whether a kernel is marked as :func:`memberwise`."""
    return getattr(kernel, "memberwise", False)


class Protocol:
    """What both kinds share.

    Parameters
    ----------
    **params
        The protocol's `Settings` by name.

    Attributes
    ----------
    settles_bills
        Whether `after` settles the energy of its members' meters, whose own bills are dropped then.
    settles_source
        Vertical protocols: whether `after` settles what the source delivers as well, which is the utility's.
    speakers
        Who gives its orders: the parent of a vertical protocol, or its members.
    commands_units
        Whether the commands of the units that it dispatches are its own alone, so that nobody else chooses them.
    noisy
        Whether its kernels use random numbers.
    linked, needs_connected
        Whether it matters who is linked with whom, and whether all must reach each other.
    in_islands
        Whether it acts in islands, among units that form their grids.
    no_derivative
        Why derivatives by what passes through it are refused on JAX; empty where they are carried.
    compared
        Parameters with which a comparison of protocols plays it, each on its own; empty for one that coordinates
        nobody, which a comparison leaves out.
    one_bill
        Whether its members act as if they had one bill, so that a comparison pools their bills.
    """

    kind: ClassVar[str]
    settles_bills: ClassVar[bool] = False
    settles_source: ClassVar[bool] = False
    speakers: ClassVar[Literal["parent", "members"]] = "members"
    commands_units: bool = False
    noisy: ClassVar[bool] = False
    linked: ClassVar[bool] = False
    needs_connected: ClassVar[bool] = False
    in_islands: ClassVar[bool] = False
    no_derivative: ClassVar[str] = ""
    compared: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    one_bill: ClassVar[bool] = False
    Settings: ClassVar[type[ProtocolSettings]] = ProtocolSettings
    Params: ClassVar[Any] = NoColumns
    State: ClassVar[Any] = NoColumns
    Orders: ClassVar[Any] = NoColumns

    def __init__(self, **params: Any):
        self.settings: Any = self.Settings(**params)

    @property
    def speaks(self) -> bool:
        """Whether its parent or members give orders."""
        return bool(self.Orders._fields)

    def params(self) -> Any:
        """The settings as plain numbers, `Params`; fields of one name are taken over."""
        return self.Params(*(float(getattr(self.settings, name)) for name in self.Params._fields))

    def dispatches(self, unit: Unit) -> bool:
        """Whether it sets the active power of a unit of its members: these alone are governed where there are any."""
        return False

    def over(self, links: Any) -> Protocol:
        """The protocol with its signals over links that delay and lose them: its parameters say ``over_messages``.

        Parameters
        ----------
        links
            Delay and loss of all links, and of those with values of their own,
            ``powergrid.agents.protocols._links.LinkSettings``. Without delay and loss the results are those of an ideal
            network, to the bit.
        """
        raise NotImplementedError(f"{type(self).__name__} has no parameter over_messages")

    def entries(self, members: Members) -> Added:
        """What it adds to an environment with these members."""
        return Added()

    def without_island(self, ids: Sequence[str]) -> str:
        """Warning for a protocol that acts `in_islands`, of members that no outage or switch ever leaves in one."""
        return ""

    @classmethod
    def initial(cls, xp: Namespace, batch: tuple[int, ...], widths: Sequence[int], dtype: Any) -> Any:
        """State at reset: zeros; `widths` are the numbers of columns of its fields."""
        return cls.State(*(xp.zeros((*batch, width), dtype=dtype) for width in widths))

    @staticmethod
    def trades(state: Any, sent: Mapping[str, Array]) -> Trades | None:
        """What a report shows of trading, from the state and what was sent last by name; ``None`` without trading."""
        return None

    before: ClassVar[Any] = None
    """Kernel ``before(xp, ctx, state, orders) -> (state, signals, governed)`` before delivery.

    `orders` has the physical numbers of the actions, ``(*batch, speakers)``, or ``(*batch, members)`` where a parent
    has one for each. `signals` is a named tuple of channels, ``(*batch, members)`` or ``(*batch, 1)``; what it leaves
    out stays as it is. `governed` are the commands as the protocol wants them, ``ctx.governed`` where it wants none
    changed; they are held within their ranges.
    """

    after: ClassVar[Any] = None
    """Kernel ``after(xp, ctx, state, metered_mwh) -> (state, signals, money, violations)`` on metered energy.

    `metered_mwh` is positive for import, ``(*batch, members)``. `money` is a named tuple of what members pay [$],
    ``(*batch, members + 1)`` with the counterparty last; rows sum to zero. The counterparty is the utility, or the
    parent where a vertical protocol says so. `violations` is a named tuple of priced
    violations [$], ``(*batch, members)``.

    Of a protocol that settles the source, `metered_mwh` has what the source delivers behind the members', money has
    the columns of the parent and of the utility behind theirs, and violations that of the parent.
    """

    rule: ClassVar[Any] = None
    """Kernel ``rule(xp, ctx, state, position) -> orders`` of a competent speaker; the middle of each range without."""

    abstain: ClassVar[Any] = None
    """Kernel like `rule` with orders that change nothing: the speaker takes no part."""


class VerticalProtocol(Protocol):
    """Parent to children: the parent gives orders, its children are the members.

    Attributes
    ----------
    commands_children
        Whether the parent's action holds its children's commands.
    counterparty
        Who is paid by the members, and pays them: the utility, or the parent, whose account the last money column is
        then on.
    """

    kind = "vertical"
    speakers: ClassVar[Literal["parent", "members"]] = "parent"
    commands_children: bool = False
    counterparty: ClassVar[Literal["utility", "parent"]] = "utility"


class HorizontalProtocol(Protocol):
    """Peer to peer, run by the environment: every member gives orders."""

    kind = "horizontal"


class Pupil(NamedTuple):
    """An agent that learns, as a member of a :class:`LearningProtocol`.

    Attributes
    ----------
    id
        Its name.
    decisions
        Decisions in a tick: one over its interval in ticks.
    """

    id: str
    decisions: float = 1.0


class LearningProtocol(Protocol):
    """Between learners: the environment ignores it, and the trainer mixes the parameters of the members' policies.

    It is listed under ``protocols:`` as horizontal ones are. Its members act from outside and have networks of one
    size.
    """

    kind = "learning"

    @property
    def interval(self) -> int:
        """Updates of the learners between two mixings."""
        return 1

    def mixing(self, members: Sequence[Pupil]) -> np.ndarray:
        """Matrix ``(n, n)`` whose rows sum to one: the parameters after a mixing are this matrix times those before.

        Raises
        ------
        ConfigError
            If the settings do not fit these members.
        """
        raise NotImplementedError


def entry_of(item: Action | Channel, k: int = 0) -> Entry:
    """An action or a channel as a named entry of member `k`."""
    low, high = (bound[k] if isinstance(bound, Sequence) else bound for bound in (item.low, item.high))
    return Entry(item.name, item.unit, float(low), float(high))
