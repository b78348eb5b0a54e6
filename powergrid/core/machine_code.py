"""Compilation with numba: decorators, the cache on disk, and the versions of numba that are supported.

Compiled code rests on parts of numba that its documentation does not promise: names of symbols, the cache's files, the
compiler's passes, the address of a function. They are gathered here and in the modules ``symbols``, ``code_cache`` and
``code_parts``, and hold for the versions in :data:`KNOWN`. With any other nothing is compiled: environments step on
NumPy and another power flow solves them, see :func:`problem`.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from powergrid.core import progress
from powergrid.core.errors import NotCompilableError

_log = logging.getLogger("powergrid")
KNOWN = ((0, 61), (0, 69))
"""First version of numba that compiled code was made for, and first that it was not."""
_PRIVATE = {
    "numba.core.bytecode": ("FunctionIdentity._unique_ids",),
    "numba.core.caching": ("FunctionCache.load_overload", "FunctionCache.save_overload"),
    "numba.core.ccallback": ("CFunc.compile",),
    "numba.core.codegen": ("JITCodeLibrary.get_pointer_to_function", "JITCodeLibrary._finalize_final_module"),
    "numba.core.targetconfig": ("ConfigStack.top_or_none",),
    "numba.core.typed_passes": ("NativeLowering.run_pass",),
    "numba.core.types": ("BaseFunction.get_call_type",),
    "numba.core.imputils": ("impl_ret_borrowed",),
    "numba.np.arrayobj": ("populate_array",),
}
"""Names within numba that compiled code cannot do without."""


def installed() -> str:
    """Version of the numba that is installed, empty without one."""
    try:
        return version("numba")
    except PackageNotFoundError:
        return ""


def problem() -> str:
    """Reason why nothing can be compiled here, as a sentence; empty where compilation works."""
    return _problem(installed())


@cache
def _problem(found: str) -> str:
    first, last = (".".join(map(str, bound)) for bound in KNOWN)
    advice = f'install a version that is known (pip install "numba>={first},<{last}")'
    if not found:
        return f"numba is not installed, so nothing is compiled: {advice}"
    if not KNOWN[0] <= _numbers(found) < KNOWN[1]:
        return f"compiled code is made for numba {first} and later below {last}, and {found} is installed: {advice}"
    for module, names in _PRIVATE.items():
        for name in names:
            try:
                here: Any = import_module(module)
                for part in name.split("."):
                    here = getattr(here, part)
            except (ImportError, AttributeError) as error:
                return f"numba {found} cannot be used here, {module}.{name} is missing ({error}): {advice}"
    return ""


def _numbers(text: str) -> tuple[int, ...]:
    """First two numbers of a version."""
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in text.split(".")[:2])


def require() -> None:
    """Do nothing where code can be compiled.

    Raises
    ------
    NotCompilableError
        If it cannot; the message holds the reason.
    """
    if problem():
        raise NotCompilableError(problem())


def cached(*places: Path, name: str = "", **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile with numba's ``njit`` and keep the machine code on disk (:mod:`powergrid.core.code_cache`): a decorator.

    numba takes code from its cache as long as the one file is unchanged that holds the function. But machine code holds
    what the function calls, too, and constants from other files. Here the kept code of a function is as old as the
    youngest change in any of `places`.

    Parameters
    ----------
    places
        Files, and folders of files, with everything that the functions call and read.
    name
        What distinguishes a function from others of its name; needed where it closes over variables.
    options
        As for ``numba.njit``.

    Raises
    ------
    ValueError
        If a function closes over variables and has no name, for two of them would be one in the cache.
    """
    require()
    from numba import njit

    def compiled(function: Callable[..., Any]) -> Any:
        if getattr(function, "__closure__", None) and not name:
            raise ValueError(f"{function.__qualname__} closes over variables and needs a name in the cache")
        made = njit(**options)(function)
        if hasattr(made, "_cache"):  # absent where numba is set not to compile
            made._cache = _kept(function, name, places, made._cache)
        return made

    return compiled


