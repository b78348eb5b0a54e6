"""Schedules of one episode, given at its reset: when devices are out of service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.errors import ArgumentError, nearest
from powergrid.engine.availability import Absences
from powergrid.engine.layout import Layout
from powergrid.engine.switching import NEVER

OUTAGES = "device_outages"
"""Option of a reset with the outages of its episode."""
_OUTAGE = ("device", "start", "duration")


class _Spell(NamedTuple):
    """Outage of one device, in ticks."""

    device: int
    begin: int
    end: int


def scheduled_outages(layout: Layout, listed: object, count: int) -> Absences | None:
    """Outages of an episode from the option ``device_outages``; ``None`` where it is not given.

    Parameters
    ----------
    layout
        Which devices may be out.
    listed
        ``[{"device": id, "start": s, "duration": s}, ...]`` for all environments, or such a list for each. Times are in
        seconds from the start of the episode, as those of ``network.outages``, and rounded to whole ticks.
    count
        Number of environments.

    Returns
    -------
    Absences or None
        ``(count, f, k)``.

    Raises
    ------
    ArgumentError
        If an entry is no outage of a device that may be out, lies outside the episode, or there are too many; the
        message names it and what is allowed.
    """
    if listed is None:
        return None
    if not _is_list(listed):
        raise ArgumentError(f'reset option "{OUTAGES}" must be a list of outages, found {listed!r}')
    each = isinstance(listed, Sequence) and bool(listed) and all(map(_is_list, listed))
    if each and len(listed) != count:  # type: ignore[arg-type]
        raise ArgumentError(
            f'reset option "{OUTAGES}" has {len(listed)} lists for {count} environments; '  # type: ignore[arg-type]
            "give one list of outages for all, or one list each"
        )
    lists: Any = listed if each else [listed] * count
    names = [f'options["{OUTAGES}"]' + (f"[{e}]" if each else "") for e in range(count)]
    availability = layout.availability
    shape = (count, 0, 0) if availability is None else (count, len(availability.units), availability.spells)
    begin, end = np.full(shape, NEVER, np.int32), np.full(shape, NEVER, np.int32)
    for e, (name, outages) in enumerate(zip(names, lists, strict=True)):
        used = np.zeros(shape[1], dtype=int)
        for k, outage in enumerate(outages):
            device, first, last = _spell(layout, f"{name}[{k}]", outage)
            if used[device] == shape[2]:
                raise ArgumentError(
                    f'{name}: device "{outage["device"]}" has more than {shape[2]} outages, the most that an episode '
                    "of this configuration has room for; join those that follow each other"
                )
            begin[e, device, used[device]], end[e, device, used[device]] = first, last
            used[device] += 1
    return Absences(begin, end)


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


def _spell(layout: Layout, place: str, outage: object) -> _Spell:
    """One outage in ticks."""
    if not isinstance(outage, Mapping):
        raise ArgumentError(f"{place} must be a mapping with {', '.join(_OUTAGE)}, found {outage!r}")
    for key in outage:
        if key not in _OUTAGE:
            hint = nearest(str(key), _OUTAGE)
            raise ArgumentError(f'{place} has the unknown key "{key}"; {hint or "keys"}: {", ".join(_OUTAGE)}')
    for key in _OUTAGE:
        if key not in outage:
            raise ArgumentError(f'{place} lacks "{key}"; an outage has {", ".join(_OUTAGE)}')
    device = _device(layout, place, outage["device"])
    tick_s = layout.settings.dt_h * 3600.0
    length_s = layout.settings.episode_length * tick_s
    start, duration = (_seconds(f'{place}["{key}"]', outage[key]) for key in ("start", "duration"))
    begin = round(start / tick_s)
    if start < 0.0 or begin >= layout.settings.episode_length:
        raise ArgumentError(f'{place}["start"] {start:g} s lies outside the episode, from 0 to {length_s - tick_s:g} s')
    if duration <= 0.0:
        raise ArgumentError(f'{place}["duration"] {duration:g} s must be above 0')
    ticks = max(round(min(duration, length_s) / tick_s), 1)
    return _Spell(device, begin, begin + ticks)


def _device(layout: Layout, place: str, id: object) -> int:
    """Number of a device among those that may be out."""
    may = () if layout.availability is None else layout.availability.units
    if id in may:
        return may.index(str(id))
    devices = [unit for family in layout.families for unit in family.ids]
    if id in devices:
        known = f"devices that may: {', '.join(may)}" if may else "no device may here"
        raise ArgumentError(
            f'{place}: device "{id}" is never out of service in this configuration ({known}); give it failures: {{}}'
        )
    hint = nearest(str(id), devices)
    raise ArgumentError(f'{place}: there is no device "{id}"; {hint or "devices: " + ", ".join(devices)}')


def _seconds(place: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not isfinite(value):
        raise ArgumentError(f"{place} must be a number of seconds, found {value!r}")
    return float(value)
