"""Schedules of one episode, given at its reset: when devices are out of service, and when agents join and leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.errors import ArgumentError, nearest
from powergrid.core.types import Array
from powergrid.engine.availability import Absences, tick_at
from powergrid.engine.layout import Layout
from powergrid.engine.switching import NEVER

OUTAGES, PRESENCE = "device_outages", "presence"
SCHEDULES = (OUTAGES, PRESENCE)
"""Options of a reset."""
_OUTAGE = ("device", "start", "duration")
_STAY = ("agent", "joins", "leaves")


class Schedule(NamedTuple):
    """Absences of scheduled episodes, ``(count, ...)``; fields of :class:`Absences`, ``None`` where they are drawn."""

    begin: Array | None = None
    end: Array | None = None
    joins: Array | None = None
    leaves: Array | None = None

    @classmethod
    def of(cls, layout: Layout, options: Mapping[str, Any], count: int) -> Schedule:
        """Schedule of `count` environments from the options of a reset.

        Parameters
        ----------
        layout
            Which devices may be out and which agents absent.
        options
            ``device_outages``: ``[{"device": id, "start": s, "duration": s}, ...]``; ``presence``: ``[{"agent": id,
            "joins": s, "leaves": s}, ...]``, of which either time may be left out. Each for all environments, or such a
            list for each. Times are in seconds from the start of the episode, as those of ``network.outages``, and
            rounded to whole ticks.

        Raises
        ------
        ArgumentError
            If an entry names nobody who may be out or absent, lies outside the episode, or there are too many; the
            message names it and what is allowed.
        """
        begin = end = joins = leaves = None
        if options.get(OUTAGES) is not None:
            begin, end = _each(OUTAGES, options[OUTAGES], count, lambda place, listed: _outages(layout, place, listed))
        if options.get(PRESENCE) is not None:
            joins, leaves = _each(PRESENCE, options[PRESENCE], count, lambda at, listed: _stays(layout, at, listed))
        return cls(begin, end, joins, leaves)

    def rows(self, which: int | slice) -> Schedule:
        """Schedule of one environment, or of some."""
        return Schedule(*(None if part is None else part[which] for part in self))

    def over(self, drawn: Absences) -> Absences:
        """Absences as they are scheduled, and where they are not, as they are drawn."""
        return Absences(*(old if new is None else new for new, old in zip(self, drawn, strict=True)))


def _each(
    name: str, listed: object, count: int, read: Callable[[str, Sequence[Any]], tuple[Array, Array]]
) -> tuple[Array, Array]:
    """Arrays of all environments from one list for all, or one for each."""
    if not _is_list(listed):
        raise ArgumentError(f'reset option "{name}" must be a list, found {listed!r}')
    lists: Any = listed
    each = bool(lists) and all(map(_is_list, lists))
    if each and len(lists) != count:
        raise ArgumentError(
            f'reset option "{name}" has {len(lists)} lists for {count} environments; give one for all, or one each'
        )
    place = f'options["{name}"]'
    if each:
        found = [read(f"{place}[{e}]", own) for e, own in enumerate(lists)]
    else:
        found = [read(place, lists)] * count
    first, second = zip(*found, strict=True)
    return np.stack(first), np.stack(second)


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


def _outages(layout: Layout, place: str, listed: Sequence[Any]) -> tuple[Array, Array]:
    """First tick out and first tick back of each outage, ``(f, k)``."""
    known = layout.availability
    shape = (0, 0) if known is None else (len(known.units), known.spells)
    begin, end = np.full(shape, NEVER, np.int32), np.full(shape, NEVER, np.int32)
    used = np.zeros(shape[0], dtype=int)
    for k, outage in enumerate(listed):
        here = _entry(f"{place}[{k}]", outage, _OUTAGE, _OUTAGE)
        devices = [unit for family in layout.families for unit in family.ids]
        units = () if known is None else known.units
        device = _number(here, "device", outage["device"], units, devices, "failures")
        first = _tick(layout, here, "start", outage["start"])
        seconds = _seconds(f'{here}["duration"]', outage["duration"])
        if seconds <= 0.0:
            raise ArgumentError(f'{here}["duration"] {seconds:g} s must be above 0')
        if used[device] == shape[1]:
            raise ArgumentError(
                f'{place}: device "{outage["device"]}" has more than {shape[1]} outages, the most that an episode of '
                "this configuration has room for; join those that follow each other"
            )
        ticks = max(round(min(seconds, _length_s(layout)) / _tick_s(layout)), 1)
        begin[device, used[device]], end[device, used[device]] = first, first + ticks
        used[device] += 1
    return begin, end


def _stays(layout: Layout, place: str, listed: Sequence[Any]) -> tuple[Array, Array]:
    """First tick with each agent, and first tick without it again, ``(m,)``."""
    agents = () if layout.availability is None else layout.availability.agents
    joins, leaves = np.zeros(len(agents), np.int32), np.full(len(agents), NEVER, np.int32)
    named: set[int] = set()
    for k, stay in enumerate(listed):
        here = _entry(f"{place}[{k}]", stay, _STAY, ("agent",))
        everybody = [*layout.actors, *layout.python_agents, *layout.slots.by, *agents]
        agent = _number(here, "agent", stay["agent"], agents, [id for id in everybody if id], "presence")
        if agent in named:
            raise ArgumentError(f'{here}: agent "{stay["agent"]}" is listed twice; one that has left does not return')
        named.add(agent)
        if "joins" in stay:
            joins[agent] = _tick(layout, here, "joins", stay["joins"])
        if "leaves" in stay:
            leaves[agent] = _tick(layout, here, "leaves", stay["leaves"])
            if leaves[agent] <= joins[agent]:
                raise ArgumentError(
                    f'{here}["leaves"] {stay["leaves"]:g} s must be at least a tick of {_tick_s(layout):g} s after '
                    f"{joins[agent] * _tick_s(layout):g} s, when it joins"
                )
    return joins, leaves


def _entry(place: str, entry: object, keys: Sequence[str], needed: Sequence[str]) -> str:
    """The place of an entry with these keys."""
    if not isinstance(entry, Mapping):
        raise ArgumentError(f"{place} must be a mapping with {', '.join(keys)}, found {entry!r}")
    for key in entry:
        if key not in keys:
            hint = nearest(str(key), keys)
            raise ArgumentError(f'{place} has the unknown key "{key}"; {hint or "keys"}: {", ".join(keys)}')
    for key in needed:
        if key not in entry:
            raise ArgumentError(f'{place} lacks "{key}"; its keys are {", ".join(keys)}')
    return place


def _number(place: str, kind: str, id: object, may: Sequence[str], known: Sequence[str], key: str) -> int:
    """Number of a device or agent among those that may be out or absent."""
    if id in may:
        return may.index(str(id))
    if id in known:
        those = f"those that may: {', '.join(may)}" if may else f"no {kind} may here"
        absent = "out of service" if kind == "device" else "absent"
        raise ArgumentError(
            f'{place}: {kind} "{id}" is never {absent} in this configuration ({those}); give it {key}: {{}}'
        )
    hint = nearest(str(id), known)
    raise ArgumentError(f'{place}: there is no {kind} "{id}"; {hint or f"{kind}s: " + ", ".join(dict.fromkeys(known))}')


def _tick(layout: Layout, place: str, key: str, value: object) -> int:
    """Tick of a time within the episode."""
    seconds = _seconds(f'{place}["{key}"]', value)
    tick = tick_at(seconds, _tick_s(layout))
    if seconds < 0.0 or tick >= layout.settings.episode_length:
        last = _length_s(layout) - _tick_s(layout)
        raise ArgumentError(f'{place}["{key}"] {seconds:g} s lies outside the episode, from 0 to {last:g} s')
    return tick


def _seconds(place: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not isfinite(value):
        raise ArgumentError(f"{place} must be a number of seconds, found {value!r}")
    return float(value)


def _tick_s(layout: Layout) -> float:
    return layout.settings.dt_h * 3600.0


def _length_s(layout: Layout) -> float:
    return layout.settings.episode_length * _tick_s(layout)
