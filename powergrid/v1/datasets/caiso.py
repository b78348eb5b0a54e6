"""CAISO OASIS monthly CSV files, the source of v1's data file.

Three kinds: ``SLD_FCST`` (actual load of each TAC area), ``SLD_REN_FCST`` (actual sun and wind of each trading hub) and
``PRC_LMP`` (day-ahead price of a node, five components). Their rows are in no order and bear the interval's start in
UTC, which is what counts here: local hours repeat in autumn and skip in spring. Series begin at a midnight of Pacific
standard time and know no daylight saving, so ``index % 24`` is the hour of standard time all year.
"""

from __future__ import annotations

import io
import os
import pickle
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from powergrid.core.errors import DataError
from powergrid.core.files import size_of
from powergrid.core.npz import open_archive

if TYPE_CHECKING:
    import pandas as pd

PST_UTC_H = 8
"""Hours from a midnight of Pacific standard time back to that of UTC."""
MOST_BYTES = 1 << 29
"""Size of the largest CSV file that is read; a month of every node's prices has about 100 MB."""
LARGEST_GAP_H = 48
"""Longest gap that is filled by interpolation [h]."""
_START = "INTERVALSTARTTIME_GMT"
_KINDS = {"TAC_AREA_NAME": "load", "TRADING_HUB": "renewable", "LMP_TYPE": "price"}


def read_caiso(
    paths: Iterable[str | os.PathLike] | str | os.PathLike,
    *,
    test_from: str | None = None,
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Read OASIS files as v1's preparation did.

    Hours are completed by interpolation in time and, at the edges, by the nearest value. Load, sun and wind are divided
    by their maximum over all hours read, sun and wind are clipped at 0; prices stay in $/MWh.

    Parameters
    ----------
    paths
        CSV files, zip files with one CSV, or folders of them.
    test_from
        First day of the split ``"test"`` (ISO date, Pacific standard time); by default both splits hold everything.

    Returns
    -------
    dict
        In the layout of v1's data file: ``data["train"]["load"]["CA ISO-TAC"]`` and so on, float32.

    Raises
    ------
    DataError
        If a file is no OASIS file, a kind is missing, hours are stated twice with different values, a gap is longer
        than two days, or the days do not cover a whole one of each kind.
    """
    raw: dict[str, dict[str, list[Any]]] = {quantity: {} for quantity in ("load", "solar", "wind", "price")}
    for file in _files(paths):
        _sort_in(file, raw)
    missing = [quantity for quantity, names in raw.items() if not names]
    if missing:
        raise DataError(f"no {' and no '.join(missing)} among the files; give SLD_FCST, SLD_REN_FCST and PRC_LMP files")
    hours = _common_hours(raw)
    series: dict[str, dict[str, np.ndarray]] = {}
    for quantity, names in raw.items():
        series[quantity] = {name: _hourly(quantity, name, parts, hours) for name, parts in sorted(names.items())}
    first = hours[0].tz_convert(None) + np.timedelta64(-PST_UTC_H, "h")
    cut = len(hours) if test_from is None else _hours_until(first, test_from, len(hours))
    splits = {"train": slice(0, cut), "test": slice(0 if test_from is None else cut, len(hours))}
    return {
        split: {q: {name: values[part] for name, values in names.items()} for q, names in series.items()}
        for split, part in splits.items()
    }


def write_v1_layout(data: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write what :func:`read_caiso` returns as a v1 data file, which :func:`read_pickle` and v1 itself can read."""
    with Path(path).expanduser().open("wb") as stream:
        pickle.dump(dict(data), stream, protocol=4)


def _files(paths: Iterable[str | os.PathLike] | str | os.PathLike) -> list[Path]:
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: list[Path] = []
    for path in (Path(item).expanduser() for item in given):
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in (".csv", ".zip")) if path.is_dir() else [path]
        found += inside
    if not found:
        raise DataError(f"{', '.join(map(str, given)) or 'nothing given'}: no CSV or zip file there")
    return found


def _sort_in(file: Path, raw: dict[str, dict[str, list[Any]]]) -> None:
    """Add a file's series to those of its kind."""
    frame = _read(file)
    kind = next((kind for column, kind in _KINDS.items() if column in frame.columns), "")
    if not kind or not {_START, "MW"} <= set(frame.columns):
        raise DataError(
            f"{file}: is no OASIS file of load (TAC_AREA_NAME), renewables (TRADING_HUB) or prices (LMP_TYPE); its "
            f"columns are {', '.join(map(str, frame.columns[:8]))}"
        )
    frame = _understood(file, frame)
    if kind == "price":
        frame = frame[frame["LMP_TYPE"] == "LMP"]
        groups = [("price", str(node), part) for node, part in frame.groupby("NODE")]
    elif kind == "load":
        groups = [("load", str(area), part) for area, part in frame.groupby("TAC_AREA_NAME")]
    else:
        by_hub = frame.groupby(["TRADING_HUB", "RENEWABLE_TYPE"])
        groups = [(str(source).lower(), str(hub), part) for (hub, source), part in by_hub]
    for quantity, name, part in groups:
        if quantity in raw:
            raw[quantity].setdefault(name, []).append((file, part))


