"""From a preset, file or mapping to a checked configuration, or to all its faults at once."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pydantic import ValidationError

from powergrid.config.agent_entries import COORDINATORS, own_constructor
from powergrid.config.build_network import build_network
from powergrid.config.check_agents import check_agents
from powergrid.config.check_data import build_dataset, check_data, read_tariff
from powergrid.config.check_deciders import check_deciders
from powergrid.config.check_messages import check_messages
from powergrid.config.check_network import check_network
from powergrid.config.check_protocols import check_protocols
from powergrid.config.check_residual import check_residual
from powergrid.config.check_training import check_training
from powergrid.config.document import Document
from powergrid.config.findings import Findings, quoted, section
from powergrid.config.groups import with_groups_written_out
from powergrid.config.local_control import check_controllers
from powergrid.config.overrides import overridden
from powergrid.config.schema import RATES_S, EnvironmentConfig, Intervals, Simulation
from powergrid.config.schema_agents import AgentConfig
from powergrid.config.sources import open_document
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.files import path_fault
from powergrid.plugins.load import PluginError, load_object, load_plugins, registered
from powergrid.plugins.registries import DEVICES

if TYPE_CHECKING:
    from powergrid.datasets import Dataset
    from powergrid.datasets.tariff_file import TariffFile
    from powergrid.networks.kinds import AnyNetwork

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ResolvedConfig:
    """A configuration that has been checked as a whole.

    Attributes
    ----------
    config
        The configuration with every default filled in, device parameters under their own names.
    base_dir
        Folder that relative paths start from.
    source
        Name of the preset or path of the file; ``""`` for a mapping.
    document
        The text of the user.
    plugins
        Whether the files of its plugin folders have been executed.
    unchecked
        Checks that need these files; while there are any, no environment can be made.
    """

    config: EnvironmentConfig
    base_dir: Path
    source: str
    document: Document = field(repr=False)
    plugins: bool = True
    unchecked: tuple[Issue, ...] = ()

    @property
    def name(self) -> str:
        """The configuration's name, with the characters that a file name may have."""
        return re.sub(r"[^\w.-]+", "_", self.config.name).strip("._") or "environment"

    def network(self) -> AnyNetwork:
        """The network, with all modifications; built once."""
        return self._once("network", lambda: build_network(self.config, self.base_dir))

    def dataset(self) -> Dataset:
        """The dataset, with the user's own series; read once."""
        return self._once(
            "dataset",
            lambda: build_dataset(self.config.datasets, self.base_dir, self.tariff()).with_stress_price(
                self.config.training.stress_price
            ),
        )

    def tariff(self) -> TariffFile | None:
        """The tariff in a file, ``None`` where the configuration names none; read once."""
        return self._once("tariff", lambda: read_tariff(self.config.tariff, self.base_dir))

    @property
    def default_split(self) -> str:
        """The split that episodes are drawn from where no other days are named."""
        return "train" if self.config.training.train else "test"

    def empty_split(self, split: str) -> Issue | None:
        """Why the data have no day in a split, at the key that decides it; ``None`` where they have one."""
        dataset = self.dataset()
        if len(dataset.split(split)):
            return None
        reason, hint = dataset.why_empty(split)
        path = ("datasets",) if self.config.training.stress_price is None else ("training", "stress_price")
        return self.document.issue(path, f'the data have no day in the split "{split}": {reason}', hint)

    def to_yaml(self, folder: Path | None = None) -> str:
        """Write the configuration as YAML with every default and the schema version.

        Parameters
        ----------
        folder
            Folder of the file; paths are then relative to it. By default paths are absolute.
        """
        from powergrid.config.export import to_yaml

        return to_yaml(self.config, self.base_dir, folder)

    def _once(self, name: str, make: Callable[[], T]) -> T:
        if f"_{name}" not in self.__dict__:
            object.__setattr__(self, f"_{name}", make())
        made: T = self.__dict__[f"_{name}"]
        return made

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ResolvedConfig):
            return NotImplemented
        return self.config == other.config and self.base_dir == other.base_dir

    def __hash__(self) -> int:
        return hash((self.config.model_dump_json(), self.base_dir))

    def __reduce__(self) -> tuple[Any, ...]:
        # classes of plugin files exist in this process only: another process reads the files again
        data = self.config.model_dump(mode="json", by_alias=True)
        return _reopen, (data, self.base_dir, self.source, self.plugins, self.unchecked)


