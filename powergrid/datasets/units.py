"""Units of values in files, and usual sizes of the values of a quantity."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from powergrid.core.errors import DataError, nearest
from powergrid.core.settings import plausible
from powergrid.datasets.resample import DAY_S

UNITS = ("pu", "mw", "mvar", "mwh", "per_mwh", "c", "m_s", "w_m2", "t_per_mwh", "h")
"""Units at the end of a quantity's name, which are the units of a dataset."""


class Conversion(NamedTuple):
    """``(value + offset) factor``.

    Attributes
    ----------
    factor, offset
        Of one value.
    energy
        Whether the value is energy in its interval, to be divided by the interval in hours.
    rated
        Whether the result is still to be divided by a rating.
    """

    factor: float = 1.0
    offset: float = 0.0
    energy: bool = False
    rated: bool = False


_POWER = {"W": 1e-6, "kW": 1e-3, "MW": 1.0, "GW": 1e3}
_REACTIVE = {"var": 1e-6, "kvar": 1e-3, "Mvar": 1.0}
_ENERGY = {"Wh": 1e-6, "kWh": 1e-3, "MWh": 1.0, "GWh": 1e3}
_APPARENT = {"VA": 1e-6, "kVA": 1e-3, "MVA": 1.0}


def _all(factors: Mapping[str, float], **more: bool) -> dict[str, Conversion]:
    return {unit: Conversion(factor, **more) for unit, factor in factors.items()}


_SHARES = {"pu": Conversion(), "percent": Conversion(0.01), "%": Conversion(0.01)}
_RATED = {
    **_all({**_POWER, **_REACTIVE, **_APPARENT}, rated=True),
    **_all(_ENERGY, energy=True, rated=True),
    **{f"{unit}/h": conversion for unit, conversion in _all(_ENERGY, rated=True).items()},
}
TABLE: dict[str, dict[str, Conversion]] = {
    "pu": {**_SHARES, **_RATED},
    "mw": {"MW": Conversion(), **_all(_POWER), **_all(_ENERGY, energy=True)},
    "mvar": {"Mvar": Conversion(), **_all(_REACTIVE)},
    "mwh": {"MWh": Conversion(), **_all(_ENERGY)},
    "c": {
        "degC": Conversion(),
        "C": Conversion(),
        "°C": Conversion(),
        "K": Conversion(offset=-273.15),
        **{unit: Conversion(5.0 / 9.0, -32.0) for unit in ("degF", "F", "°F")},
    },
    "m_s": {"m/s": Conversion(), **_all({"km/h": 1 / 3.6, "mph": 0.44704, "kn": 1852 / 3600})},
    "w_m2": {"W/m2": Conversion(), **_all({"kW/m2": 1e3}), "Wh/m2": Conversion(energy=True)},
    "t_per_mwh": {"t/MWh": Conversion(), **_all({"kg/MWh": 1e-3, "g/kWh": 1e-3, "kg/kWh": 1.0})},
    "h": {"h": Conversion(), **_all({"min": 1 / 60, "s": 1 / 3600})},
}
"""Units that a file may state, by unit of the dataset; the first of each is that unit itself."""

_PRICE = re.compile(r"(?P<money>[^\W\d_]+|[$€£¥¢₹])\s*/\s*(?P<energy>kwh|mwh|gwh|wh)", re.IGNORECASE)
_HUNDREDTHS = ("ct", "cent", "cents", "c", "¢", "p", "rp", "øre", "öre")
_PER_MWH = {"wh": 1e6, "kwh": 1e3, "mwh": 1.0, "gwh": 1e-3}


def parts_of(quantity: str) -> tuple[str, str]:
    """Quantity and unit: ``("price", "per_mwh")``; an empty unit where the name ends with none."""
    for unit in sorted(UNITS, key=len, reverse=True):
        if quantity.endswith(f"_{unit}"):
            return quantity.removesuffix(f"_{unit}"), unit
    return quantity, ""


def conversion(quantity: str, unit: str) -> Conversion:
    """Conversion of values from a stated unit to the unit of a quantity.

    Parameters
    ----------
    quantity
        Name that ends with its unit, such as ``load_p_pu``.
    unit
        Unit of the file. Prices may be in any currency: ``EUR/MWh``, ``JPY/kWh``, ``ct/kWh``.

    Raises
    ------
    DataError
        If the quantity has no such unit; lists its units.
    """
    inside = parts_of(quantity)[1]
    if inside == "per_mwh":
        price = _PRICE.fullmatch(unit.strip())
        if price is None:
            raise DataError(f'unknown unit "{unit}" of {quantity}; write <currency>/MWh, <currency>/kWh or ct/kWh')
        share = 0.01 if price["money"].lower() in _HUNDREDTHS else 1.0
        return Conversion(_PER_MWH[price["energy"].lower()] * share)
    known = TABLE.get(inside, {})
    folded = {name.lower(): name for name in known}
    name = unit.strip() if unit.strip() in known else folded.get(unit.strip().lower(), "")
    if not name:
        hint = " ".join(part for part in (nearest(unit, known), f"units of {quantity}: {', '.join(known)}") if part)
        raise DataError(f'unknown unit "{unit}"; {hint}')
    return known[name]


