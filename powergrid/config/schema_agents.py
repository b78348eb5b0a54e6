"""Agents, protocols and messages of a configuration: every key with its unit, its default and its meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, model_validator

from powergrid.agents.base import Objective, Observability
from powergrid.config.schema_types import Name, Section, defaults, from_text, same_twice


def _once_each(phases: str) -> str:
    if len(set(phases)) < len(phases):
        raise ValueError(f'"{phases}" names a phase twice')
    return phases


def _fixed_delay(value: Any) -> Any:
    return {"mean": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class ProtocolConfig(Section):
    """A coordination protocol and its parameters."""

    type: Name = Field(description="registered protocol")
    params: dict[str, JsonValue] = Field(default_factory=dict, description="its parameters")


class PolicyConfig(Section):
    """A policy with parameters: a class in a Python file, or a registered policy."""

    python: str | None = Field(
        None, description="module:Class of a policy in plain Python; the module stands beside this file, or on the path"
    )
    type: Name | None = Field(None, description="registered policy, in place of python")
    params: dict[str, JsonValue] = Field(default_factory=dict, description="keywords of the class")

    @model_validator(mode="after")
    def _one_of_both(self) -> PolicyConfig:
        if (self.python is None) == (self.type is None):
            raise ValueError("a policy has either python: module:Class or type: NAME")
        return self


class Failures(Section):
    """How often a device fails and how long its repair takes; ``{}`` where only a schedule at reset says when."""

    mtbf_h: float | None = Field(
        None, gt=0, description="mean time from one return to the next failure [h], exponential; omitted: never"
    )
    mttr_h: float | None = Field(None, gt=0, description="mean time to repair [h], exponential")

    @model_validator(mode="after")
    def _both(self) -> Failures:
        if (self.mtbf_h is None) != (self.mttr_h is None):
            raise ValueError("mtbf_h and mttr_h belong together; leave both out where only a schedule says when")
        return self


class PresenceConfig(Section):
    """When an agent joins an episode and leaves it for good; ``{}`` where only a schedule at reset says when."""

    joins: Annotated[
        tuple[float, float], BeforeValidator(same_twice, json_schema_input_type=tuple[float, float] | float)
    ] = Field((0.0, 0.0), description="time after the start of the episode [s], or earliest and latest time")
    leaves: (
        Annotated[tuple[float, float], BeforeValidator(same_twice, json_schema_input_type=tuple[float, float] | float)]
        | None
    ) = Field(None, description="the same of its end; omitted: it stays")
    lifetime_h: float | None = Field(
        None, gt=0, description="mean of the exponential time for which it stays [h]; omitted: no such end"
    )

    @model_validator(mode="after")
    def _order(self) -> PresenceConfig:
        for name, times in (("joins", self.joins), ("leaves", self.leaves)):
            if times is not None and not 0 <= times[0] <= times[1]:
                raise ValueError(f"{name} {list(times)} must be two times in order, from 0 on")
        if self.leaves is not None and not self.joins[1] < self.leaves[0]:
            raise ValueError(f"leaves {self.leaves[0]:g} must be after joins {self.joins[1]:g}")
        return self


class AgentConfig(Section):
    """One agent: a device, a coordinator of devices or an operator above the coordinators.

    With ``count`` or ``buses`` the entry is a group of equal agents.
    """

    id: Name = Field(
        description="unique name; of a group, the start of its agents' names: ev stands for ev_1, ev_2 ..."
    )
    type: Name = Field(description="device type, GridCoordinator or SystemAgent")
    bus: Name | None = Field(None, description="bus of a device; regulators and meters: branch, capacitors: shunt")
    count: int | None = Field(None, ge=1, description="number of agents of a group; omitted: one at each of its buses")
    buses: Annotated[list[Name], Field(min_length=1)] | None = Field(
        None, description="buses of a group, in place of bus; its agents take them in turn"
    )
    phases: Annotated[str, Field(pattern="^[abc]{1,3}$"), AfterValidator(_once_each)] | None = Field(
        None, description="phases of a device; omitted: all of the bus"
    )
    params: dict[str, JsonValue] = Field(default_factory=dict, description="parameters of the device type")
    policy: Name | PolicyConfig | None = Field(
        None,
        description="learned, centralized (coordinators), a registered policy, python (a function set later), or "
        "{python: module:Class, params: {...}}; omitted: the type's own",
    )
    sub_agents: list[Name] = Field(default_factory=list, description="ids of the agents it coordinates")
    area: str | None = Field(
        None, description="part of the network that a coordinator is responsible for: the name given at attach"
    )
    protocol: Annotated[ProtocolConfig, from_text(ProtocolConfig, "type")] | None = Field(
        None, description="vertical protocol of a coordinator"
    )
    interval: int | None = Field(
        None,
        gt=0,
        description="seconds between two of its decisions; omitted: that of its protocol or level, else every tick",
    )
    offset: int = Field(0, ge=0, description="time of its first decision [s], less than its interval")
    objective: Objective = Field(
        "own",
        description="whose money and priced violations the reward of a learned coordinator sums: own, its account; "
        "below, also those of all agents below it; all, those of all agents",
    )
    failures: Failures | None = Field(None, description="outages of a device; omitted: it never fails")
    presence: PresenceConfig | None = Field(
        None, description="when it joins and leaves; omitted: it is there in the whole episode"
    )
    observability: Observability = Field(
        "local+communication",
        description="local: its devices, area, prices and what agents above it send; local+communication: also what it "
        "receives from peers; neighbours: also what the nearest agents along the feeder observe locally; full: "
        "everything",
    )


class HorizontalConfig(Section):
    """A protocol among peers, run by the environment, or among learners, applied by the trainer."""

    type: Name = Field(description="registered protocol")
    members: list[Name] = Field(
        default_factory=list,
        description="ids of the agents that take part; omitted: all coordinators, of kind learning all learned agents",
    )
    topology: Literal["full", "neighbours", "star", "feeder"] | list[tuple[Name, Name]] = Field(
        "full",
        description="members that are linked: all, a ring in order of listing, all with the first, as the feeder joins "
        "them, or pairs",
    )
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


class Link(Section):
    """A link from a sender to a receiver with a delay and a loss of its own."""

    sender: Name = Field(description="id of the agent that sends")
    receiver: Name | None = Field(None, description="id of the agent that receives; omitted: all that are linked")
    delay: Annotated[Delay, BeforeValidator(_fixed_delay, json_schema_input_type=Delay | float)] = defaults(
        Delay, "seconds, or a distribution like that of the other links"
    )
    loss: float = Field(0.0, ge=0, le=1, description="share of messages lost [1]")


class Messages(Section):
    """Delay, loss and topology of messages between agents."""

    delay: Annotated[Delay, BeforeValidator(_fixed_delay, json_schema_input_type=Delay | float)] = defaults(
        Delay, "seconds, or a distribution"
    )
    loss: float = Field(0.0, ge=0, le=1, description="share of messages lost [1]")
    topology: Literal["full", "neighbours", "star", "feeder"] | list[tuple[Name, Name]] = Field(
        "full",
        description="who receives a message: all (their mean and the newest), a ring in order of listing, all with the "
        "first, as the feeder joins them, or pairs",
    )
    width: int = Field(
        4,
        ge=0,
        le=64,
        description="numbers in a message; 0: agents send none, the links are for protocols with over_messages",
    )
    members: list[Name] = Field(
        default_factory=list, description="ids of the agents that send and receive; omitted: all learned ones"
    )
    links: list[Link] = Field(
        default_factory=list,
        description="links with a delay and a loss of their own: of messages, and of protocols with over_messages",
    )