def _reopen(
    data: dict[str, Any], base_dir: Path, source: str, plugins: bool, unchecked: tuple[Issue, ...]
) -> ResolvedConfig:
    for folder in data["plugins"] if plugins else ():
        load_plugins(base_dir / folder)
    for agent in data["agents"] if plugins else ():  # objects of a snapshot need the modules of their classes
        if isinstance(agent["policy"], dict) and agent["policy"]["python"]:
            load_object(agent["policy"]["python"], base_dir)
    config, document = EnvironmentConfig.model_validate(data), Document(data, folder=base_dir)
    return ResolvedConfig(config, base_dir, source, document, plugins, unchecked)


Source: TypeAlias = str | Path | Mapping[str, Any] | ResolvedConfig
"""What a configuration may be given as: preset name, path of a file, mapping, or a resolved configuration."""


def resolve(source: Source, *, plugins: bool = True) -> ResolvedConfig:
    """Read and check a configuration.

    Parameters
    ----------
    source
        Name of a preset, path of a YAML or JSON file, mapping, or resolved configuration. Paths in a file are relative
        to the file, paths in a mapping to the working folder.
    plugins
        Whether the Python files of the folders under ``plugins:`` are executed, with the rights of the program. If not,
        ``unchecked`` of the result lists the checks that need them.

    Returns
    -------
    ResolvedConfig

    Raises
    ------
    ConfigError
        If the configuration has faults; ``issues`` holds each with its file, line, path, value and a remedy.
    """
    if isinstance(source, ResolvedConfig):
        return source
    label = "" if isinstance(source, Mapping) else str(source)
    return _examine(open_document(source), label, plugins)


def with_overrides(resolved: ResolvedConfig, **overrides: Any) -> ResolvedConfig:
    """The same configuration with some values replaced.

    Parameters
    ----------
    **overrides
        Keys of the sections simulation, training, tariff, forecast and penalties by their own name
        (``episode_length=24``); whole sections as mappings that are merged into the section
        (``simulation={"time_step": 300}``); dotted paths (``**{"agents.ess_1.params.capacity_mwh": 2.0}``). ``agents``
        is a list that replaces all agents, or a mapping from ids to the keys that change. A group of agents has one id,
        that of its entry: ``**{"agents.ev.count": 50}``.

    Raises
    ------
    ConfigError
        If a name is unknown, or the result has faults.
    """
    return _examine(
        overridden(resolved.document.before_groups or resolved.document, overrides), resolved.source, resolved.plugins
    )


def _examine(document: Document, source: str, plugins: bool) -> ResolvedConfig:
    """Run all checks, in an order in which each can use the results of those before it."""
    document = with_groups_written_out(_with_phases_in_network(document))
    data = document.data
    findings = Findings(document, () if plugins else _plugin_folders(data), plugins)
    if not isinstance(data, dict):
        findings.add((), f"a configuration is a mapping (key: value), not {quoted(data)}", "see powergrid list presets")
        raise ConfigError(findings.issues)
    _load_plugins(findings, data)
    try:
        config = EnvironmentConfig.model_validate(data)
    except ValidationError as error:
        findings.invalid((), data, EnvironmentConfig, error)
    grid = check_network(findings, data, document.folder)
    agents = check_agents(findings, data, grid)
    if grid.network is not None and grid.section is not None:
        places = [str(agent.raw.get("bus")) for agent in agents if agent.kind and agent.kind.role in ("tap", "cap")]
        check_controllers(findings, section(data, "network"), grid.section, grid.network, places)
    check_protocols(findings, data, agents)
    check_messages(findings, data, agents)
    check_deciders(findings, data, agents)
    check_training(findings, data)
    check_residual(findings, data)
    dataset = check_data(findings, data, document.folder, agents)
    if findings.issues:
        raise ConfigError(findings.issues)
    unchecked = tuple(findings.pending)
    resolved = ResolvedConfig(_normal(config), document.folder, source, document, plugins, unchecked)
    object.__setattr__(resolved, "_network", grid.network)
    if dataset is not None:
        object.__setattr__(resolved, "_dataset", dataset.with_stress_price(config.training.stress_price))
    return resolved