def converted(
    values: np.ndarray, interval_s: int, given: Conversion, rating: float | None = None, unit: str | None = None
) -> np.ndarray:
    """Values in the unit of the dataset.

    Parameters
    ----------
    values, interval_s
        Values in their own unit, which may be missing, and their interval [s].
    given
        The conversion.
    rating
        Power that is 1 per unit, in the unit of the values (in that of their power where they are energies); by default
        the largest of the values.
    unit
        Name of their unit, for messages.

    Raises
    ------
    DataError
        If a rating is given and the unit has none, or all values are zero, so that none of them can be 1 per unit.
    """
    if rating is not None and not given.rated:
        raise DataError(f"a rating has no meaning for values in {unit or 'this unit'}; leave it out")
    power = values / (interval_s / 3600.0) if given.energy else values
    if not given.rated:
        return (power + given.offset) * given.factor
    base = float(np.nanmax(np.abs(power))) if rating is None else rating
    if base == 0.0:
        raise DataError("all values are zero, so none of them can be 1 per unit; state a rating")
    return power / base


class Doubt(NamedTuple):
    """Reason why values do not fit their quantity, and the key that corrects it.

    Attributes
    ----------
    finding
        The value, the expected value, and the probable unit.
    unit
        Unit to state.
    other
        Other corrections.
    never
        Whether such values are impossible in every unit.
    """

    finding: str
    unit: str = ""
    other: str = ""
    never: bool = False


class Usual(NamedTuple):
    """Sizes of a quantity's values: its range, the range as text, and probable units of other sizes in rising order."""

    low: float
    high: float
    expected: str
    looks_like: tuple[tuple[float, str], ...] = ()


_PU_LOOKS = ((20.0, "MW"), (150.0, "percent"), (1e5, "kW"), (np.inf, "W"))
_SUN = Usual(0.0, 1500.0, "0 to about 1,400 W/m2")
_PU = Usual(-5.0, 5.0, "-5 to 5", _PU_LOOKS)
USUAL: dict[str, Usual] = {
    "load_p_pu": Usual(0.0, 2.0, "0 to about 1.5", _PU_LOOKS),
    "load_q_pu": Usual(-2.0, 2.0, "-1.5 to about 1.5", _PU_LOOKS),
    "pv_pu": Usual(0.0, 1.5, "0 to about 1.1", _PU_LOOKS),
    "wind_pu": Usual(0.0, 1.5, "0 to about 1", _PU_LOOKS),
    "ambient_temp_c": Usual(-60.0, 60.0, "-60 to 60 degC", ((150.0, "degF"), (np.inf, "K"))),
    "wind_speed_m_s": Usual(0.0, 50.0, "0 to about 40 m/s", ((np.inf, "km/h"),)),
    "ghi_w_m2": _SUN,
    "dni_w_m2": _SUN,
}
"""Usual sizes by quantity, with bounds of the largest value."""

_SUN_QUANTITIES = ("pv_pu", "ghi_w_m2", "dni_w_m2")
_NEVER_NEGATIVE = ("pv_pu", "wind_pu")
_PER_KWH = 3.0
"""A year of prices that stays below this is one per kWh."""
_KW_PER_M2 = 2.0
_NIGHT_SHARE = 0.1
"""Mean power from 22:00 to 02:00 over the mean of all hours, above which the clock is wrong [1]."""
_NOON_WITHIN_H = 3.0
"""Largest distance of the middle of the solar day from 12:00, caused by the time zone and by east or west roofs [h]."""


def beyond_sense(quantity: str, values: np.ndarray) -> str:
    """A message if a value is beyond physical limits, else an empty text. Missing values are ignored."""
    known = values[~np.isnan(values)]
    if not known.size:
        return ""
    bounds = plausible(quantity)
    if bounds.low <= known.min() and known.max() <= bounds.high:
        return ""
    worst = known.max() if known.max() > bounds.high else known.min()
    unit = f" {bounds.unit}" if bounds.unit else ""
    return (
        f"a value of {worst:g} is beyond physical sense for {quantity}, which lies between {bounds.low:,g} and "
        f"{bounds.high:,g}{unit}"
    )


