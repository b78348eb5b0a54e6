"""Adding devices, protocols, networks, datasets and policies from outside the package."""

from powergrid.plugins.registries import (
    register_dataset,
    register_device,
    register_network,
    register_policy,
    register_protocol,
)

__all__ = ["register_dataset", "register_device", "register_network", "register_policy", "register_protocol"]
