"""Files of compiled functions that are read only if they are whole.

numba's own cache unpickles and runs whatever its files hold: emptied, cut or altered files end in ``EOFError``, in
``UnpicklingError`` or in a crash of the process. Its index, which two processes may write at once, may name the code of
one signature for another. Here each signature of each function has one file, whose name says all that the code depends
on and whose first bytes are a checksum of the rest. A file that does not match is ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pickle
import uuid
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

_log = logging.getLogger("powergrid")
_HEAD = b"powergrid machine code 1\n"
_VERSIONS = f"{numba.__version__} {llvmlite.__version__} {np.__version__}"


class KeptCode(FunctionCache):
    """Compiled signatures of one function, in the folder where numba would keep them.

    Parameters
    ----------
    function
        The Python function.
    name
        What distinguishes it from others of its name, such as the number of lanes that it closes over.
    stamp
        Hash of everything in other files that is compiled into it.
    """

    def __init__(self, function: Any, name: str, stamp: str):
        super().__init__(function)
        made_of = f"{_VERSIONS} {self._impl.locator.get_source_stamp()!r} {stamp}"
        self._stem = f"{self._impl.filename_base}{name}"
        self._age = hashlib.sha256(made_of.encode()).hexdigest()[:12]

    def path(self, signature: Any, codegen: Any) -> Path:
        """The file of a signature."""
        key = hashlib.sha256(repr((signature, codegen.magic_tuple())).encode()).hexdigest()[:16]
        return Path(self.cache_path) / f"{self._stem}.{self._age}.{key}.nbc"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, or ``None`` where no complete file exists."""
        target_context.refresh()
        path = self.path(sig, target_context.codegen())
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, body = content[len(_HEAD) : len(_HEAD) + 32], content[len(_HEAD) + 32 :]
        if not content.startswith(_HEAD) or hashlib.sha256(body).digest() != digest:
            _log.warning("%s is damaged: it is compiled anew", path)
            return None
        try:
            return self._impl.rebuild(target_context, pickle.loads(body))
        except Exception as error:  # complete, but made by another version: numba may raise anything
            _log.warning("%s cannot be read (%r): it is compiled anew", path, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function; log a warning and go on where the disk does not take it."""
        if not self._impl.check_cachable(data):
            return
        path = self.path(sig, data.codegen)
        body = dumps(self._impl.reduce(data))
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
        try:
            self._impl.locator.ensure_cache_path()
            temporary.write_bytes(_HEAD + hashlib.sha256(body).digest() + body)
            os.replace(temporary, path)
        except OSError as error:
            _log.warning("compiled code cannot be kept (%s): the next process compiles it again", error)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        self._forget_older()

    def flush(self) -> None:
        """Remove all that is kept of the function."""
        for path in Path(self.cache_path).glob(f"{self._stem}.*.nbc"):
            with contextlib.suppress(OSError):
                path.unlink()

    def _forget_older(self) -> None:
        """Remove what was made of older sources or by other versions."""
        for path in Path(self.cache_path).glob(f"{self._stem}.*.nbc"):
            if not path.name.startswith(f"{self._stem}.{self._age}."):
                with contextlib.suppress(OSError):
                    path.unlink()
