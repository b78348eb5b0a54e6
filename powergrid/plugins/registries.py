"""One registry for each kind of thing that may be added by name."""

from __future__ import annotations

from typing import Any

from powergrid.core.registry import Registry

NETWORKS: Registry[Any] = Registry("network", "powergrid.networks.library", "powergrid.networks")
DEVICES: Registry[Any] = Registry("device type", "powergrid.devices", "powergrid.devices")
DATASETS: Registry[Any] = Registry("dataset", "powergrid.datasets", "powergrid.datasets")
POLICIES: Registry[Any] = Registry("policy", "powergrid.agents.policies", "powergrid.policies")
PROTOCOLS: Registry[Any] = Registry("protocol", "powergrid.agents.protocols", "powergrid.protocols")
ALGORITHMS: Registry[Any] = Registry("algorithm", "powergrid.learn.algorithms", "powergrid.algorithms")
BENCHMARKS: Registry[Any] = Registry("benchmark", "powergrid.benchmarks", "powergrid.benchmarks")
STUDIES: Registry[Any] = Registry("study", "powergrid.studies", "powergrid.studies")
"""Functions behind methods of networks, such as ``power_flow``; no configuration names one."""
ALL: tuple[Registry[Any], ...] = (NETWORKS, DEVICES, DATASETS, POLICIES, PROTOCOLS, ALGORITHMS, BENCHMARKS)

register_network = NETWORKS.register
register_device = DEVICES.register
register_dataset = DATASETS.register
register_policy = POLICIES.register
register_protocol = PROTOCOLS.register
register_algorithm = ALGORITHMS.register
register_benchmark = BENCHMARKS.register
register_study = STUDIES.register
