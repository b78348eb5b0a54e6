"""The column types of a network: one NamedTuple per table, balanced or phase by phase."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np

from powergrid.core.errors import NetworkError, nearest

BASE_MVA = 1.0
"""Power base of every per-unit value in PowerGrid [MVA]."""
RELAY_V = 120.0
"""Voltage base of regulator relays [V]."""


BRANCH_KINDS = ("line", "transformer", "regulator", "impedance", "switch")
"""Kinds of branches."""

NONE = np.zeros(0)
"""A column left out; :class:`Network` fills it in."""

Table = TypeVar("Table", bound="tuple[Any, ...]")


class Buses(NamedTuple):
    """One row per bus.

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
    """One row per line, transformer, regulator, impedance or switch.

    Each is a pi section behind an ideal ratio at its from bus.

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
        What 100 % loading means: current [kA] for lines, apparent power [MVA] for transformers and
        regulators; NaN for none.
    closed
        False where the branch is open or out of service. A closed switch makes its two buses one node.
    rated_from_kv, rated_to_kv
        Rated voltages of a transformer's windings [kV], from which its rated currents follow:
        ``rating / (sqrt(3) kV)``. NaN takes the nominal voltages of the buses, at the from bus times the ratio; so does
        a column left out. 0 stands at an end that is no winding, such as the star point of a three-winding
        transformer, and sets no limit.
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
    rated_from_kv: np.ndarray = NONE
    rated_to_kv: np.ndarray = NONE


class Regulators(NamedTuple):
    """Branches of kind ``regulator``: their ratio is ``1 / (1 + tap * step_pu)``, their impedance stays.

    Attributes
    ----------
    branch
        Index into :class:`Branches`.
    tap
        Tap as published [steps]; a balanced equivalent takes the mean of the phases, so it need not be an
        integer.
    step_pu
        Voltage gain of one step [pu], 0.00625 for the usual 32-step regulator.
    tap_min, tap_max
        Range [steps].
    pt_ratio, ct_a
        Ratio of the potential transformer from the voltage to earth [1], and primary current of the current
        transformer [A]; these and the settings below are NaN where nothing is known of the relay.
    r_v, x_v
        Settings of the line-drop compensator: volts at the current transformer's primary current [V].
    v_set_v, bandwidth_v
        Voltage to hold and whole width of the band around it [V].
    delay_s
        Time out of the band before the first step [s].
    gang
        1 where the phases of a three-phase regulator move together, led by the relay of the first, else 0.
    """

    branch: np.ndarray
    tap: np.ndarray
    step_pu: np.ndarray
    tap_min: np.ndarray
    tap_max: np.ndarray
    pt_ratio: np.ndarray
    ct_a: np.ndarray
    r_v: np.ndarray
    x_v: np.ndarray
    v_set_v: np.ndarray
    bandwidth_v: np.ndarray
    delay_s: np.ndarray
    gang: np.ndarray


NO_REGULATORS = Regulators(NONE.astype(int), *(NONE for _ in Regulators._fields[1:]))
"""Regulators of a network without any."""


class Loads(NamedTuple):
    """The network's own loads, consumption positive.

    Their power follows the voltage as ``p_mw * (1 - i_share_p - z_share_p + i_share_p * v + z_share_p * v**2)``.

    Attributes
    ----------
    name
        Unique name.
    bus
        Bus index.
    p_mw, q_mvar
        Power at 1 pu [MW, Mvar].
    i_share_p, i_share_q
        Part of it that follows the voltage: constant current [1]; none if left out.
    z_share_p, z_share_q
        Part that follows the square of the voltage: constant impedance [1]; none if left out.
    """

    name: tuple[str, ...]
    bus: np.ndarray
    p_mw: np.ndarray
    q_mvar: np.ndarray
    i_share_p: np.ndarray = NONE
    i_share_q: np.ndarray = NONE
    z_share_p: np.ndarray = NONE
    z_share_q: np.ndarray = NONE

    @property
    def by_voltage(self) -> np.ndarray:
        """True where a load's power depends on its voltage, ``(n,)``."""
        follows: np.ndarray = np.any(np.array(self[4:]) != 0, axis=0)
        return follows


STATIC_KINDS = ("generator", "storage")
"""Kinds of static generators."""


class StaticGenerators(NamedTuple):
    """Generation and storage that feed in a given power, whatever the voltage.

    They are no loads: a factor on the loads leaves them as they are, and in an environment they follow a series of
    their own.

    Attributes
    ----------
    name, kind
        Unique name; ``generator`` or ``storage``.
    bus
        Bus index.
    p_mw, q_mvar
        Power fed in [MW, Mvar]; a storage that charges, and a generator that draws its own needs, have a negative one.
    """

    name: tuple[str, ...]
    kind: tuple[str, ...]
    bus: np.ndarray
    p_mw: np.ndarray
    q_mvar: np.ndarray


class Shunts(NamedTuple):
    """Constant admittances: name, bus, power drawn at 1 pu [MW, Mvar], and whether they may be switched.

    A capacitor's ``q_mvar`` is negative.
    """

    name: tuple[str, ...]
    bus: np.ndarray
    p_mw: np.ndarray
    q_mvar: np.ndarray
    switchable: np.ndarray


