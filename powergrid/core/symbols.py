"""Names of compiled functions that no two processes share.

numba distinguishes functions of one text, such as one function of a closure for one lane and for many, by a number that
every process counts from 1. The number is part of the symbol in what it keeps on disk. Two files that different
processes have compiled may so hold different functions under one name, and a third process that loads both calls the
first for either: wrong numbers, or a crash. Here each process counts from a place of its own.
"""

from __future__ import annotations

import itertools
import os

from numba.core.bytecode import FunctionIdentity


def scatter() -> None:
    """Count on from a random place."""
    FunctionIdentity._unique_ids = itertools.count(int.from_bytes(os.urandom(6), "big") + 2**40)


scatter()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=scatter)
