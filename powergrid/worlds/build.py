"""From a configuration to a :class:`~powergrid.worlds.world.World`: network, agents, data and layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from powergrid.agents.base import CENTRALIZED, LEARNED, PYTHON, Agent, Presence
from powergrid.agents.device_agent import MEASURED, DeviceAgent, Reliability
from powergrid.agents.grid_agent import GridAgent, GridCoordinatorAgent
from powergrid.agents.protocols._links import LinkSettings
from powergrid.agents.system_agent import SystemAgent
from powergrid.config.agent_entries import policy_word
from powergrid.config.build_network import outage_rows
from powergrid.config.check_intervals import level_name
from powergrid.config.local_control import controllers
from powergrid.config.python_policies import policy_maker
from powergrid.config.resolve import Source, resolve, with_overrides
from powergrid.config.schema import EnvironmentConfig
from powergrid.config.schema_agents import Messages
from powergrid.coordination.layers import Peers
from powergrid.core.errors import ConfigError, Issue, nearest
from powergrid.datasets import Dataset
from powergrid.datasets.tariff_file import TariffFile
from powergrid.devices.grid_connection import GridConnection
from powergrid.engine.assembly.assemble import Parts, assemble
from powergrid.engine.assembly.ownership import Ownership
from powergrid.engine.layout import Columns, Layout, Settings
from powergrid.engine.switching import Outage
from powergrid.networks.kinds import AnyNetwork
from powergrid.networks.regulation import regulators_at, standing_tap
from powergrid.networks.terminals import branch_rows, node_of_place
from powergrid.plugins.load import load_plugins
from powergrid.plugins.registries import DEVICES, POLICIES, PROTOCOLS
from powergrid.powerflow import method as powerflow_method
from powergrid.powerflow.retry import with_retry
from powergrid.worlds import exogenous, python_devices
from powergrid.worlds.carbon import carbon_of
from powergrid.worlds.meters import add_meters
from powergrid.worlds.mixings import Class, mixings
from powergrid.worlds.static_units import static_units
from powergrid.worlds.world import SHARED, RewardSettings, World

COORDINATORS = {"GridCoordinator": GridCoordinatorAgent, "GridAgent": GridAgent, "SystemAgent": SystemAgent}
"""Agent types that are not devices."""


def build(source: Source, *, method: str = "auto", tol_pu: float = 1e-8, **overrides: Any) -> World:
    """Build the world of a configuration.

    Parameters
    ----------
    source
        Preset name, path of a YAML file, mapping or resolved configuration.
    method
        Power-flow method, as a name or ``"auto"``.
    tol_pu
        Tolerance of the power flow on the largest voltage change [pu].
    **overrides
        Changes to the configuration by keyword.

    Raises
    ------
    ConfigError
        If the configuration cannot be used; ``issues`` holds every fault.
    """
    resolved = resolve(source)
    if overrides:
        resolved = with_overrides(resolved, **overrides)
    if resolved.unchecked:
        raise ConfigError(resolved.unchecked)
    config = resolved.config
    # the last folder to be loaded decides what a name means: load those of this configuration again
    for folder in config.plugins if resolved.plugins else ():
        load_plugins(resolved.base_dir / Path(folder).expanduser())
    network = resolved.network()
    dataset = resolved.dataset()
    agents = _agents(config, resolved.base_dir)
    _set_switches(agents, network)
    agents += _controllers(config, network, agents)
    agents += static_units(config, network)
    _set_taps(agents, network)
    dt_s = config.simulation.time_step
    series = python_devices.prepare(agents, dataset, dt_s, config.simulation.episode_length)
    tariff = resolved.tariff()
    vertical, horizontal, learning = _protocols(config, agents, tariff)
    _set_intervals(config, agents)
    outages = _outages(config, network)
    file = "" if tariff is None else tariff.name
    agents += add_meters(config.tariff, network, agents, Ownership(agents, vertical, horizontal), outages, file)
    load_series = _load_series(config, network)
    columns, table = _exogenous(config, dataset, agents, load_series)
    parts = Parts(
        network=network,
        agents=agents,
        vertical=vertical,
        horizontal=horizontal,
        policies=_policies(agents),
        load_series=load_series,
        columns=columns,
        settings=_settings(config),
        outages=outages,
        residual=None if config.residual is None else POLICIES.get(config.residual)(),
        series=series,
    )
    layout = assemble(parts, _solver(method, network), tol_pu=tol_pu)
    _refuse_idle_links(config, layout)
    python_devices.refuse_switching(layout)
    return World(
        layout=layout,
        table=table,
        days={split: dataset.split(split) for split in ("train", "validation", "test", "stress")},
        ticks_per_day=86_400 // dt_s,
        reward=_reward(config),
        agents=tuple(agents),
        network=network,
        resolved=resolved,
        method=method,
        tol_pu=tol_pu,
        mixings=mixings(learning, layout),
        cost_limits=_cost_limits(config, layout),
        carbon=carbon_of(layout, config.carbon.series, agents),
    )


def _set_switches(agents: Sequence[Agent], network: AnyNetwork) -> None:
    """Set the initial position of switches to that of the network, unless their settings name one."""
    for agent in agents:
        if isinstance(agent, DeviceAgent) and agent.role == "switch" and agent.settings.closed_init is None:
            rows = branch_rows(network, agent.bus)
            closed = bool(network.branches.closed[rows[0]]) if rows else True
            agent.settings = agent.settings.model_copy(update={"closed_init": closed})


def _set_taps(agents: Sequence[Agent], network: AnyNetwork) -> None:
    """Set the initial tap of regulators without local control to the network's, unless their settings name one."""
    for agent in agents:
        if isinstance(agent, DeviceAgent) and agent.role == "tap" and regulators_at(network, agent.bus):
            settings = agent.settings
            if not settings.local_control and settings.tap_init is None:
                tap = standing_tap(network, agent.bus, settings)
                agent.settings = settings.model_copy(update={"tap_init": tap})


