"""Voltage regulators under their own relays: readings of relays, the order along the feeder, taps set by hand.

A relay reads a potential transformer and a current transformer and takes off the voltage that the current would lose
on the way to a point down the line, ``|V / PT - (R + jX) I / CT|`` with `R` and `X` in volts at the current
transformer's rated current: the line-drop compensator of W. H. Kersting, "Distribution System Modeling and Analysis",
CRC Press, section 7.4. It assumes one direction of power: with reverse flow it misreads, as a real one does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from powergrid.core.backend import Namespace
from powergrid.core.errors import NetworkError
from powergrid.core.types import Array
from powergrid.networks.kinds import AnyNetwork, Kind
from powergrid.networks.tables import BASE_MVA, RELAY_V, Regulators


class RelaySettings(Protocol):
    """Settings of a regulator's relay, as devices have them."""

    @property
    def pt_ratio(self) -> float | None: ...
    @property
    def ct_a(self) -> float | None: ...
    @property
    def r_v(self) -> float: ...
    @property
    def x_v(self) -> float: ...


class TapSettings(Protocol):
    """Steps and range of a regulator, as devices have them."""

    @property
    def step_pu(self) -> float: ...
    @property
    def tap_min(self) -> float: ...
    @property
    def tap_max(self) -> float: ...


ROUNDS = 64
"""Limit of the flows within which regulators come to rest, larger than the number of steps of any regulator."""


def relay_voltage(
    xp: Namespace, from_re: Array, from_im: Array, to_re: Array, to_im: Array, ratio: Array, y_re: Array, y_im: Array,
    gain: Array, r_pu: Array, x_pu: Array,
) -> Array:  # fmt: skip
    """Voltage that a relay with a compensator sees, over 120 V [pu].

    Parameters
    ----------
    from_re, from_im, to_re, to_im
        Voltages at the ends of its regulator [pu].
    ratio
        Gain of the regulator [1].
    y_re, y_im, gain, r_pu, x_pu
        As in :class:`Relays`.
    """
    drop_re, drop_im = ratio * from_re - to_re, ratio * from_im - to_im
    i_re, i_im = y_re * drop_re - y_im * drop_im, y_re * drop_im + y_im * drop_re
    re = gain * to_re - r_pu * i_re + x_pu * i_im
    im = gain * to_im - r_pu * i_im - x_pu * i_re
    return xp.sqrt(re * re + im * im)


def steps_taken(xp: Namespace, wanted: Array, wanted_upstream: Array) -> Array:
    """Steps that a regulator takes: those it wants, none while one upstream, whose delay is shorter, wants any."""
    return xp.where(wanted_upstream > 0.0, 0.0, wanted)


class Relays(NamedTuple):
    """Readings as a function of voltages [pu] and of the regulators' gains; one entry per relay, ``(u,)`` each.

    Attributes
    ----------
    from_bus, to_bus
        Ends of the regulator that the relay sits at.
    y_re, y_im
        Admittance behind its ideal ratio [pu].
    gain
        Nominal voltage behind the potential transformer, over 120 V [1].
    r_pu, x_pu
        Compensator [pu]: volts over 120 V for 1 pu of current.
    """

    from_bus: np.ndarray
    to_bus: np.ndarray
    y_re: np.ndarray
    y_im: np.ndarray
    gain: np.ndarray
    r_pu: np.ndarray
    x_pu: np.ndarray

    def read(self, xp: Namespace, v_re: Array, v_im: Array, ratio: Array) -> Array:
        """Voltage that each relay sees, over 120 V [pu], ``(*batch, u)``.

        Parameters
        ----------
        v_re, v_im
            Bus or node voltages [pu], ``(*batch, m)``.
        ratio
            Gain of each relay's regulator [1], ``(*batch, u)``.
        """
        return relay_voltage(
            xp,
            from_re=v_re[..., self.from_bus],
            from_im=v_im[..., self.from_bus],
            to_re=v_re[..., self.to_bus],
            to_im=v_im[..., self.to_bus],
            ratio=ratio,
            y_re=self.y_re,
            y_im=self.y_im,
            gain=self.gain,
            r_pu=self.r_pu,
            x_pu=self.x_pu,
        )


def relays_of(network: AnyNetwork, rows: Sequence[int], settings: Sequence[RelaySettings]) -> Relays | None:
    """Relays at the regulators `rows` of a network; ``None`` where all of them read their to bus as it is.

    Parameters
    ----------
    rows
        Row of ``network.regulators`` that each relay reads.
    settings
        Its settings.
    """
    if all(unit.pt_ratio is None and unit.r_v == 0.0 and unit.x_v == 0.0 for unit in settings):
        return None
    branches = network.branches
    branch = np.asarray(network.regulators.branch)[np.asarray(rows, int)]
    volts = 1000.0 * np.asarray(network.buses.vn_kv)[branches.to_bus[branch]] / np.sqrt(3.0)
    phases = 1 if network.is_three_phase else 3
    base_a = 1e6 * BASE_MVA / phases / volts
    pt = np.array([np.nan if unit.pt_ratio is None else unit.pt_ratio for unit in settings])
    ct_a = np.array([np.inf if unit.ct_a is None else unit.ct_a for unit in settings])
    per_volt = base_a / ct_a / RELAY_V
    y = 1.0 / (branches.r_pu[branch] + 1j * branches.x_pu[branch])
    return Relays(
        from_bus=branches.from_bus[branch],
        to_bus=branches.to_bus[branch],
        y_re=y.real.copy(),
        y_im=y.imag.copy(),
        gain=np.where(np.isnan(pt), 1.0, volts / pt / RELAY_V),
        r_pu=np.array([unit.r_v for unit in settings]) * per_volt,
        x_pu=np.array([unit.x_v for unit in settings]) * per_volt,
    )


