"""Plain Python devices in the same loop as families of arrays: one object per unit and environment.

A plain device enters the step as a local policy does. Its objects are asked once a tick, after everybody has chosen;
what they answer (power, cost, safety, readings) goes into slots, from which a family whose kernels just pass them on
(``powergrid.engine.python_family``) takes them. So neither the step nor its compiled twin know of plain devices, and
worlds that have none pay nothing. One more slot holds the number of the episode whose objects belong to an environment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.device_agent import DeviceAgent
from powergrid.agents.python_device import Windows
from powergrid.core.errors import DeviceError
from powergrid.core.types import Array
from powergrid.engine.layout import Layout, Params
from powergrid.engine.python_family import Told
from powergrid.engine.python_units import GIVEN, Template, changed, checked, failed, guarded
from powergrid.engine.schedule import command
from powergrid.engine.state import Exogenous, Noise, State

_ASKED = ("state.P", "state.Q", "cost", "safety")


class _Unit(NamedTuple):
    """One object, ready to be asked."""

    device: Any
    update_state: Callable[[], None]
    update_cost_safety: Callable[[], None]
    answers: Callable[[Any], tuple[Any, ...]]
    given: Callable[[Any], tuple[Any, ...]]
    fixed: tuple[Any, ...]


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
    units
        The same, ready to be asked.
    orders
        Actions of all units [physical units]; ``action.c`` of each is a view of it.
    dataset
        The window on the data.
    tick
        Ticks done.
    touched
        When it was stepped last.
    """

    def __init__(self, devices: list[Any], ticks: int, read: Callable[[str], Array], orders: int):
        self.number, self.owner, self.tick, self.touched = -1, -1, 0, 0
        self.devices = devices
        self.units: list[_Unit] = []
        self.orders = np.zeros(orders)
        self.dataset = Windows(read, ticks)


class Surroundings(NamedTuple):
    """Where each unit finds its surroundings, ``(units,)`` each.

    Attributes
    ----------
    place
        Its bus.
    seen, paid
        Columns of the price that it sees and of that which it pays itself, among the exogenous row, the parents'
        signals and a zero behind them.
    draw
        Its number among the units of all families.
    """

    place: Array
    seen: Array
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
        Values of a series over the year.
    """

    def __init__(
        self,
        units: Sequence[Any],
        actions: Sequence[Sequence[int]],
        outputs: Sequence[Sequence[int]],
        around: Surroundings,
        held: int,
        episode_length: int,
        read: Callable[[str], Array],
    ):
        self.held, self._around, self._length, self._read = held, around, episode_length, read
        self.templates = [Template(unit) for unit in units]
        self._action_slots = np.concatenate([np.zeros(0, int), *map(np.asarray, actions)]).astype(int)
        ends = np.cumsum([0, *map(len, actions)])
        self._orders = [slice(begin, end) for begin, end in pairwise(ends.tolist())]
        self.output_slots = np.concatenate([np.zeros(0, int), *map(np.asarray, outputs)]).astype(int)
        signs = [[unit.p_sign] * 2 + [1] * (len(at) - 2) for unit, at in zip(units, outputs, strict=True)]
        self._sign = np.concatenate(signs).astype(float)
        self._answers = [attrgetter(*_ASKED, *unit.facts.readings) for unit in units]
        self._given = [attrgetter(*GIVEN, *unit.facts.parameters) for unit in units]
        self._episodes: dict[int, _Episode] = {}
        self._idle: list[_Episode] = []
        self._peak: dict[int, int] = {}
        self._began = self._clock = 0
        self._lock = threading.Lock()
        self._primary = True

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

    def _restart(self, episode: _Episode, row: int, draws: list[float]) -> list[float]:
        episode.dataset.begin(row)
        episode.units = []
        shown: list[float] = []
        for i, (device, template) in enumerate(zip(episode.devices, self.templates, strict=True)):
            template.restore(device, episode.dataset)
            device.action.c = episode.orders[self._orders[i]]
            device.action.c[:] = device.action.idle()
            if type(device).reset is not DeviceAgent.reset:
                guarded(device, "reset", draws[i])
            given = self._given[i]
            unit = _Unit(device, device.update_state, device.update_cost_safety, self._answers[i], given, given(device))
            episode.units.append(unit)
            shown += checked(device, ("P", "Q", "cost", "safety", *device.facts.readings), unit.answers(device))
        return shown

    # -- ticks ---------------------------------------------------------------------------------------------------

    def act(self, xp: Any, layout: Layout, params: Params, state: State, exogenous: Exogenous, noise: Noise) -> Array:
        """Ask every object for one tick; slots ``(*batch, K)`` with their answers.

        Raises
        ------
        DeviceError
            If a device raises, answers anything but finite numbers or changes a parameter, or if the state is one
            that its objects have left behind.
        """
        count, plan = int(np.prod(state.tick.shape)), layout.slots
        slots = np.array(state.slots).reshape(count, -1)
        orders = plan.physical(slots)[:, self._action_slots]
        seen = self._surroundings(layout, state, exogenous, plan.physical(slots), count)
        ticks = np.reshape(state.tick, -1).tolist()
        numbers = slots[:, self.held].tolist()
        answers: list[Any] = []
        for e in range(count):
            episode = self._episode(int(numbers[e]), ticks[e])
            episode.orders[:] = orders[e]
            _run(episode, ticks[e], seen[0][e], seen[1][e], seen[2][e], answers)
        slots[:, self.output_slots] = self._table(answers, numbers).reshape(count, -1) * self._sign
        return slots.reshape(state.slots.shape)

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

    def _surroundings(
        self, layout: Layout, state: State, exogenous: Exogenous, physical: Array, count: int
    ) -> tuple[list[list[float]], ...]:
        """Price that each unit sees, price that it pays itself, and voltage at its terminal."""
        now = np.reshape(exogenous.now, (count, -1))
        prices = np.concatenate([now, physical[:, layout.slots.signal], np.zeros((count, 1))], axis=1)
        v_re, v_im = (np.reshape(part, (count, -1))[:, self._around.place] for part in (state.v_re, state.v_im))
        voltages = np.sqrt(v_re * v_re + v_im * v_im)
        return prices[:, self._around.seen].tolist(), prices[:, self._around.paid].tolist(), voltages.tolist()

    def _table(self, answers: list[Any], numbers: list[float]) -> Array:
        """The answers as numbers."""
        try:
            table = np.array(answers, dtype=float)
            fine = table.ndim == 1 and bool(np.isfinite(table).all())
        except (TypeError, ValueError):
            fine = False
        if not fine:
            for number in numbers:
                for unit in self._episodes[int(number)].units:
                    names = ("state.P", "state.Q", "cost", "safety", *unit.device.facts.readings)
                    checked(unit.device, names, unit.answers(unit.device))
        return table


def _run(
    episode: _Episode, tick: int, seen: list[float], paid: list[float], v_pu: list[float], answers: list[Any]
) -> None:
    """One tick of every object; this loop is what a plain device costs."""
    device = episode.devices[0]
    try:
        for (device, update_state, update_cost_safety, read, given, fixed), price, own, voltage in zip(
            episode.units, seen, paid, v_pu, strict=True
        ):
            device.t, device.price_per_mwh, device.electricity_price, device.v_pu = tick, price, own, voltage
            update_state()
            update_cost_safety()
            answers += read(device)
            if given(device) != fixed:
                raise changed(device, given(device), fixed)
    except DeviceError:
        raise
    except Exception as error:  # whatever a stranger's method raises
        raise failed(device, error) from error