def _outages(config: EnvironmentConfig, network: AnyNetwork) -> list[Outage]:
    """Outages with times in ticks and branches as rows."""
    tick_s, outages = config.simulation.time_step, []
    for rule in config.network.outages:
        outages.append(
            Outage(
                branches=outage_rows(rule, network),
                earliest=round(rule.start[0] / tick_s),
                latest=round(rule.start[1] / tick_s),
                ticks=max(round(rule.duration / tick_s), 1),
                probability=rule.probability,
            )
        )
    return outages


def _solver(method: str, network: AnyNetwork) -> Any:
    """The power-flow method; on balanced networks Newton's method solves what the fixed point on the CPU does not."""
    if network.is_three_phase:
        return powerflow_method("sparse_lu" if method == "auto" else method, network)
    solver = powerflow_method(method, network)
    return with_retry(solver) if solver.__name__ == "powergrid.powerflow.sparse_lu" else solver


def _settings(config: EnvironmentConfig) -> Settings:
    simulation, penalties = config.simulation, config.penalties
    return Settings(
        dt_h=simulation.time_step / 3600.0,
        episode_length=simulation.episode_length,
        v_min_pu=simulation.v_min_pu,
        v_max_pu=simulation.v_max_pu,
        voltage_price=penalties.voltage_per_pu_h,
        overload_price=penalties.overload_per_percent_h,
        unserved_price=penalties.unserved_per_mwh,
        unbalance_max_percent=simulation.unbalance_max_percent,
        unbalance_price=penalties.unbalance_per_percent_h,
        terminate_on_divergence=simulation.terminate_on_divergence,
        forecast_rho=config.forecast.rho,
    )


def _reward(config: EnvironmentConfig) -> RewardSettings:
    training = config.training
    limit = training.max_penalty if training.max_penalty is not None else float("inf")
    return RewardSettings(training.reward_scale, training.safety_scale, limit)


def _cost_limits(config: EnvironmentConfig, layout: Layout) -> dict[str, float]:
    """Limits of constraints, which must be there; a constraint's own name stands for what is shared of it as well."""
    limits = config.training.cost_limits
    names = [name for name in layout.ledger.cost_names if not name.startswith(SHARED)]
    issues = [
        Issue(
            f"training.cost_limits.{name}",
            f'there is no constraint "{name}" (value {limit:g})',
            nearest(name, names) or f"constraints of this environment: {', '.join(names)}",
        )
        for name, limit in limits.items()
        if name not in names
    ]
    if limits and layout.ledger.objective is not None:
        agents = ", ".join(agent.id for agent in config.agents if getattr(agent, "objective", "own") != "own")
        message = (
            f"limits hold for costs of an agent's own account; others enter the rewards of {agents or 'coordinators'}"
        )
        issues.append(Issue("training.cost_limits", message, "write objective: own at them, or leave the limits out"))
    if issues:
        raise ConfigError(issues)
    return dict(limits)


