"""Where training runs: environments on all devices of this process, learning on the first of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_LANES = "lanes"


class Placement:
    """Shares a batch of environments equally among devices.

    No environment knows its neighbours, so that results do not depend on the number of devices. A CPU is one device to
    JAX, and its loops use one core, unless the variable ``JAX_NUM_CPU_DEVICES`` divides it before JAX starts.

    Parameters
    ----------
    num_envs
        Environments to share; the most devices that divide them are used.

    Attributes
    ----------
    lanes, rows
        Environments shared, as the first or, behind the ticks, as the second axis.
    everywhere
        Whole arrays on each device.
    """

    def __init__(self, num_envs: int):
        found = jax.local_devices()
        count = max(n for n in range(1, len(found) + 1) if num_envs % n == 0)
        self.mesh = Mesh(found[:count], _LANES)
        self.lanes = NamedSharding(self.mesh, PartitionSpec(_LANES))
        self.rows = NamedSharding(self.mesh, PartitionSpec(None, _LANES))
        self.everywhere = NamedSharding(self.mesh, PartitionSpec())

    def shared(self, function: Callable[..., Any], takes: tuple[Any, ...], gives: tuple[Any, ...]) -> Any:
        """`function` run by each device for its own environments, its arguments and results placed as told."""
        in_specs, out_specs = (tuple(sharding.spec for sharding in part) for part in (takes, gives))
        return jax.shard_map(function, mesh=self.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def shapes_of(tree: Any) -> Any:
    """Shapes and types of arrays, wherever they are placed."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