def _understood(file: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its stamps as times and its values as numbers; values may be missing, which is a gap."""
    import pandas as pd

    stamps = pd.to_datetime(frame[_START], utc=True, errors="coerce")
    values = pd.to_numeric(frame["MW"], errors="coerce")
    for name, wrong in ((_START, stamps.isna()), ("MW", values.isna() & frame["MW"].notna())):
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise DataError(f'{file}, line {row + 2}: "{frame[name].iloc[row]!s:.60}" is no {name}; download it again')
    return frame.assign(**{_START: stamps, "MW": values})


def _read(file: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if file.suffix.lower() == ".zip":
            with open_archive(file) as archive:
                inside = [name for name in archive.namelist() if name.lower().endswith(".csv")]
                if len(inside) != 1:
                    raise DataError(f"{file}: holds {len(inside)} CSV files, one is expected")
                return pd.read_csv(io.BytesIO(archive.read(inside[0])))
        if size_of(file) > MOST_BYTES:
            raise DataError(f"{file}: has more than {MOST_BYTES / 1e6:,.0f} MB; give the files of single months")
        return pd.read_csv(file)
    except (OSError, ValueError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error


def _stamped(quantity: str, name: str, parts: list[tuple[Path, pd.DataFrame]]) -> pd.Series:
    """Values by UTC start of the interval, in order and each hour once."""
    import pandas as pd

    place = parts[0][0]
    values = pd.concat([part.set_index(_START)["MW"] for _, part in parts]).astype(float)
    values.index = pd.to_datetime(values.index, utc=True)
    values = values.sort_index()
    repeated = values.index.duplicated(keep=False)
    if repeated.any() and values[repeated].groupby(level=0).nunique().max() > 1:
        when = values.index[repeated][0]
        raise DataError(f"{place}: {quantity} of {name} has two values at {when:%Y-%m-%d %H:%M} UTC; remove one file")
    return values[~values.index.duplicated()]


def _common_hours(raw: dict[str, dict[str, list[Any]]]) -> pd.DatetimeIndex:
    """All hours of the whole days of Pacific standard time that every kind covers."""
    import pandas as pd

    first, last = [], []
    for names in raw.values():
        stamps = [pd.to_datetime(part[_START], utc=True) for parts in names.values() for _, part in parts]
        first.append(min(stamp.min() for stamp in stamps))
        last.append(max(stamp.max() for stamp in stamps))
    shift = pd.Timedelta(hours=PST_UTC_H)
    start = (max(first) - shift).ceil("D") + shift
    stop = (min(last) + pd.Timedelta(hours=1) - shift).floor("D") + shift
    if stop <= start:
        raise DataError("the files have no whole day of Pacific standard time in common; give files of the same months")
    return pd.date_range(start, stop, freq="h", inclusive="left")


def _hourly(quantity: str, name: str, parts: list[tuple[Path, pd.DataFrame]], hours: pd.DatetimeIndex) -> np.ndarray:
    values = _stamped(quantity, name, parts)
    values = values.reindex(values.index.union(hours)).interpolate("time", limit=LARGEST_GAP_H)
    values = values.bfill(limit=LARGEST_GAP_H).reindex(hours)
    if values.isna().any():
        when = values.index[values.isna()][0]
        raise DataError(
            f"{parts[0][0]}: {quantity} of {name} has a gap of more than {LARGEST_GAP_H} h that begins or ends at "
            f"{when:%Y-%m-%d %H:%M} UTC; give the files of all months, or only months without gaps"
        )
    found = values.to_numpy(float)
    if quantity != "price":
        largest = found.max()
        found = found / largest if largest > 0 else found
    if quantity in ("solar", "wind"):
        found = np.clip(found, 0.0, None)
    return found.astype(np.float32)


def _hours_until(first: pd.Timestamp, day: str, count: int) -> int:
    import pandas as pd

    try:
        hours = int((pd.Timestamp(day) - first) / pd.Timedelta(hours=1))
    except ValueError as error:
        raise DataError(f'test_from: "{day}" is no date; write it as 2024-01-01') from error
    if not 0 < hours < count:
        raise DataError(f"test_from: {day} lies outside the {count // 24} days from {first:%Y-%m-%d}")
    return hours