def _agents(config: EnvironmentConfig, folder: Path) -> list[Agent]:
    """The agents of the configuration, linked to their parents."""
    agents: dict[str, Agent] = {}
    for described in config.agents:
        timing: dict[str, Any] = {
            "interval_s": described.interval,
            "offset_s": described.offset,
            "observability": described.observability,
        }
        written = described.policy
        policy = policy_word(written if written is None or isinstance(written, str) else written.model_dump())
        if described.type in COORDINATORS:
            protocol = described.protocol
            params: Any = protocol.params if protocol else {}
            agents[described.id] = COORDINATORS[described.type](
                described.id,
                area=described.area or "",
                protocol=protocol.type if protocol else "none",
                protocol_params=params,
                objective=described.objective,
                policy=policy or LEARNED,
                **timing,
            )
        else:
            kind = DEVICES.get(described.type)
            place = {
                "id": described.id,
                "bus": described.bus or "",
                "phases": described.phases,
                "policy": policy,
            }
            device = agents[described.id] = kind(**place, **timing, **described.params)
            if described.failures is not None:
                device.reliability = Reliability(described.failures.mtbf_h, described.failures.mttr_h)
        if described.presence is not None:
            times = described.presence
            agents[described.id].presence = Presence(times.joins, times.leaves, times.lifetime_h)
        agents[described.id].make_policy = policy_maker(written, folder, described.id)
    for described in config.agents:
        agents[described.id].adopt(agents[child] for child in described.sub_agents)
    return list(agents.values())


def _controllers(config: EnvironmentConfig, network: AnyNetwork, agents: Sequence[Agent]) -> list[Agent]:
    """Regulators and switchable capacitors that no agent of the configuration moves."""
    places = [agent.bus for agent in agents if isinstance(agent, DeviceAgent) and agent.role in ("tap", "cap")]
    return [
        DEVICES.get(kind)(f"{kind.lower()}_{place}", place, **params)
        for kind, place, params in controllers(config.network, network, places)
    ]


def _protocols(
    config: EnvironmentConfig, agents: Sequence[Agent], tariff: TariffFile | None
) -> tuple[dict[str, Any], list[Peers], list[Class]]:
    """Vertical protocols by coordinator, and those among peers and among learners with their members."""
    coordinators = [agent for agent in agents if isinstance(agent, GridAgent)]
    links = None if config.messages is None else _links(config.messages)

    def below(agent: Agent, type: str, params: Mapping[str, Any]) -> Any:
        return _protocol(type, params, links, [agent.id], [child.id for child in agent.subordinates])

    vertical = {agent.id: below(agent, agent.protocol, agent.protocol_params) for agent in coordinators}
    horizontal: list[Peers] = []
    learning: list[Class] = []
    named = [(listed.type, listed.params, listed.members, listed.topology) for listed in config.protocols]
    short = config.coordination
    if short is not None:
        kind = PROTOCOLS.get(short.protocol)
        if kind.kind == "vertical":
            bare = [agent for agent in coordinators if agent.protocol == "none"]
            vertical.update({agent.id: below(agent, short.protocol, short.params) for agent in bare})
        else:
            named.append((short.protocol, short.params, [], "full"))
    if tariff is not None and tariff.demand is not None:
        named.append(("demand_charge", tariff.demand.params, [], "full"))
    for type, params, members, topology in named:
        if PROTOCOLS.get(type).kind == "learning":
            learning.append(Class(type, PROTOCOLS.get(type)(**params), members))
            continue
        ids = list(members) or [agent.id for agent in coordinators]
        horizontal.append(Peers(_protocol(type, params, links, ids, ids), ids, topology))
    if config.messages is not None and config.messages.width:
        ownership = Ownership(agents, vertical, horizontal)
        horizontal.append(_messages(config.messages, [*ownership.actors, *ownership.python_agents]))
    for agent in coordinators:
        frequency = getattr(vertical[agent.id].settings, "update_freq", None)
        if frequency is not None and agent.interval_s is None:
            agent.interval_s = frequency
    return vertical, horizontal, learning


