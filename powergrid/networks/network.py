"""Network: a balanced network's columns with its conversions and studies."""

from __future__ import annotations

from dataclasses import dataclass

from powergrid.networks.columns import NetworkColumns
from powergrid.networks.pandapower_options import PandapowerNet
from powergrid.networks.studied import Studied


@dataclass(frozen=True, eq=False)
class Network(NetworkColumns, Studied):
    """A balanced (positive-sequence) network: its columns, conversions from and to pandapower, and studies.

    The parameters are those of :class:`~powergrid.networks.columns.NetworkColumns`.
    """

    @classmethod
    def from_pandapower(cls, pp_net: PandapowerNet, *, name: str | None = None) -> Network:
        """Convert a pandapower net or saved file: see :func:`powergrid.networks.from_pandapower.from_pandapower`."""
        from powergrid.networks.from_pandapower import from_pandapower  # pandas is slow to import

        return from_pandapower(pp_net, cls, name=name)

    def to_pandapower(self, *, bus_loads: bool = False) -> PandapowerNet:
        """Convert to a pandapower net: see :func:`powergrid.networks.to_pandapower.to_pandapower`."""
        from powergrid.networks.to_pandapower import to_pandapower

        return to_pandapower(self, bus_loads=bus_loads)
