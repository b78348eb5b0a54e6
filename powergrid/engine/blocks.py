"""In which order the columns of money, of costs and of features lie, decided once.

The fields of a named tuple are the blocks of a table. Everything that makes, fills or reads a table does so by their
names, in NumPy, in JAX and in compiled code; a block that is added and not filled is an error.
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.engine.gather import join

Kind = TypeVar("Kind", bound=tuple[Any, ...])


class MoneyColumns(NamedTuple):
    """Money: of devices by family and name, of stored energy, and of protocols by layer and name."""

    device: Any
    settlement: Any
    protocol: Any


class CostColumns(NamedTuple):
    """Priced violations: of buses, branches, accounts and three-phase buses; of devices and protocols as for money."""

    voltage: Any
    overload: Any
    unserved: Any
    unbalance: Any
    device: Any
    protocol: Any


class FeatureColumns(NamedTuple):
    """What can be seen.

    Attributes
    ----------
    series, forecast
        Exogenous series now and day-ahead prices; forecasts of the other series.
    v_pu, measured_mw, q_mvar
        Voltages, measurements, and reactive power of metered branches and of the source.
    load_mw, net_load_mw
        The network's own load behind each account's meter, and the same less available renewable power.
    settlement, device
        Settlement prices; readings of devices by family.
    frequency_hz, signals
        Frequency at units that form grids; signals of protocols.
    """

    series: Any
    forecast: Any
    v_pu: Any
    measured_mw: Any
    q_mvar: Any
    load_mw: Any
    net_load_mw: Any
    settlement: Any
    device: Any
    frequency_hz: Any
    signals: Any


class Blocks(Generic[Kind]):
    """Where the blocks of a table lie.

    Parameters
    ----------
    sizes
        Numbers of columns of each block, as lists.

    Attributes
    ----------
    first, count
        First column of each block, and its number of columns.
    size
        Number of columns.
    """

    def __init__(self, sizes: Kind):
        counts = [sum(parts) for parts in sizes]
        ends = np.cumsum([0, *counts]).tolist()
        self.first: Kind = type(sizes)(*ends[:-1])
        self.count: Kind = type(sizes)(*counts)
        self.size: int = ends[-1]

    def join(self, xp: Namespace, values: Kind, batch: tuple[int, ...], dtype: Any) -> Array:
        """All columns, ``(*batch, size)``, of each block's arrays ``(*batch, n)`` in lists.

        Raises
        ------
        ValueError
            If a block has another number of columns.
        """
        for name, parts, count in zip(type(self.count)._fields, values, self.count, strict=True):  # type: ignore[attr-defined]
            if sum(part.shape[-1] for part in parts) != count:
                raise ValueError(f'block "{name}" has {count} columns, not {[part.shape[-1] for part in parts]}')
        return join(xp, [part for parts in values for part in parts], batch, dtype)
