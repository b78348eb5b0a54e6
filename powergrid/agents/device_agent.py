"""DeviceAgent: the base of every device family.

A family is one file with named columns (``Params``, ``State``, ``Command``, ``Exogenous``), pure kernels over them
and a class that ties them to a name. Kernels take the array namespace first and know no shapes: any leading batch
axes broadcast. Their vocabulary is arithmetic, comparison and ``minimum maximum abs sqrt exp where round floor``.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from powergrid.agents.base import LEARNED, Agent
from powergrid.agents.python_device import METHODS, Facts, furnish
from powergrid.agents.short_form import Ranges, command_entries, complete, idle_values, reading_entries
from powergrid.core.backend import Namespace
from powergrid.core.settings import NumberSettings
from powergrid.core.types import Array, Entry, Injection
from powergrid.core.types import Energy as Energy


class DeviceSettings(NumberSettings):
    """Base of a family's parameters as a person writes them: every field has its unit and a description.

    A field whose name ends with a unit refuses values beyond physical sense, by the table in
    :mod:`powergrid.core.settings`; bounds of its own (``le=``, ``ge=``) go before the table's.
    """


MEASURED = ("v_pu", "p_branch_mw", "p_net_mw")
"""Fields of ``Exogenous`` that are measured at the unit's own terminal: no series."""


class NoColumns(NamedTuple):
    """Columns of a family that has none."""


class Outlook(NamedTuple):
    """What a local rule may use besides the device's own state: prices and the neighbourhood's balance.

    Attributes
    ----------
    price_per_mwh
        Price that holds for the unit in this tick [$/MWh]: the parent's signal if there is one, else the market's,
        ``(*batch, n)``.
    retail_per_mwh, feed_in_per_mwh
        What one MWh more from the grid costs and one more into it earns at the unit's meter in this tick [$/MWh],
        ``(*batch, n)``: its tariff, shifted by what the parent's signal exceeds the market price by.
    price_ahead_per_mwh
        Day-ahead prices of the next 24 hours [$/MWh], hours first: iterating over it gives one column per hour,
        ``(24, *batch, n)``.
    mean_price_per_mwh
        Their mean [$/MWh], ``(*batch, n)``.
    net_load_mw
        Load minus what sun, wind and water offer behind the unit's meter [MW], ``(*batch, n)``.
    hour
        Hour of the day [h], ``(*batch, n)``.
    settlement_per_mwh
        Price that what the unit holds at the end of the episode is settled at [$/MWh], ``(*batch, n)``.
    """

    price_per_mwh: Array
    retail_per_mwh: Array
    feed_in_per_mwh: Array
    price_ahead_per_mwh: Array
    mean_price_per_mwh: Array
    net_load_mw: Array
    hour: Array
    settlement_per_mwh: Array = 0.0


class Refill(NamedTuple):
    """How a store is filled again after an episode, which makes the price that what it holds is settled at.

    Attributes
    ----------
    hours
        Hours that filling it takes at full power [h]; whole hours count.
    efficiency
        Energy stored by energy drawn [1].
    within_h
        Hours after the episode in which it can happen [h]: a day, or less where what is stored cannot wait.
    """

    hours: float = 24.0
    efficiency: float = 1.0
    within_h: float = 24.0


class Reliability(NamedTuple):
    """How often a device fails and how long its repair takes; both times are exponentially distributed.

    Attributes
    ----------
    mtbf_h
        Mean time between the return from one outage and the next failure [h]; ``None`` where only a schedule says when
        it is out.
    mttr_h
        Mean time to repair [h].
    """

    mtbf_h: float | None = None
    mttr_h: float | None = None


