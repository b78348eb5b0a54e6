"""Networks: their columns, a library of published feeders, conversion and composition."""

from __future__ import annotations

import inspect
from typing import Literal, overload

from powergrid.core.errors import NetworkError, nearest
from powergrid.networks.compose import compose, with_bus
from powergrid.networks.compose_tables import scaled
from powergrid.networks.kinds import AnyNetwork
from powergrid.networks.network import Network
from powergrid.networks.regulation import with_taps
from powergrid.networks.tables import Branches, Buses, Generators, Loads, Regulators, Shunts, Sources
from powergrid.networks.unbalanced import UnbalancedNetwork
from powergrid.plugins.registries import NETWORKS, register_network


@overload
def network(name: str, *, phases: Literal["balanced"] = ..., **options: object) -> Network: ...
@overload
def network(name: str, *, phases: Literal["three"], **options: object) -> UnbalancedNetwork: ...
@overload
def network(name: str, *, phases: str, **options: object) -> AnyNetwork: ...
def network(name: str, *, phases: str = "balanced", **options: object) -> AnyNetwork:
    """Build a registered network.

    Parameters
    ----------
    name
        Registered name, such as ``"ieee34"``; ``NETWORKS.names()`` lists them.
    phases
        ``"balanced"``, the positive-sequence equivalent, or ``"three"``, every phase of it where that is known.
    **options
        Options of that network, such as ``load_scale``; its docstring lists them.

    Returns
    -------
    Network or UnbalancedNetwork
        The latter for ``phases="three"``.

    Raises
    ------
    UnknownNameError
        If no network has this name; the message holds the nearest match.
    NetworkError
        If `phases` is not available or an option is unknown.
    """
    if phases not in ("balanced", "three"):
        raise NetworkError(f'network "{name}": phases must be "balanced" or "three", not "{phases}"')
    build = NETWORKS.get(name)
    parameters = inspect.signature(build).parameters
    if "phases" in parameters:
        options = {"phases": phases, **options}
    elif phases == "three":
        raise NetworkError(f'network "{name}": phases="three" is not available; leave phases out or write "balanced"')
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for option in options:
            if option not in parameters:
                parts = [f'network "{name}" has no option "{option}"', nearest(option, parameters)]
                parts.append(f"available: {', '.join(parameters) or 'none'}")
                raise NetworkError("; ".join(part for part in parts if part))
    built: AnyNetwork = build(**options)
    return built


__all__ = [
    "NETWORKS",
    "AnyNetwork",
    "Branches",
    "Buses",
    "Generators",
    "Loads",
    "Network",
    "Regulators",
    "Shunts",
    "Sources",
    "UnbalancedNetwork",
    "compose",
    "network",
    "scaled",
    "with_bus",
    "with_taps",
    "register_network",
]
