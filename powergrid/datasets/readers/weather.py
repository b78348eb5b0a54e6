"""Sun, air and wind of one place through pvlib: NSRDB, PVGIS, TMY3 and EPW files.

Irradiances are means over the interval that begins at their stamp; temperature and wind speed are values at the stamp.
Rows of TMY3 and EPW name the end of their hour: row by row the irradiances are the hours of the year, while temperature
and wind of a row are those at its end, so that the last row gives the first midnight.
"""

from __future__ import annotations

import gzip
import importlib
import io
import os
from calendar import isleap
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from powergrid.core.errors import DataError, MissingExtraError
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.readers.assemble import Collector
from powergrid.datasets.resample import DAY_S, Series

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["nsrdb", "pvgis", "pvgis_tmy", "tmy3", "epw"]
SUN = {"ghi": "ghi_w_m2", "dni": "dni_w_m2", "dhi": "dhi_w_m2", "poa_global": "poa_w_m2"}
AIR = {"temp_air": "ambient_temp_c", "wind_speed": "wind_speed_m_s"}
LICENCES = {
    "nsrdb": "NSRDB, a product of the U.S. Department of Energy's national laboratory: free use with credit",
    "pvgis": "PVGIS (c) European Union: free use with credit",
    "pvgis_tmy": "PVGIS (c) European Union: free use with credit",
    "tmy3": "TMY3, a work of the U.S. government",
    "epw": "by the source of the EPW file",
}
TILT_SHARE, TEMPERATURE_COEFFICIENT_PER_K, DC_AC_RATIO, LOSS_SHARE = 0.76, -0.0035, 1.2, 0.14
"""Of the plant behind `with_pv`: tilt over latitude [1], of the power of its modules [1/K], modules over inverter [1],
losses between them [1]."""


class _Weather(NamedTuple):
    """Rows of a file, and where they were measured."""

    table: pd.DataFrame
    about: dict[str, Any]


def read(
    file: str | os.PathLike[str],
    kind: Kind | None = None,
    *,
    year: int | None = None,
    utc_offset_h: float | None = None,
    site: str = "site",
    name: str = "weather",
) -> Dataset:
    """Irradiance [W/m2], temperature [degC] and wind speed [m/s] of a weather file.

    Columns are ``ghi_w_m2``, ``dni_w_m2``, ``dhi_w_m2``, ``ambient_temp_c`` and ``wind_speed_m_s`` of `site`, and
    ``poa_w_m2`` on the plane of the modules from PVGIS.

    Parameters
    ----------
    file
        The file, plain or compressed (``.gz``).
    kind
        Its form; by default detected from its first lines.
    year
        Calendar year that a typical year (TMY3, EPW, PVGIS TMY) is placed on, 2022 by default, or the one year that is
        taken from an observed series.
    utc_offset_h
        Local standard time minus UTC [h] by which days begin; by default that of the file, and of PVGIS, which is in
        UTC, the hour nearest to the longitude.
    site, name
        Site of the columns, and name of the dataset.

    Raises
    ------
    DataError
        If the form is not known, or the file cannot be read.
    MissingExtraError
        If pvlib is absent.
    """
    path = Path(file)
    text = _text(path)
    form = kind or _kind(text, path)
    weather = _parsed(text, form, path)
    latitude, longitude = (float(weather.about[key]) for key in ("latitude", "longitude"))
    own_h = float(weather.about.get("TZ", weather.about.get("Time Zone", 0.0)))
    offset_h = utc_offset_h if utc_offset_h is not None else own_h if "pvgis" not in form else round(longitude / 15.0)
    source = f"{form.upper()} {path.name}, {latitude:g} N {longitude:g} E"
    found = Collector(str(path))
    seconds, interval_s, at_end = _clock(weather.table, form, path)
    typical = at_end or form == "pvgis_tmy"
    if typical:
        chosen = 2022 if year is None else year
        start = (np.datetime64(f"{chosen}-01-01") - np.datetime64("1970-01-01")).astype("timedelta64[s]").astype(int)
        turn = round((offset_h - own_h) * 3600 / interval_s)
        seconds = start - round(offset_h * 3600) + interval_s * np.arange(len(weather.table))
    for key, quantity in {**SUN, **AIR}.items():
        if key not in weather.table:
            continue
        values = weather.table[key].to_numpy(dtype=np.float64)
        values = np.where(values <= -999.0, np.nan, values)  # what TMY3 and EPW write for none
        if key == "temp_air":
            values = np.where(values >= 99.9, np.nan, values)
        elif form == "epw":
            values = np.where(values >= (999.0 if key == "wind_speed" else 9999.0), np.nan, values)
        if typical:  # a year that repeats
            values = np.roll(values, turn + (1 if at_end and key in AIR else 0))
        found.add(f"{quantity}:{site}", seconds, values, interval_s, str(path))
    if not found:
        raise DataError(f"{path}: has neither irradiance nor temperature nor wind speed")
    if typical:
        days = len(weather.table) * interval_s // DAY_S
        if days == 365 and isleap(chosen):
            raise DataError(f"{path}: a typical year has 365 days and {chosen} has 366; choose another year")
    dataset = found.dataset(
        name, utc_offset_h=offset_h, source=source, licence=LICENCES[form], year=None if typical else year
    )
    return dataset


