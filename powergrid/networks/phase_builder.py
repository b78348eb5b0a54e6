"""Build an :class:`UnbalancedNetwork` element by element, in the units of data sheets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from powergrid.core.errors import NetworkError
from powergrid.networks.phase_elements import line_matrix, transformer_matrix
from powergrid.networks.tables import BASE_MVA, PHASES, Blocks, Branches, Nodes, Pairs, PhaseLoads, Regulators, Shunts
from powergrid.networks.unbalanced import UnbalancedNetwork

REGULATOR_X_PU = 0.001 * BASE_MVA / (10.0 / 3)
"""Series reactance of a regulator: 0.1 % on 10 MVA of three phases."""
ROOT3 = np.sqrt(3.0)

_SHARES = {"PQ": (0.0, 0.0), "I": (1.0, 0.0), "Z": (0.0, 1.0)}


class PhaseBuilder:
    """Collects the elements of a three-phase network.

    Buses come first, then whatever touches them, in any order. Phases are given as ``"abc"``, ``"ac"``, ``"b"``.
    """

    def __init__(self) -> None:
        self._node: dict[str, int] = {}
        self._nodes: list[tuple[Any, ...]] = []
        self._rows: list[tuple[Any, ...]] = []
        self._blocks: list[tuple[list[int], np.ndarray, list[int], list[bool], np.ndarray]] = []
        self._pairs: dict[tuple[int, int], int] = {}
        self._regulators: list[tuple[Any, ...]] = []
        self._loads: list[tuple[Any, ...]] = []
        self._shunts: list[tuple[Any, ...]] = []

    def bus(self, name: str, vn_kv: float, phases: str, x: float = np.nan, y: float = np.nan) -> None:
        """Add a bus with its nominal line-to-line voltage [kV]."""
        for phase in phases:
            self._node[f"{name}.{phase}"] = len(self._nodes)
            self._nodes.append((f"{name}.{phase}", vn_kv, "", x, y, name, phase))

    def line(
        self, first: str, second: str, phases: str, z_ohm: np.ndarray, b_siemens: np.ndarray, max_i_ka: float
    ) -> None:
        """Add a line with its phase matrices ``(p, p)``: series impedance and shunt susceptance of its whole length."""
        base_ohm = (self._kv(first, phases) / ROOT3) ** 2 / BASE_MVA
        try:
            y = line_matrix(np.asarray(z_ohm) / base_ohm, 1j * np.asarray(b_siemens) * base_ohm)
        except NetworkError as error:
            raise NetworkError(f'line "{first}-{second}": {error}; a line without impedance is a switch') from error
        rated_pu = np.full(2 * len(phases), max_i_ka / self._base_ka(first, phases))
        self._block("line", first, second, phases, y, rated_pu, max_i_ka)

    def transformer(
        self,
        first: str,
        second: str,
        vector_group: str,
        *,
        sn_mva: float,
        z_pu: complex,
        kv: tuple[float, float],
        phases: str = PHASES,
        no_load_pu: complex = 0.0,
    ) -> None:
        """Add a bank: see :func:`~powergrid.networks.phase_elements.transformer_matrix`.

        `kv` are the rated line-to-line voltages [kV]; `no_load_pu` is the admittance of an earthed star's magnetising
        branches, half at each side [pu on its own rating].
        """
        ratio = (kv[0] / self._kv(first, phases), kv[1] / self._kv(second, phases))
        y = transformer_matrix(vector_group, phases, z_pu, sn_mva, ratio)
        at = np.arange(2 * len(phases))
        y[at, at] += no_load_pu / 2 * sn_mva / len(phases) / np.repeat(np.square(ratio), len(phases))
        rated_pu = np.repeat(sn_mva / len(phases) / np.asarray(ratio), len(phases))
        self._block("transformer", first, second, phases, y, rated_pu, sn_mva)

    def block(
        self, kind: str, first: str, second: str, phases: str, y_pu: np.ndarray, rated_pu: float = np.nan
    ) -> None:
        """Add any element between the phases of two buses by its nodal admittance matrix [pu], ``(2p, 2p)``."""
        self._block(kind, first, second, phases, y_pu, np.full(2 * len(phases), rated_pu), np.nan)

    def _block(
        self, kind: str, first: str, second: str, phases: str, y: np.ndarray, rated_pu: np.ndarray, rating: float
    ) -> None:
        begin = len(self._rows)
        for phase in phases:
            self._row(kind, first, second, phase, rating=rating)
        rows = list(range(begin, len(self._rows)))
        nodes = [self._at(bus, phase) for bus in (first, second) for phase in phases]
        at_to = [False] * len(phases) + [True] * len(phases)
        self._blocks.append((nodes, np.asarray(y, complex), rows + rows, at_to, rated_pu))

    def switch(self, first: str, second: str, phases: str, closed: bool = True) -> None:
        """Add a switch; closed, it makes its nodes one."""
        for phase in phases:
            self._row("switch", first, second, phase, closed=closed)

    def regulator(
        self,
        first: str,
        second: str,
        phase: str,
        tap: float,
        *,
        pt_ratio: float,
        ct_a: float,
        r_v: float,
        x_v: float,
        v_set_v: float,
        bandwidth_v: float,
        delay_s: float,
        gang: bool = False,
        step_pu: float = 0.00625,
        steps: int = 16,
    ) -> None:
        """Add a single-phase regulator with its relay: transformer ratios, compensator and level in volts."""
        branch = self._row("regulator", first, second, phase, x_pu=REGULATOR_X_PU, ratio=1 / (1 + tap * step_pu))
        self._regulators.append((
            branch, tap, step_pu, -steps, steps, pt_ratio, ct_a, r_v, x_v, v_set_v, bandwidth_v, delay_s, gang,
        ))  # fmt: skip

    def load(
        self, name: str, bus: str, connection: str, model: str, kw: Sequence[float], kvar: Sequence[float]
    ) -> None:
        """Add a load: power of phases a, b, c (``Y``) or between ab, bc, ca (``D``); model ``PQ``, ``I`` or ``Z``.

        Phases without power are left out; a load without any marks that nothing is drawn there on purpose.
        """
        i_share, z_share = _SHARES[model]
        idle = not np.any(kw) and not np.any(kvar)
        for k, phase in enumerate(PHASES):
            ends = phase if connection == "Y" else phase + PHASES[(k + 1) % 3]
            if kw[k] == 0.0 and kvar[k] == 0.0 and not (idle and all(f"{bus}.{end}" in self._node for end in ends)):
                continue
            at = self._at(bus, phase) if connection == "Y" else -1 - self._pair(bus, ends)
            self._loads.append((f"{name}.{ends}", at, kw[k] / 1000, kvar[k] / 1000, i_share, i_share, z_share, z_share))

    def pair(self, bus: str, ends: str) -> None:
        """Make room for devices between two phases of a bus."""
        self._pair(bus, ends)

    def capacitor(self, bus: str, phase: str, kvar: float, *, switchable: bool = True) -> None:
        """Add a capacitor between a phase and earth: `kvar` at nominal voltage."""
        self._shunts.append((f"{bus}.{phase}", self._at(bus, phase), 0.0, -kvar / 1000, switchable))

    def delta_capacitor(self, bus: str, kvar: float) -> None:
        """Add a fixed capacitor bank in delta: `kvar` of all three phases at nominal voltage.

        It is the block of its three nodes: ``3 j b - j b`` over all, with ``b`` a ninth of its susceptance in star.
        """
        b = kvar / 1000 / 9
        y = 1j * b * (3 * np.eye(3) - np.ones((3, 3)))
        begin = len(self._rows)
        for phase in PHASES:
            self._row("impedance", bus, bus, phase, suffix="/capacitor")
        rows = list(range(begin, begin + 3))
        self._blocks.append(([self._at(bus, p) for p in PHASES], y, rows, [False] * 3, np.full(3, np.nan)))

    def build(
        self, name: str, source_bus: str, *, source_v_pu: float, f_hz: float, source_note: str, load_scale: float = 1.0
    ) -> UnbalancedNetwork:
        """The network with everything added so far."""
        if not self._nodes:
            raise NetworkError(f'network "{name}" has no bus')
        nodes, m = _columns(self._nodes, 7), len(self._nodes)
        rows, loads = _columns(self._rows, 12), _columns(self._loads, 8)
        shunts, regulators = _columns(self._shunts, 5), _columns(self._regulators, 13)
        pairs = np.array(list(self._pairs), int).reshape(-1, 2)
        at = np.array(loads[1], int)
        return UnbalancedNetwork(
            name=name,
            buses=Nodes(nodes[0], _real(nodes[1]), nodes[2], _real(nodes[3]), _real(nodes[4]), nodes[5], nodes[6]),
            branches=_branches(rows),
            blocks=self._block_columns(),
            pairs=Pairs(pairs[:, 0], pairs[:, 1]),
            regulators=Regulators(np.array(regulators[0], int), *map(_real, regulators[1:])),
            loads=PhaseLoads(
                loads[0],
                np.where(at < 0, m - 1 - at, at),
                _real(loads[2]) * load_scale,
                _real(loads[3]) * load_scale,
                *map(_real, loads[4:]),
            ),
            shunts=Shunts(
                shunts[0], np.array(shunts[1], int), _real(shunts[2]), _real(shunts[3]), np.array(shunts[4], bool)
            ),
            source_nodes=np.array([self._at(source_bus, phase) for phase in PHASES]),
            source_v_pu=source_v_pu,
            f_hz=f_hz,
            source_note=source_note,
        )

    def _block_columns(self) -> Blocks:
        blocks = self._blocks
        return Blocks(
            size=np.array([len(nodes) for nodes, *_ in blocks], int),
            node=np.array([node for nodes, *_ in blocks for node in nodes], int),
            y_pu=np.concatenate([np.zeros(0, complex), *(y.ravel() for _, y, *_ in blocks)]),
            row=np.array([row for _, _, rows, *_ in blocks for row in rows], int),
            at_to=np.array([end for *_, at_to, _ in blocks for end in at_to], bool),
            rated_pu=np.concatenate([np.zeros(0), *(rated for *_, rated in blocks)]),
        )

    def _row(
        self, kind: str, first: str, second: str, phase: str, *, x_pu: float = 0.0, ratio: float = 1.0,
        rating: float = np.nan, closed: bool = True, suffix: str = "",
    ) -> int:  # fmt: skip
        name = f"{first}-{second}.{phase}" if first != second else f"{first}{suffix}.{phase}"
        ends = (self._at(first, phase), self._at(second, phase))
        self._rows.append((name, kind, *ends, 0.0, x_pu, 0.0, 0.0, ratio, 0.0, rating, closed))
        return len(self._rows) - 1

    def _pair(self, bus: str, ends: str) -> int:
        nodes = (self._at(bus, ends[0]), self._at(bus, ends[1]))
        return self._pairs.setdefault(nodes, len(self._pairs))

    def _at(self, bus: str, phase: str) -> int:
        try:
            return self._node[f"{bus}.{phase}"]
        except KeyError:
            raise NetworkError(f'there is no phase "{phase}" at bus "{bus}"') from None

    def _kv(self, bus: str, phases: str) -> float:
        return float(self._nodes[self._at(bus, phases[0])][1])

    def _base_ka(self, bus: str, phases: str) -> float:
        return float(BASE_MVA * ROOT3 / self._kv(bus, phases))


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _branches(rows: list[tuple[Any, ...]]) -> Branches:
    name, kind, first, second, r, x, g, b, ratio, shift, rating, closed = rows
    real = [_real(column) for column in (r, x, g, b, ratio, shift, rating)]
    columns: list[Any] = [name, kind, np.array(first, int), np.array(second, int), *real, np.array(closed, bool)]
    return Branches(*columns)


def _real(values: ArrayLike) -> np.ndarray:
    return np.array(values, float)
