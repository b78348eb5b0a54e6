"""Admittance matrices of three-phase lines and transformers.

A line is the pi section of its phase matrices. A transformer is a bank of single-phase two-winding units: a winding
that lies between nodes sees ``v_w = n . v`` with an incidence vector `n`, the current into a unit's first winding is
``i = y (v_1 - v_2)`` and out of its second the same, so a bank's nodal matrix is the sum over its units of

    Y = y (n_1 - n_2)^T (n_1 - n_2)

with every winding in per unit of its own rated voltage. Turns ratios, phase shifts and zero-sequence paths of a
connection are all in its incidence vectors. Reference: M. S. Chen and W. E. Dillon, "Power system modeling",
Proceedings of the IEEE 62(7), 1974, doi:10.1109/PROC.1974.9544.
"""

from __future__ import annotations

import numpy as np

from powergrid.core.errors import NetworkError

FLOATING_PU = 1e-7
"""Inductive admittance to earth at each terminal and star point of a winding without earth, over the rated one [1].

Such a winding fixes the voltages between its phases only; without any path to earth the matrix is singular. A ten
millionth of the rated current flows at nominal voltage: no voltage moves by 1e-6 pu, nothing is lost, and elimination
without pivoting keeps the zero-sequence voltage to 1e-8.
"""


def line_matrix(z_pu: np.ndarray, y_shunt_pu: np.ndarray) -> np.ndarray:
    """Nodal matrix ``(2p, 2p)`` of `p` coupled conductors, from ends first.

    Parameters
    ----------
    z_pu
        Series impedance matrix [pu], ``(p, p)``.
    y_shunt_pu
        Shunt admittance matrix of the whole line [pu], half at each end, ``(p, p)``.

    Raises
    ------
    NetworkError
        If the impedance matrix cannot be inverted.
    """
    try:
        series = np.linalg.inv(z_pu)
    except np.linalg.LinAlgError as error:
        raise NetworkError(f"an impedance matrix is singular: {z_pu.tolist()}") from error
    near = series + 0.5 * y_shunt_pu
    return np.block([[near, -series], [-series, near]])


def transformer_matrix(
    vector_group: str, phases: str, z_pu: complex, sn_mva: float, ratio: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Nodal matrix of a bank [pu on 1 MVA per phase], from side's phases first, then the to side's.

    Parameters
    ----------
    vector_group
        Windings and clock number: ``YNyn0``, ``Dyn1``, ``Dyn11``, ``Dd0``, ``Yy0`` ... ``YN`` and ``yn`` are earthed;
        the second side lags by 30 degrees times the number. ``Vv0`` is an open-delta bank of two units (ab and bc).
    phases
        Phases present at both sides, ``"abc"``; an earthed star may have fewer.
    z_pu
        Leakage impedance [pu on the bank's own rating].
    sn_mva
        Rated power of the bank [MVA], shared equally by its units.
    ratio
        Rated voltage of each side over the nominal voltage of its nodes [1].

    Raises
    ------
    NetworkError
        If there is no such vector group, or it needs phases that are missing.
    """
    first, second, clock = _read(vector_group)
    if phases != "abc" and (first, second) != ("YN", "yn"):
        raise NetworkError(f'vector group "{vector_group}" needs three phases, not "{phases}"')
    units = _units(first, second, clock, phases)
    width = len(phases)
    y_unit = sn_mva / len(units) / z_pu
    y = np.zeros((2 * width + 2, 2 * width + 2), complex)  # behind the terminals the two star points
    for ends_1, ends_2 in units:
        n = np.zeros(2 * width + 2)
        for sign, side, ends in ((1.0, 0, ends_1), (-1.0, 1, ends_2)):
            rated = ratio[side] * (np.sqrt(3.0) if len(ends) == 2 and "n" not in ends else 1.0)
            for way, end in zip((1.0, -1.0), ends, strict=False):
                at = 2 * width + side if end == "n" else side * width + phases.index(end)
                n[at] += sign * way / rated
        y += y_unit * np.outer(n, n)
    for side, winding in enumerate((first, second)):
        if winding.upper() in ("D", "V", "Y"):
            own = np.append(np.arange(side * width, side * width + width), 2 * width + side)
            own = own[np.abs(y[own, own]) > 0]
            y[own, own] += -1j * FLOATING_PU * sn_mva / len(units)
    return _without_star_points(y, 2 * width)


def _read(vector_group: str) -> tuple[str, str, int]:
    """First winding, second winding and clock number."""
    for first in ("YN", "Y", "D", "V"):
        for second in ("yn", "y", "d", "v"):
            number = vector_group.removeprefix(first + second)
            if number != vector_group and number.isdigit() and int(number) < 12:
                return first, second, int(number)
    raise NetworkError(f'vector group "{vector_group}" is not like YNyn0, Dyn1, Dyn11, Dd0, Yd1, Yy0 or Vv0')


def _units(first: str, second: str, clock: int, phases: str) -> list[tuple[str, str]]:
    """Ends of both windings of each unit; one letter is a phase against earth, ``n`` the star point."""
    if first == "V" and second == "v":
        return [("ab", "ab"), ("bc", "bc")]
    star = {"YN": "", "Y": "n", "yn": "", "y": "n"}
    if (first in star) == (second in star):
        if clock:
            raise NetworkError(f"star-star and delta-delta banks have the clock number 0, not {clock}")
        return [(_ends(first, phase), _ends(second, phase)) for phase in phases]
    return _star_delta(first, second, clock)


def _ends(winding: str, phase: str) -> str:
    if winding in ("D", "d"):
        return phase + "bca"["abc".index(phase)]
    return phase + ("n" if winding in ("Y", "y") else "")


def _star_delta(first: str, second: str, clock: int) -> list[tuple[str, str]]:
    """Units of a star-delta bank: the star's phase a lies on the delta winding whose voltage has the right angle."""
    if clock % 2 == 0:
        raise NetworkError(f"star-delta banks have an odd clock number, not {clock}")
    star, lag = (second, clock) if first == "D" else (first, -clock)
    # delta windings by the hour at which they lag behind phase a of their own side
    ends = {1: "ac", 5: "ba", 9: "cb", 7: "ca", 11: "ab", 3: "bc"}[lag % 12]
    units = []
    for k, phase in enumerate("abc"):
        delta = "".join("abc"[("abc".index(end) + k) % 3] for end in ends)
        one = phase + ("n" if star in ("Y", "y") else "")
        units.append((delta, one) if first == "D" else (one, delta))
    return units


def _without_star_points(y: np.ndarray, keep: int) -> np.ndarray:
    """The matrix with the star points, which no current enters, eliminated."""
    used = keep + np.flatnonzero(np.diag(y)[keep:])
    outer, inner = y[:keep, :keep], y[np.ix_(used, used)]
    if not len(used):
        return outer
    reduced: np.ndarray = outer - y[:keep, used] @ np.linalg.solve(inner, y[used, :keep])
    return reduced
