"""What is known of a running tick, for everything that a step computes in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from powergrid.core.backend import Namespace, is_numpy, root
from powergrid.core.derivatives import decided
from powergrid.core.types import Array, Injection
from powergrid.engine import schedule
from powergrid.engine.layout import Layout, Params
from powergrid.engine.state import Noise, State


class Tick(NamedTuple):
    """A running tick.

    Attributes
    ----------
    xp
        Array namespace, NumPy or JAX.
    layout, params
        What is simulated, and its numbers.
    state
        State before the tick.
    now
        Exogenous row of the tick, ``(*batch, W)``.
    v_pu
        Voltages of the last solved tick [pu], ``(*batch, m)``.
    noise
        Random numbers; ``None`` where nobody decides or observes.
    choices
        What local policies fill each slot with (:class:`powergrid.engine.choices.Choices`); ``None`` where
        nobody decides.
    physical
        All commands in physical units, ``(*batch, K)``; ``None`` until they are chosen.
    due
        Which agents from outside decide in it, ``(*batch, A)``; ``None`` until they have chosen.
    """

    xp: Namespace
    layout: Layout
    params: Params
    state: State
    now: Array
    v_pu: Array
    noise: Any = None
    choices: Any = None
    physical: Any = None
    due: Any = None

    def delivered(self, i: int, command: Any) -> tuple[Any, Injection]:
        """State and injection of family `i` after its kernel has run with a command; units out of service inject 0."""
        xp, family, dt_h = self.xp, self.layout.families[i], self.layout.settings.dt_h
        exogenous = schedule.exogenous_of(family, self.now, self.v_pu)
        columns, before = self.params.families[i], self.state.devices[i]

        def step(command: Any) -> tuple[Any, Injection]:
            after: tuple[Any, Injection] = family.kernel.step(xp, columns, before, command, exogenous, dt_h)
            return after

        stepped = step(command)
        for name in () if is_numpy(xp) else family.on_off():
            choice = getattr(command, name)
            on, off = (step(command._replace(**{name: 0.0 * choice + end})) for end in (1.0, 0.0))
            stepped = decided(xp, stepped, choice, on, off)
        failed = self.failed(i)
        if failed is None:
            return stepped
        device, injection = stepped
        still = family.kernel.failed(xp, columns, before, exogenous, dt_h)
        kept = (xp.where(failed, new, old) for new, old in zip(still, device, strict=True))
        return type(device)(*kept), Injection(*(xp.where(failed, 0.0, power) for power in injection))

    def failed(self, i: int) -> Array | None:
        """Whether each unit of family `i` is out of service, ``(*batch, n)``; ``None`` where none ever is."""
        availability = self.layout.availability
        return None if availability is None else availability.failed(self.xp, self.state.signals, i)

    def net_load(self) -> Array:
        """The network's own load less what plants in service offer by their series [MW], ``(*batch, accounts + 1)``."""
        load = self.layout.net_load(self.xp, self.params, self.now)
        if self.layout.availability is None:
            return load
        lost_mw: Array = load + self.layout.availability.lost_mw(self.xp, self.now, self.state.signals)
        return lost_mw

    def alive(self, i: int, topology: Array) -> Array:
        """Whether each unit of family `i` has voltage in a topology, ``(*batch, n)``."""
        assert self.layout.grid.switching is not None
        return self.xp.asarray(self.layout.grid.switching.unit_alive[i])[topology]

    def with_voltage(self, i: int, topology: Array | None, device: Any, injection: Injection) -> tuple[Any, Injection]:
        """What family `i` does where there is voltage; elsewhere it injects nothing and stays as it was."""
        if topology is None:
            return device, injection
        alive, xp = self.alive(i, topology), self.xp
        kept = (xp.where(alive, new, old) for new, old in zip(device, self.state.devices[i], strict=True))
        return type(device)(*kept), Injection(*(xp.where(alive, power, 0.0) for power in injection))

    def all_with_voltage(
        self, topology: Array | None, devices: Sequence[Any], injections: Sequence[Injection]
    ) -> tuple[tuple[Any, ...], list[Injection]]:
        """The same for all families that inject."""
        states, powers = list(devices), list(injections)
        for i in self.layout.injecting:
            states[i], powers[i] = self.with_voltage(i, topology, devices[i], injections[i])
        return tuple(states), powers


def tick_of(
    xp: Namespace, layout: Layout, params: Params, state: State, now: Array, noise: Noise, choices: Any = None
) -> Tick:
    """A tick from the state before it and its exogenous row."""
    v_pu = root(xp, state.v_re * state.v_re + state.v_im * state.v_im)
    return Tick(xp, layout, params, state, now, v_pu, noise, choices)
