"""What a configuration may say: every key with its unit, its default and its meaning. All times are in seconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    WithJsonSchema,
    model_validator,
)

from powergrid.core.files import path_fault
from powergrid.core.settings import NumberSettings
from powergrid.datasets.series_file import SeriesFile

SCHEMA_VERSION: Literal[1] = 1
"""Version of the keys below; written into every exported configuration."""

DEFAULT_DATASET = "embedded_2022"
"""The data that ship with the package."""


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]}),
]
"""A name; numbers such as ``bus: 800`` are read as text."""


def _once_each(phases: str) -> str:
    if len(set(phases)) < len(phases):
        raise ValueError(f'"{phases}" names a phase twice')
    return phases


def _may_be_a_path(text: str) -> str:
    if fault := path_fault(text):
        raise ValueError(f"{text[:40]}{'...' if len(text) > 40 else ''} is no path: {fault}")
    return text


Place = Annotated[str, AfterValidator(_may_be_a_path)]
"""Path of a file or folder."""


def _from_text(section: Any, key: str) -> BeforeValidator:
    """Accept a plain text as the short form of ``{key: text}``."""

    def expand(value: Any) -> Any:
        return {key: value} if isinstance(value, str) else value

    return BeforeValidator(expand, json_schema_input_type=section | str)


def _one_or_many(section: Any) -> BeforeValidator:
    """Accept one section in place of a list of them."""

    def expand(value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    return BeforeValidator(expand, json_schema_input_type=list[section] | section)


def _list_of_one(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _same_twice(value: Any) -> Any:
    return (value, value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_MOMENTS = BeforeValidator(_same_twice, json_schema_input_type=tuple[float, float] | float)


def _fixed_delay(value: Any) -> Any:
    return {"mean": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


def _defaults(section: Any, description: str) -> Any:
    """A section that may be left out: every key then has its default."""
    return Field(default_factory=section, description=description)


class Section(NumberSettings):
    """Base of all sections: unknown keys are refused, values never change after reading."""


# -- network ------------------------------------------------------------------------------------------------------


class AddBus(Section):
    """A new bus, beside an existing one."""

    name: Name = Field(description="name of the new bus")
    vn_kv: float = Field(
        gt=0,
        description="nominal voltage [kV]; the neighbour's own joins by a closed switch, any other by a transformer",
    )
    at_bus: Name = Field(description="existing bus that it is connected to")


class TransformerConfig(Section):
    """Transformer between a network and the one attached to it."""

    sn_mva: float = Field(gt=0, description="rated power [MVA]")
    vk_percent: float = Field(ge=0.1, le=100, description="short-circuit voltage [%]")
    vkr_percent: float = Field(ge=0, description="its resistive part [%]")

    @model_validator(mode="after")
    def _parts(self) -> TransformerConfig:
        if self.vkr_percent > self.vk_percent:
            raise ValueError(f"vkr_percent {self.vkr_percent} must not exceed vk_percent {self.vk_percent}")
        return self


class Attach(Section):
    """Another network, connected at a bus through a transformer; its buses are then called ``<name>.<bus>``."""

    network: Name = Field(description="registered network")
    name: Name = Field(description="prefix of its buses and name of its area")
    at_bus: Name = Field(description="bus of the host")
    transformer: TransformerConfig | None = Field(
        None, description="transformer at the connection; omitted: the builder's default"
    )
    load_scale: float = Field(1.0, ge=0, description="factor on its published loads and capacitors [1]")
    load_series: Name | None = Field(
        None, description="dataset column that its loads follow; omitted: the network's load_series"
    )
    sgen_series: Name | dict[str, Name] | None = Field(
        None, description="what its generation and storage follow, see the network's key; omitted: the network's"
    )
    options: dict[str, JsonValue] = Field(default_factory=dict, description="options of the network's builder")


class Modification(Section):
    """One change of the network; exactly one key."""

    add_bus: AddBus | None = Field(None, description="add a bus")
    attach: Attach | None = Field(None, description="attach another network")

    @model_validator(mode="after")
    def _one(self) -> Modification:
        if (self.add_bus is None) == (self.attach is None):
            raise ValueError("give exactly one of add_bus and attach")
        return self


class RegulatorRule(Section):
    """Settings of all voltage regulators whose name matches; later rules override earlier ones, key by key."""

    match: str = Field("*", description='pattern on regulator names, such as "mg1.*"')
    v_set_pu: float | None = Field(None, gt=0.8, lt=1.2, description="voltage to hold at the regulated bus [pu]")
    bandwidth_v: float | None = Field(None, gt=0, le=10, description="width of the band around it [V on a 120 V base]")
    relay: Literal["published", "plain"] | None = Field(
        None,
        description="settings that hold where no rule says otherwise: the network's own, with their line-drop "
        "compensator, or a relay that reads the regulated bus; omitted: published for three-phase networks",
    )
    r_v: float | None = Field(None, description="line-drop compensator: resistive volts at ct_a [V]")
    x_v: float | None = Field(None, description="line-drop compensator: reactive volts at ct_a [V]")
    ct_a: float | None = Field(None, gt=0, description="primary current of the current transformer [A]")
    pt_ratio: float | None = Field(None, gt=0, description="ratio of the potential transformer [1]")
    gang: bool | None = Field(None, description="whether the phases of a three-phase regulator move together")
    local_control: bool | None = Field(
        None, description="whether it moves by itself; if not, it keeps the tap that the network has"
    )
    move_cost: float | None = Field(None, ge=0, description="cost of one tap change [$]")


class CapacitorRule(Section):
    """Settings of all switchable capacitors whose name matches; later rules override earlier ones, key by key."""

    match: str = Field("*", description="pattern on capacitor names")
    control: Literal["fixed", "load"] | None = Field(None, description="always on, or switched with the load")
    series: str | None = Field(None, description="dataset column, or quantity, of that load [pu]")
    load_on_pu: float | None = Field(None, ge=0, description="switch on above this load [pu of the peak]")
    load_off_pu: float | None = Field(None, ge=0, description="switch off below this load [pu of the peak]")


class OutageRule(Section):
    """Branches of which one may be out of service for a part of the episode."""

    branch: Annotated[list[Name], BeforeValidator(_list_of_one, json_schema_input_type=list[Name] | Name)] = Field(
        min_length=1, description="branch that fails; of several, or of a pattern such as l*, one is drawn each time"
    )
    start: Annotated[
        tuple[float, float], BeforeValidator(_same_twice, json_schema_input_type=tuple[float, float] | float)
    ] = Field(description="first moment of the outage after the start of the episode [s], or earliest and latest")
    duration: float = Field(gt=0, description="how long it lasts [s]; it begins and ends with a tick")
    probability: float = Field(1.0, ge=0, le=1, description="share of episodes in which it happens [1]")

    @model_validator(mode="after")
    def _order(self) -> OutageRule:
        if not 0 <= self.start[0] <= self.start[1]:
            raise ValueError(f"start {list(self.start)} must be two moments in order, from 0 on")
        return self


class NetworkConfig(Section):
    """The network and how it is changed before use."""

    base: Name | None = Field(None, description="registered network, such as ieee34")
    file: Place | None = Field(None, description="pandapower network saved as JSON, relative to this file")
    phases: Literal["balanced", "three"] = Field("balanced", description="balanced equivalent or three-phase network")
    source_pu: float | None = Field(
        None, gt=0.8, lt=1.2, description="voltage of the source [pu]; omitted: as published"
    )
    options: dict[str, JsonValue] = Field(default_factory=dict, description="options of the network's builder")
    load_scale: float = Field(
        1.0, ge=0, description="factor on the network's own published loads, not on its generation and storage [1]"
    )
    load_series: Name = Field(
        "load_p_pu", description="dataset column, or quantity, that the network's own loads follow"
    )
    sgen_scale: float = Field(
        1.0, ge=0, description="factor on the generation and storage that come with the network [1]"
    )
    sgen_series: Name | dict[str, Name] | None = Field(
        None,
        description="dataset column, or quantity, that the network's own static generators follow [pu of their power], "
        "while storage stays constant; or one for each pattern on the names of both, such as {PV*: pv_pu}, the first "
        "that matches; constant where nothing is said",
    )
    modifications: list[Modification] = Field(default_factory=list, description="changes, made in this order")
    regulators: Annotated[list[RegulatorRule], _one_or_many(RegulatorRule)] = Field(
        default_factory=list, description="settings of voltage regulators"
    )
    capacitors: Annotated[list[CapacitorRule], _one_or_many(CapacitorRule)] = Field(
        default_factory=list, description="settings of switchable capacitors"
    )
    outages: Annotated[list[OutageRule], _one_or_many(OutageRule)] = Field(
        default_factory=list, description="what may fail during an episode"
    )

    @model_validator(mode="after")
    def _one_origin(self) -> NetworkConfig:
        if (self.base is None) == (self.file is None):
            raise ValueError("give exactly one of base (a registered network) and file (a pandapower JSON file)")
        return self


# -- agents and protocols -----------------------------------------------------------------------------------------


class ProtocolConfig(Section):
    """A coordination protocol and its parameters."""

    type: Name = Field(description="registered protocol")
    params: dict[str, JsonValue] = Field(default_factory=dict, description="its parameters")


class AgentConfig(Section):
    """One agent: a device, a coordinator of devices or an operator above the coordinators."""

    id: Name = Field(description="unique name")
    type: Name = Field(description="device type, GridCoordinator or SystemAgent")
    bus: Name | None = Field(None, description="bus of a device; regulators and meters: branch, capacitors: shunt")
    phases: Annotated[str, Field(pattern="^[abc]{1,3}$"), AfterValidator(_once_each)] | None = Field(
        None, description="phases of a device; omitted: all of the bus"
    )
    params: dict[str, JsonValue] = Field(default_factory=dict, description="parameters of the device type")
    policy: Name | None = Field(
        None, description="learned, centralized (coordinators) or a registered local policy; omitted: the type's own"
    )
    sub_agents: list[Name] = Field(default_factory=list, description="ids of the agents it coordinates")
    area: str | None = Field(
        None, description="part of the network that a coordinator answers for: the name given at attach"
    )
    protocol: Annotated[ProtocolConfig, _from_text(ProtocolConfig, "type")] | None = Field(
        None, description="vertical protocol of a coordinator"
    )
    interval: int | None = Field(None, gt=0, description="seconds between two of its decisions; omitted: every tick")
    offset: int = Field(0, ge=0, description="time of its first decision [s]")
    observability: Literal["local", "full"] = Field("local", description="what it sees: its surroundings or everything")


class HorizontalConfig(Section):
    """A protocol among peers, run by the environment."""

    type: Name = Field(description="registered protocol")
    members: list[Name] = Field(
        default_factory=list, description="ids of the agents that take part; omitted: all coordinators"
    )
    topology: Literal["full"] | list[tuple[Name, Name]] = Field("full", description="who may deal with whom")
    interval: int | None = Field(None, gt=0, description="seconds between two runs; omitted: every tick")
    params: dict[str, JsonValue] = Field(default_factory=dict, description="its parameters")


class Coordination(Section):
    """Short form: a vertical protocol goes to every coordinator without one, a horizontal one to `protocols`."""

    protocol: Name = Field(description="registered protocol")
    params: dict[str, JsonValue] = Field(default_factory=dict, description="its parameters")


class Delay(Section):
    """Delay of messages."""

    dist: Literal["fixed", "uniform", "normal"] = Field("fixed", description="distribution")
    mean: float = Field(0.0, ge=0, description="mean [s]")
    std: float = Field(0.0, ge=0, description="standard deviation [s]")


class Messages(Section):
    """How messages between agents travel."""

    delay: Annotated[Delay, BeforeValidator(_fixed_delay, json_schema_input_type=Delay | float)] = _defaults(
        Delay, "seconds, or a distribution"
    )
    loss: float = Field(0.0, ge=0, le=1, description="share of messages lost [1]")
    topology: Literal["full", "neighbours", "star", "feeder"] | list[tuple[Name, Name]] = Field(
        "full", description="who hears whom"
    )
    width: int = Field(4, ge=1, description="numbers in a message")
    links: list[dict[str, JsonValue]] = Field(default_factory=list, description="links with their own delay and loss")


# -- data, money, time --------------------------------------------------------------------------------------------


Datasets = Annotated[
    Annotated[str, Tag("name")]
    | Annotated[dict[str, Annotated[SeriesFile, _from_text(SeriesFile, "path")]], Tag("series")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "series"),
]
"""The name of a dataset, or the file of each series."""


class TariffConfig(Section):
    """Utility prices: ``feed_in = feed_in_share max(price, 0)``, ``retail = max(price, 0) + retail_adder``."""

    feed_in_share: float = Field(0.9, ge=0, description="share of the market price paid for fed-in energy [1]")
    retail_adder: float = Field(45.0, description="charges on drawn energy above the market price [$/MWh]")


class Forecast(Section):
    """What agents know of the hours ahead."""

    horizon_h: int = Field(6, ge=0, le=48, description="hours of load, PV and wind forecasts [h]")
    noise: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=lambda: {"load_p_pu": 0.05, "pv_pu": 0.1, "wind_pu": 0.1},
        description="standard deviation of the relative forecast error, by quantity [1]; 0 is a perfect forecast",
    )
    rho: float = Field(0.9, ge=0, lt=1, description="correlation of the error from one hour ahead to the next [1]")


class Simulation(Section):
    """Time, limits and the end of an episode."""

    episode_length: int = Field(96, ge=1, le=527_040, description="ticks of an episode, up to a year of minutes")
    time_step: int = Field(900, gt=0, description="length of a tick [s]")
    async_: bool | None = Field(
        None,
        alias="async",
        description="whether agents may act at intervals of their own; omitted: as their intervals say",
    )
    v_min_pu: float = Field(0.95, gt=0, description="lower end of the voltage band [pu]")
    v_max_pu: float = Field(1.05, gt=0, description="upper end of the voltage band [pu]")
    unbalance_max_percent: float = Field(
        2.0, gt=0, le=100, description="negative over positive sequence voltage that three-phase buses may have [%]"
    )
    terminate_on_divergence: bool = Field(False, description="whether a diverged power flow ends the episode")

    @model_validator(mode="after")
    def _band(self) -> Simulation:
        if not self.v_min_pu < self.v_max_pu:
            raise ValueError(f"v_min_pu {self.v_min_pu} must be below v_max_pu {self.v_max_pu}")
        return self


class Penalties(Section):
    """Prices of violations."""

    voltage_per_pu_h: float = Field(1000.0, ge=0, description="outside the voltage band [$/(pu bus h)]")
    overload_per_percent_h: float = Field(10.0, ge=0, description="branch loading above 100 % [$/(% h)]")
    unserved_per_mwh: float = Field(10_000.0, ge=0, description="energy not served [$/MWh]")
    unbalance_per_percent_h: float = Field(
        10.0, ge=0, description="voltage unbalance of a three-phase bus above its limit [$/(% bus h)]"
    )


class Training(Section):
    """How money and violations become a reward: ``-reward_scale money - min(safety_scale cost, max_penalty)``."""

    train: bool = Field(True, description="draw days from the training split (otherwise the test split)")
    stress_price: float | None = Field(
        None,
        gt=0,
        description="price above which a day is in the split stress and in no other [unit of the prices]; omitted: ten "
        "times the price that 90 % of the year stay below or, where no day is so dear, the dearest 1 % of the days",
    )
    reward_scale: float = Field(1.0, gt=0, description="factor on money [1/$]")
    safety_scale: float = Field(1.0, ge=0, description="factor on the priced violations [1/$]")
    max_penalty: float | None = Field(None, gt=0, description="largest penalty of a tick; omitted: none")


class EnvironmentConfig(Section):
    """A whole environment."""

    schema_version: Literal[1] = Field(SCHEMA_VERSION, description="version of this format")
    name: str = Field("environment", min_length=1, description="name of the environment")
    description: str = Field("", description="what it is for")
    network: Annotated[NetworkConfig, _from_text(NetworkConfig, "base")] = Field(
        description="the network, or the name of a registered one"
    )
    phases: Literal["balanced", "three"] | None = Field(None, description="short form of the network's phases")
    agents: list[AgentConfig] = Field(default_factory=list, description="who acts")
    protocols: list[HorizontalConfig] = Field(default_factory=list, description="protocols among peers")
    coordination: Annotated[Coordination, _from_text(Coordination, "protocol")] | None = Field(
        None, description="short form of a protocol"
    )
    messages: Messages = _defaults(Messages, "messages between agents")
    plugins: list[Place] = Field(
        default_factory=list, description="folders with device, protocol and other plugins, relative to this file"
    )
    datasets: Datasets = Field(
        DEFAULT_DATASET, description='registered dataset, or a file or "dataset:column" for each series'
    )
    tariff: TariffConfig = _defaults(TariffConfig, "utility prices")
    forecast: Forecast = _defaults(Forecast, "forecasts that agents see")
    simulation: Simulation = _defaults(Simulation, "time and limits")
    penalties: Penalties = _defaults(Penalties, "prices of violations")
    training: Training = _defaults(Training, "rewards")

    @model_validator(mode="after")
    def _phases_once(self) -> EnvironmentConfig:
        if self.phases is not None:  # where it stands alone, it has moved into the network section
            raise ValueError("phases stands here and in the network section; leave one of them out")
        return self
