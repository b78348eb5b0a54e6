"""Two-winding transformers as pandapower models them: taps, short-circuit data, T circuit against pi section.

All functions work on columns. Impedances and admittances are complex, in per unit on 1 MVA and the
low-voltage bus's nominal voltage; the ratio belongs to the high-voltage (from) bus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from powergrid.networks.tables import BASE_MVA

if TYPE_CHECKING:
    import pandas as pd


class PiSection(NamedTuple):
    """Series impedance and the shunt admittances at its two ends [pu], behind a ratio and a phase shift.

    ``tap_shift_degree`` is that part of the shift which its tap changers make.
    """

    z: np.ndarray
    y_from: np.ndarray
    y_to: np.ndarray
    ratio: np.ndarray
    shift_degree: np.ndarray
    tap_shift_degree: np.ndarray


def pi_section(trafo: pd.DataFrame, vn_hv_bus_kv: np.ndarray, vn_lv_bus_kv: np.ndarray, model: str = "t") -> PiSection:
    """Pi section of each row of a pandapower ``trafo`` table, equal to ``runpp`` with ``trafo_model`` t or pi."""
    vn_hv, vn_lv, shift = _tapped_voltages(trafo)
    parallel = trafo.parallel.to_numpy(float)
    sn_mva = trafo.sn_mva.to_numpy(float)
    # A tap on the low-voltage side changes the impedance too, for vk refers to the tapped voltage.
    per_mva = (vn_lv / vn_lv_bus_kv) ** 2 * BASE_MVA / sn_mva / parallel
    z_abs = trafo.vk_percent.to_numpy(float) / 100 * per_mva
    r = trafo.vkr_percent.to_numpy(float) / 100 * per_mva
    z = r + 1j * np.sign(z_abs) * np.sqrt(z_abs**2 - r**2)

    p_iron_mw = trafo.pfe_kw.to_numpy(float) / 1000
    s_idle_mva = trafo.i0_percent.to_numpy(float) / 100 * sn_mva
    y = p_iron_mw - 1j * np.sqrt(np.maximum(s_idle_mva**2 - p_iron_mw**2, 0.0))
    y = y / BASE_MVA * parallel * (vn_lv_bus_kv / vn_lv) ** 2
    ratio = vn_hv / vn_lv * vn_lv_bus_kv / vn_hv_bus_kv
    tap_shift = shift - trafo.shift_degree.to_numpy(float)
    if model == "pi":
        return PiSection(z, y / 2, y / 2, ratio, shift, tap_shift)
    share_r, share_x = (_column(trafo, f"leakage_{part}_ratio_hv", 0.5) for part in ("resistance", "reactance"))
    z_hv = share_r * z.real + 1j * share_x * z.imag
    return PiSection(*t_to_pi(z_hv, z - z_hv, y), ratio, shift, tap_shift)


def t_to_pi(z_from: np.ndarray, z_to: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Star-delta transformation of a T circuit: arms ``z_from`` and ``z_to``, shunt ``y``.

    Returns
    -------
    tuple of numpy.ndarray
        Series impedance and the shunt admittance at either end [pu].
    """
    z = z_from + z_to + z_from * z_to * y
    half = np.full(np.shape(z), 0.5 + 0j)  # a transformer without impedance, which a power flow reports as a fault
    share_from, share_to = (np.divide(arm, z, out=half.copy(), where=z != 0) for arm in (z_to, z_from))
    return z, y * share_from, y * share_to


def pi_to_t(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of :func:`t_to_pi` for a symmetric pi section with total shunt admittance `y`.

    Returns
    -------
    tuple of numpy.ndarray
        Sum of both arms and the shunt admittance of the T circuit [pu].
    """
    # Delta of z, 2/y and 2/y turned into a star; written so that y = 0 needs no exception.
    return z / (1 + z * y / 4), y * (1 + z * y / 4)


def _tapped_voltages(trafo: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rated voltages [kV] and phase shift [degree] with both tap changers in their present position."""
    rated = {"hv": trafo.vn_hv_kv.to_numpy(float).copy(), "lv": trafo.vn_lv_kv.to_numpy(float).copy()}
    shift = trafo.shift_degree.to_numpy(float).copy()
    for changer in ("tap", "tap2"):
        if f"{changer}_pos" not in trafo.columns:
            continue
        kind = _changer_type(trafo, changer)
        steps = _column(trafo, f"{changer}_pos", 0.0) - _column(trafo, f"{changer}_neutral", 0.0)
        percent = _column(trafo, f"{changer}_step_percent", 0.0)
        degree = _column(trafo, f"{changer}_step_degree", 0.0)
        for side, sign in (("hv", 1.0), ("lv", -1.0)):
            here = (trafo[f"{changer}_side"] == side).to_numpy(bool)
            ideal = here & (kind == "Ideal")
            by_percent = 2 * np.rad2deg(np.arcsin(np.where(ideal, steps * percent / 200, 0.0)))
            shift += np.where(ideal, sign * np.where(degree != 0, steps * degree, by_percent), 0.0)
            stepped = here & ((kind == "Ratio") | (kind == "Symmetrical"))
            # The step is a voltage added at the angle of the tap winding.
            gain = 1 + np.where(stepped, steps * percent / 100, 0.0) * np.exp(1j * np.deg2rad(degree))
            shift += sign * np.rad2deg(np.angle(gain))
            rated[side] *= np.abs(gain)
    return rated["hv"], rated["lv"], shift


def _changer_type(trafo: pd.DataFrame, changer: str) -> np.ndarray:
    """Type of a tap changer; older tables have a flag for phase shifters instead, and ``None`` is no changer."""
    if f"{changer}_changer_type" in trafo.columns:
        return trafo[f"{changer}_changer_type"].astype(object).to_numpy()
    if f"{changer}_phase_shifter" not in trafo.columns:
        return np.full(len(trafo), None)
    stepped = np.isfinite(_column(trafo, f"{changer}_step_percent", np.nan) + _column(trafo, f"{changer}_pos", np.nan))
    ideal = trafo[f"{changer}_phase_shifter"].eq(True).to_numpy(bool)
    kind = np.full(len(trafo), None, dtype=object)
    kind[stepped] = "Ratio"
    kind[ideal] = "Ideal"
    return kind


def _column(frame: pd.DataFrame, name: str, default: float) -> np.ndarray:
    """Column as floats, `default` where it is absent or empty."""
    if name not in frame.columns:
        return np.full(len(frame), default)
    return frame[name].astype(float).fillna(default).to_numpy()
