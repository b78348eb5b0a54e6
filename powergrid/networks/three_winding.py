"""Three-winding transformers as stars of two-winding ones, as pandapower converts them.

The short-circuit data of the three pairs of windings, brought to the high-voltage winding's rating, form a delta; its
equivalent star has one arm per winding, which meet at an auxiliary bus at the high-voltage winding's voltage::

    z_hv = (z_hm + z_lh - z_ml) / 2    z_mv = (z_ml + z_hm - z_lh) / 2    z_lv = (z_lh + z_ml - z_hm) / 2

An arm may well have a negative reactance. Reference: pandapower documentation, "Three Winding Transformer".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from powergrid.networks.tables import BASE_MVA

if TYPE_CHECKING:
    import pandas as pd

SIDES = ("hv", "mv", "lv")
_PAIRS = (("hv", "mv"), ("mv", "lv"), ("lv", "hv"))  # pair of windings that vk_hv, vk_mv and vk_lv refer to


def star_arms(trafo3w: pd.DataFrame, losses: str = "hv") -> pd.DataFrame:
    """Two-winding transformers, three rows per transformer in the order high, medium, low voltage.

    The auxiliary bus is the low-voltage side of the first arm and the high-voltage side of the others; the column
    ``winding`` is the arm of each row. The no-load losses are those of the winding `losses`, unless the column
    ``loss_side`` names another; at ``star`` they belong to no arm.
    """
    import pandas as pd

    arms = [_arm(trafo3w, side, losses) for side in SIDES]
    both = pd.concat(arms, keys=range(len(SIDES)))
    return both.sort_index(level=1, kind="stable", sort_remaining=False).reset_index(drop=True)


def star_losses(trafo3w: pd.DataFrame, vn_hv_bus_kv: np.ndarray) -> dict[object, complex]:
    """No-load admittance at the star point [pu on 1 MVA] of each transformer, by its index."""
    p_mw = trafo3w["pfe_kw"].to_numpy(float) / 1000
    s_mva = trafo3w["sn_hv_mva"].to_numpy(float) * trafo3w["i0_percent"].to_numpy(float) / 100
    y = p_mw - 1j * np.sqrt(np.maximum(s_mva**2 - p_mw**2, 0.0))
    y = y * (vn_hv_bus_kv / trafo3w["vn_hv_kv"].to_numpy(float)) ** 2 / BASE_MVA
    return dict(zip(trafo3w.index, y.tolist(), strict=True))


def _arm(trafo3w: pd.DataFrame, side: str, losses: str) -> pd.DataFrame:
    """The arm of one winding of every transformer, rows numbered from 0."""
    import pandas as pd

    n = len(trafo3w)
    sn_mva = {own: trafo3w[f"sn_{own}_mva"].to_numpy(float) for own in SIDES}
    vk, vkr = _arm_impedance(trafo3w, sn_mva, side)
    losses_here = _losses_at(trafo3w, losses) == side
    arm = pd.DataFrame(
        {
            "winding": side,
            "sn_mva": sn_mva[side],
            "vn_hv_kv": trafo3w["vn_hv_kv"].to_numpy(float),
            "vn_lv_kv": trafo3w[f"vn_{side}_kv"].to_numpy(float),
            "vk_percent": vk,
            "vkr_percent": vkr,
            "pfe_kw": np.where(losses_here, trafo3w["pfe_kw"].to_numpy(float), 0.0),
            "i0_percent": np.where(losses_here, trafo3w["i0_percent"].to_numpy(float), 0.0),
            "shift_degree": 0.0 if side == "hv" else trafo3w[f"shift_{side}_degree"].to_numpy(float),
            "parallel": 1.0,
        },
        index=range(n),
    )
    return arm.assign(**_taps(trafo3w, side))


def _losses_at(trafo3w: pd.DataFrame, usual: str) -> np.ndarray:
    """Winding at which the no-load losses are counted: that of the column, else the usual one."""
    if "loss_side" not in trafo3w:
        return np.full(len(trafo3w), usual, dtype=object)
    return trafo3w["loss_side"].to_numpy(object)


def _arm_impedance(trafo3w: pd.DataFrame, sn_mva: dict[str, np.ndarray], side: str) -> tuple[np.ndarray, np.ndarray]:
    """Impedance and resistance of an arm [% on the winding's rating]."""
    resistance, reactance = [], []
    for own, pair in zip(SIDES, _PAIRS, strict=True):
        to_hv = sn_mva["hv"] / np.minimum(sn_mva[pair[0]], sn_mva[pair[1]])
        vk, vkr = (trafo3w[f"{what}_{own}_percent"].to_numpy(float) * to_hv for what in ("vk", "vkr"))
        resistance.append(vkr)
        reactance.append(np.sqrt(vk**2 - vkr**2))
    k = SIDES.index(side)
    r, x = (
        0.5 * sn_mva[side] / sn_mva["hv"] * (delta[k] + delta[k - 1] - delta[k - 2])
        for delta in (resistance, reactance)
    )
    return np.sign(x) * np.hypot(r, x), r


def _taps(trafo3w: pd.DataFrame, side: str) -> dict[str, np.ndarray]:
    """Tap columns of an arm: at its terminal, or at the star point with the step seen from there."""
    here = (trafo3w["tap_side"] == side).to_numpy(bool)
    number = {
        name: np.where(here, trafo3w[name].astype(float).fillna(0.0).to_numpy() if name in trafo3w else 0.0, 0.0)
        for name in ("tap_pos", "tap_neutral", "tap_step_percent", "tap_step_degree")
    }
    outside, inside = ("hv", "lv") if side == "hv" else ("lv", "hv")
    star = (
        here & trafo3w["tap_at_star_point"].eq(True).to_numpy(bool) if "tap_at_star_point" in trafo3w else here & False
    )
    step = number["tap_step_percent"] * np.exp(1j * np.deg2rad(number["tap_step_degree"]))
    seen = 100 * step / (100 + step * (number["tap_pos"] - number["tap_neutral"]))
    kind = trafo3w["tap_changer_type"].to_numpy(object) if "tap_changer_type" in trafo3w else np.full(len(here), None)
    return {
        "tap_side": np.array(
            [inside if s else outside if h else None for s, h in zip(star, here, strict=True)], object
        ),
        "tap_pos": number["tap_pos"],
        "tap_neutral": number["tap_neutral"],
        "tap_step_percent": np.where(star, np.abs(seen), number["tap_step_percent"]),
        "tap_step_degree": np.where(star, np.rad2deg(np.angle(seen)) - 180, number["tap_step_degree"]),
        "tap_changer_type": np.array([own if h else None for own, h in zip(kind, here, strict=True)], object),
    }
