"""Generators and sources of a network by node, and the power that they feed in at given voltages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from powergrid.core.types import Control
from powergrid.powerflow.compile import Compiled

if TYPE_CHECKING:
    from powergrid.networks.network import Network


class Units(NamedTuple):
    """Generators (g) and sources beside the first (s), by the nodes they feed.

    Attributes
    ----------
    bus, node
        Bus and node of each generator, ``(g,)``.
    p_mw, v_set_pu, q_min_mvar, q_max_mvar
        As in the network, ``(g,)``.
    source_node, source_v
        Node and complex voltage [pu] of the other sources, ``(s,)``.
    held
        Nodes whose voltage generators hold, ``(h,)``: those of generators without a source.
    at
        Which held node each generator is at; -1 for none, ``(g,)``.
    q_min, q_max
        Reactive range of all generators of a held node [Mvar], ``(h,)``.
    """

    bus: np.ndarray
    node: np.ndarray
    p_mw: np.ndarray
    v_set_pu: np.ndarray
    q_min_mvar: np.ndarray
    q_max_mvar: np.ndarray
    source_node: np.ndarray
    source_v: np.ndarray
    held: np.ndarray
    at: np.ndarray
    q_min: np.ndarray
    q_max: np.ndarray

    def fixed(self, compiled: Compiled, control: Control) -> tuple[np.ndarray, np.ndarray]:
        """Magnitudes [pu] and angles [radian] that are set, NaN elsewhere, ``(n_node + 1,)`` each."""
        v, angle = np.full(compiled.n_node + 1, np.nan), np.full(compiled.n_node + 1, np.nan)
        v[self.node] = self.v_set_pu if control.v_set_pu is None else control.v_set_pu
        v[self.source_node], angle[self.source_node] = np.abs(self.source_v), np.angle(self.source_v)
        v[-1] = compiled.source_v_pu if control.v_source_pu is None else control.v_source_pu
        angle[-1] = 0.0
        return v, angle


class Fed(NamedTuple):
    """Power fed in by each generator and each source beside the first [MW + j Mvar]."""

    generators: np.ndarray
    sources: np.ndarray


def units(network: Network, compiled: Compiled) -> Units:
    """Generators and sources of a compiled network."""
    own, others = network.generators, network.sources
    node, source_node = compiled.node[own.bus], compiled.node[others.bus]
    at_source = np.isin(node, np.append(source_node, compiled.n_node))
    held = np.unique(node[~at_source])
    at = np.where(at_source, -1, np.searchsorted(held, node))
    q_min, q_max = (
        np.bincount(at[~at_source], limit[~at_source], len(held)) for limit in (own.q_min_mvar, own.q_max_mvar)
    )
    source_v = others.v_pu * np.exp(1j * np.deg2rad(others.angle_degree))
    return Units(own.bus, node, *own[2:], source_node, source_v, held, at, q_min, q_max)


def generation(own: Units, compiled: Compiled, powers: np.ndarray) -> Fed:
    """Power that generators and sources feed in, from the balance of their nodes.

    Reactive power is shared in proportion to the generators' ranges, evenly where one of them has no limit.

    Parameters
    ----------
    own
        From :func:`units`.
    compiled
        The network.
    powers
        Powers into branches at either end and drawn at the buses, as :func:`injected_powers` gives them.
    """
    n, b = compiled.n_node + 1, compiled.n_branch
    node = np.concatenate([compiled.from_node, compiled.to_node, compiled.node])
    leaving = np.bincount(node, powers.real, n) + 1j * np.bincount(node, powers.imag, n)
    held = own.at >= 0
    place, count = own.at[held], np.bincount(own.at[held], minlength=len(own.held))
    low, span = own.q_min_mvar[held], (own.q_max_mvar - own.q_min_mvar)[held]
    total = np.bincount(place, span, len(own.held))
    bounded = np.isfinite(total) & (total > 0)
    missing = leaving.imag[own.held]
    share = np.divide(span, total[place], out=1.0 / count[place], where=bounded[place])
    base = np.where(bounded[place], low, 0.0)
    rest = missing - np.where(bounded, own.q_min, 0.0)
    q_mvar = np.zeros(len(own.p_mw))
    q_mvar[held] = base + share * rest[place]
    beside = np.bincount(own.node, own.p_mw, n)
    assert len(powers) == 2 * b + compiled.n_bus
    return Fed(own.p_mw + 1j * q_mvar, leaving[own.source_node] - beside[own.source_node])
