"""The network section of a configuration: every key with its unit, its default and its meaning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from powergrid.config.schema_types import Name, Place, Section, list_of_one, one_or_many, same_twice


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
    """Another network, connected at a bus through a transformer; its buses have the names ``<name>.<bus>``."""

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
        None, description="series of its generation and storage, see the network's key; omitted: the network's"
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
        description="default settings: published ones of the network, with their line-drop "
        "compensator, or a relay that reads the regulated bus; omitted: published for three-phase networks",
    )
    r_v: float | None = Field(None, description="line-drop compensator: resistive volts at ct_a [V]")
    x_v: float | None = Field(None, description="line-drop compensator: reactive volts at ct_a [V]")
    ct_a: float | None = Field(None, gt=0, description="primary current of the current transformer [A]")
    pt_ratio: float | None = Field(None, gt=0, description="ratio of the potential transformer [1]")
    gang: bool | None = Field(None, description="whether the phases of a three-phase regulator move together")
    local_control: bool | None = Field(
        None, description="whether its relay moves it; if not, it keeps the tap of the network"
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
    """An outage: one of some branches is out of service for a part of the episode."""

    branch: Annotated[list[Name], BeforeValidator(list_of_one, json_schema_input_type=list[Name] | Name)] = Field(
        min_length=1, description="branch that fails; one of several, or of a pattern such as l*, is drawn per episode"
    )
    start: Annotated[
        tuple[float, float], BeforeValidator(same_twice, json_schema_input_type=tuple[float, float] | float)
    ] = Field(description="start of the outage after the start of the episode [s], or earliest and latest start")
    duration: float = Field(gt=0, description="length [s]; an outage begins and ends with a tick")
    probability: float = Field(1.0, ge=0, le=1, description="share of episodes in which it happens [1]")

    @model_validator(mode="after")
    def _order(self) -> OutageRule:
        if not 0 <= self.start[0] <= self.start[1]:
            raise ValueError(f"start {list(self.start)} must be two moments in order, from 0 on")
        return self


class NetworkConfig(Section):
    """The network and its modifications."""

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
        "that matches; otherwise constant",
    )
    gen_scale: float = Field(
        1.0,
        ge=0,
        description="factor on the active power of the network's generators that hold a voltage [1]; 0: they hold it "
        "without feeding in, for devices that stand at their buses",
    )
    modifications: list[Modification] = Field(default_factory=list, description="changes, made in this order")
    regulators: Annotated[list[RegulatorRule], one_or_many(RegulatorRule)] = Field(
        default_factory=list, description="settings of voltage regulators"
    )
    capacitors: Annotated[list[CapacitorRule], one_or_many(CapacitorRule)] = Field(
        default_factory=list, description="settings of switchable capacitors"
    )
    outages: Annotated[list[OutageRule], one_or_many(OutageRule)] = Field(
        default_factory=list, description="branches that may fail during an episode"
    )

    @model_validator(mode="after")
    def _one_origin(self) -> NetworkConfig:
        if (self.base is None) == (self.file is None):
            raise ValueError("give exactly one of base (a registered network) and file (a pandapower JSON file)")
        return self
