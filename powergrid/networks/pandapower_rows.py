"""Buses and branches of a pandapower net while a conversion collects them."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np

from powergrid.networks.pandapower_options import Options, PandapowerNet
from powergrid.networks.pandapower_tables import free_name, is_empty, unique_names
from powergrid.networks.tables import Branches, Buses


class BranchRow(NamedTuple):
    """One branch: series impedance and shunt admittance [pu], the other columns as in ``Branches``."""

    name: str
    kind: str
    from_bus: int
    to_bus: int
    z: complex
    y: complex
    ratio: float
    shift_degree: float
    rating: float
    closed: bool
    rated_from_kv: float = np.nan
    rated_to_kv: float = np.nan
    row: int = -1  # position in its pandapower table


class Rows:
    """Buses and branches while they are collected."""

    def __init__(self, pp_net: PandapowerNet, options: Options):
        self.options = options
        active = pp_net.bus[pp_net.bus.in_service.astype(bool)]
        self.position: dict[object, int] = {index: k for k, index in enumerate(active.index)}
        self.names = unique_names(active, "")
        self.vn_kv = [float(v) for v in active.vn_kv]
        self.beside: list[tuple[int, int]] = []  # where each extra bus is drawn: from the first to the second bus
        self.end_shunts: list[tuple[str, int, complex]] = []
        self.collected: list[BranchRow] = []
        self._cut_ends: list[BranchRow] = []
        self._taken: set[str] = set()
        switch = pp_net.switch
        self._switch_names = {
            key: str(name)
            for *key_parts, name in zip(switch.et, switch.element, switch.bus, switch.name, strict=True)
            for key in [tuple(key_parts)]
            if not is_empty(name)
        }

    def add(self, row: BranchRow) -> None:
        """Append a branch; a name already used by another kind of element gets a number."""
        name = free_name(row.name, self._taken)
        self._taken.add(name)
        self.collected.append(row._replace(name=name))

    def extra_bus(self, name: str, vn_kv: float, beside: tuple[int, int]) -> int:
        """Index of a new bus, drawn on the way between two others."""
        self.names.append(free_name(name, self.names))
        self.vn_kv.append(vn_kv)
        self.beside.append(beside)
        return len(self.names) - 1

    def dangling_bus(self, branch: str, bus: object, other: int, vn_kv: float, switch: tuple[object, ...]) -> int:
        """Extra bus at the cut end of a branch, with an open switch to `bus` where that is in service.

        `switch` is its kind, element and bus in pandapower; its name is kept.
        """
        here = self.position.get(bus)
        label = f"{branch}@{self.names[here] if here is not None else bus}"
        extra = self.extra_bus(label, vn_kv, (other, other if here is None else here))
        if here is not None:
            name = self._switch_names.get(switch, label)
            self._cut_ends.append(BranchRow(name, "switch", extra, here, 0j, 0j, 1.0, 0.0, np.nan, False))
        return extra

    def buses(self, pp_net: PandapowerNet) -> Buses:
        """All buses: those of the net in service, then the extra ones."""
        active = pp_net.bus[pp_net.bus.in_service.astype(bool)]
        extra = len(self.names) - len(active)
        xy = np.full((len(self.names), 2), np.nan)
        for k, geo in enumerate(active.get("geo", [])):
            if isinstance(geo, str) and geo:
                xy[k] = _coordinates(geo)
        for k, (first, second) in enumerate(self.beside, start=len(active)):
            xy[k] = 0.25 * xy[first] + 0.75 * xy[second]
        area = [str(a) if isinstance(a, str) else "" for a in active.get("area", [""] * len(active))]
        return Buses(tuple(self.names), np.array(self.vn_kv), (*area, *[""] * extra), xy[:, 0].copy(), xy[:, 1].copy())

    def add_cut_ends(self) -> None:
        """Append the open switches of cut branches, after everything else."""
        for row in self._cut_ends:
            self.add(row)

    def branches(self) -> Branches:
        """All branches in the order in which they were added."""
        columns = list(zip(*self.collected, strict=True)) or [()] * len(BranchRow._fields)
        name, kind, from_bus, to_bus, z, y, ratio, shift, rating, closed, rated_from, rated_to, _ = columns
        z_pu, y_pu = np.array(z, complex), np.array(y, complex)
        return Branches(
            name, kind, np.array(from_bus, int), np.array(to_bus, int), z_pu.real.copy(), z_pu.imag.copy(),
            y_pu.real.copy(), y_pu.imag.copy(), np.array(ratio, float), np.array(shift, float),
            np.array(rating, float), np.array(closed, bool), np.array(rated_from, float), np.array(rated_to, float),
        )  # fmt: skip


def _coordinates(geo: str) -> tuple[float, float]:
    """Place of a bus in GeoJSON; none where the text is none, for it is only drawn."""
    try:
        x, y = json.loads(geo)["coordinates"][:2]
        return float(x), float(y)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return np.nan, np.nan
