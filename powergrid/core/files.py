"""Files that are whole or absent: written beside their place, forced to disk, then moved; JSON is checked when read."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from powergrid.core.errors import RunError

AGAIN = "run it again"
"""Advice once there is space, unless a caller has other advice."""


def path_fault(text: str) -> str:
    """Reason why a text cannot be a path; an empty text if it can."""
    if "\0" in text:
        return "a path holds no null character"
    if len(text) > 4095 or any(len(part.encode("utf-8", "replace")) > 255 for part in Path(text).parts):
        return "it is too long for a path"
    try:
        Path(text).expanduser()
    except RuntimeError:
        return "the home folder that ~ stands for is not known"
    return ""


def write_whole(path: Path, write: Callable[[BinaryIO], object], then: str = AGAIN) -> None:
    """Write a file through `write` so that a crash leaves either the old file or the new one.

    Parameters
    ----------
    path
        Where the file goes.
    write
        Fills an open file.
    then
        What the reader of the message does once there is space on a full disk.

    Raises
    ------
    RunError
        If the disk is full or the folder cannot be written; the old file is kept.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # the folder itself may be closed; the message below states it
            temporary.unlink(missing_ok=True)
        raise unwritable(path, error, then) from error


def write_json(path: Path, content: object, then: str = AGAIN) -> None:
    """Write `content` as indented JSON through :func:`write_whole`."""
    text = json.dumps(content, indent=2) + "\n"
    write_whole(path, lambda file: file.write(text.encode()), then)


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises
    ------
    RunError
        If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of `path` when the block ends, and vanishes when it fails.

    Raises
    ------
    RunError
        If it cannot be made or moved; the old folder is kept.
    """
    fresh, old = path.with_name(f".{path.name}.tmp"), path.with_name(f".{path.name}.old")
    try:
        for left_over in (fresh, old):
            shutil.rmtree(left_over, ignore_errors=True)
        make_folder(fresh)
        yield fresh
        try:
            if path.exists():
                os.replace(path, old)
            os.replace(fresh, path)
        except OSError as error:
            raise unwritable(path, error) from error
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        for left_over in (fresh, old):
            shutil.rmtree(left_over, ignore_errors=True)


def unwritable(path: Path, error: OSError, then: str = AGAIN) -> RunError:
    """Message for a `path` that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"{path}: the disk is full; what was there before is kept. Free some space on the disk, then {then}"
        )
    return RunError(f"{path}: cannot be written ({error.strerror}); what was there before is kept")


def size_of(path: Path) -> int:
    """Size of a file [bytes].

    Raises
    ------
    OSError
        If there is none, or if it is a device or a pipe, whose size is unrelated to its content.
    """
    seen = path.stat()
    if not stat.S_ISREG(seen.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return seen.st_size


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds one object.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RunError
        If it is no text, truncated, or some other file.
    """
    return _object(path, _text(path))


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Objects of a file with one per line; a last line that a kill cut short is left out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RunError
        If it is no text, or a line before the last is no JSON object.
    """
    rows, lines = [], _text(path).splitlines()
    for number, line in enumerate(lines, 1):
        try:
            rows.append(_object(path, line))
        except RunError as error:
            if number == len(lines):
                break
            raise RunError(f"line {number} of {error}") from error
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: it is no text, so it is damaged or some other file") from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error


def _object(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path}: it is not valid JSON ({error}); it is truncated, damaged or some other file"
        ) from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: it holds {json.dumps(content):.40}, not an object {{...}}; it is some other file")
    return content