def regulators_at(network: AnyNetwork, place: str) -> tuple[int, ...]:
    """Rows of ``network.regulators`` called `place`: one by its own name, or all phases of an element."""
    names = [network.branches.name[branch] for branch in network.regulators.branch]
    if place in names:
        return (names.index(place),)
    if not network.is_three_phase:
        return ()
    return tuple(row for row, name in enumerate(names) if name[:-2] == place)


def regulator_units(network: AnyNetwork, gang: bool | None = None) -> list[tuple[int, ...]]:
    """Rows of ``network.regulators`` that move together, in their order; `gang` as in ``network.settled``."""
    three = network.is_three_phase
    units: dict[str, list[int]] = {}
    for row, branch in enumerate(network.regulators.branch):
        together = network.regulators.gang[row] == 1.0 if gang is None else gang
        name = network.branches.name[branch]
        units.setdefault(name[:-2] if three and together else name, []).append(row)
    return [tuple(rows) for rows in units.values()]


def standing_tap(network: AnyNetwork, name: str, settings: TapSettings) -> float:
    """Tap at which the regulator or bank called `name` stands in the network, in steps of `settings`.

    Raises
    ------
    NetworkError
        If the phases of the bank stand at different taps, or the tap lies outside the range of the settings.
    """
    regulators, rows = network.regulators, list(regulators_at(network, name))
    gain_pu = regulators.tap[rows] * regulators.step_pu[rows]
    if np.ptp(gain_pu) > 1e-9:
        taps = ", ".join(f"{tap:g}" for tap in regulators.tap[rows])
        raise NetworkError(f'the phases of "{name}" stand at different taps ({taps}); give tap_init or a unit a phase')
    same = settings.step_pu == regulators.step_pu[rows[0]]
    tap = float(regulators.tap[rows[0]] if same else gain_pu[0] / settings.step_pu)
    if not settings.tap_min <= tap <= settings.tap_max:
        raise NetworkError(
            f'"{name}" stands at tap {tap:g}, outside [{settings.tap_min:g}, {settings.tap_max:g}]; '
            "give tap_init, or a range that includes it"
        )
    return tap


def relay_settings(network: AnyNetwork, row: int) -> dict[str, float]:
    """Published settings of a regulator's relay as parameters of :class:`~powergrid.devices.regulator.Regulator`.

    Empty where they are not known.
    """
    found: Regulators = network.regulators
    if np.isnan(found.v_set_v[row]):
        return {}
    return {
        "v_set_pu": float(found.v_set_v[row]) / RELAY_V,
        "bandwidth_pu": float(found.bandwidth_v[row]) / RELAY_V,
        **{name: float(getattr(found, name)[row]) for name in ("pt_ratio", "ct_a", "r_v", "x_v", "delay_s")},
    }


def upstream(network: AnyNetwork) -> np.ndarray:
    """``[i, j] = 1`` if regulator i lies on the way from the source to regulator j; phases side by side do not."""
    branches, count, of = network.branches, len(network.regulators.branch), _bus_of_node(network)
    regulator_of = {int(branch): k for k, branch in enumerate(network.regulators.branch)}
    neighbours: dict[int, dict[int, set[int]]] = {}  # of each bus: the next ones, and the regulators in between
    for i in np.flatnonzero(branches.closed):
        a, b = int(of[branches.from_bus[i]]), int(of[branches.to_bus[i]])
        between = {regulator_of[int(i)]} if int(i) in regulator_of else set()
        neighbours.setdefault(a, {}).setdefault(b, set()).update(between)
        neighbours.setdefault(b, {}).setdefault(a, set()).update(between)
    source = int(of[network.source_bus])
    above = {source: frozenset[int]()}
    found = np.zeros((count, count))
    waiting = deque([source])
    while waiting:
        bus = waiting.popleft()
        for other, between in neighbours.get(bus, {}).items():
            if other in above:
                continue
            if between:
                found[np.ix_(list(above[bus]), list(between))] = 1.0
            above[other] = above[bus] | between
            waiting.append(other)
    return found


def _bus_of_node(network: AnyNetwork) -> np.ndarray:
    """Number of the bus that each row of ``network.buses`` belongs to."""
    names = network.buses.bus if network.is_three_phase else network.buses.name
    number = {name: k for k, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=int)


def with_taps(network: Kind, taps: ArrayLike) -> Kind:
    """The network with its regulators at other taps.

    Parameters
    ----------
    network
        A :class:`~powergrid.networks.Network` or :class:`~powergrid.networks.UnbalancedNetwork`.
    taps
        One tap for all [steps], or one for each row of ``network.regulators``.

    Raises
    ------
    NetworkError
        If a tap lies outside its regulator's range.
    """
    regulators, branches = network.regulators, network.branches
    tap = np.broadcast_to(np.asarray(taps, float), regulators.tap.shape).copy()
    for row in np.flatnonzero(~((regulators.tap_min <= tap) & (tap <= regulators.tap_max))):
        raise NetworkError(
            f'regulator "{branches.name[regulators.branch[row]]}" of "{network.name}": tap {tap[row]:g} is outside '
            f"[{regulators.tap_min[row]:g}, {regulators.tap_max[row]:g}]"
        )
    ratio = branches.ratio.copy()
    ratio[regulators.branch] = 1.0 / (1.0 + tap * regulators.step_pu)
    return replace(network, branches=branches._replace(ratio=ratio), regulators=regulators._replace(tap=tap))
