"""v1's line codes as pandapower standard types: positive and zero sequence, per kilometre.

They follow from the published phase matrices by :func:`~powergrid.v1.networks.imped2seq.imped2seq`; v1 took the
susceptances [uS] for capacitances [nF].
"""

from __future__ import annotations

from typing import Any

Triple = tuple[float, float, float]


def _code(positive: Triple, max_i_ka: float, *, zero: Triple | None = None, kind: str = "ol") -> dict[str, Any]:
    """Standard type from resistance, reactance [ohm/km] and capacitance [nF/km] of both sequences.

    With a single phase both sequences are the same.
    """
    columns = ("r{}_ohm_per_km", "x{}_ohm_per_km", "c{}_nf_per_km")
    values = {column.format(""): value for column, value in zip(columns, positive, strict=True)}
    values |= {column.format("0"): value for column, value in zip(columns, zero or positive, strict=True)}
    return {**values, "max_i_ka": max_i_ka, "type": kind}


CF1 = _code((0.190181, 0.3896204, 4.297631), 0.53, zero=(0.480672, 1.2037409, 2.0019129))
CF2, CF3, CF4, CF5, CF6 = (dict(CF1) for _ in range(5))
CF7 = _code((0.15857392, 0.3641649, 2.348928), 0.53, zero=(0.2539544, 0.6033307, 1.6934436))
CF8 = dict(CF7)
CF9 = _code((0.2753088, 0.2790992, 0.9360542), 0.23)
CF10, CF11 = dict(CF9), dict(CF9)
CF12 = _code((0.6302153, 0.3002672, 41.7711813), 0.31, zero=(1.582156, 0.779158, 41.7711813), kind="cs")
CF300 = _code((0.69599766, 0.5177677, 3.8250977), 0.23, zero=(1.08727498, 1.47374703, 1.86976748))
CF301 = _code((1.05015841, 0.52265586, 3.66884364), 0.18, zero=(1.48350255, 1.60203942, 1.82231544))
CF302 = _code((0.5798427, 0.30768221, 0.8751182), 0.14)
CF303 = dict(CF302)
CF304 = _code((0.39802955, 0.29436416, 0.90382554), 0.18)
CF601 = _code((0.115554329383, 0.370813615154, 4.53499479705), 0.73, zero=(0.406045362, 1.184934151, 2.051374142))
CF602 = _code((0.367893170551, 0.472387092712, 4.08740041491), 0.45, zero=(0.658384203, 1.286507629, 1.955475854))
CF603 = _code((0.506748919643, 0.464972063151, 2.12827918291), 0.25, zero=(0.635124208, 0.750243578, 1.569107247))
CF604 = _code((0.445794008226, 0.549576069177, 0.882295312044), 0.25, zero=(0.592332445, 0.655153073, 1.16188128))
CF605 = _code((0.275350287653, 0.27909922718, 0.936054276359), 0.25)
CF606 = _code(
    (0.302856319096, 0.257951894271, 60.2044684), 0.25, zero=(0.876568341, 0.289828236, 60.2044684), kind="cs"
)
CF607 = _code((0.278063608526, 0.106130199634, 18.4321893475), 0.18, kind="cs")


def line_code(name: str) -> dict[str, Any]:
    """Standard type of a code such as ``"CF-601"``."""
    code: dict[str, Any] = globals()[name.replace("-", "")]
    return code