class LinearDevice(NamedTuple):
    """A device as a linear program sees it, for lower bounds and optimisers.

    Attributes
    ----------
    p_min_mw, p_max_mw
        Injection limits [MW] in each tick; ``p_max_mw`` may depend on the exogenous series.
    e_min_mwh, e_max_mwh, e_start_mwh
        Energy window and initial energy [MWh]; zero width for devices that store nothing.
    eta_in, eta_out
        Efficiencies of charging and discharging [1].
    decay_per_h
        Share of the stored energy lost per hour [1/h].
    ramp_mw_per_h
        Largest change of the injection [MW/h].
    start_cost
        Cost of a start [$].
    cost_mw, cost_per_mwh
        Piecewise cost of positive injection, nowhere above the true one: widths [MW] and marginal costs [$/MWh] of
        the blocks, cheapest first.
    throughput_cost_per_mwh
        Cost of energy moved in either direction [$/MWh].
    curtailment_cost_per_mwh
        Cost of injection above `p_min_mw`, which is demand that is not served [$/MWh].
    no_load_cost_per_h
        Cost of each hour in which the unit is on [$/h].
    commitment
        Whether the unit may be off; then `p_min_mw` is zero and `p_on_min_mw` holds while it is on.
    p_on_min_mw
        Lowest injection while on [MW].
    min_up_h, min_down_h
        Shortest times on and off [h].
    """

    p_min_mw: Any
    p_max_mw: Any
    e_min_mwh: float = 0.0
    e_max_mwh: float = 0.0
    e_start_mwh: float = 0.0
    eta_in: float = 1.0
    eta_out: float = 1.0
    decay_per_h: float = 0.0
    ramp_mw_per_h: float = float("inf")
    start_cost: float = 0.0
    cost_mw: tuple[float, ...] = ()
    cost_per_mwh: tuple[float, ...] = ()
    throughput_cost_per_mwh: float = 0.0
    curtailment_cost_per_mwh: float = 0.0
    no_load_cost_per_h: float = 0.0
    commitment: bool = False
    p_on_min_mw: float = 0.0
    min_up_h: float = 0.0
    min_down_h: float = 0.0


def finite(xp: Namespace, values: Array) -> Array:
    """Replace NaN by zero, so that a bad command never enters a state; infinities are left to the limits."""
    return xp.where(values == values, values, 0.0)


def decide_on(xp: Namespace, values: Array) -> Array:
    """Round to 1e-6 before a discrete decision, so that 1e-10 between backends never becomes a switch."""
    return xp.round(values, 6)


def flag(xp: Namespace, condition: Array, like: Array) -> Array:
    """One where `condition` holds, else zero, in the precision of the finite column `like`."""
    zero = like * 0.0
    return xp.where(condition, zero + 1.0, zero)


