"""Checks of the network: it can be built, and its rules name elements that it has."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from powergrid.config.build_network import (
    build_network,
    capacitor_names,
    opening_names,
    outage_rows,
    regulator_names,
)
from powergrid.config.document import Keys
from powergrid.config.findings import Findings, choices, entries, known_names, quoted, section, text
from powergrid.config.schema_network import NetworkConfig
from powergrid.core.errors import PowerGridError
from powergrid.core.settings import options_model
from powergrid.networks.terminals import branch_rows
from powergrid.plugins.registries import DEVICES, NETWORKS

if TYPE_CHECKING:
    from powergrid.networks.kinds import AnyNetwork


class Grid(NamedTuple):
    """The network, or the part of it that could be built.

    Attributes
    ----------
    network
        ``None`` if there is none.
    because
        Reason why there is none.
    lost
        Names of buses and areas of modifications with faults.
    section
        The valid part of the network section.
    """

    network: AnyNetwork | None
    because: str = ""
    lost: tuple[str, ...] = ()
    section: NetworkConfig | None = None

    def lacks(self, name: str) -> bool:
        """Whether `name` is missing only because a modification has a fault."""
        return any(name == lost or name.startswith(f"{lost}.") for lost in self.lost)


def check_network(findings: Findings, data: dict[str, Any], folder: Path) -> Grid:
    """Build the network; note every fault of its section that the schema does not cover."""
    raw = data.get("network")
    short = isinstance(raw, str)
    written: dict[str, Any] = {"base": raw} if short else section(data, "network")
    if not written:
        return Grid(None, "there is no network")
    known = known_names(NETWORKS)
    base = text(written.get("base"))
    if base is not None and base not in known:
        findings.unknown(("network",) if short else ("network", "base"), "network", base, known)
        _unchecked(findings, written, "the base network is unknown")
        return Grid(None, "the network is unknown")
    faulty = _check_options(findings, written, known)
    config = _salvaged(written)
    if config is None:
        return Grid(None, "the network section has faults")
    if ("network", "options") in faulty:
        return Grid(None, "the options of the network have faults")
    grid = _build(findings, config, written, known, folder, faulty)
    if grid.network is not None:
        sound = not grid.lost and _check_solvable(findings, written, grid.network)
        _check_rules(findings, written, "regulators", regulator_names(grid.network), grid)
        _check_rules(findings, written, "capacitors", capacitor_names(grid.network), grid)
        _check_outages(findings, written, opening_names(grid.network), grid)
        _check_static(findings, written, grid)
        if sound:
            _check_topologies(findings, config, entries(data.get("agents")), grid.network)
    return grid


def _unchecked(findings: Findings, written: dict[str, Any], because: str) -> None:
    for i, item in entries(written.get("modifications")):
        for key, value in item.items():
            at_bus = section(value).get("at_bus")
            if at_bus is not None:
                findings.unchecked(("network", "modifications", i, key, "at_bus"), at_bus, because)
    for key in ("regulators", "capacitors"):
        rules = written.get(key)
        for i, rule in entries([rules] if isinstance(rules, dict) else rules):
            if "match" in rule:
                place = () if isinstance(rules, dict) else (i,)
                findings.unchecked(("network", key, *place, "match"), rule["match"], because)


def _salvaged(written: dict[str, Any]) -> NetworkConfig | None:
    """The section without the keys that the schema refuses, so that buses can still be checked."""
    for whole_rules in (False, True, True):
        try:
            return NetworkConfig.model_validate(written)
        except ValidationError as error:
            written = deepcopy(written)
            for detail in error.errors():
                _drop(written, detail["loc"][:1] if whole_rules else detail["loc"])
    return None


def _drop(written: Any, path: tuple[Any, ...]) -> None:
    for part in path[:-1]:
        inside = isinstance(written, dict) and part in written
        inside = inside or (isinstance(written, list) and isinstance(part, int) and part < len(written))
        written = written[part] if inside else None
    if path and isinstance(written, dict):
        written.pop(path[-1], None)


def _check_options(findings: Findings, written: dict[str, Any], known: list[str]) -> set[Keys]:
    """Note faults in the options of every network that is named; return the paths of options with faults."""
    named: list[tuple[Keys, Any, Any]] = [(("network", "options"), written.get("base"), written.get("options"))]
    for i, item in entries(written.get("modifications")):
        attach = section(item, "attach")
        path: Keys = ("network", "modifications", i, "attach", "options")
        named.append((path, attach.get("network"), attach.get("options")))
    faulty: set[Keys] = set()
    for path, name, options in named:
        if not isinstance(options, dict) or not options or text(name) not in known:
            continue
        model = options_model(NETWORKS.get(str(name)))
        try:
            model.model_validate(options)
        except ValidationError as error:
            findings.invalid(path, options, model, error)
            faulty.add(path)
    return faulty


def _build(
    findings: Findings,
    config: NetworkConfig,
    written: dict[str, Any],
    known: list[str],
    folder: Path,
    faulty: set[Keys],
) -> Grid:
    lost: list[str] = []

    def note(position: int, error: PowerGridError) -> None:
        modification = config.modifications[position]
        kind, change = ("add_bus", modification.add_bus) if modification.add_bus else ("attach", modification.attach)
        assert change is not None, "the schema demands one of add_bus and attach"
        lost.append(change.name)
        path: Keys = ("network", "modifications", position, kind)
        if modification.attach and modification.attach.network not in known:
            findings.unknown((*path, "network"), "network", modification.attach.network, known)
            findings.unchecked((*path, "at_bus"), change.at_bus, "the network to attach is unknown")
        elif (*path, "options") in faulty:
            findings.unchecked((*path, "at_bus"), change.at_bus, "the options of the network to attach have faults")
        elif any(name == change.at_bus or change.at_bus.startswith(f"{name}.") for name in lost[:-1]):
            findings.unchecked((*path, "at_bus"), change.at_bus, "an earlier modification has a fault")
        else:
            at_bus = f'no bus "{change.at_bus}"' in str(error)
            _add(findings, (*path, "at_bus") if at_bus else path, error)

    try:
        network = build_network(config, folder, on_fault=note)
    except PowerGridError as error:
        origin = "file" if config.file is not None else "options" if "options" in written else "base"
        _add(findings, ("network", origin), error)
        return Grid(None, "the base network cannot be built")
    return Grid(network, "", tuple(lost), config)


def _check_solvable(findings: Findings, written: dict[str, Any], network: AnyNetwork) -> bool:
    """Note faults with which no power flow of the network can be solved; return whether there are none."""
    import numpy as np

    from powergrid.studies import find_faults

    may_move = np.array([kind == "switch" for kind in network.branches.kind], bool)  # then its buses are not one
    place = () if written.get("modifications") else ("file",) if "file" in written else ("base",)
    issues = find_faults(network, may_move)
    for issue in issues:
        findings.add(("network", *place), f"{issue.path}: {issue.message}", issue.hint)
    return not issues


def _add(findings: Findings, path: tuple[str | int, ...], error: PowerGridError) -> None:
    message, _, hint = str(error).partition("; ")
    findings.add(path, message, hint)


def _check_outages(findings: Findings, written: dict[str, Any], names: tuple[str, ...], grid: Grid) -> None:
    """Note every outage that names no branch that may open."""
    rules = written.get("outages")
    single = isinstance(rules, dict)
    for i, rule in entries([rules] if single else rules):
        branches = rule.get("branch")
        for k, branch in enumerate(branches if isinstance(branches, list) else [branches]):
            pattern = str(branch)
            if not isinstance(branch, str | int) or any(fnmatchcase(name, pattern) for name in names):
                continue
            path = (
                "network",
                "outages",
                *(() if single else (i,)),
                "branch",
                *((k,) if isinstance(branches, list) else ()),
            )
            if grid.lacks(pattern.split("*")[0].rstrip(".")):
                findings.unchecked(path, pattern, "a modification of the network has a fault")
            else:
                findings.add(path, f"no branch {quoted(pattern)} that can fail", choices(pattern, names))


def _check_topologies(
    findings: Findings, config: NetworkConfig, agents: Iterable[tuple[int, dict[str, Any]]], network: AnyNetwork
) -> None:
    """Note outages and switches whose topologies the network cannot take."""
    from powergrid.engine.switching import Outage, enumerate_topologies
    from powergrid.powerflow import topology_issue

    outages = [Outage(outage_rows(rule, network), 0, 0, 1, 1.0) for rule in config.outages]
    switches: dict[Keys, tuple[int, ...]] = {
        ("agents", i, "bus"): branch_rows(network, str(agent.get("bus")))
        for i, agent in agents
        if (name := text(agent.get("type"))) is not None and name in DEVICES and DEVICES.get(name).role == "switch"
    }
    places: list[Keys] = [*([("network", "outages")] if outages else []), *switches]
    if not places or not all(switches.values()):
        return
    issue = topology_issue(network)
    if issue is not None:
        for place in places:
            findings.add(place, issue.message, issue.hint)
        return
    try:
        enumerate_topologies(network, list(switches.values()), outages)
    except PowerGridError as error:
        _add(findings, places[0], error)


def _check_static(findings: Findings, written: dict[str, Any], grid: Grid) -> None:
    """Note every rule and factor for generation and storage that matches none."""
    places: list[tuple[Keys, dict[str, Any], str]] = [(("network",), written, "")]
    for i, item in entries(written.get("modifications")):
        attach = section(item, "attach")
        places.append((("network", "modifications", i, "attach"), attach, str(attach.get("name", ""))))
    assert grid.network is not None, "rules are checked against a network"
    static, area = grid.network.static_generators, grid.network.buses.area
    holding = () if grid.network.is_three_phase else grid.network.generators.name
    if written.get("gen_scale") not in (None, 1) and not holding and not grid.lost:
        message = "the network has no generators that hold a voltage"
        findings.add(("network", "gen_scale"), message, "leave it out")
    for path, held, own in places:
        here = [name for name, bus in zip(static.name, static.bus, strict=True) if not own or area[bus] == own]
        rule = held.get("sgen_series")
        # a factor of one changes nothing, and stands in every exported configuration
        keys = [key for key, idle in (("sgen_series", None), ("sgen_scale", 1)) if held.get(key) not in (None, idle)]
        if keys and not here:
            if not grid.lost:
                what = "the network" if not own else f'"{own}"'
                findings.add(
                    (*path, keys[0]), f"{what} has no static generators and no storage of its own", "leave it out"
                )
        elif isinstance(rule, dict):
            for pattern in (pattern for pattern in rule if not any(fnmatchcase(name, str(pattern)) for name in here)):
                findings.add(
                    (*path, "sgen_series", pattern), f"{quoted(pattern)} matches none", choices(str(pattern), here)
                )


def _check_rules(findings: Findings, written: dict[str, Any], key: str, names: tuple[str, ...], grid: Grid) -> None:
    rules = written.get(key)
    single = isinstance(rules, dict)
    for i, rule in entries([rules] if single else rules):
        pattern = rule.get("match", "*")
        if not isinstance(pattern, str) or any(fnmatchcase(name, pattern) for name in names):
            continue
        path = ("network", key, *(() if single else (i,)), *(("match",) if "match" in rule else ()))
        if grid.lacks(pattern.split("*")[0].rstrip(".")):
            findings.unchecked(path, pattern, "a modification of the network has a fault")
        else:
            hint = choices(pattern, names) if names else f"the network has no {key}"
            findings.add(path, f"{quoted(pattern)} matches none of the {key}", hint)
