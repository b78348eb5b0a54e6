"""Both kinds of network under one name, for what works on either."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from powergrid.networks.network import Network
from powergrid.networks.unbalanced import UnbalancedNetwork

AnyNetwork: TypeAlias = Network | UnbalancedNetwork
"""``network.is_three_phase`` distinguishes the two, for type checkers as well."""
Kind = TypeVar("Kind", bound=AnyNetwork)
"""Result of the same kind as an argument."""
