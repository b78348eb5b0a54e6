"""Messages between agents: numbers that senders choose, over links with delay and loss.

The queue belongs to the senders and moves on by one place in each tick; it has a place for each tick that a message may
take. A message that a link loses never arrives; one that is overtaken by a newer one is dropped. What has arrived stays
until something newer does, and its age is observed with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from powergrid.agents.protocol import Action, Added, Channel, Context, HorizontalProtocol, Members, ProtocolSettings
from powergrid.core.backend import Namespace, sum_into, whole
from powergrid.core.errors import ConfigError, Issue, nearest
from powergrid.core.types import Array
from powergrid.plugins import register_protocol

_DISTRIBUTIONS = ("fixed", "uniform", "normal")
_SPREAD = 4.0
"""Normal delays are cut off at so many standard deviations, so that a queue has an end."""
_LOST = 1e9
"""Tick at which a message arrives that never does."""
_UNIFORM_HALF_WIDTH = math.sqrt(3.0)
"""Half the width of a uniform distribution in standard deviations."""


class Link(BaseModel):
    """A link with a delay and a loss of its own, in both directions unless `receiver` is left out."""

    model_config = ConfigDict(extra="forbid")

    sender: str = Field(description="id of the agent that sends")
    receiver: str = Field("", description="id of the agent that receives; omitted: all that are linked with it")
    mean_s: float = Field(0.0, ge=0, description="mean delay [s]")
    std_s: float = Field(0.0, ge=0, description="standard deviation of the delay [s]")
    loss: float = Field(0.0, ge=0, le=1, description="share of messages lost [1]")


class Settings(ProtocolSettings):
    """Parameters of the links."""

    width: int = Field(4, ge=1, le=64, description="numbers in a message")
    dist: Literal["fixed", "uniform", "normal"] = Field("fixed", description="distribution of the delay")
    mean_s: float = Field(0.0, ge=0, description="mean delay [s]")
    std_s: float = Field(0.0, ge=0, description="standard deviation of the delay [s]")
    loss: float = Field(0.0, ge=0, le=1, description="share of messages lost [1]")
    max_age_s: float = Field(86_400.0, gt=0, description="bound of a message's age in observations [s]")
    links: tuple[Link, ...] = Field((), description="links with a delay and a loss of their own")

    @model_validator(mode="after")
    def _spread_has_a_distribution(self) -> Settings:
        if self.dist == "fixed" and any(std_s > 0 for std_s in (self.std_s, *(link.std_s for link in self.links))):
            raise ValueError("a fixed delay has no standard deviation: choose uniform or normal, or leave std out")
        return self


class Radio(NamedTuple):
    """Length of a tick [s], distribution of delays (0 fixed, 1 uniform, 2 normal), and the largest age [s]."""

    dt_s: float
    distribution: float
    max_age_s: float


class Queue(NamedTuple):
    """What is on its way, and what receivers know.

    Attributes
    ----------
    payload
        Numbers of the last messages, by ticks since they were sent, number and sender.
    arrives
        Tick at which each arrives, by ticks since it was sent and link.
    sent_at
        Tick at which what a link shows was sent; -1 before anything has arrived.
    shown
        The newest numbers that have arrived, by number and link.
    delivered
        Messages that have arrived in the episode.
    """

    payload: Array
    arrives: Array
    sent_at: Array
    shown: Array
    delivered: Array


class Tables(NamedTuple):
    """Places in the queue, and who sends.

    Attributes
    ----------
    ago
        Ticks since the message of each arrival was sent.
    sender
        Member that sends over each link.
    link_of_number, number_of_number
        Link of each shown number, and its number among all orders.
    row_of_number
        Place of each shown number within its message.
    loss, low_s, span_s
        Share lost by link, least delay [s] and its range [s]; of normal delays their mean and standard deviation.
    """

    ago: np.ndarray
    sender: np.ndarray
    link_of_number: np.ndarray
    number_of_number: np.ndarray
    row_of_number: np.ndarray
    loss: np.ndarray
    low_s: np.ndarray
    span_s: np.ndarray


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


def _delay_s(xp: Namespace, ctx: Context, links: int) -> Array:
    """Delay of a message that is sent now over each link [s]."""
    low, span = ctx.tables.low_s, ctx.tables.span_s
    if ctx.params.distribution == 0.0:
        return low + 0.0 * ctx.uniform[..., :links]
    first = ctx.uniform[..., links : 2 * links]
    if ctx.params.distribution == 1.0:
        return low + span * first
    # Box and Muller, "A note on the generation of random normal deviates", Ann. Math. Stat. 29, 1958
    radius = xp.sqrt(-2.0 * xp.log(1.0 - first))
    deviate = radius * xp.cos(2.0 * math.pi * ctx.uniform[..., 2 * links : 3 * links])
    return xp.maximum(low + span * xp.minimum(xp.maximum(deviate, -_SPREAD), _SPREAD), 0.0)


def deliver(xp: Namespace, ctx: Context, state: Queue, numbers: Array) -> Queue:
    """Put what senders say into the queue, and show what has arrived.

    A message that is sent in tick `t` with a delay `d` is known from the first tick at or after ``t dt + d`` on.

    Parameters
    ----------
    numbers
        All orders, ``(*batch, width * members)``, number after number.
    """
    here, tick = ctx.tables, ctx.tick
    links, size = len(here.loss), numbers.shape[-1]
    depth = len(here.ago) // max(links, 1)
    payload = xp.concatenate((numbers, state.payload[..., : (depth - 1) * size]), axis=-1)
    ticks = -xp.floor(1e-6 - _delay_s(xp, ctx, links) / ctx.params.dt_s)
    sends = (xp.take(ctx.due, here.sender, axis=-1) > 0.0) & (ctx.uniform[..., :links] >= here.loss)
    arrival = xp.where(sends, tick + ticks, _LOST)
    arrives = xp.concatenate((arrival, state.arrives[..., : (depth - 1) * links]), axis=-1)
    sent_at = xp.where(arrives <= tick, tick - here.ago, -1.0)
    newest = state.sent_at
    for k in range(depth):
        newest = xp.maximum(newest, sent_at[..., k * links : (k + 1) * links])
    fresh = newest > state.sent_at
    ago = xp.minimum(tick - newest, depth - 1.0) * size  # older ones are shown already
    arrived = xp.take_along_axis(
        payload, whole(xp, xp.take(ago, here.link_of_number, axis=-1) + here.number_of_number), axis=-1
    )
    shown = xp.where(xp.take(fresh, here.link_of_number, axis=-1), arrived, state.shown)
    delivered = state.delivered + xp.sum(xp.where(fresh, 1.0, 0.0), axis=-1, keepdims=True)
    return Queue(payload, arrives, newest, shown, delivered)


def age_s(xp: Namespace, ctx: Context, sent_at: Array) -> Array:
    """Age of messages at the next observation [s]; the largest where nothing has arrived."""
    since = xp.minimum((ctx.tick + 1.0 - sent_at) * ctx.params.dt_s, ctx.params.max_age_s)
    return xp.where(sent_at < 0.0, ctx.params.max_age_s, since)


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
        return Radio(self._dt_s, float(_DISTRIBUTIONS.index(self.settings.dist)), self.settings.max_age_s)

    @classmethod
    def initial(cls, xp: Namespace, batch: tuple[int, ...], widths: Sequence[int], dtype: Any) -> Queue:
        """Nothing is on its way, and nothing has arrived."""
        payload, arrives, sent_at, shown, delivered = (xp.zeros((*batch, width), dtype=dtype) for width in widths)
        return Queue(payload, arrives + _LOST, sent_at - 1.0, shown, delivered)

    def _added(self, members: Members, links: np.ndarray, channels: tuple[Channel, ...]) -> Added:
        """Actions, and a queue for links ``(L, 2)`` of sender and receiver; receiver -1 is everybody."""
        width, size, count = self.settings.width, len(members), len(links)
        self._dt_s = members.dt_h * 3600.0
        low, span, loss, most_s = self._delays([member.id for member in members], links)
        depth = 1 + math.ceil(most_s / self._dt_s - 1e-6)
        number = np.arange(width)
        tables = Tables(
            ago=np.repeat(np.arange(depth), count).astype(float),
            sender=links[:, 0],
            link_of_number=np.tile(np.arange(count), width),
            number_of_number=(number[:, None] * size + links[:, 0]).ravel().astype(float),
            row_of_number=np.repeat(number, count),
            loss=loss,
            low_s=low,
            span_s=span,
        )
        return Added(
            actions=tuple(Action(f"msg_{k}", "1", -1.0, 1.0) for k in range(width)),
            channels=channels,
            tables=tables,
            widths=(depth * width * size, depth * count, count, width * count, 1),
            draws=(1, 2, 3)[_DISTRIBUTIONS.index(self.settings.dist)] * count,
            messages=count if (links[:, 1] >= 0).all() else size * (size - 1),
        )

    def _delays(self, ids: list[str], links: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """Least delay, range, and loss of each link, and the largest delay of all."""
        mean, std, loss = (np.full(len(links), getattr(self.settings, name)) for name in ("mean_s", "std_s", "loss"))
        for link in self.settings.links:
            for own in (name for name in (link.sender, link.receiver) if name and name not in ids):
                raise ConfigError([Issue("messages.links", f'there is no member "{own}"', nearest(own, ids))])
            here = links[:, 0] == ids.index(link.sender)
            if link.receiver:
                here &= links[:, 1] == ids.index(link.receiver)
            if not here.any():
                message = f'"{link.sender}" has no link of its own to "{link.receiver}"'
                raise ConfigError([Issue("messages.links", message, "name a link of the topology, or leave it out")])
            mean[here], std[here], loss[here] = link.mean_s, link.std_s, link.loss
        if self.settings.dist == "normal":
            return mean, std, loss, float((mean + _SPREAD * std).max(initial=0.0))
        low = np.maximum(mean - _UNIFORM_HALF_WIDTH * std, 0.0)
        span = mean + _UNIFORM_HALF_WIDTH * std - low
        return low, span, loss, float((low + span).max(initial=0.0))


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
        after = deliver(xp, ctx, state, xp.concatenate(orders, axis=-1))
        return after, Received(after.shown, age_s(xp, ctx, after.sent_at)), ctx.governed


@register_protocol("broadcast")
class Broadcast(_Messages):
    """Everybody's messages reach everybody: each observes the mean of the others, and the newest among them.

    Delays and losses are drawn for every sender, and are the same for all its receivers. Of messages that were sent in
    one tick that of the member listed first counts as the newest. Observations do not grow with the number of members.
    """

    def entries(self, members: Members) -> Added:
        """Numbers to send; mean and newest numbers received, and the age of the newest."""
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
        after = deliver(xp, ctx, state, xp.concatenate(orders, axis=-1))
        known = xp.where(after.sent_at >= 0.0, 1.0, 0.0)
        others = xp.maximum(xp.sum(known, axis=-1, keepdims=True) - known, 1.0)
        total = sum_into(xp, after.shown, here.row_of_number, after.shown.shape[-1] // size)
        rest = xp.take(total, here.row_of_number, axis=-1) - after.shown
        mean = rest / xp.take(others, here.link_of_number, axis=-1)
        rank = after.sent_at * size - here.sender
        best = xp.max(rank, axis=-1, keepdims=True)
        second = xp.max(xp.where(rank == best, -_LOST, rank), axis=-1, keepdims=True)
        chosen = xp.where(rank == best, second, best)
        sent_at = -xp.floor(-chosen / size)
        sender = sent_at * size - chosen
        at = xp.take(xp.maximum(sender, 0.0), here.link_of_number, axis=-1) + 1.0 * here.row_of_number * size
        newest = xp.take_along_axis(after.shown, whole(xp, at), axis=-1)
        return after, Overheard(mean, newest, age_s(xp, ctx, sent_at)), ctx.governed
