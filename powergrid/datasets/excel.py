"""Sheets of Excel files as texts, within bounds: a small file may claim a million rows of sixteen thousand columns."""

from __future__ import annotations

import importlib.util
import re
import warnings
from datetime import date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

from powergrid.core.errors import DataError, MissingExtraError
from powergrid.core.npz import ArchiveError, open_archive
from powergrid.datasets.series_file import SeriesFile

if TYPE_CHECKING:
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet

MOST_ROWS = 1 << 20
"""Rows that a sheet can have."""

_MARKS_IN_A_ROW = 50_000
_ROW = re.compile(rb"</?(?:\w+:)?row[\s/>]")


def read_sheet(
    file: Path, form: SeriesFile, key: str, most_columns: int, most_cells: int
) -> tuple[str, list[list[str]]]:
    """Name of the sheet, and its rows.

    Parameters
    ----------
    file, form, key
        The file, its stated format, and its key in the YAML file.
    most_columns, most_cells
        Largest sheet that is read.

    Raises
    ------
    DataError
        If it is no Excel file, is too large, or has several sheets and none is stated.
    MissingExtraError
        If openpyxl is absent.
    """
    if importlib.util.find_spec("openpyxl") is None:
        raise MissingExtraError("openpyxl", "excel", f"reading {file.name}")
    from openpyxl import load_workbook

    try:
        with open_archive(file) as archive:
            _check_markup(archive)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and extensions that openpyxl leaves out
            book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
        try:
            name = _sheet(file, form, key, [sheet.title for sheet in book.worksheets])
            return name, _rows(book[name], most_columns, most_cells)
        finally:
            book.close()
    except ArchiveError as error:
        raise DataError(f"{file}: is no Excel file that is read ({error}); save it as .xlsx or as CSV again") from error
    except (DataError, MemoryError):
        raise
    except Exception as error:  # whatever openpyxl makes of a damaged file
        raise DataError(f"{file}: cannot be read ({type(error).__name__}: {error!s:.200}); save it again") from error


def _check_markup(archive: ZipFile) -> None:
    """Refuse declarations, which may multiply text, and rows of more cells than a table of series has.

    Excel writes neither declarations nor comments, nor in another encoding than UTF-8.
    """
    for member in archive.infolist():
        content = archive.read(member)
        if not content.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<"):
            continue  # a picture
        if b"<!" in content or b"\0" in content:
            raise ArchiveError(f"{member.filename:.80} has declarations, comments or another encoding than UTF-8")
        if b"sheetData" in content and max(row.count(b"<") for row in _ROW.split(content)) > _MARKS_IN_A_ROW:
            raise ArchiveError(f"{member.filename:.80} has rows of too many cells")


def _sheet(file: Path, form: SeriesFile, key: str, names: list[str]) -> str:
    if form.sheet is None and len(names) > 1:
        listed = ", ".join(f'"{name}"' for name in names)
        raise DataError(f"{file}: has the sheets {listed}; write {form.line(key, sheet=names[0])}")
    if isinstance(form.sheet, int):
        if not 0 <= form.sheet < len(names):
            raise DataError(f"{file}: has no sheet {form.sheet}; sheets are numbered from 0 to {len(names) - 1}")
        return names[form.sheet]
    if form.sheet is not None and form.sheet not in names:
        raise DataError(f'{file}: has no sheet "{form.sheet}", only {", ".join(names)}')
    return form.sheet or names[0]


def _rows(sheet: ReadOnlyWorksheet, most_columns: int, most_cells: int) -> list[list[str]]:
    """Cells as texts, every row as wide as the widest."""
    sheet.reset_dimensions()  # what a file says of its size need not be so
    rows: list[list[str]] = []
    count = 0
    for row in islice(sheet.iter_rows(values_only=True), MOST_ROWS + 1):
        count += len(row)
        if len(rows) == MOST_ROWS or len(row) > most_columns or count > most_cells:
            raise ArchiveError(
                f"more than {MOST_ROWS:,} rows, {most_columns:,} columns or {most_cells:,} cells; keep what you use"
            )
        rows.append([_text(cell) for cell in row])
    while rows and not any(rows[-1]):
        rows.pop()
    width = max(map(len, rows), default=0)
    if width * len(rows) > most_cells:
        raise ArchiveError(f"{len(rows):,} rows of up to {width:,} cells; keep what you use")
    return [row + [""] * (width - len(row)) for row in rows]


def _text(cell: object) -> str:
    """A cell as one would write it in CSV; clock times are rounded to the second, as Excel shows them."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return (cell.replace(microsecond=0) + timedelta(seconds=round(cell.microsecond / 1e6))).isoformat()
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    return str(cell).strip()