def _with_phases_in_network(document: Document) -> Document:
    """The document with a ``phases`` of its own, the short form, moved into the network section."""
    data = document.data
    network = data.get("network") if isinstance(data, dict) and "phases" in data else None
    network = {"base": network} if isinstance(network, str) else network
    if not isinstance(network, dict) or "phases" in network:
        return document
    rest = {key: value for key, value in data.items() if key != "phases"}
    lines = {**document.lines, ("network", "phases"): document.lines.get(("phases",), 0)}
    return replace(document, data={**rest, "network": {**network, "phases": data["phases"]}}, lines=lines)


def _plugin_folders(data: object) -> tuple[str, ...]:
    folders = data.get("plugins") if isinstance(data, dict) else None
    return tuple(folder for folder in folders if isinstance(folder, str)) if isinstance(folders, list) else ()


def _load_plugins(findings: Findings, data: dict[str, Any]) -> None:
    folders = data.get("plugins")
    first: dict[tuple[str, str], str] = {}
    for i, folder in enumerate(folders if isinstance(folders, list) else []):
        if not isinstance(folder, str) or path_fault(folder):
            continue
        place = findings.document.folder / Path(folder).expanduser()
        if findings.unread:
            if not place.is_dir():
                findings.add(("plugins", i), f"{folder}: there is no such folder")
            continue
        try:
            load_plugins(place)
        except PluginError as error:
            for file, reason in error.broken.items():
                findings.add(("plugins", i), f"{file}: {reason}", "mend or remove the file; the others were loaded")
        for kind, names in registered(place).items():
            for name in names:
                earlier = first.setdefault((kind, name), folder)
                if earlier != folder:
                    message = f'{kind} "{name}" is registered by {earlier} and by {folder}'
                    findings.add(("plugins", i), message, "give one of them another name")


def _normal(config: EnvironmentConfig) -> EnvironmentConfig:
    """Fill in the defaults of device parameters, and the times at which agents decide."""
    agents = [_with_defaults(agent) for agent in config.agents]
    return config.model_copy(update={"agents": agents, "simulation": _timed(config)})


def _timed(config: EnvironmentConfig) -> Simulation:
    """The simulation with ``async`` and ``intervals`` as they are meant."""
    simulation = config.simulation
    tick_s, intervals, is_async = simulation.time_step, simulation.intervals, simulation.async_
    written = [agent.interval for agent in config.agents]
    if is_async and intervals is None and not any(written):
        intervals = Intervals(**{level: -(-rate_s // tick_s) * tick_s for level, rate_s in RATES_S.items()})
    if intervals is not None:
        written += intervals.model_dump().values()
    if is_async is None:
        is_async = any(seconds not in (None, tick_s) for seconds in written)
    return simulation.model_copy(update={"async_": is_async, "intervals": intervals})


def _with_defaults(agent: AgentConfig) -> AgentConfig:
    if agent.type in COORDINATORS or agent.type not in DEVICES:  # the type of a plugin that was not executed
        return agent
    kind = DEVICES.get(agent.type)
    if own_constructor(kind):
        return agent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings appear when the device is made
        params = kind.Settings.model_validate(agent.params).model_dump(mode="json")
    return agent.model_copy(update={"params": params})
