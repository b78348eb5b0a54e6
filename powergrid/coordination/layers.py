"""Layers: protocols at work in the step. One text for NumPy and JAX; the compiled step calls the same kernels.

A tick runs the vertical layers' `before` top down, then the devices' local policies, then horizontal layers; after the
flow every layer settles. What a layer adds to actions, signals, commands and money is known from its protocol's
entries alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.market import MarketView
from powergrid.agents.protocol import Added, Context, Position
from powergrid.coordination.graph import Topology
from powergrid.core.backend import Namespace
from powergrid.core.types import Array


class LayerMarket(NamedTuple):
    """The market of a layer.

    Attributes
    ----------
    clear, method
        What clears it, with its plan (:attr:`powergrid.agents.market.MarketView.clear`), and the method's name.
    families
        Families with units that the layer dispatches.
    unit
        Number of the unit of each governed command among those of these families, ``(g,)``.
    dispatched
        1 where the layer dispatches a unit, 0 for the others, ``(N,)``.
    member_of_unit, member_of_bus
        Member whose meters read a unit ``(N,)``, and a load at a bus ``(m,)``, first; -1 for none.
    generation_mw
        Power that the network's own generators feed in at each bus [MW], ``(m,)``.
    """

    clear: Callable[..., Any]
    method: str
    families: tuple[int, ...]
    unit: np.ndarray
    dispatched: np.ndarray
    member_of_unit: np.ndarray
    member_of_bus: np.ndarray
    generation_mw: np.ndarray


@dataclass(frozen=True)
class Layer:
    """One protocol among its members.

    Attributes
    ----------
    protocol, params, added
        The protocol object, its plain numbers, and what it adds.
    ids
        Its members.
    level
        Level of the parent; 0 for horizontal protocols.
    accounts
        Account that pays for each member, and that of the counterparty, ``(m + 1,)``; -2 drops a column. Where the
        source is settled, those of the parent and of the utility, ``(m + 2,)``.
    orders
        Slots of each action, ``(speakers,)`` or ``(m,)``.
    channels
        Columns of the signals that each channel fills, ``(1,)`` or ``(m,)``.
    retail, feed_in
        Tariff columns of the members, ``(m,)``.
    node, node_share
        Nodes at each member, filled up to three, and their weights, ``(m, 3)``.
    meter, units, by_units
        Sums of measurements and of units' injections into members, and whether the latter are what is metered.
    load
        Account whose own load counts as the member's, ``(m,)``; -1 for none.
    governed, governed_member
        Slots of the commands that it governs, and the member of each, ``(g,)``.
    widths
        Number of columns of each field of its state.
    interval, offset
        Ticks between two decisions of each speaker and the first of them, ``(speakers,)``.
    noise, draws
        First of its columns among the random numbers of the layers, and their number.
    heard
        Column of the signals with the price that the parent receives from above in place of the market's; -1 for none.
    unit
        Number of the first injecting unit of each member, -1 for none, ``(m,)``.
    f_hz
        Nominal frequency [Hz].
    works
        Column of the signals that says of each unit of the members whether it is out of service, -1 for those that
        never are, ``(units,)``.
    absent
        Column of the signals that says of each speaker whether it is absent, -1 for those that never are,
        ``(speakers,)``.
    market
        Its market on the network; ``None`` for none.
    """

    protocol: Any
    params: Any
    added: Added
    ids: tuple[str, ...]
    level: int
    accounts: np.ndarray
    orders: tuple[np.ndarray, ...]
    channels: tuple[np.ndarray, ...]
    retail: np.ndarray
    feed_in: np.ndarray
    node: np.ndarray
    node_share: np.ndarray
    meter: Any
    units: Any
    by_units: bool
    load: np.ndarray
    governed: np.ndarray
    governed_member: np.ndarray
    widths: tuple[int, ...]
    interval: np.ndarray
    offset: np.ndarray
    noise: int
    draws: int
    unit: np.ndarray
    f_hz: float
    works: np.ndarray
    absent: np.ndarray
    heard: int = -1
    market: LayerMarket | None = None

    @property
    def members(self) -> int:
        """Number of members."""
        return len(self.ids)

    @property
    def messages(self) -> int:
        """Messages that members and parent send each other in a tick in which it runs."""
        if self.added.messages is not None:
            return self.added.messages
        orders = bool(self.protocol.speaks) and self.protocol.speakers == "members"
        meters = self.protocol.after is not None
        return self.members * (orders + meters + bool(self.added.channels))

    @property
    def metered(self) -> int:
        """Number of sums of metered energy: one each member, and the source's where it is settled."""
        return len(self.ids) + int(self.protocol.settles_source)

    def metered_mwh(self, xp: Namespace, measured_mw: Array, p_mw: Array, dt_h: float) -> Array:
        """Metered energy of the members, import positive, ``(*batch, m)``, and of the source where it is settled."""
        return (-self.units(xp, p_mw) if self.by_units else self.meter(xp, measured_mw)) * dt_h

    def voltage(self, xp: Namespace, v_pu: Array) -> Array:
        """Voltage at each member, the mean of its phases [pu], ``(*batch, m)``."""
        share = xp.asarray(self.node_share, dtype=v_pu.dtype)
        return sum(
            (v_pu[..., self.node[:, k]] * share[:, k] for k in range(1, 3)), v_pu[..., self.node[:, 0]] * share[:, 0]
        )


