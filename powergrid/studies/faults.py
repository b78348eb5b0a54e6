"""All faults that make a network unsolvable."""

from __future__ import annotations

import numpy as np

from powergrid.core.errors import Issue
from powergrid.networks.kinds import AnyNetwork
from powergrid.powerflow.faults import find
from powergrid.powerflow.phase_faults import find_in_phases


def find_faults(network: AnyNetwork, moves: np.ndarray | None = None) -> list[Issue]:
    """Every fault that compiling a network raises, empty for a sound one.

    Parameters
    ----------
    network
        A :class:`~powergrid.networks.Network` or :class:`~powergrid.networks.UnbalancedNetwork`.
    moves
        Branches of a balanced network that topologies open or close, ``(b,)``; none by default.
    """
    return find_in_phases(network) if network.is_three_phase else find(network, moves)
