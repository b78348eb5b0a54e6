"""Messages between agents: numbers that senders choose, over links with delay and loss.

The queue belongs to the senders, and what has arrived stays until something newer does, see
:mod:`powergrid.agents.protocols._links`. Its age is observed with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from powergrid.agents.protocol import Action, Added, Channel, Context, HorizontalProtocol, Members
from powergrid.agents.protocols._links import (
    LOST,
    MAX_AGE_S,
    LinkSettings,
    Queue,
    age_s,
    delays_between,
    deliver,
    empty_queue,
    tables_of,
    widths_of,
)
from powergrid.core.backend import Namespace, sum_into, whole
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Array
from powergrid.plugins import register_protocol


class Settings(LinkSettings):
    """Parameters of the links."""

    width: int = Field(4, ge=1, le=64, description="numbers in a message")
    max_age_s: float = Field(MAX_AGE_S, gt=0, description="bound of a message's age in observations [s]")


class Radio(NamedTuple):
    """Length of a tick [s], distribution of delays (0 fixed, 1 uniform, 2 normal), and the largest age [s]."""

    dt_s: float
    distribution: float
    max_age_s: float


class Received(NamedTuple):
    """Newest numbers over each link, and their age [s]."""

    msg: Array
    msg_age: Array


class Overheard(NamedTuple):
    """Mean of the newest numbers of all others, the newest among them, and its age [s]."""

    msg_mean: Array
    msg_new: Array
    msg_age: Array


@cache
def orders_of(width: int) -> Any:
    """The numbers of a message as a named tuple."""
    return NamedTuple("Numbers", [(f"msg_{k}", Array) for k in range(width)])


class _Messages(HorizontalProtocol):
    """What both forms share."""

    Settings, Params, State = Settings, Radio, Queue
    noisy = True
    linked = True

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.Orders = orders_of(self.settings.width)  # type: ignore[misc]
        self._dt_s = 0.0

    def params(self) -> Radio:
        """Length of a tick, distribution and largest age."""
        return Radio(self._dt_s, self.settings.distribution, self.settings.max_age_s)

    @classmethod
    def initial(cls, xp: Namespace, batch: tuple[int, ...], widths: Sequence[int], dtype: Any) -> Queue:
        """Nothing is on its way, and nothing has arrived."""
        return empty_queue(xp, batch, widths, dtype)

    def _added(self, members: Members, links: np.ndarray, channels: tuple[Channel, ...]) -> Added:
        """Actions, and a queue for links ``(L, 2)`` of sender and receiver; receiver -1 is everybody."""
        width, size, count = self.settings.width, len(members), len(links)
        self._dt_s = members.dt_h * 3600.0
        ids = (*(member.id for member in members), "")  # the last one is everybody
        ends = tuple((ids[sender], ids[receiver]) for sender, receiver in links.tolist())
        delays = delays_between(self.settings, ends)
        number = np.arange(width)[:, None] * size + links[:, 0]
        tables = tables_of(delays, self._dt_s, links[:, 0], number)
        return Added(
            actions=tuple(Action(f"msg_{k}", "1", -1.0, 1.0) for k in range(width)),
            channels=channels,
            tables=tables,
            widths=widths_of(tables, width * size),
            draws=self.settings.draws * count,
            messages=count if (links[:, 1] >= 0).all() else size * (size - 1),
            carries=ends,
        )


@register_protocol("messages")
class Messages(_Messages):
    """Every link of the graph carries the sender's newest message, which its receiver observes with its age.

    Delays and losses are drawn for every link. The size of all observations grows with the number of links.
    """

    def entries(self, members: Members) -> Added:
        """Numbers to send; numbers received over each link, and their age."""
        links, width = members.graph.links, self.settings.width
        receivers = tuple(links[:, 1].tolist())
        names = tuple(f"_from_{members[k].id}" for k in links[:, 0])
        age = Channel(
            "msg_age", "s", 0.0, self.settings.max_age_s, self.settings.max_age_s, at=receivers, suffixes=names
        )
        numbered = tuple(f"_{k}{name}" for k in range(width) for name in names)
        msg = Channel("msg", "1", -1.0, 1.0, at=receivers * width, suffixes=numbered)
        return self._added(members, links, (msg, age))

    @staticmethod
    def before(xp: Namespace, ctx: Context, state: Queue, orders: Any) -> tuple[Queue, Received, Array]:
        """Send and deliver."""
        after = deliver(xp, ctx, state, xp.concatenate(orders, axis=-1), xp.take(ctx.due, ctx.tables.sender, axis=-1))
        return after, Received(after.shown, age_s(xp, ctx, after.sent_at)), ctx.governed


@register_protocol("broadcast")
class Broadcast(_Messages):
    """Everybody's messages reach everybody: each observes the mean of the others, and the newest among them.

    Delays and losses are drawn for every sender, and are the same for all its receivers. Of messages that were sent in
    one tick that of the member listed first counts as the newest. Observations do not grow with the number of members.
    """

    def entries(self, members: Members) -> Added:
        """Numbers to send; mean and newest numbers received, and the age of the newest.

        Raises
        ------
        ConfigError
            If one of the links between two members has a delay or a loss of its own.
        """
        ids = {member.id for member in members}
        for own in self.settings.links:
            if own.sender in ids and own.receiver in ids:
                message = f'"{own.sender}" has one delay for all receivers, with the full topology'
                raise ConfigError([Issue("messages.links", message, "leave receiver out, or choose another topology")])
        width, size, oldest = self.settings.width, len(members), self.settings.max_age_s
        links = np.stack([np.arange(size), np.full(size, -1)], axis=1)
        everybody = tuple(range(size)) * width
        numbered = tuple(f"_{k}" for k in range(width) for _ in range(size))
        channels = (
            Channel("msg_mean", "1", -1.0, 1.0, at=everybody, suffixes=numbered),
            Channel("msg_new", "1", -1.0, 1.0, at=everybody, suffixes=numbered),
            Channel("msg_age", "s", 0.0, oldest, oldest),
        )
        return self._added(members, links, channels)

    @staticmethod
    def before(xp: Namespace, ctx: Context, state: Queue, orders: Any) -> tuple[Queue, Overheard, Array]:
        """Send, deliver, and average over the others."""
        here, size = ctx.tables, len(ctx.tables.loss)
        after = deliver(xp, ctx, state, xp.concatenate(orders, axis=-1), xp.take(ctx.due, ctx.tables.sender, axis=-1))
        known = xp.where(after.sent_at >= 0.0, 1.0, 0.0)
        others = xp.maximum(xp.sum(known, axis=-1, keepdims=True) - known, 1.0)
        total = sum_into(xp, after.shown, here.row_of_number, after.shown.shape[-1] // size)
        rest = xp.take(total, here.row_of_number, axis=-1) - after.shown
        mean = rest / xp.take(others, here.link_of_number, axis=-1)
        rank = after.sent_at * size - here.sender
        best = xp.max(rank, axis=-1, keepdims=True)
        second = xp.max(xp.where(rank == best, -LOST, rank), axis=-1, keepdims=True)
        chosen = xp.where(rank == best, second, best)
        sent_at = -xp.floor(-chosen / size)
        sender = sent_at * size - chosen
        at = xp.take(xp.maximum(sender, 0.0), here.link_of_number, axis=-1) + 1.0 * here.row_of_number * size
        newest = xp.take_along_axis(after.shown, whole(xp, at), axis=-1)
        return after, Overheard(mean, newest, age_s(xp, ctx, sent_at)), ctx.governed