def doubt(quantity: str, values: np.ndarray, interval_s: int, *, sizes: bool = True) -> Doubt | None:
    """Reason against values being those of their quantity; ``None`` if there is none.

    Parameters
    ----------
    quantity
        Name that ends with its unit.
    values, interval_s
        A year from midnight, in which values may be missing but not all, and its interval [s].
    sizes
        Whether sizes are checked: not if the unit was stated and is the quantity's unit.
    """
    found = by_size(quantity, values) if sizes else None
    if found is not None:
        return found
    if quantity in USUAL and USUAL[quantity].low == 0.0 and np.nanmin(values) < 0:
        count, least = int((values < 0).sum()), f"{np.nanmin(values):g}"
        finding = f"{count} values below zero, the least {least}, expected {USUAL[quantity].expected}"
        if quantity in _NEVER_NEGATIVE:
            other = "generation available is never negative: set the plant's own use at night to zero"
            return Doubt(finding, other=other, never=True)
        return Doubt(finding, other="check the sign: a load is positive when power is drawn")
    return _night(values, interval_s) if quantity in _SUN_QUANTITIES else None


def never_negative(quantity: str, values: np.ndarray) -> bool:
    """Whether a quantity that cannot be negative has negative values."""
    return quantity in _NEVER_NEGATIVE and bool(np.nanmin(values) < 0)


def by_size(quantity: str, values: np.ndarray) -> Doubt | None:
    """Reason against the size of values, with the unit that they probably have; ``None`` if there is none.

    Parameters
    ----------
    quantity
        Name that ends with its unit.
    values
        Values, ``(n,)``, not all of them missing.
    """
    largest = float(np.nanmax(np.abs(values)))
    inside = parts_of(quantity)[1]
    if inside == "per_mwh" and 0 < largest < _PER_KWH:
        finding = f"largest value {largest:g}, expected tens to hundreds per MWh: looks like a price per kWh"
        return Doubt(finding, "EUR/kWh", 'or state its own unit, such as "$/kWh", or "$/MWh" if it is so low')
    if inside == "w_m2" and 0 < largest < _KW_PER_M2:
        return Doubt(f"largest value {largest:g}, expected hundreds of W/m2: looks like kW/m2", "kW/m2")
    usual = USUAL.get(quantity, _PU if inside == "pu" else None)
    if usual is None or largest <= usual.high:
        return None
    finding = f"largest value {values[np.nanargmax(np.abs(values))]:g}, expected {usual.expected}"
    unit = next((name for limit, name in usual.looks_like if largest <= limit), "")
    own = next(iter(TABLE[inside]))
    other = f"state `unit: {own}` if the values are correct"
    if not unit:
        return Doubt(finding, other=other)
    if inside == "pu" and conversion(quantity, unit).rated:
        other = f"1 per unit is then the largest value, or what `rating` says; {other}"
    return Doubt(f"{finding}: looks like {unit}", unit, other)


def _night(values: np.ndarray, interval_s: int) -> Doubt | None:
    """Solar power at midnight, and the offset of the clock that corrects it.

    The hour of the sun's power is the direction of ``sum p exp(2 pi i h / 24)``, its circular mean.
    """
    a_day = DAY_S // interval_s
    if a_day < 24:
        return None
    by_time = np.nanmean(values.reshape(-1, a_day), axis=0)
    hour = (np.arange(a_day) + 0.5) * 24.0 / a_day
    mean = by_time.mean()
    if mean <= 0:
        return None
    night = by_time[(hour > 22.0) | (hour < 2.0)].mean()
    middle = float(np.angle((by_time * np.exp(2j * np.pi * hour / 24.0)).sum()) * 24.0 / (2.0 * np.pi)) % 24.0
    if night <= _NIGHT_SHARE * mean and abs(middle - 12.0) <= _NOON_WITHIN_H:
        return None
    offset = round((12.0 - middle + 12.0) % 24.0 - 12.0)
    finding = f"the middle of the sun's day is at {int(middle):02d}:{int(middle % 1 * 60):02d}, expected about 12:00"
    if night > _NIGHT_SHARE * mean:
        at_night = f"the mean from 22:00 to 02:00 is {night:.3g}, that of all hours {mean:.3g}"
        finding = f"sun at midnight: {at_night}, and {finding}"
    other = f"stamps must be local standard time, so if they are UTC, write `utc_offset_h: {offset}`"
    return Doubt(finding, other=other)
