"""Cells of CSV and Excel files as text. Separators and decimal marks are detected unless they are stated."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from powergrid.core.errors import DataError
from powergrid.core.files import size_of
from powergrid.datasets.excel import read_sheet
from powergrid.datasets.series_file import SeriesFile

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

_LAST: ContextVar[dict[Any, Any] | None] = ContextVar("file that was read last", default=None)

MOST_CELLS = 8_000_000
"""Cells of the largest file that is read: a year of minutes in 15 columns."""

MOST_COLUMNS = 2_000
"""Columns of the widest file that is read."""

_SEPARATORS = ("\t", ";", "|", ",")
"""The separators that are rarest in numbers and texts come first: a comma may be a decimal mark."""
_SAMPLE = 50
_LONGEST_NAME = 300
_EXCEL = (".xlsx", ".xlsm")
_OLD_SHEETS = (".xls", ".xlsb", ".ods")
_PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"\xd0\xcf\x11\xe0": "old Excel"}
_NUMBER = r"(?=.*\d)[+-]?(?:\d+|[1-9]\d{{0,2}}(?:{thousands}\d{{3}})+)?(?:{decimal}\d*)?(?:[eE][+-]?\d+)?"


class Cells(NamedTuple):
    """A table of texts.

    Attributes
    ----------
    place
        The file and how it was read, for messages.
    header
        Names of the columns.
    frame
        One column of texts each, numbered from 0; the header and empty rows are left out.
    lines
        Line of the file, or row of the sheet, of each row, from 1.
    sep
        Separator; empty for Excel.
    """

    place: str
    header: list[str]
    frame: pd.DataFrame
    lines: np.ndarray
    sep: str


@contextmanager
def read_once() -> Iterator[None]:
    """While it is open, the file that was read last is read again only if it has changed.

    Several columns of one file then cost hardly more than one; afterwards its texts are forgotten.
    """
    token = _LAST.set({})
    try:
        yield
    finally:
        _LAST.reset(token)


def of_file(cells: Cells, name: object, make: Callable[[], T]) -> T:
    """What `make` finds in a file, found once for the file that was read last while `read_once` is open."""
    last = _LAST.get()
    if last is None or last.get("cells") is not cells:
        return make()
    if name not in last:
        last[name] = make()
    found: T = last[name]
    return found


def read_cells(file: Path, form: SeriesFile, key: str) -> Cells:
    """Read a file.

    Parameters
    ----------
    file
        CSV file, or Excel file by its ending.
    form
        How the file is written, as far as it is stated.
    key
        Its key in the YAML, for messages.

    Raises
    ------
    DataError
        If it cannot be read, is larger than `form` allows, or has no header and rows.
    MissingExtraError
        If openpyxl is needed and absent.
    """
    try:
        size_mb = size_of(file) / 1e6
        if size_mb > form.max_mb:
            larger = form.line(key, max_mb=float(np.ceil(size_mb)))
            raise DataError(
                f"{file}: has {size_mb:,.0f} MB, more than max_mb: {form.max_mb:g}; average it to minutes, keep the "
                f"columns that you use, or write {larger}"
            )
        last, state = _LAST.get(), file.stat()
        known = (str(file.resolve()), state.st_mtime_ns, state.st_size, form.sep, form.sheet)
        if last is not None and last.get("known") == known:
            cells: Cells = last["cells"]
            return cells
        cells = _read(file, form, key)
        if last is not None:
            last.clear()
            last.update(known=known, cells=cells)
        return cells
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error}); give a CSV or Excel file") from error


def _read(file: Path, form: SeriesFile, key: str) -> Cells:
    if file.suffix.lower() in _EXCEL:
        return _excel(file, form, key)
    if file.suffix.lower() in _OLD_SHEETS:
        raise DataError(f"{file}: {file.suffix} files are not read; save it as .xlsx or as CSV")
    return _csv(file, file.read_bytes(), form, key)


def _csv(file: Path, content: bytes, form: SeriesFile, key: str) -> Cells:
    import pandas as pd

    text = _text(file, content).replace("\r\n", "\n").replace("\r", "\n")
    skipped = _before_header(text)
    head = _sample(text, skipped)
    sep = form.sep or _separator(head)
    if head and head[0].count(sep) >= MOST_COLUMNS:
        raise DataError(f"{file}: has more than {MOST_COLUMNS:,} columns; keep those that you use")
    if text.count(sep) > MOST_CELLS:
        raise DataError(f"{file}: has more than {MOST_CELLS:,} cells; keep the columns that you use")
    place = f'{file} (separator "{_shown(sep)}")'
    if form.sep is not None and head and sep not in head[0]:
        raise DataError(f'{place}: the header "{head[0]:.80}" has no such separator; leave `sep` out, or write another')
    _check_widths(place, head, sep, skipped)
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=sep,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            skiprows=skipped,
            engine="c",
        )
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame()
    except (pd.errors.ParserError, ValueError, csv.Error) as error:
        raise DataError(f"{place}: {_parser_fault(str(error), sep, form, key)}") from error
    return _cells(place, frame.fillna(""), skipped, sep)


def _text(file: Path, content: bytes) -> str:
    """Text of a file: Unicode if it decodes, else the Western code page of Windows. Numbers are the same in both."""
    packed = next((name for start, name in _PACKED.items() if content.startswith(start)), "")
    if packed:
        raise DataError(f"{file}: is a {packed} file under another ending; unpack it, or correct its ending")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content[:10_000]:
        raise DataError(f"{file}: is not a text file; give a CSV file in UTF-8, or an Excel file with the ending .xlsx")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _before_header(text: str) -> int:
    """Lines before the header: empty ones and comments."""
    skipped, at = 0, 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end].strip()
        if line and not line.startswith("#"):
            return skipped
        skipped, at = skipped + 1, end + 1
    return skipped


def _sample(text: str, skipped: int) -> list[str]:
    """The header and some lines after it."""
    stream = io.StringIO(text)
    for _ in range(skipped):
        stream.readline()
    lines = (stream.readline(1_000_000).rstrip("\r\n") for _ in range(_SAMPLE))
    return [line for line in lines if line]


def _check_widths(place: str, head: list[str], sep: str, skipped: int) -> None:
    """Refuse a table whose first line has fewer cells than the header; its separator is a different one."""
    widths = [len(row) for row in _rows(head[:2], sep)]
    if len(widths) == 2 and widths[1] < widths[0]:
        fault = f"line {skipped + 2}: {widths[1]} cells, the header has {widths[0]}"
        raise DataError(f"{place}: {fault}; use the same separator in both")


def _rows(lines: list[str], sep: str) -> list[list[str]]:
    """Lines as cells; empty if they cannot be split."""
    try:
        return list(csv.reader(lines, delimiter=sep))
    except (csv.Error, TypeError, ValueError):
        return []


def _separator(lines: list[str]) -> str:
    """The separator that splits every line into as many cells as the header."""
    if not lines:
        return ","
    counts = {}
    for sep in _SEPARATORS:
        widths = [len(row) for row in _rows(lines, sep)] or [0]
        if widths[0] > 1 and sum(width == widths[0] for width in widths) >= 0.9 * len(widths):
            return sep
        counts[sep] = widths[0]
    return max(counts, key=lambda sep: (counts[sep], sep == ",")) if counts else ","


def _parser_fault(message: str, sep: str, form: SeriesFile, key: str) -> str:
    """The error of pandas about a line that does not fit, as a message."""
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message)
    if found is None:
        return f"cannot be read ({message.strip():.200}); save it as plain CSV again"
    wanted, line, saw = (int(number) for number in found.groups())
    hint = "complete the line"
    if sep == "," and saw > wanted:
        hint += (
            f", or, if the comma is the decimal mark, save it with another separator and write "
            f"{form.line(key, sep=';', decimal=',')}"
        )
    return f"line {line}: {saw} cells, the header has {wanted}; {hint}"


def _excel(file: Path, form: SeriesFile, key: str) -> Cells:
    import pandas as pd

    sheet, rows = read_sheet(file, form, key, MOST_COLUMNS, MOST_CELLS)
    return _cells(f'{file} (sheet "{sheet}")', pd.DataFrame(rows, dtype=object), 0, "")


def _cells(place: str, frame: pd.DataFrame, skipped: int, sep: str) -> Cells:
    """Header and rows of a table of texts."""
    frame = frame.apply(lambda column: column.str.strip())
    lines = np.arange(skipped + 1, skipped + 1 + len(frame))
    kept = (frame != "").any(axis=1).to_numpy() if frame.size else np.zeros(0, dtype=bool)
    if not sep and frame.size:
        comment = frame[0].str.startswith("#").to_numpy()
        kept &= ~(comment & (np.cumsum(kept & ~comment) == 0))
    frame, lines = frame[kept].reset_index(drop=True), lines[kept]
    if len(frame) < 2:
        raise DataError(f"{place}: no data; expected a header line and one line per interval")
    header = [str(name) for name in frame.iloc[0]]
    if max(map(len, header)) > _LONGEST_NAME:
        raise DataError(f"{place}: line {lines[0]} is no header, it has a name of {max(map(len, header)):,} letters")
    return Cells(place, header, frame.iloc[1:].reset_index(drop=True), lines[1:], sep)


def _shown(sep: str) -> str:
    return {"\t": "tab", " ": "space"}.get(sep, sep)


def decimal_mark(texts: pd.Series, sep: str) -> str | None:
    """The decimal mark of a column of numbers, by their form; ``None`` where both readings are possible and differ.

    ``1.234`` may be a thousand or a little more than one; ``0,5``, ``12.25`` and ``1.234,5`` have one reading. In
    Excel, and if the comma separates cells, numbers with points only have decimal points.
    """
    if sep in (",", "") and "," not in "".join(texts):
        return "."
    readable = {mark: int(texts.str.fullmatch(number_form(mark)).sum()) for mark in (".", ",")}
    if readable["."] != readable[","]:
        return max(readable, key=lambda mark: readable[mark])
    return None if texts.str.contains("[.,]", regex=True).any() else "."


def number_form(decimal: str) -> str:
    """Regular expression of a number with a decimal mark, and with or without the other mark between thousands."""
    return _NUMBER.format(decimal=re.escape(decimal), thousands=re.escape("," if decimal == "." else "."))


def numbers(texts: pd.Series, decimal: str) -> np.ndarray:
    """Values of texts in `number_form`; NaN if a text is no number."""
    plain = texts.where(texts.str.fullmatch(number_form(decimal)), "nan")
    if decimal == "," or "," in "".join(texts):
        thousands = "," if decimal == "." else "."
        plain = plain.str.replace(thousands, "", regex=False).str.replace(decimal, ".", regex=False)
    return plain.to_numpy(dtype=np.float64)  # as Python reads them: pandas' own readers round the last digits
