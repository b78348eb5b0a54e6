"""Rows of tables for composition, common to balanced and three-phase networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from powergrid.core.errors import NetworkError, nearest
from powergrid.networks.kinds import Kind
from powergrid.networks.tables import BASE_MVA, Branches

Table = TypeVar("Table", bound="tuple[Any, ...]")

_TRANSFORMER_KEYS = ("sn_mva", "vk_percent", "vkr_percent")
NEW_BUS_TRANSFORMER = {"sn_mva": 2.5, "vk_percent": 5.75, "vkr_percent": 5.75 / np.hypot(1.0, 8.0)}  # X/R = 8


def scaled(
    network: Kind, *, load: float = 1.0, shunt: float = 1.0, static: float = 1.0, generation: float = 1.0
) -> Kind:
    """The same network with all loads multiplied by `load`, all shunts by `shunt`, static generators by `static` [1].

    Balanced or three-phase. A factor on the loads leaves generation and storage as they are. `generation` multiplies
    the active power of generators, which hold their voltage whatever they feed in.
    """
    loads, shunts, fed = network.loads, network.shunts, network.static_generators
    changes: dict[str, Any] = {
        "loads": loads._replace(p_mw=loads.p_mw * load, q_mvar=loads.q_mvar * load),
        "shunts": shunts._replace(p_mw=shunts.p_mw * shunt, q_mvar=shunts.q_mvar * shunt),
    }
    if static != 1.0 and len(fed.name):
        changes["static_generators"] = fed._replace(p_mw=fed.p_mw * static, q_mvar=fed.q_mvar * static)
    held = getattr(network, "generators", None)  # three-phase networks have none
    if generation != 1.0 and held is not None:
        changes["generators"] = held._replace(p_mw=held.p_mw * generation)
    return replace(network, **changes)


def transformer_branch(name: str, from_bus: int, to_bus: int, data: Mapping[str, float]) -> Branches:
    """One transformer without off-nominal ratio, as a table of one row.

    Raises
    ------
    NetworkError
        If a figure is missing, unknown, not positive, or the resistance exceeds the impedance.
    """
    for key in data:
        if key not in _TRANSFORMER_KEYS:
            hint = nearest(key, _TRANSFORMER_KEYS) or f"allowed: {', '.join(_TRANSFORMER_KEYS)}"
            raise NetworkError(f'transformer "{name}" has no figure "{key}"; {hint}')
    missing = [key for key in _TRANSFORMER_KEYS if key not in data]
    if missing:
        raise NetworkError(f'transformer "{name}" lacks {", ".join(missing)}')
    sn_mva, vk, vkr = (float(data[key]) for key in _TRANSFORMER_KEYS)
    if not (sn_mva > 0 and vk > 0 and 0 <= vkr <= vk):
        raise NetworkError(
            f'transformer "{name}": sn_mva {sn_mva} and vk_percent {vk} must be positive, '
            f"vkr_percent {vkr} between 0 and vk_percent"
        )
    z = complex(vkr, np.sqrt(vk**2 - vkr**2)) / 100 * BASE_MVA / sn_mva
    return _branch(name, "transformer", from_bus, to_bus, z, sn_mva)


def switch_branch(name: str, from_bus: int, to_bus: int) -> Branches:
    """One closed switch, as a table of one row."""
    return _branch(name, "switch", from_bus, to_bus, 0j, np.nan)


def same_voltage(first_kv: float, second_kv: float) -> bool:
    """Whether two nominal voltages [kV] need no transformer between them."""
    return bool(np.isclose(first_kv, second_kv, rtol=1e-3))


def _branch(name: str, kind: str, from_bus: int, to_bus: int, z: complex, rating: float) -> Branches:
    zero = np.zeros(1)
    return Branches(
        name=(name,),
        kind=(kind,),
        from_bus=np.array([from_bus]),
        to_bus=np.array([to_bus]),
        r_pu=np.array([z.real]),
        x_pu=np.array([z.imag]),
        g_pu=zero,
        b_pu=zero,
        ratio=np.ones(1),
        shift_degree=zero,
        rating=np.array([rating]),
        closed=np.ones(1, bool),
        rated_from_kv=np.full(1, np.nan),
        rated_to_kv=np.full(1, np.nan),
    )


def prefixed(name: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names with the prefix of an attached network."""
    return tuple(f"{name}.{own}" for own in names)


def joined(first: Table, second: Table) -> Table:
    """Rows of `first`, then rows of `second`."""
    columns = [(*a, *b) if isinstance(a, tuple) else np.concatenate([a, b]) for a, b in zip(first, second, strict=True)]
    return _like(first, columns)


def selected(table: Table, keep: np.ndarray) -> Table:
    """Rows of `table` where `keep` is true."""
    columns = [
        tuple(v for v, kept in zip(column, keep, strict=True) if kept) if isinstance(column, tuple) else column[keep]
        for column in table
    ]
    return _like(table, columns)


def _like(table: Table, columns: list[Any]) -> Table:
    build: Any = type(table)
    result: Table = build(*columns)
    return result
