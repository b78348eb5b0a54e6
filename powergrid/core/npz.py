"""Archives from elsewhere: their sizes are checked before memory is allocated."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np

from powergrid.core.files import size_of

MOST_DIRECTORY_BYTES = 1 << 23
"""Largest table of contents of an archive; a member takes about a hundred bytes of it."""
FREE_BYTES = 1 << 26
"""Archives may unpack to this size whatever their own."""
MOST_RATIO = 200
"""Beyond `FREE_BYTES`, an archive may unpack to so many times its own size; text and series reach about 20."""

_END = b"PK\x05\x06"
_END_BYTES = 22
_MOST_COMMENT = 0xFFFF
_MOST_DIMENSIONS = 32


class ArchiveError(ValueError):
    """A file that is no archive, or an archive that states more than it can hold."""


def open_archive(path: str | os.PathLike[str]) -> zipfile.ZipFile:
    """A zip file whose members, as stated and together, have a size that fits the file's own.

    What a member states is also the most that is ever read of it.

    Raises
    ------
    ArchiveError
        If the file is no zip file, or if its members are too many or too large.
    OSError
        If it cannot be read.
    """
    file = Path(path)
    own = size_of(file)
    with file.open("rb") as stream:
        stream.seek(max(own - _END_BYTES - _MOST_COMMENT, 0))
        tail = stream.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + _END_BYTES:
        raise ArchiveError("it is no zip archive, or its end is missing")
    if int.from_bytes(tail[at + 12 : at + 16], "little") > MOST_DIRECTORY_BYTES:
        raise ArchiveError(f"its table of contents has more than {MOST_DIRECTORY_BYTES >> 20} MiB")
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ArchiveError(str(error)) from error
    stated, most = sum(member.file_size for member in archive.infolist()), max(FREE_BYTES, MOST_RATIO * own)
    if stated > most:
        archive.close()
        raise ArchiveError(f"it claims to unpack to {stated / 1e6:,.0f} MB from {own / 1e6:,.3g} MB; {_limit(most)}")
    return archive


def read_npz(path: str | os.PathLike[str], names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of an npz file.

    Parameters
    ----------
    path
        File written by ``numpy.savez`` or ``numpy.savez_compressed``.
    names
        Arrays to read; by default all.

    Raises
    ------
    ArchiveError
        If it is no such file, an array is missing or damaged, holds Python objects, or has another size than its
        header claims.
    OSError
        If it cannot be read.
    """
    with open_archive(path) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        wanted = members if names is None else names
        missing = [name for name in wanted if name not in members]
        if missing:
            raise ArchiveError(f"it has no {', '.join(missing)}")
        return {name: _array(archive, members[name]) for name in wanted}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One member, its header held against the size that the archive states."""
    name = f"{member.filename:.80}"
    if not member.filename.endswith(".npy"):
        raise ArchiveError(f"{name} is no array")
    try:
        with archive.open(member) as stream:
            _check_header(name, stream, member.file_size)
        with archive.open(member) as stream:
            array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
            return array
    except ArchiveError:
        raise
    except Exception as error:  # zlib, struct, tokenize, NotImplementedError ...: a damaged file can fail in any way
        raise ArchiveError(f"{name} is damaged ({type(error).__name__}: {error!s:.120})") from error


def _check_header(name: str, stream: IO[bytes], size: int) -> None:
    read: dict[tuple[int, int], Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(stream)
    if version not in read:
        raise ArchiveError(f"{name} has version {version} of the npy format; 1.0 and 2.0 are read")
    shape, _, dtype = read[version](stream)
    if dtype.hasobject or not dtype.itemsize:
        raise ArchiveError(f"{name} holds {dtype}, not plain numbers or texts")
    if len(shape) > _MOST_DIMENSIONS or any(extent < 0 for extent in shape):
        raise ArchiveError(f"{name} has the shape {shape!s:.80}")
    claimed, held = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if claimed != held:
        raise ArchiveError(f"{name} claims {claimed:,} bytes and has {held:,}")


def _limit(most: int) -> str:
    return f"at most {most / 1e6:,.0f} MB are read"
