"""Links that delay and lose what is sent over them: a queue as columns of a state, for every protocol that uses them.

The queue belongs to the senders and moves on by one place in each tick; it has a place for each tick that something may
take. What a link loses never arrives; what is overtaken by something newer is dropped. What has arrived stays until
something newer does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from powergrid.agents.protocol import Context, Members, ProtocolSettings
from powergrid.core.backend import Namespace, whole
from powergrid.core.types import Array

DISTRIBUTIONS = ("fixed", "uniform", "normal")
LOST = 1e9
"""Tick at which something arrives that never does."""
MAX_AGE_S = 86_400.0
"""Usual bound of an age in observations [s]."""
_SPREAD = 4.0
"""Normal delays are cut off at so many standard deviations, so that a queue has an end."""
_UNIFORM_HALF_WIDTH = math.sqrt(3.0)
"""Half the width of a uniform distribution in standard deviations."""


class Link(BaseModel):
    """A link with a delay and a loss of its own, from its sender to its receiver."""

    model_config = ConfigDict(extra="forbid")

    sender: str = Field(description="id of the agent that sends")
    receiver: str = Field("", description="id of the agent that receives; omitted: all that the sender is linked with")
    mean_s: float = Field(0.0, ge=0, description="mean delay [s]")
    std_s: float = Field(0.0, ge=0, description="standard deviation of the delay [s]")
    loss: float = Field(0.0, ge=0, le=1, description="share of messages lost [1]")

    def carries(self, sender: str, receiver: str) -> bool:
        """Whether it is the link from one agent to another."""
        return self.sender == sender and self.receiver in ("", receiver)


class LinkSettings(ProtocolSettings):
    """Delay and loss of links."""

    dist: Literal["fixed", "uniform", "normal"] = Field("fixed", description="distribution of the delay")
    mean_s: float = Field(0.0, ge=0, description="mean delay [s]")
    std_s: float = Field(0.0, ge=0, description="standard deviation of the delay [s]")
    loss: float = Field(0.0, ge=0, le=1, description="share of messages lost [1]")
    links: tuple[Link, ...] = Field(
        (), description="links with values of their own; of two for one link the later counts"
    )

    @model_validator(mode="after")
    def _spread_has_a_distribution(self) -> LinkSettings:
        if self.dist == "fixed" and any(own.std_s > 0 for own in self._kinds):
            raise ValueError("a fixed delay has no standard deviation: choose uniform or normal, or leave std out")
        return self

    @property
    def are_ideal(self) -> bool:
        """Whether everything arrives in the tick in which it is sent."""
        return all(own.mean_s == 0.0 and own.std_s == 0.0 and own.loss == 0.0 for own in self._kinds)

    @property
    def _kinds(self) -> tuple[LinkSettings | Link, ...]:
        return (self, *self.links)

    def among(self, senders: Iterable[str], receivers: Iterable[str]) -> LinkSettings:
        """The same with those links of their own alone that may join some senders with some receivers."""
        ids, others = set(senders), {"", *receivers}
        kept = tuple(link for link in self.links if link.sender in ids and link.receiver in others)
        return self.model_copy(update={"links": kept})

    @property
    def distribution(self) -> float:
        """Number of the distribution among :data:`DISTRIBUTIONS`."""
        return float(DISTRIBUTIONS.index(self.dist))

    @property
    def draws(self) -> int:
        """Random numbers of a link in a tick."""
        return (1, 2, 3)[DISTRIBUTIONS.index(self.dist)]


IDEAL = LinkSettings.model_validate({})
"""No delay and no loss."""


class OverMessages(ProtocolSettings):
    """Parameters of a protocol whose signals may travel over the links of `messages`."""

    over_messages: bool = Field(
        False, description="whether what it sends travels over the links of `messages`, with their delay and loss"
    )


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
        Ticks since what each arrival brings was sent.
    sender
        Member that sends over each link.
    link_of_number, number_of_number
        Link of each shown number, and its number among all that are sent.
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


class Delays(NamedTuple):
    """Delay and loss by link, ``(L,)``.

    Attributes
    ----------
    loss
        Share lost [1].
    low_s, span_s
        Least delay and its range [s]; of normal delays their mean and standard deviation.
    most_s
        Largest delay of all [s].
    """

    loss: np.ndarray
    low_s: np.ndarray
    span_s: np.ndarray
    most_s: float

    def depth(self, dt_s: float) -> int:
        """Places of a queue that holds everything on its way."""
        return 1 + math.ceil(self.most_s / dt_s - 1e-6)


def delays_of(dist: str, mean_s: np.ndarray, std_s: np.ndarray, loss: np.ndarray) -> Delays:
    """Delay and loss of links from the mean and standard deviation of each."""
    if dist == "normal":
        return Delays(loss, mean_s, std_s, float((mean_s + _SPREAD * std_s).max(initial=0.0)))
    low = np.maximum(mean_s - _UNIFORM_HALF_WIDTH * std_s, 0.0)
    span = mean_s + _UNIFORM_HALF_WIDTH * std_s - low
    return Delays(loss, low, span, float((low + span).max(initial=0.0)))


def delays_between(settings: LinkSettings, ends: Sequence[tuple[str, str]]) -> Delays:
    """Delay and loss of links by their ends.

    Parameters
    ----------
    settings
        Delay and loss of all links, and of those with values of their own, of which the last one counts.
    ends
        Ids of sender and receiver of each link; a receiver without a name stands for everybody.
    """
    mean, std, loss = (np.full(len(ends), getattr(settings, name)) for name in ("mean_s", "std_s", "loss"))
    for link in settings.links:
        here = np.array([link.carries(*pair) for pair in ends], dtype=bool)
        mean[here], std[here], loss[here] = link.mean_s, link.std_s, link.loss
    return delays_of(settings.dist, mean, std, loss)


def tables_of(delays: Delays, dt_s: float, sender: np.ndarray, number: np.ndarray) -> Tables:
    """Places in a queue.

    Parameters
    ----------
    delays
        Delay and loss of each link.
    dt_s
        Length of a tick [s].
    sender
        Member that sends over each link, ``(L,)``.
    number
        Which of all numbers that are sent the rows of each link's message are, ``(rows, L)``.
    """
    rows, count = number.shape
    return Tables(
        ago=np.repeat(np.arange(delays.depth(dt_s)), count).astype(float),
        sender=sender,
        link_of_number=np.tile(np.arange(count), rows),
        number_of_number=number.ravel().astype(float),
        row_of_number=np.repeat(np.arange(rows), count),
        loss=delays.loss,
        low_s=delays.low_s,
        span_s=delays.span_s,
    )


def widths_of(tables: Tables, numbers: int) -> tuple[int, ...]:
    """Number of columns of each field of a :class:`Queue` with these tables, where so many numbers are sent."""
    links = len(tables.sender)
    depth = len(tables.ago) // max(links, 1)
    return depth * numbers, len(tables.ago), links, len(tables.link_of_number), 1


def empty_queue(xp: Namespace, batch: tuple[int, ...], widths: Sequence[int], dtype: Any) -> Queue:
    """Nothing is on its way, and nothing has arrived."""
    payload, arrives, sent_at, shown, delivered = (xp.zeros((*batch, width), dtype=dtype) for width in widths)
    return Queue(payload, arrives + LOST, sent_at - 1.0, shown, delivered)


def delay_ticks(xp: Namespace, ctx: Context, links: int) -> Array:
    """Ticks after which what is sent now over each link arrives."""
    low, span = ctx.tables.low_s, ctx.tables.span_s
    if ctx.params.distribution == 0.0:
        delay_s = low + 0.0 * ctx.uniform[..., :links]
    elif ctx.params.distribution == 1.0:
        delay_s = low + span * ctx.uniform[..., links : 2 * links]
    else:
        # Box and Muller, "A note on the generation of random normal deviates", Ann. Math. Stat. 29, 1958
        radius = xp.sqrt(-2.0 * xp.log(1.0 - ctx.uniform[..., links : 2 * links]))
        deviate = radius * xp.cos(2.0 * math.pi * ctx.uniform[..., 2 * links : 3 * links])
        delay_s = xp.maximum(low + span * xp.minimum(xp.maximum(deviate, -_SPREAD), _SPREAD), 0.0)
    return -xp.floor(1e-6 - delay_s / ctx.params.dt_s)


def deliver(xp: Namespace, ctx: Context, state: Queue, numbers: Array, speaks: Array) -> Queue:
    """Put what senders say into the queue, and show what has arrived.

    What is sent in tick `t` with a delay `d` is known from the first tick at or after ``t dt + d`` on.

    Parameters
    ----------
    numbers
        All numbers that are sent, ``(*batch, numbers)``.
    speaks
        Above zero where something is sent over a link in this tick, ``(*batch, L)``.
    """
    here, tick = ctx.tables, ctx.tick
    links, size = len(here.loss), numbers.shape[-1]
    depth = len(here.ago) // max(links, 1)
    payload = xp.concatenate((numbers, state.payload[..., : (depth - 1) * size]), axis=-1)
    sends = (speaks > 0.0) & (ctx.uniform[..., :links] >= here.loss)
    arrival = xp.where(sends, tick + delay_ticks(xp, ctx, links), LOST)
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
    """Age of what is shown at the next observation [s]; the largest where nothing has arrived."""
    since = xp.minimum((ctx.tick + 1.0 - sent_at) * ctx.params.dt_s, ctx.params.max_age_s)
    return xp.where(sent_at < 0.0, ctx.params.max_age_s, since)


class OverLinks:
    """Part of a vertical protocol whose parent's numbers travel over a link to each child.

    Parameters
    ----------
    links
        Delay and loss.
    settings
        The protocol's own settings.
    """

    State: ClassVar[Any] = Queue
    noisy: ClassVar[bool] = True

    def __init__(self, links: LinkSettings, settings: Any):
        self.settings, self.links, self._dt_s = settings, links, 0.0

    @classmethod
    def initial(cls, xp: Namespace, batch: tuple[int, ...], widths: Sequence[int], dtype: Any) -> Queue:
        """Nothing is on its way, and nothing has arrived."""
        return empty_queue(xp, batch, widths, dtype)

    def carried(self, members: Members, *, each: bool) -> dict[str, Any]:
        """Tables, widths, draws and links of the entries, with one number for each child or one for all."""
        self._dt_s, children = members.dt_h * 3600.0, len(members)
        number = np.arange(children) if each else np.zeros(children, int)
        ends = tuple((members.parent, child.id) for child in members)
        delays, sender = delays_between(self.links, ends), np.zeros(children, int)
        tables = tables_of(delays, self._dt_s, sender, number[None])
        widths = widths_of(tables, children if each else 1)
        return {"tables": tables, "widths": widths, "draws": children * self.links.draws, "carries": ends}
