"""Files that are whole or absent: written beside their place, forced to disk, then moved."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from powergrid.core.errors import RunError


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file through `write` so that a crash leaves either the old file or the new one.

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
        with contextlib.suppress(OSError):  # the folder itself may be closed to us: the message below says so
            temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON through :func:`write_whole`."""
    text = json.dumps(content, indent=2) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


def unwritable(path: Path, error: OSError) -> RunError:
    """What to say when `path` cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"{path}: the disk is full; what was there before is kept. Free some space, then resume the run"
        )
    return RunError(f"{path}: cannot be written ({error.strerror}); what was there before is kept")
