"""v1's ``powergrid.base_env``: :class:`GridBaseEnv`."""

from powergrid.v1.grid_base_env import GridBaseEnv
from powergrid.v1.utils.utils import NormalizeActionWrapper, attach_device_to_net

__all__ = ["GridBaseEnv", "NormalizeActionWrapper", "attach_device_to_net"]