class Peers(NamedTuple):
    """A horizontal protocol before it is assembled: its members' ids, and who is linked with whom."""

    protocol: Any
    members: Sequence[str]
    topology: Topology = "full"


class Frequency(NamedTuple):
    """Frequency at every injecting unit [Hz], and its island, -1 for none, ``(*batch, N)``.

    Without columns where no unit ever forms the grid of an island.
    """

    hz: Array
    island: Array


class Now(NamedTuple):
    """What layers may use of the running tick.

    Ticks ``(*batch,)``, exogenous row, voltages and random numbers; the frequency after the flow.
    """

    tick: Array
    row: Array
    price: int
    dt_h: float
    v_pu: Array
    uniform: Array
    frequency: Frequency | None = None


def context(
    xp: Namespace, layer: Layer, now: Now, physical: Array, signals: Array, market: MarketView | None = None
) -> Context:
    """What a layer's kernels may use; `physical` are all commands in physical units, ``(*batch, K)``.

    Where an agent above the parent sends a price, it stands for the market's.
    """
    row = now.row
    uniform = now.uniform[..., layer.noise : layer.noise + layer.draws]
    if not layer.draws:
        uniform = row[..., :1] * 0.0 * np.ones(layer.members)
    since = now.tick[..., None] - layer.offset
    due = (since >= 0) & (since % layer.interval == 0)
    if (layer.absent >= 0).any():
        due = due & xp.logical_not(flagged(xp, signals, layer.absent))
    v_pu = layer.voltage(xp, now.v_pu)
    frequency = _frequency(xp, layer, now.frequency, v_pu)
    return Context(
        params=layer.params,
        dt_h=now.dt_h,
        tick=row[..., :1] * 0.0 + now.tick[..., None],
        due=xp.where(due, row[..., :1] * 0.0 + 1.0, 0.0),
        retail_per_mwh=row[..., layer.retail],
        feed_in_per_mwh=row[..., layer.feed_in],
        price_per_mwh=row[..., now.price, None] if layer.heard < 0 else signals[..., layer.heard, None],
        v_pu=v_pu,
        governed=physical[..., layer.governed],
        command_member=layer.governed_member,
        tables=tables(xp, layer, row.dtype),
        uniform=uniform,
        frequency_hz=frequency.hz,
        island=frequency.island,
        works=xp.where(flagged(xp, signals, layer.works), 0.0, row[..., :1] * 0.0 + 1.0),
        market=market,
    )


def flagged(xp: Namespace, signals: Array, columns: np.ndarray) -> Array:
    """Whether each of some columns of the signals is above a half, ``(*batch, n)``; false for those that are -1."""
    if not (columns >= 0).any():
        return xp.zeros((*signals.shape[:-1], len(columns)), dtype=bool)
    return xp.asarray(columns >= 0) & (signals[..., np.maximum(columns, 0)] > 0.5)


