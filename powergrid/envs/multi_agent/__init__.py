"""PettingZoo environments."""

from powergrid.envs.multi_agent.pettingzoo_env import MultiAgentPowerGridEnv, PowerGridEnv

__all__ = ["MultiAgentPowerGridEnv", "PowerGridEnv"]
