"""Gymnasium ids of the single-agent environments, registered once both packages are imported, in any order.

``...-v1`` are the environments of version 1; ``...-v2`` the same tasks on corrected feeders, without v1's defects.
"""

from __future__ import annotations

from powergrid.core.when_imported import when_imported

IDS = {
    "powergrid/IEEE13-v1": "powergrid.v1.single_agent.ieee13_mg:IEEE13Env",
    "powergrid/IEEE34-v1": "powergrid.v1.single_agent.ieee34_mg:IEEE34Env",
    "powergrid/CIGREMV-v1": "powergrid.v1.single_agent.cigre_mv:CIGREMVEnv",
    "powergrid/IEEE13-v2": "powergrid.v1.single_agent.corrected:CorrectedIEEE13Env",
    "powergrid/IEEE34-v2": "powergrid.v1.single_agent.corrected:CorrectedIEEE34Env",
    "powergrid/CIGREMV-v2": "powergrid.v1.single_agent.corrected:CorrectedCIGREMVEnv",
}
_OWN_IDS = "gymnasium.envs"
"""The module that registers Gymnasium's own environments."""


def register_envs() -> None:
    """Register the ids that are not registered yet."""
    from gymnasium.envs.registration import register, registry

    for name, entry_point in IDS.items():
        if name not in registry:
            register(name, entry_point=entry_point, kwargs={"env_config": {"train": True}})


def install() -> None:
    """Register now if Gymnasium is imported, else when it is imported."""
    when_imported(_OWN_IDS, register_envs)