def c_function(signature: Any, *places: Path, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile with numba's ``cfunc`` and keep the machine code on disk: a decorator, arguments as in :func:`cached`."""
    require()
    from numba.core.ccallback import CFunc
    from numba.core.sigutils import normalize_signature

    def compiled(function: Callable[..., Any]) -> Any:
        made: Any = CFunc(function, normalize_signature(signature), locals={}, options={"nopython": True, **options})
        made._cache = _kept(function, "", places, made._cache)
        path = getattr(made._cache, "path", None)
        if path is not None and path(made._sig, made._targetdescr.target_context.codegen()).exists():
            made.compile()
        else:
            with compiling(f"{function.__module__}.{function.__name__}", 4):
                made.compile()
        return made

    return compiled


def _kept(function: Callable[..., Any], name: str, places: tuple[Path, ...], otherwise: Any) -> Any:
    from powergrid.core.code_cache import KeptCode

    try:
        return KeptCode(function, name, stamp(*places))
    except RuntimeError as error:  # no folder that can be written
        _log.warning("compiled code cannot be kept (%s): every process compiles it again", error)
        return otherwise


def part(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile with numba's ``njit`` what compiled functions call (:mod:`powergrid.core.code_parts`): a decorator."""
    require()
    from numba import njit

    from powergrid.core.code_parts import Parts

    decorator: Callable[[Callable[..., Any]], Any] = njit(
        pipeline_class=Parts, no_cpython_wrapper=True, no_cfunc_wrapper=True, **options
    )
    return decorator


@contextlib.contextmanager
def compiling(what: str, functions: int) -> Iterator[None]:
    """Context of code that compiles about so many functions, which are counted for :mod:`powergrid.core.progress`."""
    from numba.core import event

    class Counter(event.Listener):
        """Calls `count` at the end of each function."""

        def on_start(self, event: Any) -> None:
            """Nothing to do."""

        def on_end(self, event: Any) -> None:
            count()

    with _eased(), progress.piece(what, functions) as count, event.install_listener("numba:compile", Counter()):
        yield


class _Ease:
    """What makes compiling cheaper, from the first of several threads that compile until the last."""

    lock = threading.Lock()
    depth = 0
    undo = contextlib.ExitStack()


@contextlib.contextmanager
def _eased() -> Iterator[None]:
    """Collect garbage rarely, and look rules of types up once.

    numba makes millions of objects, nearly all of which stay, and looking through them takes a fifth of the time.
    """
    from powergrid.core.code_parts import rules_looked_up_once

    with _Ease.lock:
        if _Ease.depth == 0:
            before = gc.get_threshold()
            _Ease.undo.callback(gc.set_threshold, *before)
            gc.set_threshold(max(before[0], 200_000), 20, 50)
            _Ease.undo.enter_context(rules_looked_up_once())
        _Ease.depth += 1
    try:
        yield
    finally:
        with _Ease.lock:
            _Ease.depth -= 1
            if _Ease.depth == 0:
                _Ease.undo.close()


def compile_for(function: Any, signature: tuple[Any, ...], what: str, functions: int) -> None:
    """Compile a function of :func:`cached` for a signature, or take it from the disk."""
    if not hasattr(function, "overloads") or signature in function.overloads:
        return
    if is_kept(function, signature):
        function.compile(signature)
        return
    with compiling(what, functions):
        function.compile(signature)


def is_kept(function: Any, signature: tuple[Any, ...]) -> bool:
    """Whether the disk has a file for a signature of a function of :func:`cached`."""
    path = kept_at(function, signature)
    return path is not None and path.exists()


def kept_at(function: Any, signature: tuple[Any, ...]) -> Path | None:
    """Where the disk has, or will have, a signature of a function of :func:`cached`; ``None`` where nothing is kept."""
    kept: Any = getattr(function, "_cache", None)
    if not hasattr(kept, "path"):
        return None
    found: Path = kept.path(signature, function.targetctx.codegen())
    return found


@cache
def stamp(*places: Path) -> str:
    """Hash over files, and over the Python files of folders."""
    digest = hashlib.sha256()
    for place in places:
        for file in sorted(place.glob("*.py")) if place.is_dir() else (place,):
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
