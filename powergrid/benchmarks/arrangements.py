"""One configuration, coordinated in different ways: who decides, who sends what to whom, and who settles with whom.

All arrangements have the network, the loads, the data, the devices, the tariff and the meters of one configuration.
What differs is the coordination alone. Every unit that the configuration leaves to learning, or to a rule although it
can be planned, is *coordinated*: it follows the rule of its type, or whoever commands it. All other devices keep their
local policy in all arrangements. Coordinators are those that have devices of their own; agents above them are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError

from powergrid.agents.device_agent import DeviceAgent
from powergrid.agents.grid_agent import GridAgent
from powergrid.config.resolve import ResolvedConfig, Source, resolve, with_overrides
from powergrid.coordination.deciders import OUTSIDE
from powergrid.coordination.layers import Layer
from powergrid.core.errors import ArgumentError, PowerGridError
from powergrid.plugins.registries import PROTOCOLS
from powergrid.worlds.billing import meter_places
from powergrid.worlds.build import build
from powergrid.worlds.world import World

NONE, PLANNED, CENTRALIZED = "none", "mpc", "centralized"
"""Arrangements without a protocol of their own."""
RULE = "rule_based"
_CENTRE = "central_planner"
_TIMES = ("interval", "offset")
"""Keys that an agent without decisions may not have."""
_OWN_PRICES = "it settles energy at prices of its own in place of the tariff, so that bills cannot be compared"
"""Reason why markets on the network do not fit."""


class Arrangement(NamedTuple):
    """One way to coordinate.

    Attributes
    ----------
    name
        Name of the row: that of the protocol, with its parameters where there are any, and ``plan`` where plans give
        the orders.
    about
        Who decides, in words.
    resolved
        The configuration.
    """

    name: str
    about: str
    resolved: ResolvedConfig


@dataclass(frozen=True)
class Community:
    """A configuration whose coordination is taken away.

    Attributes
    ----------
    resolved
        The configuration as it is written.
    agents
        Its devices and coordinators as mappings by id; the coordinators decide nothing.
    coordinators
        Ids of agents with devices of their own, the members of horizontal protocols.
    coordinated
        Ids of the units that are coordinated.
    """

    resolved: ResolvedConfig
    agents: Mapping[str, Mapping[str, Any]]
    coordinators: tuple[str, ...]
    coordinated: frozenset[str]

    @classmethod
    def of(cls, source: Source) -> Community:
        """Read a configuration.

        Raises
        ------
        ConfigError
            If the configuration cannot be used.
        ArgumentError
            If it has no coordinator with a unit that can be coordinated.
        """
        resolved = resolve(source)
        world = build(resolved)
        written = {agent.id: agent.model_dump(mode="json", exclude_none=True) for agent in resolved.config.agents}
        parents = [agent for agent in world.agents if isinstance(agent, GridAgent) and agent.id in written]
        first = [agent for agent in parents if any(isinstance(child, DeviceAgent) for child in agent.subordinates)]
        below = {child.id for agent in first for child in agent.subordinates}
        coordinated = frozenset(agent.id for agent in world.agents if agent.id in below and _can_be_coordinated(agent))
        if not coordinated:
            raise ArgumentError(
                f'"{resolved.config.name}" has no coordinator with a battery, a generator or another unit whose power '
                "can be planned: there is nothing to coordinate. Choose p2p_microgrids, iso_three_level or "
                "two_microgrids, or add an agent of type GridCoordinator"
            )
        left_out = {agent.id for agent in parents} - {agent.id for agent in first}
        agents = {id: _without_coordination(agent, world) for id, agent in written.items() if id not in left_out}
        return cls(resolved, agents, tuple(agent.id for agent in first), coordinated)

    def arranged(
        self,
        coordinator: Mapping[str, Any],
        *,
        decides: bool = False,
        commanded: bool = False,
        protocols: tuple[Mapping[str, Any], ...] = (),
        above: tuple[Mapping[str, Any], ...] = (),
    ) -> ResolvedConfig:
        """The configuration with other keys at its coordinators.

        Parameters
        ----------
        coordinator
            Keys of every coordinator, such as its policy and its protocol.
        decides
            Whether coordinators decide something, at their own interval.
        commanded
            Whether units that are coordinated execute what an agent above them commands; else their rule decides.
        protocols
            Horizontal protocols.
        above
            Agents above the coordinators.

        Raises
        ------
        ConfigError
            If this cannot be used.
        """
        agents = [dict(agent) for agent in above]
        for id, agent in self.agents.items():
            own = dict(agent)
            if id in self.coordinators:
                own |= coordinator
            elif id in self.coordinated:
                own["policy"] = "learned" if commanded else RULE
            idle = not decides if id in self.coordinators else commanded and id in self.coordinated
            agents.append({key: value for key, value in own.items() if not (idle and key in _TIMES)})
        alone: dict[str, Any] = {"coordination": None, "messages": None, "residual": None}
        return with_overrides(self.resolved, agents=agents, protocols=list(protocols), **alone)

    def pooled(self) -> ResolvedConfig:
        """The configuration without coordination but with one bill: members pool what their meters read.

        Raises
        ------
        ConfigError
            If this cannot be used.
        """
        return self.arranged({}, protocols=(self.pool,))

    @property
    def pool(self) -> dict[str, Any]:
        """The horizontal protocol without orders that settles the members' bills together."""
        pooled = _registered(lambda kind: kind.kind == "horizontal" and kind.settles_bills and not kind.Orders._fields)
        return {"type": pooled, "members": self.members}

    @property
    def members(self) -> list[str]:
        """Members of horizontal protocols."""
        return list(self.coordinators)


