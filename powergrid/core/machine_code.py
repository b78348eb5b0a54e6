"""numba's cache of machine code, emptied by a change in any file that the code was made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any


def cached(*folders: Path, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba's ``njit`` with its cache on disk, as a decorator.

    numba takes code from its cache as long as the one file is unchanged that holds the function. But machine code holds
    what the function calls, too, and constants from other files. Here the cached code of a function is as old as the
    youngest change in any file of `folders`.

    Parameters
    ----------
    folders
        Folders with everything that the functions call and read.
    options
        As for ``numba.njit``.
    """
    from numba import njit

    def compiled(function: Callable[..., Any]) -> Any:
        made = njit(cache=True, **options)(function)
        file = getattr(getattr(made, "_cache", None), "_cache_file", None)
        if file is not None:  # none where numba is told not to compile
            file._source_stamp = file._source_stamp, stamp(*folders)
        return made

    return compiled


@cache
def stamp(*folders: Path) -> str:
    """Hash over the Python files of some folders."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.glob("*.py")):
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
