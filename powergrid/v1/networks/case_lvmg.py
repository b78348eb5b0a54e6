"""v1's low-voltage microgrid, a PYPOWER case that could not be solved."""

from __future__ import annotations

from typing import Any

from powergrid.core.errors import NetworkError


def case_lvmg() -> Any:
    """Stand in for v1's function, so that importing it still works.

    Raises
    ------
    NetworkError
        Always; names two networks of that kind that can be solved.
    """
    raise NetworkError(
        "case_lvmg was a PYPOWER case that version 1 could not solve, and it is not carried over; "
        'powergrid.network("cigre_lv") or powergrid.networks.cigre_lv.CIGRE_LV() is a low-voltage microgrid'
    )
