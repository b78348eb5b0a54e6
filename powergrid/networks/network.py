"""Network: the columns of a power network, and the questions one may ask of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

BASE_MVA = 1.0
"""Power base of every per-unit value in PowerGrid [MVA]."""


class Buses(NamedTuple):
    """One row a bus.

    Attributes
    ----------
    name
        Unique name; a composed guest's buses carry its prefix, ``"mg1.671"``.
    vn_kv
        Nominal line-to-line voltage [kV].
    area
        ``""`` for the host, the guest's prefix after composition.
    x, y
        Drawing coordinates, NaN where none are known.
    """

    name: tuple[str, ...]
    vn_kv: np.ndarray
    area: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray


class Branches(NamedTuple):
    """One row a line, transformer, regulator, impedance or switch, as a pi section behind an ideal ratio at its from bus.

    Attributes
    ----------
    name, kind
        Unique name; one of ``line``, ``transformer``, ``regulator``, ``impedance``, ``switch``.
    from_bus, to_bus
        Bus indices.
    r_pu, x_pu
        Series impedance [pu on 1 MVA and the nominal voltage of the to bus].
    g_pu, b_pu
        Total shunt admittance, half at each end [pu].
    ratio, shift_degree
        Off-nominal turns ratio at the from bus [1] and phase shift [degree]; no-load gain is ``1 / ratio``.
    rating
        What 100 % loading means: current [kA] for lines, apparent power [MVA] for transformers and regulators; NaN for none.
    closed
        False where the branch is open or out of service. A closed switch makes its two buses one node.
    """

    name: tuple[str, ...]
    kind: tuple[str, ...]
    from_bus: np.ndarray
    to_bus: np.ndarray
    r_pu: np.ndarray
    x_pu: np.ndarray
    g_pu: np.ndarray
    b_pu: np.ndarray
    ratio: np.ndarray
    shift_degree: np.ndarray
    rating: np.ndarray
    closed: np.ndarray


class Regulators(NamedTuple):
    """Branches of kind ``regulator`` whose ratio is a tap.

    Attributes
    ----------
    branch
        Index into :class:`Branches`.
    tap
        Tap as published [steps]; a balanced equivalent takes the mean of the phases, so it need not be an integer.
    step_pu
        Voltage gain of one step [pu], 0.00625 for the usual 32-step regulator.
    tap_min, tap_max
        Range [steps].
    """

    branch: np.ndarray
    tap: np.ndarray
    step_pu: np.ndarray
    tap_min: np.ndarray
    tap_max: np.ndarray


class Loads(NamedTuple):
    """The network's own loads: name, bus index and constant power [MW, Mvar], consumption positive."""

    name: tuple[str, ...]
    bus: np.ndarray
    p_mw: np.ndarray
    q_mvar: np.ndarray


class Shunts(NamedTuple):
    """Constant admittances: name, bus, power drawn at 1 pu [MW, Mvar] (a capacitor's ``q_mvar`` is negative), and whether they may be switched."""

    name: tuple[str, ...]
    bus: np.ndarray
    p_mw: np.ndarray
    q_mvar: np.ndarray
    switchable: np.ndarray


@dataclass(frozen=True, eq=False)
class Network:
    """A balanced (positive-sequence) network as columns.

    Parameters
    ----------
    name
        Registered name.
    source_bus
        Index of the bus that holds the source.
    source_v_pu
        Its voltage [pu].
    source_note
        Where the figures come from.
    f_hz
        Frequency [Hz].
    """

    name: str
    buses: Buses
    branches: Branches
    regulators: Regulators
    loads: Loads
    shunts: Shunts
    source_bus: int
    source_v_pu: float = 1.0
    f_hz: float = 60.0
    source_note: str = field(default="", repr=False)