def _set_intervals(config: EnvironmentConfig, agents: Sequence[Agent]) -> None:
    """Set the interval of the configuration's agents without one of their own to that of their level."""
    by_level = config.simulation.intervals
    configured = {described.id for described in config.agents}
    for agent in agents:
        if by_level is not None and agent.interval_s is None and agent.id in configured:
            agent.interval_s = getattr(by_level, level_name(type(agent).level))


def _protocol(
    type: str, params: Mapping[str, Any], links: LinkSettings | None, senders: Sequence[str], receivers: Sequence[str]
) -> Any:
    """A protocol, over those links of `messages` that join its members where its parameters say so."""
    protocol = PROTOCOLS.get(type)(**params)
    if not getattr(protocol.settings, "over_messages", False):
        return protocol
    if links is None:
        message = f"{type}: over_messages, and there are no messages whose delay and loss it could have"
        raise ConfigError([Issue("protocols", message, "add messages: {delay: 60, loss: 0.1, width: 0}")])
    return protocol.over(links.among(senders, receivers))


def _links(messages: Messages) -> LinkSettings:
    """Delay and loss of the links of messages."""
    delay = messages.delay
    own = [
        {"sender": link.sender, "receiver": link.receiver or "", "mean_s": link.delay.mean, "std_s": link.delay.std,
         "loss": link.loss}
        for link in messages.links
    ]  # fmt: skip
    given = {"dist": delay.dist, "mean_s": delay.mean, "std_s": delay.std, "loss": messages.loss, "links": own}
    return LinkSettings.model_validate(given)


def _refuse_idle_links(config: EnvironmentConfig, layout: Layout) -> None:
    """Refuse links with a delay and a loss of their own over which nothing travels."""
    own = [] if config.messages is None else _links(config.messages).links
    ends = [pair for layer in layout.coordination.layers for pair in layer.added.carries] if own else []
    issues = []
    for k, link in enumerate(own):
        if not any(link.carries(*pair) for pair in ends):
            to = f'from "{link.sender}" to "{link.receiver}"' if link.receiver else f'from "{link.sender}"'
            hint = "name a link of messages, or of a protocol that sends with over_messages: true"
            issues.append(Issue(f"messages.links[{k}]", f"nothing travels {to} over a link", hint))
    if issues:
        raise ConfigError(issues)


def _messages(messages: Messages, acting: Sequence[str]) -> Peers:
    """The protocol that carries messages: over links, or to everybody."""
    name = "broadcast" if messages.topology == "full" else "messages"
    protocol = PROTOCOLS.get(name)(width=messages.width, **_links(messages).model_dump())
    return Peers(protocol, messages.members or list(acting), messages.topology)


def _load_series(config: EnvironmentConfig, network: AnyNetwork) -> list[str]:
    """Series that each of the network's own loads follows."""
    usual = config.network.load_series  # also for areas of the base network
    attached = [change.attach for change in config.network.modifications if change.attach is not None]
    by_area = {attach.name: attach.load_series for attach in attached if attach.load_series}
    return [by_area.get(network.buses.area[bus], usual) for bus in node_of_place(network)[network.loads.bus]]


def _exogenous(
    config: EnvironmentConfig, dataset: Dataset, agents: Sequence[Agent], load_series: Sequence[str]
) -> tuple[Columns, exogenous.ExogenousTable]:
    """Columns and table with all series that loads, devices and tariffs need."""
    tariffs = [] if config.tariff.file else [(config.tariff.feed_in_share, config.tariff.retail_adder)]
    needed: list[str] = list(load_series)
    for agent in agents:
        if isinstance(agent, DeviceAgent):
            needed += [name for field, name in agent.series().items() if field not in MEASURED]
        if isinstance(agent, GridConnection) and not agent.tariff_name:
            tariffs.append(agent.tariff)
    return exogenous.build(
        dataset,
        config.simulation.time_step,
        needed,
        list(dict.fromkeys(tariffs)),
        forecast_hours=config.forecast.horizon_h,
        forecast_noise=config.forecast.noise,
        public=[] if config.carbon.series is None else [config.carbon.series],
    )


def _policies(agents: Sequence[Agent]) -> dict[str, Any]:
    """Local policies by name."""
    names = {agent.policy for agent in agents} - {LEARNED, CENTRALIZED, PYTHON}
    return {name: POLICIES.get(name)() for name in names}
