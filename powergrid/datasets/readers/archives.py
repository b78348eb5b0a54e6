"""Tables inside files that markets publish: CSV and Excel, plain, compressed, in zips, and in zips of zips."""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zipfile import BadZipFile, ZipFile

from powergrid.core.errors import DataError, MissingExtraError
from powergrid.core.files import size_of
from powergrid.core.npz import ArchiveError, open_archive

if TYPE_CHECKING:
    import pandas as pd

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A file, a folder, or several of them."""

MOST_BYTES = 1 << 30
"""Size of the largest table that is read [byte]; a month of 5-min prices of all nodes of a market has about 500 MB."""
_ENDINGS = (".zip", ".csv", ".csv.gz", ".xlsx", ".xml")
_DEPTH = 3


class Member(NamedTuple):
    """One table.

    Attributes
    ----------
    place
        File and member, for messages.
    name
        Name of the member alone.
    content
        Its bytes, uncompressed.
    """

    place: str
    name: str
    content: bytes


def files_of(paths: Paths) -> list[Path]:
    """The files of some paths, in order; a folder stands for the archives and tables in it.

    Raises
    ------
    DataError
        If a path does not exist, or a folder has no such file.
    """
    found: list[Path] = []
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        place = Path(path).expanduser()
        if place.is_dir():
            inside = sorted(one for one in place.iterdir() if one.name.endswith(_ENDINGS) and one.name[0] != ".")
            if not inside:
                raise DataError(f"{place}: the folder has no {', '.join(_ENDINGS)}")
            found += inside
        elif place.is_file():
            found.append(place)
        else:
            raise DataError(f"{place}: there is no such file or folder")
    if not found:
        raise DataError("no file is given; give a file, a folder, or several of them")
    return found


def members(paths: Paths) -> Iterator[Member]:
    """Every table of some files, archives opened.

    Raises
    ------
    DataError
        If a file is absent, damaged or too large.
    """
    for file in files_of(paths):
        try:
            if file.suffix == ".zip":
                with open_archive(file) as archive:
                    yield from _inside(archive, str(file), 1)
            elif size_of(file) > MOST_BYTES:
                raise DataError(f"{file}: has more than {MOST_BYTES >> 20:,} MiB; give it in parts")
            elif file.suffix == ".gz":
                with gzip.open(file) as stream:
                    yield Member(str(file), file.stem, _bounded(stream.read(MOST_BYTES + 1), str(file)))
            else:
                yield Member(str(file), file.name, file.read_bytes())
        except (ArchiveError, BadZipFile, OSError, EOFError, zlib.error) as error:
            raise DataError(f"{file}: is damaged or no archive ({error}); fetch or copy it again") from error


def _inside(archive: ZipFile, place: str, depth: int) -> Iterator[Member]:
    for entry in archive.infolist():
        if entry.is_dir():
            continue
        if entry.file_size > MOST_BYTES:
            raise DataError(f"{place}: {entry.filename:.80} has more than {MOST_BYTES >> 20:,} MiB; give it in parts")
        name, inner = Path(entry.filename).name, f"{place}/{entry.filename:.80}"
        try:
            content = archive.read(entry)
        except (BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError, zlib.error) as error:
            raise DataError(f"{inner}: is damaged ({error}); fetch or copy it again") from error
        if name.endswith(".zip"):
            if depth == _DEPTH:
                raise DataError(f"{inner}: archives within archives within archives are not read")
            try:
                nested = ZipFile(io.BytesIO(content))
            except BadZipFile as error:
                raise DataError(f"{inner}: is damaged or no archive ({error}); fetch or copy it again") from error
            with nested:
                yield from _inside(nested, inner, depth + 1)
        else:
            yield Member(inner, name, content)


def _bounded(content: bytes, place: str) -> bytes:
    if len(content) > MOST_BYTES:
        raise DataError(f"{place}: has more than {MOST_BYTES >> 20:,} MiB; give it in parts")
    return content


def csv_table(member: Member, columns: Sequence[str] = (), **options: object) -> pd.DataFrame:
    """The table of a CSV member, its header without blanks at the ends of names.

    Parameters
    ----------
    columns
        Columns to read where they are there; by default all.
    options
        More options of `pandas.read_csv`.

    Raises
    ------
    DataError
        If it is no CSV table.
    """
    import pandas as pd

    wanted = (lambda name: name.strip() in columns) if columns else None
    try:
        table: pd.DataFrame = pd.read_csv(  # type: ignore[call-overload]
            io.BytesIO(member.content), encoding="utf-8-sig", usecols=wanted, skipinitialspace=True, **options
        )
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"{member.place}: is no CSV table ({' '.join(str(error).split()):.160})") from error
    return table.rename(columns=lambda name: str(name).strip())


def header_of(member: Member) -> list[str]:
    """Names in the first line of a CSV member."""
    line = member.content[:65536].split(b"\n", 1)[0].decode("utf-8-sig", "replace")
    return [name.strip().strip('"') for name in line.split(",")]


def sheets(member: Member) -> Iterator[tuple[str, pd.DataFrame]]:
    """Sheets of an Excel member as tables of cells, empty rows left out.

    Raises
    ------
    DataError
        If it cannot be read.
    MissingExtraError
        If openpyxl is absent.
    """
    import pandas as pd

    try:
        import openpyxl
    except ImportError as error:
        raise MissingExtraError("openpyxl", "excel", f"reading {member.name}") from error
    try:
        with ZipFile(io.BytesIO(member.content)) as parts:
            if sum(part.file_size for part in parts.infolist()) > MOST_BYTES:
                raise DataError(f"{member.place}: unpacks to more than {MOST_BYTES >> 20:,} MiB")
            marked = [part.filename for part in parts.infolist() if b"<!DOCTYPE" in parts.read(part)[:4096]]
        if marked:
            raise DataError(f"{member.place}: {marked[0]:.80} has declarations, which Excel never writes")
        book = openpyxl.load_workbook(io.BytesIO(member.content), read_only=True, data_only=True, keep_links=False)
        try:
            for sheet in book.worksheets:
                sheet.reset_dimensions()
                rows = [row for row in sheet.iter_rows(values_only=True) if any(cell is not None for cell in row)]
                if len(rows) > 1:
                    header = [str(name).strip() if name is not None else "" for name in rows[0]]
                    body = [tuple(row) + (None,) * (len(header) - len(row)) for row in rows[1:]]
                    yield sheet.title, pd.DataFrame([row[: len(header)] for row in body], columns=header)
        finally:
            book.close()
    except (DataError, MemoryError):
        raise
    except Exception as error:  # whatever openpyxl makes of a damaged file
        raise DataError(
            f"{member.place}: cannot be read ({type(error).__name__}: {error!s:.160}); fetch or save it again"
        ) from error


def site(text: str) -> str:
    """A name of an area, node or fuel as the site of a column: ``"N.Y.C."`` is ``nyc``, ``"HUD VL"`` ``hud_vl``."""
    return re.sub(r"[^a-z0-9]+", "_", text.replace(".", "").lower()).strip("_")
