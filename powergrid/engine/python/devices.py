"""Plain Python devices in the same loop as families of arrays: one object per unit and environment.

A plain device enters the step as a local policy does. Its objects are asked once a tick, after everybody has chosen;
what they answer (power, cost, safety, readings) goes into slots, from which a family whose kernels just pass them on
(``powergrid.engine.python.family``) takes them. So neither the step nor its compiled twin know of plain devices, and
worlds that have none pay nothing. One more slot holds the number of the episode whose objects belong to an environment.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.device_agent import DeviceAgent
from powergrid.agents.python_device import Windows
from powergrid.core.errors import DeviceError
from powergrid.core.types import Array
from powergrid.engine import formulas
from powergrid.engine.layout import Layout, Slots
from powergrid.engine.python.family import Told
from powergrid.engine.python.loop import loop_of
from powergrid.engine.python.loop import row as row_of
from powergrid.engine.python.units import Template, answers_of, guarded
from powergrid.engine.schedule import command
from powergrid.engine.state import Exogenous, State


class _Episode:
    """The objects of one episode.

    Attributes
    ----------
    number
        Its number, which a slot of the environment's state holds.
    owner
        Who began it.
    devices
        One object a unit.
    calls
        The loop of each class, its units as the loop wants them, and which of all units they are.
    orders
        Actions of all units [physical units]; ``action.c`` of each is a view of it.
    dataset
        The window on the data.
    tick
        Ticks done.
    touched
        When it was stepped last.
    """

    def __init__(self, devices: list[Any], ticks: int, read: Callable[[str, Array], Array], orders: int):
        self.number, self.owner, self.tick, self.touched = -1, -1, 0, 0
        self.devices = devices
        self.calls: list[tuple[Callable[..., None], list[Any], slice]] = []
        self.orders = np.zeros(orders)
        self.dataset = Windows(read, ticks)


class Saved(NamedTuple):
    """The objects of one episode as values.

    Attributes
    ----------
    tick
        Ticks done.
    orders
        Actions of all units [physical units].
    devices
        Attributes of each unit.
    """

    tick: int
    orders: Array
    devices: list[dict[str, Any]]


class Surroundings(NamedTuple):
    """Where each unit finds its surroundings, ``(units,)`` each.

    Attributes
    ----------
    place
        Its bus.
    seen, base, paid
        Columns of the price that it sees and of that which it pays itself (-1: none), among the exogenous row and the
        parents' signals. A signal shifts the latter by what it exceeds the price in column `base` by.
    draw
        Its number among the units of all families.
    """

    place: Array
    seen: Array
    base: Array
    paid: Array
    draw: Array


class PythonDevices:
    """All plain Python devices of an environment.

    Parameters
    ----------
    units
        The devices, in the order of their families.
    actions
        Slots of each unit's action.
    outputs
        Slots that each unit's answers go to.
    around
        Where each unit finds its surroundings.
    held
        Slot that holds the number of an episode.
    episode_length
        Ticks of an episode.
    read
        Values of a series at rows of the year, by its name.
    """

    def __init__(
        self,
        units: Sequence[Any],
        actions: Sequence[Sequence[int]],
        outputs: Sequence[Sequence[int]],
        around: Surroundings,
        held: int,
        episode_length: int,
        read: Callable[[str, Array], Array],
    ):
        self.held, self._around, self._length, self._read = held, around, episode_length, read
        self.templates = [Template(unit) for unit in units]
        self._action_slots = np.concatenate([np.zeros(0, int), *map(np.asarray, actions)]).astype(int)
        ends = np.cumsum([0, *map(len, actions)])
        self._orders = [slice(begin, end) for begin, end in pairwise(ends.tolist())]
        self.output_slots = np.concatenate([np.zeros(0, int), *map(np.asarray, outputs)]).astype(int)
        signs = [[unit.p_sign] * 2 + [1] * (len(at) - 2) for unit, at in zip(units, outputs, strict=True)]
        self._sign = np.concatenate(signs).astype(float)
        self._bills, self._nothing = around.paid >= 0, [0.0] * len(units)
        self._pays = bool(self._bills.any())
        kinds = [(type(unit), unit.facts.readings, unit.facts.parameters) for unit in units]
        starts = [i for i, kind in enumerate(kinds) if i == 0 or kind != kinds[i - 1]]
        self._alike = [slice(*pair) for pair in pairwise([*starts, len(units)])]
        self._episodes: dict[int, _Episode] = {}
        self._idle: list[_Episode] = []
        self._peak: dict[int, int] = {}
        self._began = self._clock = 0
        self._lock = threading.Lock()
        self._primary = True

    def attach(self, slots: Slots) -> PythonDevices:
        """Tell the devices the ranges of all slots, which are known last."""
        self._slots = slots
        self._low, self._half_span = slots.low[self._action_slots], slots.half_span[self._action_slots]
        return self

    # -- episodes ------------------------------------------------------------------------------------------------

    def begin(self, owner: int, row: Array, uniform: Array, slots: Array) -> Array:
        """Give new episodes their objects.

        Parameters
        ----------
        owner
            Number of whoever begins them: it has no use any more for what it began long ago.
        row
            First row of each episode in the year, ``(*batch,)``.
        uniform
            Numbers in [0, 1) of all units of all families, ``(*batch, n)``: for devices with a `reset` of their own.
        slots
            ``(*batch, K)``.

        Returns
        -------
        slots
            With the number of each episode, and what the units show before the first tick.
        """
        rows, draws = np.ravel(row), np.reshape(uniform[..., self._around.draw], (-1, len(self.templates)))
        with self._lock:
            self._release(owner, len(rows), single=np.ndim(row) == 0)
            episodes = [self._new(owner) for _ in rows]
        shown = [self._restart(*each) for each in zip(episodes, rows.tolist(), draws.tolist(), strict=True)]
        filled = np.array(slots).reshape(len(rows), -1)
        filled[:, self.held] = [episode.number for episode in episodes]
        filled[:, self.output_slots] = np.array(shown).reshape(len(rows), -1) * self._sign
        return filled.reshape(np.shape(slots))

    def shown(self, layout: Layout, slots: Array, devices: Sequence[Any]) -> list[Any]:
        """States of all families, those of plain devices as their slots say."""
        physical = layout.slots.physical(slots)
        plain = [issubclass(family.kernel, Told) for family in layout.families]
        rows = zip(plain, layout.families, devices, strict=True)
        return [command(family, physical) if told else state for told, family, state in rows]

    def _release(self, owner: int, wanted: int, single: bool) -> None:
        """Take back what has ended, and what its owner must have given up without ending it."""
        peak = self._peak[owner] = max(self._peak.get(owner, 0), wanted)
        mine = sorted((e for e in self._episodes.values() if e.owner == owner), key=lambda e: e.touched)
        # one environment has one episode; a batch steps all it has, so of more than two sets the oldest have been left
        spare = len(mine) if single else len(mine) + wanted - 2 * peak
        for i, episode in enumerate(mine):
            if i < spare or episode.tick >= self._length:
                del self._episodes[episode.number]
                self._idle.append(episode)

    def _new(self, owner: int) -> _Episode:
        if self._idle:
            episode = self._idle.pop()
        else:
            # the agents of the environment themselves serve first, so that whoever looks at one sees it live
            devices = [t.unit if self._primary else t.made() for t in self.templates]
            episode = _Episode(devices, self._length + 1, self._read, len(self._action_slots))
            self._primary = False
        self._began += 1
        episode.number, episode.owner, episode.tick, episode.touched = self._began, owner, 0, self._clock
        self._episodes[episode.number] = episode
        return episode

    def saved(self, numbers: Array) -> list[Saved]:
        """Copies of the objects of episodes, by their numbers ``(B,)``."""
        return [self._saved(self._episodes[int(number)]) for number in numbers.tolist()]

    def restored(self, owner: int, first: Array, saved: Sequence[Saved], single: bool) -> list[int]:
        """Objects that go on as copies say: the numbers of their episodes.

        Parameters
        ----------
        owner
            As for `begin`.
        first
            First row of each episode in the year, ``(B,)``.
        saved
            What :meth:`saved` gave, which stays as it is.
        single
            Whether it is one environment, not a batch of them.
        """
        with self._lock:
            self._release(owner, len(saved), single)
            episodes = [self._new(owner) for _ in saved]
        for episode, row, kept in zip(episodes, first.tolist(), saved, strict=True):
            episode.dataset.begin(row)
            for i, (device, template) in enumerate(zip(episode.devices, self.templates, strict=True)):
                template.resume(device, episode.dataset, kept.devices[i])
                device.action.c = episode.orders[self._orders[i]]
            episode.orders[:], episode.tick = kept.orders, kept.tick
            self._prepare(episode)
        return [episode.number for episode in episodes]

    def _saved(self, episode: _Episode) -> Saved:
        pairs = zip(episode.devices, self.templates, strict=True)
        return Saved(episode.tick, episode.orders.copy(), [template.saved(device) for device, template in pairs])

    def _restart(self, episode: _Episode, row: int, draws: list[float]) -> list[float]:
        episode.dataset.begin(row)
        for i, (device, template) in enumerate(zip(episode.devices, self.templates, strict=True)):
            template.restore(device, episode.dataset)
            device.action.c = episode.orders[self._orders[i]]
            device.action.c[:] = device.action.idle()
            if type(device).reset is not DeviceAgent.reset:
                guarded(device, "reset", draws[i])
        self._prepare(episode)
        return [answer for device in episode.devices for answer in answers_of(device)]

    def _prepare(self, episode: _Episode) -> None:
        """The loops of an episode's objects."""
        facts = [self.templates[alike.start].unit.facts for alike in self._alike]
        episode.calls = [
            (loop_of(kind.readings, kind.parameters), [row_of(device) for device in episode.devices[alike]], alike)
            for kind, alike in zip(facts, self._alike, strict=True)
        ]

    # -- ticks ---------------------------------------------------------------------------------------------------

    def act(self, state: State, exogenous: Exogenous) -> Array:
        """The slots of a state, ``(*batch, K)``, with the answers of all objects; see :meth:`answer`."""
        count = int(np.prod(state.tick.shape))
        slots = np.array(state.slots).reshape(count, -1)
        parts = exogenous.now, state.signals, state.v_re, state.v_im
        rows = (np.reshape(part, (count, part.shape[-1])) for part in parts)
        self.answer(slots, np.reshape(state.tick, -1), *rows)
        return slots.reshape(state.slots.shape)

    def answer(self, slots: Array, tick: Array, now: Array, signals: Array, v_re: Array, v_im: Array) -> None:
        """Ask every object for one tick, and put the answers into `slots`.

        Parameters
        ----------
        slots
            ``(B, K)``, everything else chosen.
        tick
            ``(B,)``.
        now, signals
            Exogenous rows ``(B, W)``, and what agents have been told ``(B, S)``.
        v_re, v_im
            Bus voltages of the last solved tick [pu], ``(B, m)``.

        Raises
        ------
        DeviceError
            If a device raises, answers anything but finite numbers or changes a parameter, or if the state is one
            that its objects have left behind.
        """
        orders = formulas.physical(slots.take(self._action_slots, axis=1), self._low, self._half_span)
        seen, paid, v_pu = self._surroundings(signals, now, v_re, v_im)
        numbers = slots[:, self.held].tolist()
        answers: list[Any] = []
        for e, t in enumerate(tick.tolist()):
            episode = self._episode(int(numbers[e]), t)
            episode.orders[:] = orders[e]
            for loop, units, which in episode.calls:
                loop(units, t, seen[e][which], paid[e][which], v_pu[e][which], answers)
        slots[:, self.output_slots] = self._table(answers, numbers).reshape(len(slots), -1) * self._sign

    def _episode(self, number: int, tick: int) -> _Episode:
        episode = self._episodes.get(number)
        if episode is None or episode.tick != tick:
            first = self.templates[0].unit
            at = "another episode" if episode is None else f"tick {episode.tick}"
            raise DeviceError(
                first.id,
                type(first).__name__,
                f"the state to step from is at tick {tick}, the device at {at}: a plain Python device lives in an "
                "object, which cannot go back; give it a `step` kernel, or step on from the newest state",
            )
        self._clock += 1
        episode.tick, episode.touched = tick + 1, self._clock
        return episode

    def _surroundings(self, signals: Array, now: Array, v_re: Array, v_im: Array) -> tuple[list[list[float]], ...]:
        """Price that each unit sees, price that it pays itself, and voltage at its terminal, by environment."""
        around = self._around
        now = np.concatenate([now, signals], axis=1)
        paid = [self._nothing] * len(now)
        if self._pays:
            shift = now.take(around.seen, axis=1) - now.take(around.base, axis=1)
            paid = np.where(self._bills, now.take(around.paid, axis=1) + shift, 0.0).tolist()
        re, im = v_re.take(around.place, axis=1), v_im.take(around.place, axis=1)
        return now.take(around.seen, axis=1).tolist(), paid, np.sqrt(re * re + im * im).tolist()

    def _table(self, answers: list[Any], numbers: list[float]) -> Array:
        """The answers as numbers."""
        try:
            table = np.array(answers, dtype=float)
            fine = table.ndim == 1 and math.isfinite(table.sum())  # what overflows only here is looked at again
        except (TypeError, ValueError):
            fine = False
        if not fine:
            for number in numbers:
                for device in self._episodes[int(number)].devices:
                    answers_of(device)
        return table