class Generators(NamedTuple):
    """Generators that hold the voltage of their bus as long as their reactive power allows.

    Several may share a bus, and then its set point.

    Attributes
    ----------
    name
        Unique name.
    bus
        Bus index.
    p_mw
        Active power fed in [MW].
    v_set_pu
        Voltage to hold [pu].
    q_min_mvar, q_max_mvar
        Range of the reactive power fed in [Mvar]; infinite where there is no limit.
    """

    name: tuple[str, ...]
    bus: np.ndarray
    p_mw: np.ndarray
    v_set_pu: np.ndarray
    q_min_mvar: np.ndarray
    q_max_mvar: np.ndarray


class Sources(NamedTuple):
    """Sources beside the first one: name, bus, voltage [pu] and its angle against the first source [degree]."""

    name: tuple[str, ...]
    bus: np.ndarray
    v_pu: np.ndarray
    angle_degree: np.ndarray


NO_STATIC_GENERATORS = StaticGenerators((), (), NONE.astype(int), NONE, NONE)
NO_SHUNTS = Shunts((), NONE.astype(int), NONE, NONE, NONE.astype(bool))
NO_GENERATORS = Generators((), NONE.astype(int), NONE, NONE, NONE, NONE)
NO_SOURCES = Sources((), NONE.astype(int), NONE, NONE)


PHASES = "abc"
"""Phases in positive sequence: b follows a by 120 degrees."""


class Nodes(NamedTuple):
    """One row per node.

    Attributes
    ----------
    name
        ``"<bus>.<phase>"``, unique.
    vn_kv
        Nominal line-to-line voltage of its bus [kV].
    area
        ``""``, or the prefix of an attached network.
    x, y
        Drawing coordinates of its bus, NaN where none are known.
    bus
        Its bus.
    phase
        ``"a"``, ``"b"`` or ``"c"``.
    """

    name: tuple[str, ...]
    vn_kv: np.ndarray
    area: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    bus: tuple[str, ...]
    phase: tuple[str, ...]


class Blocks(NamedTuple):
    """Elements that couple several nodes: a line's conductors, a transformer's windings.

    A terminal is where a block touches a node; the current into terminal `i` is ``sum_j y[i, j] v[node of j]``.

    Attributes
    ----------
    size
        Terminals of each block, ``(n,)``.
    node
        Node of each terminal, block by block, ``(t,)``.
    y_pu
        Admittance matrices by rows, block by block [pu], ``(sum of size^2,)``, complex.
    row
        Row of ``branches`` that shows each terminal, ``(t,)``.
    at_to
        Whether the terminal is that row's to end, ``(t,)``.
    rated_pu
        Current at which the terminal is loaded by 100 % [pu], NaN for none, ``(t,)``.
    """

    size: np.ndarray
    node: np.ndarray
    y_pu: np.ndarray
    row: np.ndarray
    at_to: np.ndarray
    rated_pu: np.ndarray


class Pairs(NamedTuple):
    """Pairs of nodes that loads or devices lie between: their current leaves the first and enters the second.

    Their power at 1 pu is that at the nominal line-to-line voltage.
    """

    first: np.ndarray
    second: np.ndarray


class PhaseLoads(NamedTuple):
    """The network's own loads, one row per phase, consumption positive.

    Their power follows the voltage as ``p_mw * (1 - i_share_p - z_share_p + i_share_p * v + z_share_p * v**2)``.

    Attributes
    ----------
    name
        ``"<load>.<phase>"`` or ``"<load>.<phase><phase>"``, unique.
    bus
        Place: a node, or ``nodes + k`` for the k-th of :class:`Pairs`.
    p_mw, q_mvar
        Power at 1 pu [MW, Mvar].
    i_share_p, i_share_q, z_share_p, z_share_q
        Parts of constant current and of constant impedance [1].
    """

    name: tuple[str, ...]
    bus: np.ndarray
    p_mw: np.ndarray
    q_mvar: np.ndarray
    i_share_p: np.ndarray
    i_share_q: np.ndarray
    z_share_p: np.ndarray
    z_share_q: np.ndarray


def index_of(network: str, what: str, name: str, names: tuple[str, ...]) -> int:
    """Index of `name` among the `names` of a network.

    Raises
    ------
    NetworkError
        If it is none of them; the message holds the nearest match, and all of them where they are few.
    """
    if name in names:
        return names.index(name)
    parts = [f'network "{network}" has no {what} "{name}"', nearest(str(name), names)]
    if len(names) <= 40:
        parts.append(f"available: {', '.join(names)}")
    raise NetworkError("; ".join(part for part in parts if part))


def filled(table: Table, value: float = 0.0) -> Table:
    """The table with `value` in the columns that were left out."""
    if not any(column is NONE for column in table):
        return table
    rows = len(table[0])
    columns = [np.full(rows, value) if column is NONE else column for column in table]
    build: Any = type(table)
    result: Table = build(*columns)
    return result