class DeviceAgent(Agent):
    """A device as an agent of level 1.

    Parameters
    ----------
    id
        Unique name.
    bus
        Bus name (regulators and meters: branch name) the device is connected to.
    phases
        Phases it is connected to; ``None`` is all of the bus.
    policy
        See :class:`~powergrid.agents.base.Agent`; the class attribute `default_policy` if ``None``.
    p_sign
        Sign of the Python attributes ``state.P`` and ``state.Q`` of plain Python devices: -1 counts consumption
        positive.
    **params
        The family's `Settings` by name; see the class.

    Raises
    ------
    pydantic.ValidationError
        If a parameter is unknown, of the wrong type or out of range.
    """

    level = 1
    role: ClassVar[str] = "injection"
    """What the device does to the network: ``injection``, ``tap``, ``cap`` or ``meter``."""
    default_policy: ClassVar[str] = LEARNED
    money_names: ClassVar[tuple[str, ...]] = ()
    """Names of the money columns [$] that `money` returns, in order."""
    violation_names: ClassVar[tuple[str, ...]] = ()
    on_off: ClassVar[tuple[str, ...]] = ()
    """Fields of `Command` that choose between 0 and 1; derivatives by them are what 1 gives less what 0 gives."""
    held: ClassVar[str] = ""
    """Why no derivative passes from its command; empty where it does."""

    Settings: ClassVar[Any] = DeviceSettings
    Params: ClassVar[Any] = NoColumns
    State: ClassVar[Any] = NoColumns
    Command: ClassVar[Any] = NoColumns
    Exogenous: ClassVar[Any] = NoColumns

    ranges: ClassVar[Ranges] = {}
    """Bounds of command and state fields; a family that has them is in short form, see ``agents.short_form``."""
    plannable: ClassVar[bool] = True
    """Whether `linear` has all that a plan must mind; false where it leaves out what the device is for, such as heat or
    trips, for the sake of a bound."""
    reading_ranges: ClassVar[Ranges] = {}
    """Names and bounds of what `readings` returns, in order, where that is not the state."""

    facts: Facts | None = None
    """Results of a trial run of a plain Python device; ``None`` for families with kernels."""
    own_bill: bool = False
    """Whether no meter charges for the energy, so that a plain Python device pays `electricity_price` itself."""
    reliability: Reliability | None = None
    """How often it fails; ``None`` for a device that never does."""
    of_network: bool = False
    """Whether it came with the network: like the network's own loads it has no owner and no meter."""

    def __init_subclass__(cls, from_module: bool = False, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        complete(cls, DeviceAgent, from_module)

    def __init__(
        self,
        id: str,
        bus: str | int = "",
        phases: str | None = None,
        policy: str | None = None,
        p_sign: int = -1,
        *,
        interval_s: float | None = None,
        offset_s: float = 0.0,
        observability: str = "local+communication",
        **params: Any,
    ):
        super().__init__(
            id,
            policy=policy or self.default_policy,
            interval_s=interval_s,
            offset_s=offset_s,
            observability=observability,
        )
        self.bus = str(bus)
        self.phases = phases
        self.p_sign = p_sign
        self.settings: Any = self.Settings(**params)
        if type(self).step is DeviceAgent.step and self.role == "injection":
            furnish(self)

    @classmethod
    def is_python(cls) -> bool:
        """True for plain Python devices: classes with `update_state` or `update_cost_safety` and no `step` kernel."""
        return cls.step is DeviceAgent.step and any(hasattr(cls, name) for name in METHODS)

    @property
    def kernel(self) -> Any:
        """Whose static kernels run the unit in arrays: its class, or what stands for a plain Python device."""
        return type(self) if self.facts is None else self.facts.kernel

    def pays_for_energy(self) -> bool:
        """True for plain Python devices that read `electricity_price`: they need no meter of their own."""
        return self.is_python() and any(
            "electricity_price" in code.co_names
            for owner in type(self).__mro__
            if owner is not DeviceAgent and issubclass(owner, DeviceAgent)
            for code in (getattr(method, "__code__", None) for method in vars(owner).values())
            if code is not None
        )

    # -- columns of one unit, stacked by the engine

    def params(self) -> Any:
        """This unit's row of ``Params``, as plain floats; by default the settings of the same names."""
        return self.Params(*(float(getattr(self.settings, name)) for name in self.Params._fields))

    def series(self) -> dict[str, str]:
        """Dataset column of each field of ``Exogenous``: a full name, or a quantity (its first column)."""
        if self.facts is not None:
            return dict(zip(self.facts.kernel.Exogenous._fields, self.facts.series, strict=True))
        return {name: name for name in self.Exogenous._fields}

    def observation_entries(self) -> tuple[Entry, ...]:
        """Named entries that `readings` returns, with units and finite bounds.

        Of plain Python devices: attributes to observe, by name; without it those numbers that `update_state` changes.
        """
        if self.facts is not None:
            return self.facts.entries
        return reading_entries(self)

    def action_entries(self) -> dict[str, Entry]:
        """One entry for each field of ``Command`` that this unit can really choose, in physical units.

        An action in [-1, 1] is mapped linearly to ``[low, high]``; fields left out stay at `idle`. Plain Python
        devices have one for each number of ``self.action``.
        """
        if self.is_python():
            found: dict[str, Entry] = self.__dict__["action"].entries()
            return found
        return command_entries(self)

    def idle(self) -> Any:
        """The command, in physical units, of fields that nobody may choose: the defaults of ``Command``, else zero."""
        return self.Command(*idle_values(self))

    def refill(self) -> Refill | None:
        """How what the unit holds is put back after an episode; ``None`` if its worth follows no price of energy."""
        return Refill()

    def volt_var_curve(self) -> tuple[float, ...] | None:
        """Volt-var curve that a unit follows by its own rule; ``None`` for none.

        Corners [pu], lowest first, between the inner two of which it gives nothing, and the share of its rating at and
        beyond the outer two [1].
        """
        return None

    def forming_mva(self) -> float:
        """Rating with which this unit can form the grid of an island [MVA]; 0 if it needs a grid to follow."""
        return 0.0

    def firm_mw(self) -> float | None:
        """Power that this unit can inject at any time it is told to [MW].

        ``None`` where weather, users or earlier ticks decide.
        """
        return None

    # -- kernels, pure and shape-free

    @staticmethod
    def reset(xp: Namespace, params: Any, uniform: Array) -> Any:
        """Initial state from numbers in [0, 1), ``(*batch, n)``."""
        return NoColumns()

    @staticmethod
    def step(
        xp: Namespace, params: Any, state: Any, command: Any, exogenous: Any, dt_h: float
    ) -> tuple[Any, Injection]:
        """New state and injection; whatever the command, limits hold."""
        raise NotImplementedError

    @staticmethod
    def failed(xp: Namespace, params: Any, state: Any, exogenous: Any, dt_h: float) -> Any:
        """New state where the unit is out of service, in place of that of `step`; it injects nothing then.

        By default it stays as it was. A family whose state says what happened in the last tick, such as fuel that
        `money` charges for, gives here what happens without the unit.
        """
        return state

    @staticmethod
    def money(
        xp: Namespace, params: Any, state: Any, injection: Injection, exogenous: Any, dt_h: float
    ) -> tuple[Array, ...]:
        """Costs of the tick [$], in the order of `money_names`."""
        return ()

    @staticmethod
    def worth(xp: Namespace, params: Any, state: Any, settlement_per_mwh: Array) -> Array | None:
        """What the unit holds is worth this much [$]; ``None`` if the family holds nothing of value.

        Each tick books what the worth has fallen by, so that an episode as a whole settles the difference between its
        start and its end. Stored energy counts at `settlement_per_mwh`, the price of putting it back [$/MWh]; see
        :meth:`refill`.
        """
        return None

    @staticmethod
    def violation(
        xp: Namespace, params: Any, state: Any, injection: Injection, exogenous: Any, dt_h: float
    ) -> tuple[Array, ...]:
        """Priced violations of the tick [$], in the order of `violation_names`."""
        return ()

    @staticmethod
    def readings(xp: Namespace, params: Any, state: Any, injection: Injection) -> tuple[Array, ...]:
        """Observation columns in the order of `observation_entries`."""
        return ()

    @staticmethod
    def rule(xp: Namespace, params: Any, state: Any, exogenous: Any, outlook: Outlook, dt_h: float) -> Any:
        """Command of a competent operator, used by the local policy ``rule_based``."""
        raise NotImplementedError

    @staticmethod
    def marginal_cost(xp: Namespace, params: Any, p_mw: Array) -> Array | None:
        """Cost of one more MWh at injection `p_mw` [$/MWh]; ``None`` if the family burns no fuel.

        A seller that follows rules offers at this price on a market.
        """
        return None

    @staticmethod
    def available(xp: Namespace, params: Any, exogenous: Any, dt_h: float) -> Array | None:
        """Power that nature offers in a tick [MW]; ``None`` if the family follows neither sun, wind nor water.

        Rules count it in the net load of their neighbourhood.
        """
        return None

    @staticmethod
    def stiffness_mw(xp: Namespace, params: Any, state: Any) -> Array:
        """Power that each unit adds when the frequency of its island falls by 1 pu [MW]: rated power over droop.

        Zero for units that form no grid, now or ever. Only families with a unit whose `forming_mva` is not 0 need it;
        their ``Command`` has the fields ``p_mw`` and ``q_mvar``.
        """
        raise NotImplementedError

    @staticmethod
    def energy(
        xp: Namespace, params: Any, before: Any, after: Any, injection: Injection, exogenous: Any, dt_h: float
    ) -> Energy:
        """Energy account of the tick [MWh]."""
        raise NotImplementedError

    def linear(self, exogenous: Any) -> LinearDevice | None:
        """This unit for a linear program, ``None`` if it plays no part; `exogenous` holds its series."""
        return None
