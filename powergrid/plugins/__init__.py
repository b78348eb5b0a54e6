"""Extension: how other code adds devices, networks, datasets, policies, protocols, algorithms and benchmarks.

A ``register_*`` function is a decorator factory: ``@register_device("heat_pump", aliases=("HP",))``. The
entry-point groups of the same names (``powergrid.devices`` and so on) do the same for an installed
distribution.
"""

from powergrid.plugins.load import PluginError, load_plugins
from powergrid.plugins.registries import (
    register_algorithm,
    register_benchmark,
    register_dataset,
    register_device,
    register_network,
    register_policy,
    register_protocol,
)

__all__ = [
    "PluginError",
    "load_plugins",
    "register_device",
    "register_network",
    "register_dataset",
    "register_policy",
    "register_protocol",
    "register_algorithm",
    "register_benchmark",
]
