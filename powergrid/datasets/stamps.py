"""Time stamps of files as seconds of a year: ISO forms, European and American dates, or a form that is stated."""

from __future__ import annotations

import re
import warnings
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from powergrid.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_DATE = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?:[ T]+(.*))?")
_CLOCKS = {
    r"": "",
    r"\d{1,2}:\d{2}": " %H:%M",
    r"\d{1,2}:\d{2}:\d{2}": " %H:%M:%S",
    r"\d{1,2}:\d{2} ?[AaPp]\.?[Mm]\.?": " %I:%M %p",
    r"\d{1,2}:\d{2}:\d{2} ?[AaPp]\.?[Mm]\.?": " %I:%M:%S %p",
}
_OFFSET = r".*\d{1,2}:\d{2}.*(?:Z|z|[+-]\d{2}(?::?\d{2})?)|.*T\d{2,6}(?:Z|[+-]\d{2}(?::?\d{2})?)"
_MIXED = "some stamps have a UTC offset and some have none; write all of them alike"
_MIDNIGHT = r"(?<=[ T])24:00(?::00)?$"


class Stamps(NamedTuple):
    """Times of rows.

    Attributes
    ----------
    local
        Wall clock of each row, without offset: of the first row's offset, or of the stated one.
    offset_s
        Offset of that clock from UTC [s]; ``None`` if the stamps have none.
    """

    local: pd.Series
    offset_s: int | None


class UnclearStamps(DataError):
    """Stamps that cannot be read, with the row and the format to state.

    Attributes
    ----------
    row
        Row with the fault; ``None`` if it is not a single row.
    forms
        Forms that they may have.
    """

    def __init__(self, message: str, row: int | None = None, forms: tuple[str, ...] = ()):
        self.row, self.forms = row, forms
        super().__init__(message)


def read_stamps(texts: pd.Series, date_format: str | None) -> Stamps:
    """Read the stamps of a column.

    Parameters
    ----------
    texts
        One stamp a row.
    date_format
        Their format as for ``strptime``; by default it is detected: year first, day first with points, and day or
        month first with slashes if a number above 12 decides.

    Raises
    ------
    UnclearStamps
        If they cannot be read, or may be read in two ways.
    """
    texts, late = _without_24(texts)
    with_offset = texts.str.fullmatch(_OFFSET)
    if with_offset.any() and not with_offset.all():
        raise UnclearStamps(_MIXED)
    form = date_format or _form(texts)
    if form is None:
        return _iso(texts.str.replace("/", "-", regex=False), late, bool(with_offset.all()))
    return _stated(texts, form, late)


def _without_24(texts: pd.Series) -> tuple[pd.Series, pd.Series | None]:
    """Stamps with 24:00 replaced by 00:00, and which they are; they belong to the next day."""
    if "24:00" not in " ".join(texts):
        return texts, None
    late = texts.str.contains(_MIDNIGHT, regex=True)
    return texts.str.replace(_MIDNIGHT, "00:00", regex=True), late


def _iso(texts: pd.Series, late: pd.Series | None, with_offset: bool) -> Stamps:
    import pandas as pd

    times = _read(texts, "ISO8601", with_offset)
    _refuse_unread(texts, times, "")
    offset_s = None
    if with_offset:
        first = texts.iloc[int(times.to_numpy().argmin())]
        offset = pd.Timestamp(first).utcoffset() or timedelta(0)
        offset_s = int(offset.total_seconds())
        times = times.dt.tz_localize(None) + offset
    return Stamps(_next_day(times, late), offset_s)


def _stated(texts: pd.Series, form: str, late: pd.Series | None) -> Stamps:
    with_offset = "%z" in form
    try:
        times = _read(texts, form, with_offset)
    except ValueError as error:
        raise UnclearStamps(f'date_format "{form}" is none ({error}); write it as "%d/%m/%Y %H:%M"') from error
    _refuse_unread(texts, times, form)
    offset_s = None
    if with_offset:
        offset = datetime.strptime(texts.iloc[int(times.to_numpy().argmin())], form).utcoffset() or timedelta(0)
        offset_s = int(offset.total_seconds())
        times = times.dt.tz_localize(None) + offset
    return Stamps(_next_day(times, late), offset_s)


def _read(texts: pd.Series, form: str, with_offset: bool) -> pd.Series:
    """Times of texts in a form, ``NaT`` where a text has another; in UTC where they have offsets."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # offsets that were not seen above
        try:
            times = pd.to_datetime(texts, format=form, utc=with_offset, errors="coerce")
        except FutureWarning as error:
            raise UnclearStamps(_MIXED) from error
    if (times.dt.tz is not None) != with_offset:
        raise UnclearStamps(_MIXED)
    return times


def _next_day(times: pd.Series, late: pd.Series | None) -> pd.Series:
    import pandas as pd

    return times if late is None else times + pd.to_timedelta(late.astype(int), unit="D")


def _refuse_unread(texts: pd.Series, times: pd.Series, form: str) -> None:
    bad = times.isna().to_numpy()
    if bad.any():
        row = int(bad.argmax())
        like = f' in the form "{form}"' if form else ""
        raise UnclearStamps(f'"{texts.iloc[row]:.60}" is no time{like}', row, () if form else ("%d.%m.%Y %H:%M",))


def _form(texts: pd.Series) -> str | None:
    """The form of stamps that do not begin with the year; ``None`` for those that do."""
    first = _DATE.fullmatch(texts.iloc[0])
    if first is None:
        return None
    mark, year, clock = first[2], "%Y" if len(first[4]) == 4 else "%y", first[5] or ""
    clock_form = next((form for pattern, form in _CLOCKS.items() if re.fullmatch(pattern, clock)), None)
    if clock_form is None:
        raise UnclearStamps(f'"{texts.iloc[0]:.60}" is no time', 0, (f"%d{mark}%m{mark}{year} %H:%M",))
    day_first, month_first = (f"%{a}{mark}%{b}{mark}{year}{clock_form}" for a, b in ("dm", "md"))
    if mark == ".":
        return day_first
    pair = texts.str.extract(rf"^(\d{{1,2}}){re.escape(mark)}(\d{{1,2}}){re.escape(mark)}")
    one, two = (int(np.nan_to_num(pair[k].astype(float)).max()) for k in (0, 1))
    if one > 12 and two > 12:
        raise UnclearStamps("days and months change places in the dates; use one order", None, (day_first,))
    if one <= 12 and two <= 12:
        raise UnclearStamps("the dates can be read with the day or the month first", None, (day_first, month_first))
    return day_first if one > 12 else month_first