def _can_be_coordinated(agent: Any) -> bool:
    """Whether an agent is a unit with a choice that nobody but learning or a rule makes, and that can be planned."""
    if not isinstance(agent, DeviceAgent) or agent.role != "injection" or not agent.action_entries():
        return False
    planned = agent.plannable and type(agent).linear is not DeviceAgent.linear
    return planned and agent.policy in (*OUTSIDE, RULE)


def _without_coordination(agent: Mapping[str, Any], world: World) -> dict[str, Any]:
    """An agent as it is without coordination: devices keep their local policy, coordinators decide nothing."""
    (made,) = (one for one in world.agents if one.id == agent["id"])
    kept = {key: value for key, value in agent.items() if key not in ("protocol", "objective")}  # nobody learns
    if isinstance(made, GridAgent):
        kept["sub_agents"] = [child.id for child in made.subordinates if isinstance(child, DeviceAgent)]
        kept["sub_agents"] = [id for id in kept["sub_agents"] if id in agent["sub_agents"]]
        return kept | {"policy": RULE}
    return kept | ({"policy": RULE} if made.policy in OUTSIDE else {})


def arrangements(community: Community, wanted: tuple[str, ...] = ()) -> tuple[list[Arrangement], dict[str, str]]:
    """The ways in which a community can be coordinated.

    Parameters
    ----------
    community
        A configuration whose coordination is taken away.
    wanted
        Names: ``none``, ``mpc``, ``centralized`` and registered protocols, with parameters as in
        ``admm:form=consensus,rounds_per_tick=20``. Left out: all three, and all registered protocols that fit, each
        with the parameters that its class names under `compared`. ``none`` is always the first.

    Returns
    -------
    fitting
        The arrangements.
    unfit
        Reason by name why a protocol does not fit.

    Raises
    ------
    UnknownNameError
        If there is no such protocol.
    ArgumentError
        If parameters are not written as ``key=value``.
    """
    fixed: dict[str, Callable[[Community], Arrangement]] = {CENTRALIZED: _centralized, PLANNED: _planned}
    found, unfit = [_uncoordinated(community)], dict[str, str]()
    meters = _meters(build(found[0].resolved))
    for name in wanted or (*fixed, *PROTOCOLS.names()):
        kind, params = _parsed(name)
        if kind == NONE:
            continue
        try:
            made = [fixed[kind](community)] if kind in fixed else _with_protocol(community, kind, params)
            for arrangement in made:
                _check(arrangement, meters)
        except PowerGridError as error:
            if wanted:
                raise
            unfit[name] = _reason(error)
        else:
            found += made
    return found, unfit


def _check(arrangement: Arrangement, meters: Any) -> None:
    """Refuse what cannot be compared.

    Raises
    ------
    ArgumentError
        If somebody would have to learn, or energy passes other meters than without coordination.
    """
    world = build(arrangement.resolved)
    if world.layout.actors:
        named = ", ".join(f'"{id}"' for id in world.layout.actors)
        raise ArgumentError(f"{arrangement.name}: outside code would have to act for {named}")
    if any(layer.market is not None for layer in world.layout.coordination.layers):
        raise ArgumentError(f"{arrangement.name}: {_OWN_PRICES}")
    if _meters(world) != meters:
        raise ArgumentError(f"{arrangement.name}: energy passes other paying meters than without coordination")


def _uncoordinated(community: Community) -> Arrangement:
    return Arrangement(NONE, "each unit by its rule", community.arranged({}))


def _planned(community: Community) -> Arrangement:
    resolved = community.arranged({"policy": "mpc"}, decides=True, commanded=True)
    return Arrangement(PLANNED, "each coordinator plans its own units", resolved)


def _centralized(community: Community) -> Arrangement:
    """One agent observes everything and plans all units; the members' bills are pooled."""
    intervals = community.resolved.config.simulation.intervals
    centre = {
        "id": _CENTRE,
        "type": "SystemAgent",
        "policy": "mpc",
        "sub_agents": community.members,
        "observability": "full",
        "interval": community.resolved.config.simulation.time_step if intervals is None else intervals.grid,
    }
    handed_on = _registered(lambda kind: kind.kind == "vertical" and kind.commands_children)
    resolved = community.arranged(
        {"protocol": {"type": handed_on}}, commanded=True, protocols=(community.pool,), above=(centre,)
    )
    if any(not place.market for place in meter_places(build(resolved)) if place.units):
        raise ArgumentError("a coordinator without `area` has no meter of its own, so that its bill is not pooled")
    return Arrangement(CENTRALIZED, "one agent plans all units, one bill", resolved)


