"""What coordination is worth: the same days of the same world under each protocol, and without any.

Every arrangement of :mod:`powergrid.benchmarks.arrangements` plays the same days with the same loads, weather, prices,
forecast errors and initial states. Differences of costs are therefore paired by day.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import powergrid
from powergrid.agents.device_agent import DeviceAgent
from powergrid.benchmarks.arrangements import Arrangement, Community, arrangements
from powergrid.benchmarks.comparison import PARTS, Comparison, Played
from powergrid.benchmarks.files import write
from powergrid.core import random
from powergrid.core.errors import ArgumentError, PowerGridError
from powergrid.core.terminal import console
from powergrid.learn.bound import lower_bound
from powergrid.learn.evaluate import Outcome, play
from powergrid.worlds.build import build
from powergrid.worlds.days import chosen_days
from powergrid.worlds.export import export_episode
from powergrid.worlds.seeds import checked_seed, episode_seed
from powergrid.worlds.simulation import Simulation
from powergrid.worlds.world import World

_SHARED = "shared_"
"""Beginning of the names of violations that nobody owns alone."""
_PART = {"voltage": "voltage", "overload": "loading"}
"""Part of the cost that a violation of the network belongs to; all others are ``other``."""


def compare(
    source: Any,
    *,
    protocols: Sequence[str] = (),
    days: str | Sequence[int] = "test",
    most: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    show: bool = True,
) -> Comparison:
    """Play the same days under each protocol and compare what they cost.

    Parameters
    ----------
    source
        Preset name, path, mapping or resolved configuration, with coordinators that have devices of their own.
    protocols
        Names of arrangements, see :func:`powergrid.benchmarks.arrangements.arrangements`; all that fit if empty.
    days
        Split (``"train"``, ``"validation"``, ``"test"``, ``"stress"``) or day indices of the dataset.
    most
        So many of these days, evenly spread; all if ``None``.
    seed
        Decides forecast errors and initial states; equal for all.
    out
        Folder for tables and figure; nowhere if ``None``.
    show
        Print the table, and progress on standard error.

    Returns
    -------
    Comparison

    Raises
    ------
    ArgumentError
        If there is nothing to coordinate, a protocol that is named does not fit, or a number is out of range.
    ConfigError, UnknownNameError
        If the configuration, the days or a protocol cannot be used.
    RunError
        If results cannot be written.
    """
    seed = checked_seed(seed)
    if most is not None and most < 1:
        raise ArgumentError(f"most {most} is not a number of days of one or more")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of protocols of the configuration, which are left out
        community = Community.of(source)
        found, unfit = arrangements(community, tuple(protocols))
        first = powergrid.make(found[0].resolved, backend="numpy")
        chosen = _spread(chosen_days(first.world, days), most)
        ticks = first.world.layout.settings.episode_length
        with _Progress(len(found) * ticks, show) as progress:
            played = [_play(arrangement, chosen, seed, progress.begin(arrangement.name)) for arrangement in found]
            bound = _bound(community, chosen, seed)
    result = Comparison(
        name=community.resolved.config.name,
        days=tuple(int(day) for day in chosen),
        seed=seed,
        played=tuple(played),
        unfit=unfit,
        bound=bound,
    )
    if show:
        printed = console()
        printed.print(result.table())
        for note in result.notes():
            printed.print(note, highlight=False, markup=False)
    if out is not None:
        write(result, Path(out))
    return result


def _spread(days: np.ndarray, most: int | None) -> np.ndarray:
    """At most so many days, evenly spread from the first to the last."""
    if most is None or most >= len(days):
        return days
    return days[np.linspace(0, len(days) - 1, most).round().astype(int)]


def _play(arrangement: Arrangement, days: np.ndarray, seed: int, tick: Callable[[], None]) -> Played:
    env = powergrid.make(arrangement.resolved, backend="numpy")
    world = env.world

    def decide(simulation: Any, state: Any, observation: np.ndarray) -> np.ndarray:
        tick()
        return np.zeros((len(observation), 0, world.layout.action_size), np.float32)  # nobody acts from outside

    outcome = play(env, arrangement.name, decide, days, seed)
    return Played(
        name=arrangement.name,
        about=arrangement.about,
        parts=_parts(env, outcome),
        messages=messages_per_day(world),
        step_s=_step_s(world, int(days[0]), seed),
    )


def _parts(env: Any, outcome: Outcome) -> dict[str, np.ndarray]:
    """Cost by part, over all accounts."""
    money, priced = (np.sum(tables, axis=0) for tables in zip(*outcome.other_accounts.values(), strict=True))
    stored = money[:, [k for k, name in enumerate(env.money_names) if name == "settlement"]].sum(-1)
    parts = {name: np.zeros(len(money)) for name in PARTS}
    parts["utility"], parts["stored"] = outcome.utility_receives, stored
    parts["devices"] = money.sum(-1) - outcome.utility_receives - stored
    for k, name in enumerate(env.constraint_names):
        parts[_PART.get(name.removeprefix(_SHARED), "other")] += priced[:, k]
    return parts


def messages_per_day(world: World) -> float:
    """Messages that agents send each other in a day.

    A message goes from one agent to another at one time, whatever it holds. Protocols name their own. An agent that
    plans has a reading from each device below it in each tick in which it decides, and sends each device that it
    commands its command.
    """
    layout = world.layout
    ticks, agents = layout.settings.episode_length, {agent.id: agent for agent in world.agents}
    count = 0
    for layer in layout.coordination.layers:
        runs = len(range(int(layer.offset[0]), ticks, int(layer.interval[0]))) if layer.level else ticks
        count += layer.messages * runs
    for k, id in enumerate(layout.python_agents, len(layout.actors)):
        below = [one for one in agents[id].descendants() if isinstance(one, DeviceAgent) and one.role == "injection"]
        commanded = {owner for owner, _ in layout.action_entries[k]} & {one.id for one in below}
        decisions = len(range(int(layout.slots.offset[k]), ticks, int(layout.slots.interval[k])))
        count += (len(below) + len(commanded)) * decisions
    return count * 24.0 / (ticks * layout.settings.dt_h)


def _step_s(world: World, day: int, seed: int) -> float:
    """Processor time of a step of one environment over a day [s]."""
    simulation = Simulation(world)
    key = random.fold_in(np, random.key_from_seed(np, np.array(episode_seed(seed, day))), np.array(0, np.int32))
    state = simulation.reset(key, np.array(day, np.int32)).state
    actions, ticks = np.zeros((0, world.layout.action_size)), world.layout.settings.episode_length
    begin = time.process_time()
    for _ in range(ticks):
        state, _ = simulation.step(state, actions)
    return (time.process_time() - begin) / ticks


def _bound(community: Community, days: np.ndarray, seed: int) -> np.ndarray | None:
    """Perfect-foresight optimum of all members behind one meter [$/day]; ``None`` where it cannot be computed."""
    try:
        world = build(community.pooled())
        costs = [lower_bound(export_episode(world, int(day), episode_seed(seed, int(day)))).cost for day in days]
    except PowerGridError:
        return None
    return np.array(costs) * 24.0 / (world.layout.settings.episode_length * world.layout.settings.dt_h)


class _Progress:
    """A bar on a terminal, one line for each arrangement elsewhere, on standard error."""

    def __init__(self, total: int, enabled: bool):
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._console = console(stderr=True)
        self._lines = enabled and not self._console.is_terminal
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        hidden = self._lines or not enabled
        self._bar = Progress(*columns, console=self._console, disable=hidden, transient=True)
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def begin(self, name: str) -> Callable[[], None]:
        """Name what is played now; the function counts its ticks."""
        self._bar.update(self._task, description=name)
        if self._lines:
            self._console.print(name, highlight=False, markup=False)
        return lambda: self._bar.advance(self._task)
