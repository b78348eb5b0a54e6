"""One registry for each kind of thing that may be added from outside."""

from __future__ import annotations

from typing import Any

from powergrid.core.registry import Registry

DEVICES: Registry[Any] = Registry("device type", "powergrid.devices", "powergrid.devices")
NETWORKS: Registry[Any] = Registry("network", "powergrid.networks.library", "powergrid.networks")
DATASETS: Registry[Any] = Registry("dataset", "powergrid.datasets", "powergrid.datasets")
PROTOCOLS: Registry[Any] = Registry("protocol", "powergrid.agents.protocols", "powergrid.protocols")
POLICIES: Registry[Any] = Registry("policy", "powergrid.agents.policies", "powergrid.policies")

register_device = DEVICES.register
register_network = NETWORKS.register
register_dataset = DATASETS.register
register_protocol = PROTOCOLS.register
register_policy = POLICIES.register