def with_pv(dataset: Dataset, latitude: float, longitude: float, site: str = "site") -> Dataset:
    """The data with ``pv_pu``: power of a plant over the rating of its inverter, by pvlib's PVWatts.

    Modules face the equator at 0.76 of the latitude. Sun: NREL SPA in the middle of the interval; sky: Hay and Davies;
    cells: Faiman; modules and inverter: PVWatts version 5 (Dobos, NREL/TP-6A20-62641, 2014), 1.2 times as many modules
    as the inverter, 14 % losses.

    Parameters
    ----------
    dataset
        Weather with ``ghi_w_m2``, ``dni_w_m2``, ``dhi_w_m2``, ``ambient_temp_c`` and ``wind_speed_m_s`` of `site`.
    latitude, longitude
        Of the place [degree], north and east positive.
    site
        Site of the columns.

    Raises
    ------
    MissingExtraError
        If pvlib is absent.
    """
    import pandas as pd

    _pvlib()
    pvlib: Any = importlib.import_module("pvlib")

    ghi, dni, dhi, air, wind = (
        dataset.series(f"{quantity}:{site}")
        for quantity in ("ghi_w_m2", "dni_w_m2", "dhi_w_m2", "ambient_temp_c", "wind_speed_m_s")
    )
    step = ghi.interval_s
    times = pd.date_range(dataset.start, periods=len(ghi.values), freq=f"{step}s") + pd.Timedelta(seconds=step / 2)
    sun = pvlib.solarposition.get_solarposition(times, latitude, longitude)
    tilt, facing = TILT_SHARE * abs(latitude), 180.0 if latitude >= 0 else 0.0
    zenith, azimuth = sun["apparent_zenith"], sun["azimuth"]
    extra = pvlib.irradiance.get_extra_radiation(times)
    plane = pvlib.irradiance.get_total_irradiance(
        tilt, facing, zenith, azimuth, dni.values, ghi.values, dhi.values, dni_extra=extra, model="haydavies"
    )["poa_global"].to_numpy()
    cell_c = pvlib.temperature.faiman(plane, air.values, wind.values)
    p_dc0 = DC_AC_RATIO * (1.0 - LOSS_SHARE)
    p_dc = pvlib.pvsystem.pvwatts_dc(plane, cell_c, p_dc0, TEMPERATURE_COEFFICIENT_PER_K)
    power = np.clip(pvlib.inverter.pvwatts(p_dc, 1.0 / 0.96), 0.0, 1.0)
    power = np.where(np.isnan(plane) & (ghi.values == 0.0), 0.0, power)  # no sky to look at by night
    return dataset.with_series({f"pv_pu:{site}": Series(np.asarray(power, dtype=np.float64), step)})


def _pvlib() -> ModuleType:
    try:
        iotools = importlib.import_module("pvlib.iotools")
    except ImportError as error:
        raise MissingExtraError("pvlib", "data", "reading weather files") from error
    return iotools


def _text(path: Path) -> str:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return content.decode("utf-8-sig", "replace")
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); give the whole file") from error


def _kind(text: str, path: Path) -> Kind:
    head = text[:4000]
    if head.startswith("LOCATION,"):
        return "epw"
    if head.startswith("Source,Location ID"):
        return "nsrdb"
    if "Date (MM/DD/YYYY)" in head:
        return "tmy3"
    if "time(UTC)" in head or "months_selected" in head:
        return "pvgis_tmy"
    if head.startswith("Latitude (decimal degrees)") or '"inputs"' in head:
        return "pvgis"
    raise DataError(f"{path}: is no file of NSRDB, PVGIS, TMY3 or EPW; give its kind if it is one of them")


def _parsed(text: str, form: Kind, path: Path) -> _Weather:
    """Rows under pvlib's names, and the place."""
    iotools = _pvlib()
    stream = io.StringIO(text)
    shape = "json" if text.lstrip()[:1] == "{" else "csv"
    try:
        if form == "nsrdb":
            table, about = iotools.read_nsrdb_psm4(stream, map_variables=True)
        elif form == "tmy3":
            table, about = iotools.read_tmy3(stream, map_variables=True)
        elif form == "epw":
            table, about = iotools.read_epw(stream)
        elif form == "pvgis_tmy":
            binary = io.BytesIO(text.encode()) if shape == "csv" else stream
            table, about = iotools.read_pvgis_tmy(binary, pvgis_format=shape, map_variables=True)
        else:
            table, about = iotools.read_pvgis_hourly(stream, pvgis_format=shape, map_variables=True)
    except MissingExtraError:
        raise
    except Exception as error:  # pvlib lets out whatever pandas and dictionaries raise
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as {form} ({type(error).__name__}: {reason:.120})") from error
    inputs = about.get("inputs", {})
    about = {**inputs, **inputs.get("location", {}), **about}
    if form == "pvgis" and "poa_global" not in table:
        parts = [name for name in ("poa_direct", "poa_sky_diffuse", "poa_ground_diffuse") if name in table]
        if parts:
            table = table.assign(poa_global=table[parts].sum(axis=1, skipna=False))
    if missing := [key for key in ("latitude", "longitude") if key not in about]:
        raise DataError(f"{path}: states no {' and '.join(missing)}")
    return _Weather(table, about)


def _clock(table: pd.DataFrame, form: Kind, path: Path) -> tuple[np.ndarray, int, bool]:
    """Starts of intervals, seconds since 1970 UTC; the interval [s]; whether rows are typical and name their end."""
    import pandas as pd

    if len(table) < 2:
        raise DataError(f"{path}: has fewer than two rows")
    if form in ("tmy3", "epw", "pvgis_tmy"):
        if len(table) % 8760:
            raise DataError(f"{path}: a typical year has 8,760 hours, this file {len(table):,}")
        interval_s = 3600 * 8760 // len(table)
        return np.zeros(len(table), dtype=np.int64), interval_s, form != "pvgis_tmy"
    seconds = pd.DatetimeIndex(table.index).tz_convert("UTC").tz_localize(None).as_unit("s").asi8
    interval_s = int(np.median(np.diff(seconds)))
    return seconds // interval_s * interval_s, interval_s, False  # readings lie within their interval
