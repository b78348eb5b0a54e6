"""Bases of protocols. A vertical protocol belongs to a parent agent, a horizontal one to the environment.

Like devices, protocols are columns and pure kernels at run time; the objects exist to be named, configured and asked
what they add to their members' spaces.
"""

from __future__ import annotations

from typing import Any, ClassVar

from powergrid.core.settings import NumberSettings
from powergrid.core.types import Array, Entry, Tariff


class ProtocolSettings(NumberSettings):
    """Base of a protocol's parameters."""


class Protocol:
    """What both kinds share.

    Parameters
    ----------
    **params
        The protocol's `Settings` by name.
    """

    kind: ClassVar[str]
    Settings: ClassVar[type[ProtocolSettings]] = ProtocolSettings

    def __init__(self, **params: Any):
        self.settings: Any = self.Settings(**params)

    def action_entries(self) -> tuple[Entry, ...]:
        """Numbers that the protocol adds to its owner's or members' actions, in physical units."""
        return ()

    def observation_entries(self) -> tuple[Entry, ...]:
        """Numbers that it adds to its members' observations."""
        return ()


class VerticalProtocol(Protocol):
    """Parent to child.

    Attributes
    ----------
    commands_children
        True if the parent's action holds its children's commands.
    """

    kind = "vertical"
    commands_children: ClassVar[bool] = False


class HorizontalProtocol(Protocol):
    """Peer to peer, run by the environment."""

    kind = "horizontal"
    State: ClassVar[Any]

    def initial(self, xp: Any, batch: tuple[int, ...], members: int, dtype: Any) -> Any:
        """State at reset."""
        raise NotImplementedError

    @staticmethod
    def before(xp: Any, params: Any, state: Any, orders: Array, tariff: Tariff) -> Any:
        """Take orders ``(*batch, members, entries)`` before delivery."""
        raise NotImplementedError

    def after(self, xp: Any, params: Any, state: Any, metered_mwh: Array) -> tuple[Any, Array, Array]:
        """Settle metered net energy [MWh] (import positive), ``(*batch, members)``.

        Returns
        -------
        state
        trades
            Money each account receives in peer trades [$], ``(*batch, members + 1)``, the utility last; rows sum to
            zero.
        utility
            Money each account receives for the rest, traded with the utility [$], same shape; rows sum to zero.
        """
        raise NotImplementedError

    @staticmethod
    def observe(xp: Any, state: Any) -> Array:
        """Observation columns, ``(*batch, members, entries)``."""
        raise NotImplementedError
