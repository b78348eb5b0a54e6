"""From the network section to a Network: the base, its source and loads, then the modifications in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from powergrid.config.schema import EnvironmentConfig
from powergrid.config.schema_network import Modification, NetworkConfig, OutageRule
from powergrid.core.errors import NetworkError, PowerGridError
from powergrid.core.types import CONSTANT_SERIES
from powergrid.networks.terminals import branch_rows

if TYPE_CHECKING:
    from powergrid.networks.kinds import AnyNetwork

DEFAULT_TRANSFORMER = {"sn_mva": 1.0, "vk_percent": 5.75, "vkr_percent": 0.75}
"""Transformer of an attached network unless one is given: 1 MVA with R 0.75 % and Z 5.75 %."""


def build_network(
    config: EnvironmentConfig | NetworkConfig,
    folder: Path,
    *,
    on_fault: Callable[[int, PowerGridError], None] | None = None,
) -> AnyNetwork:
    """Build the network that a configuration describes.

    Parameters
    ----------
    config
        The configuration, or its network section.
    folder
        Folder to which ``file`` is relative.
    on_fault
        Called with the position and the error of each modification that cannot be made, which is then left out. By
        default the error is raised.

    Raises
    ------
    NetworkError, UnknownNameError
        If the base cannot be built, or a modification cannot be made.
    """
    section = config.network if isinstance(config, EnvironmentConfig) else config
    network = _base(section, folder)
    for position, modification in enumerate(section.modifications):
        try:
            network = _modified(network, modification)
        except PowerGridError as error:
            if on_fault is None:
                raise
            on_fault(position, error)
    return network


def _base(config: NetworkConfig, folder: Path) -> AnyNetwork:
    from powergrid.networks import Network, scaled

    if config.file is not None:
        network: AnyNetwork = Network.from_pandapower(folder / Path(config.file).expanduser())
    else:
        assert config.base is not None, "the schema demands one of base and file"
        network = _registered(config.base, {"phases": config.phases, **config.options})
    if (config.load_scale, config.sgen_scale, config.gen_scale) != (1.0, 1.0, 1.0):
        factors = {"load": config.load_scale, "static": config.sgen_scale, "generation": config.gen_scale}
        network = scaled(network, **factors)
    return network if config.source_pu is None else replace(network, source_v_pu=config.source_pu)


def _registered(name: str, options: Mapping[str, Any]) -> AnyNetwork:
    from powergrid.networks import network

    try:
        return network(name, **options)
    except (TypeError, ValueError) as error:
        raise NetworkError(f'network "{name}" cannot be built with {dict(options)}: {error}') from error


def _modified(host: AnyNetwork, modification: Modification) -> AnyNetwork:
    from powergrid.networks import compose, with_bus

    if modification.add_bus is not None:
        new = modification.add_bus
        return with_bus(host, new.name, new.vn_kv, new.at_bus)
    assert modification.attach is not None, "the schema demands one of add_bus and attach"
    attach = modification.attach
    return compose(
        host,
        _registered(attach.network, {"phases": "three" if host.is_three_phase else "balanced", **attach.options}),
        attach.at_bus,
        name=attach.name,
        transformer=attach.transformer.model_dump() if attach.transformer else DEFAULT_TRANSFORMER,
        load_scale=attach.load_scale,
    )


def static_series(config: NetworkConfig, network: AnyNetwork) -> list[str]:
    """Series of each static generator of the network: that of its area's rule, or the constant series."""
    rules = {"": config.sgen_series}
    for change in config.modifications:
        if change.attach is not None:
            own = change.attach.sgen_series
            rules[change.attach.name] = config.sgen_series if own is None else own
    static, area = network.static_generators, network.buses.area
    rows = zip(static.name, static.kind, static.bus, strict=True)
    return [_series_of(rules[area[bus]], name, kind) for name, kind, bus in rows]


def _series_of(rule: str | dict[str, str] | None, name: str, kind: str) -> str:
    """Series by pattern, or one series for all generation; storage is constant then."""
    if isinstance(rule, dict):
        return next((series for pattern, series in rule.items() if fnmatchcase(name, pattern)), CONSTANT_SERIES)
    return CONSTANT_SERIES if rule is None or kind == "storage" else rule


def outage_rows(rule: OutageRule, network: AnyNetwork) -> tuple[tuple[int, ...], ...]:
    """Rows of the branches of each candidate of an outage."""
    chosen = [name for name in opening_names(network) if any(fnmatchcase(name, pattern) for pattern in rule.branch)]
    return tuple(branch_rows(network, name) for name in chosen)


def regulator_names(network: AnyNetwork) -> tuple[str, ...]:
    """Names of the regulator branches; in a three-phase network also those of whole banks."""
    return _with_elements(network, [network.branches.name[branch] for branch in network.regulators.branch])


def branch_names(network: AnyNetwork) -> tuple[str, ...]:
    """Names of the branches; in a three-phase network also those of whole elements."""
    return _with_elements(network, network.branches.name)


def opening_names(network: AnyNetwork) -> tuple[str, ...]:
    """Names of the branches that may open, all but regulators; in a three-phase network those of whole elements."""
    kinds = zip(network.branches.name, network.branches.kind, strict=True)
    names = [name for name, kind in kinds if kind != "regulator"]
    return tuple(dict.fromkeys(name[:-2] for name in names)) if network.is_three_phase else tuple(names)


def _with_elements(network: AnyNetwork, names: Sequence[str]) -> tuple[str, ...]:
    if not network.is_three_phase:
        return tuple(names)
    return (*dict.fromkeys(name[:-2] for name in names), *names)


def capacitor_names(network: AnyNetwork) -> tuple[str, ...]:
    """Names of the switchable shunts."""
    shunts = network.shunts
    return tuple(name for name, free in zip(shunts.name, shunts.switchable, strict=True) if free)
