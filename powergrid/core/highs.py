"""HiGHS, the solver of linear programs, without its banner.

Q. Huangfu and J. A. J. Hall, "Parallelizing the dual revised simplex method", Math. Prog. Comp. 10 (2018),
doi:10.1007/s12532-017-0130-5.
"""

from __future__ import annotations

from typing import Any


def solver(**options: Any) -> Any:
    """A solver that prints nothing and solves linear programs in one thread.

    The number of threads is left alone: the scheduler belongs to the whole process, and HiGHS refuses to solve anything
    where its number differs from the one that another user of HiGHS has begun with.

    Parameters
    ----------
    **options
        Options of HiGHS by name.

    Returns
    -------
    highspy.Highs
        Its part in C++: the class in Python prints a banner when it sets up its callbacks.
    """
    import highspy

    made: Any = highspy.Highs.__base__()
    for name, value in {"output_flag": False, "parallel": "off", **options}.items():
        made.setOptionValue(name, value)
    return made