def _registered(fits: Callable[[Any], bool]) -> str:
    """Name of the first registered protocol of a kind."""
    return next(name for name in PROTOCOLS.names() if fits(PROTOCOLS.get(name)))


def _parsed(name: str) -> tuple[str, list[dict[str, Any]]]:
    """Protocol and its parameters; those that its class names where none are written."""
    kind, _, written = name.partition(":")
    if not written:
        return kind, []
    params: dict[str, Any] = {}
    for part in written.split(","):
        key, equals, value = part.partition("=")
        if not (key.strip() and equals):
            raise ArgumentError(f'protocol "{name}": "{part}" is not key=value, as in admm:form=consensus')
        params[key.strip()] = _value(value.strip())
    return kind, [params]


def _value(text: str) -> Any:
    """A number, true, false or a word, as YAML reads them."""
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


def _with_protocol(community: Community, name: str, params: list[dict[str, Any]]) -> list[Arrangement]:
    """A registered protocol with each of its parameters, ordered by its rule and by plans, where it has either."""
    kind = PROTOCOLS.get(name)
    if kind.kind not in ("vertical", "horizontal"):
        raise ArgumentError(f"it is a protocol of kind {kind.kind}, and nobody learns here")
    if not (params or kind.compared):
        raise ArgumentError("it coordinates nobody: it charges for what members do anyway")
    found = []
    for given in params or [dict(own) for own in kind.compared]:
        label = name + "".join(f" {key}={value}" for key, value in given.items() if value != _default(kind, key))
        found += _ways(community, kind, {"type": name, "params": given}, label)
    return found


def _default(kind: Any, key: str) -> Any:
    """Default of a parameter, by its name or its alias."""
    fields = kind.Settings.model_fields
    return next((field.default for name, field in fields.items() if key in (name, field.alias)), None)


def _ways(community: Community, kind: Any, protocol: dict[str, Any], label: str) -> list[Arrangement]:
    """Arrangements with one protocol.

    Raises
    ------
    ArgumentError
        If it adds nothing, or its orders come neither from a rule nor from a plan.
    """
    vertical = kind.kind == "vertical"
    if vertical:
        keys: dict[str, Any] = {"protocol": protocol}
        peers: tuple[Mapping[str, Any], ...] = ()
    else:
        keys, peers = {}, ({**protocol, "members": community.members}, *((community.pool,) if kind.one_bill else ()))
    try:
        made = kind(**protocol["params"])
    except ValidationError:
        community.arranged(keys, protocols=peers)  # names every fault of the parameters
        raise
    try:
        ruled = community.arranged(keys, decides=made.speaks, protocols=peers)
        layers = build(ruled).layout.coordination.layers
    except PowerGridError:
        if vertical and any(layer.market is not None for layer in _below_one(community, protocol)):
            raise ArgumentError(_OWN_PRICES) from None
        raise
    commands = vertical and made.commands_children
    if not layers and not commands:
        raise ArgumentError("it adds nothing to a world without coordination")
    meanings = {action.meaning for layer in layers for action in layer.added.actions}
    found = []
    if layers and (made.rule is not None or not made.speaks):
        about = "orders by its rule, units by theirs" if made.speaks else "units by their rule"
        found.append(Arrangement(label, about, ruled))
    if commands or meanings - {""}:
        planned = {**keys, "policy": "mpc"}
        resolved = community.arranged(planned, decides=True, commanded=commands or not vertical, protocols=peers)
        about = "coordinators plan, units by their rule" if vertical and not commands else "coordinators plan"
        found.append(Arrangement(f"{label}, plan" if found else label, about, resolved))
    if not found:
        raise ArgumentError("its orders come from learned agents: it has no rule, and a plan has nothing to say")
    return found


def _below_one(community: Community, protocol: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Layers of a vertical protocol that one operator above all coordinators owns; none where that cannot be."""
    operator = {"id": _CENTRE, "type": "SystemAgent", "policy": RULE, "sub_agents": community.members}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a world that nobody plays
        try:
            return build(community.arranged({}, above=({**operator, "protocol": protocol},))).layout.coordination.layers
        except PowerGridError:
            return ()


def _meters(world: World) -> tuple[frozenset[str], frozenset[tuple[str, str]]]:
    """Places at which accounts pay for energy, and the first of them that measures each unit."""
    zones = world.layout.meters.zones
    paying = frozenset(agent.bus for agent in world.agents if isinstance(agent, DeviceAgent) and agent.role == "meter")
    return paying, frozenset((unit, zones.places[place] if place >= 0 else "") for unit, place in zones.of_unit.items())


def _reason(error: PowerGridError) -> str:
    """First fault of an error on one line."""
    issues = getattr(error, "issues", None)
    return issues[0].message if issues else str(error)