def _frequency(xp: Namespace, layer: Layer, found: Frequency | None, v_pu: Array) -> Frequency:
    """Frequency and island of a layer's members, whose voltages are `v_pu`, ``(*batch, m)``."""
    unknown = 0.0 * v_pu + np.nan
    if found is None:
        return Frequency(unknown, unknown)
    if found.hz.shape[-1]:
        parts = [part[..., np.maximum(layer.unit, 0)] for part in found]
    else:
        parts = [xp.where(v_pu > 0.0, layer.f_hz, 0.0 * v_pu), 0.0 * v_pu - 1.0]
    return Frequency(*(xp.where(layer.unit >= 0, part, unknown) for part in parts))


def tables(xp: Namespace, layer: Layer, dtype: Any) -> Any:
    """A layer's constant arrays; real numbers in the type of the step."""
    given = layer.added.tables
    if not given:
        return given
    return type(given)(*(part if part.dtype.kind == "i" else xp.asarray(part, dtype=dtype) for part in given))


def orders(layer: Layer, physical: Array) -> Any:
    """A layer's orders among all commands in physical units."""
    return layer.protocol.Orders(*(physical[..., slots] for slots in layer.orders))


def send(xp: Namespace, layer: Layer, signals: Array, sent: Any) -> Array:
    """The signals with what a layer sends, ``(*batch, S)``; what it leaves out stays as it is."""
    names = getattr(sent, "_fields", ())
    for channel, columns in zip(layer.added.channels, layer.channels, strict=True):
        if channel.name in names:
            index = np.arange(signals.shape[-1])
            index[columns] = signals.shape[-1] + np.arange(len(columns))
            values = xp.broadcast_to(getattr(sent, channel.name), (*signals.shape[:-1], len(columns)))
            signals = xp.concatenate([signals, values], axis=-1)[..., index]
    return signals


def before(
    xp: Namespace,
    layer: Layer,
    state: Any,
    now: Now,
    physical: Array,
    signals: Array,
    market: MarketView | None = None,
) -> tuple[Any, Array, Array | None]:
    """Run the first seam of a layer; `market` is what it knows of its market, if it has one.

    Returns
    -------
    state, signals, governed
        `governed` are the commands that it governs in physical units; ``None`` where there are none.
    """
    if layer.protocol.before is None:
        return state, signals, None
    ctx = context(xp, layer, now, physical, signals, market)
    state, sent, governed = layer.protocol.before(xp, ctx, state, orders(layer, physical))
    return state, send(xp, layer, signals, sent), governed if len(layer.governed) else None


def after(
    xp: Namespace, layer: Layer, state: Any, now: Now, physical: Array, signals: Array, metered_mwh: Array
) -> tuple[Any, Array, list[Array], list[Array]]:
    """Run the second seam of a layer.

    Returns
    -------
    state, signals, money, violations
        Money [$] by name, ``(*batch, m + 1)`` each; priced violations [$] by name, ``(*batch, m)`` each.
    """
    if layer.protocol.after is None:
        return state, signals, [], []
    ctx = context(xp, layer, now, physical, signals)
    state, sent, money, violations = layer.protocol.after(xp, ctx, state, metered_mwh)
    return state, send(xp, layer, signals, sent), list(money), list(violations)


def decided(
    xp: Namespace,
    layer: Layer,
    state: Any,
    now: Now,
    physical: Array,
    signals: Array,
    how: str,
    position: Position | None,
    market: MarketView | None = None,
) -> Any:
    """Orders by rule, or those with which nobody takes part; ``None`` where the protocol has no such kernel."""
    kernel = layer.protocol.abstain if how == "abstain" else layer.protocol.rule
    return None if kernel is None else kernel(xp, context(xp, layer, now, physical, signals, market), state, position)


def initial(xp: Namespace, layers: Sequence[Layer], batch: tuple[int, ...], dtype: Any) -> tuple[Any, ...]:
    """States of the layers at reset."""
    return tuple(layer.protocol.initial(xp, batch, layer.widths, dtype) for layer in layers)
