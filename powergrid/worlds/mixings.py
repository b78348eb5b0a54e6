"""From protocols of kind learning to mixings: their members act from outside, and have networks of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.protocol import LearningProtocol, Pupil
from powergrid.core.errors import ConfigError, Issue, nearest
from powergrid.engine.layout import Layout
from powergrid.worlds.world import Mixing

_ROUNDING = 1e-9


class Class(NamedTuple):
    """A protocol of kind learning before the world is assembled: its name, and its members' ids, none for all."""

    name: str
    protocol: LearningProtocol
    members: Sequence[str]


def mixings(classes: Sequence[Class], layout: Layout) -> tuple[Mixing, ...]:
    """What each protocol does with the parameters of its members.

    Raises
    ------
    ConfigError
        If a member does not learn, is in two of them, or has a network of another size; or a matrix is none.
    """
    found: list[Mixing] = []
    for own in classes:
        members = tuple(own.members) or layout.actors
        _check(own.name, members, layout, [id for mixing in found for id in mixing.members])
        intervals = [int(layout.slots.interval[layout.actors.index(id)]) for id in members]
        pupils = [Pupil(id, 1.0 / interval) for id, interval in zip(members, intervals, strict=True)]
        matrix: Any = np.asarray(own.protocol.mixing(pupils), float)
        if matrix.shape != (len(members),) * 2 or not np.allclose(matrix.sum(1), 1.0, rtol=0.0, atol=_ROUNDING):
            message = f"{own.name}: mixing gives no matrix of {len(members)} rows that sum to one"
            raise _fault(message, "the parameters after a mixing are weighted means of those before")
        found.append(Mixing(own.name, members, own.protocol.interval, matrix))
    return tuple(found)


def _check(name: str, members: Sequence[str], layout: Layout, taken: Sequence[str]) -> None:
    if len(members) < 2:
        raise _fault(f"{name}: it has fewer than two members", "name learned agents of one kind")
    for id in members:
        if id not in layout.actors:
            hint = f"its members act from outside: {', '.join(layout.actors) or 'there is none'}"
            raise _fault(f'{name}: "{id}" does not learn', nearest(id, layout.actors) or hint)
        if id in taken:
            raise _fault(f'{name}: "{id}" is in another protocol of kind learning', "name it in one of them")
    sizes = {id: _sizes(layout, id) for id in members}
    first = members[0]
    for id, size in sizes.items():
        if size != sizes[first]:
            message = (
                f'{name}: "{first}" observes {sizes[first][0]} and chooses {sizes[first][1]} numbers, "{id}" '
                f"{size[0]} and {size[1]}: parameters of networks of different size have no mean"
            )
            raise _fault(message, "name agents of one kind, with equal devices and observability")


def _sizes(layout: Layout, id: str) -> tuple[int, int]:
    """Numbers that an actor observes and chooses."""
    row = layout.actors.index(id)
    return int(layout.view.sizes[row]), len(layout.action_entries[row])


def _fault(message: str, hint: str) -> ConfigError:
    return ConfigError([Issue("protocols", message, hint)])
