"""Evaluation in continuous time: late decisions, late or lost actions and messages, and what each of them costs.

The network advances in ticks, as its data do. Agents do not: each wakes when its clock says so, reads the newest
measurements, decides, and sends its action to its actuator, where it arrives later or not at all. The actuator holds
the newest action that has arrived, and the network follows what the actuators hold. Events are run by SimPy; without
jitter, delay and loss the result is that of the tick-based run, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, ValidationError

from powergrid.config.findings import Findings
from powergrid.config.resolve import ResolvedConfig, with_overrides
from powergrid.config.schema_types import Section, defaults
from powergrid.config.yaml_reader import read_yaml
from powergrid.core import random
from powergrid.core.errors import ArgumentError, ConfigError, Issue, MissingExtraError, RunError
from powergrid.core.statistics import mean_interval
from powergrid.core.terminal import console
from powergrid.learn.deciders import SafePolicy, residual_of

CAUSES = ("jitter", "action delay", "action loss", "message delay", "message loss")
"""Imperfections, in the order in which they are reported."""
_STREAM = 77
"""Stream of the random numbers of clocks and actuators."""
_MEASURE, _DECIDE, _ADVANCE = 2, 3, 4
"""Order of what happens at one moment, behind what SimPy itself does first."""
_NONE = -1
"""Number of the decision of an actuator that has received none."""


def _fixed(value: Any) -> Any:
    return {"mean": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class Spread(Section):
    """A time that varies."""

    dist: Literal["fixed", "uniform", "normal"] = Field("fixed", description="distribution")
    mean: float = Field(0.0, ge=0, description="mean [s]")
    std: float = Field(0.0, ge=0, description="standard deviation [s]")

    def draw(self, uniform: np.ndarray) -> np.ndarray:
        """Times [s], never negative, of uniform numbers ``(2, ...)``."""
        if self.dist == "uniform":
            return np.maximum(self.mean + np.sqrt(3.0) * self.std * (2.0 * uniform[0] - 1.0), 0.0)
        if self.dist == "normal":
            deviate = np.sqrt(-2.0 * np.log(1.0 - uniform[0])) * np.cos(2.0 * np.pi * uniform[1])
            return np.maximum(self.mean + self.std * deviate, 0.0)
        return np.full(uniform.shape[1:], self.mean)

    @property
    def is_zero(self) -> bool:
        """Whether it takes no time."""
        return self.mean == 0.0 and self.std == 0.0


Time = Annotated[Spread, BeforeValidator(_fixed, json_schema_input_type=Spread | float)]


class MessageDelays(Section):
    """What happens to messages between agents."""

    delay: Time = defaults(Spread, "seconds, or a distribution")
    loss: float = Field(0.0, ge=0, le=1, description="share of messages lost [1]")


class Delays(Section):
    """Imperfect timing of an installation."""

    jitter: Time = defaults(Spread, "time by which agents decide after their clock's tick")
    action_delay: Time = defaults(Spread, "time from a decision to the actuator")
    action_loss: float = Field(0.0, ge=0, le=1, description="share of actions that never arrive [1]")
    messages: MessageDelays = defaults(MessageDelays, "messages between agents")

    def only(self, cause: str) -> Delays:
        """The same with one cause alone."""
        name = cause.replace(" ", "_")
        if name.startswith("message"):
            key = name.removeprefix("message_")
            return IDEAL.model_copy(update={"messages": MessageDelays(**{key: getattr(self.messages, key)})})
        return IDEAL.model_copy(update={name: getattr(self, name)})

    @property
    def causes(self) -> tuple[str, ...]:
        """Causes that have an effect."""
        held = {
            "jitter": not self.jitter.is_zero,
            "action delay": not self.action_delay.is_zero,
            "action loss": self.action_loss > 0.0,
            "message delay": not self.messages.delay.is_zero,
            "message loss": self.messages.loss > 0.0,
        }
        return tuple(cause for cause in CAUSES if held[cause])


IDEAL = Delays.model_validate({})
"""No delay and no loss."""


def load_delays(source: str | Path | Mapping[str, Any]) -> Delays:
    """Read and check a file of delays, or a mapping.

    Raises
    ------
    ConfigError
        With every fault, its place and what is allowed.
    """
    if isinstance(source, Mapping):
        text, name, folder = "", "delays", Path()
    else:
        path = Path(source)
        try:
            text, name, folder = path.read_text(encoding="utf-8"), str(path), path.parent
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                [Issue("", f"{path}: cannot be read ({error})", "name a YAML file", str(path))]
            ) from error
    document = read_yaml(text, name, folder)
    data = dict(source) if isinstance(source, Mapping) else document.data
    findings = Findings(document)
    try:
        return Delays.model_validate({} if data is None else data)
    except ValidationError as error:
        findings.invalid((), data, Delays, error)
    raise ConfigError(findings.issues)


@dataclass(frozen=True)
class Timing:
    """Which decision every actuator holds at every tick of every day.

    Attributes
    ----------
    held
        Tick whose measurements the action that each actuator holds was decided on, ``(days, ticks, A)``; -1 before the
        first has arrived.
    """

    held: np.ndarray


def timing_of(delays: Delays, keys: np.ndarray, due: np.ndarray, dt_s: float) -> Timing:
    """Run the events of all days.

    Parameters
    ----------
    keys
        Random key of each day, ``(days, 2)``.
    due
        Whether each agent decides at each tick, ``(ticks, A)``, or on each day, ``(days, ticks, A)``.
    dt_s
        Length of a tick [s].
    """
    ticks, agents = due.shape[-2:]
    due = np.broadcast_to(due, (len(keys), ticks, agents))
    held = np.full((len(keys), ticks, agents), _NONE)
    for day, key in enumerate(keys):
        drawn = random.uniform(np, key, np.arange(ticks), _STREAM, (5 * agents,), np.float64)
        parts = np.moveaxis(drawn.reshape(ticks, 5, agents), 1, 0)
        late_s, delay_s = delays.jitter.draw(parts[0:2]), delays.action_delay.draw(parts[2:4])
        held[day] = _events(due[day], late_s, delay_s, parts[4] < delays.action_loss, dt_s)
    return Timing(held)


def _events(due: np.ndarray, late_s: np.ndarray, delay_s: np.ndarray, lost: np.ndarray, dt_s: float) -> np.ndarray:
    """One day in continuous time: decisions on measurements, their arrival, and the network's ticks."""
    world, at = _world()
    ticks, agents = due.shape
    newest = np.full(agents, _NONE)
    held = np.full((ticks, agents), _NONE)
    measured = [0]  # tick at whose beginning the newest measurements were taken

    def network() -> Any:
        for tick in range(ticks):
            yield at(tick * dt_s, _MEASURE)
            measured[0] = tick
            yield at(tick * dt_s, _ADVANCE)
            held[tick] = newest

    def agent(row: int) -> Any:
        own = np.flatnonzero(due[:, row])
        for tick in own.tolist():
            yield at(max(tick * dt_s + late_s[tick, row], world.now), _DECIDE)
            if not lost[tick, row]:
                sampled = int(own[own <= measured[0]][-1])  # the newest measurements that its clock took
                world.process(action(row, sampled, delay_s[tick, row]))

    def action(row: int, decision: int, delay: float) -> Any:
        yield at(world.now + delay, _DECIDE)
        newest[row] = max(newest[row], decision)  # one that was overtaken is dropped

    world.process(network())
    for row in range(agents):
        world.process(agent(row))
    world.run()
    return held


def _world() -> tuple[Any, Any]:
    """A world of events, and events of it at a moment [s]; of several at one moment those of lower order come first."""
    simpy = _simpy()
    world = simpy.Environment()

    def at(moment_s: float, order: int) -> Any:
        moment = simpy.Event(world)
        moment._ok, moment._value = True, None  # it happens, as a Timeout does, but in the given order
        world.schedule(moment, priority=order, delay=moment_s - world.now)
        return moment

    return world, at


def _simpy() -> Any:
    try:
        import simpy
    except ImportError as error:
        raise MissingExtraError("SimPy", "events", "an evaluation in continuous time") from error
    return simpy


@dataclass(frozen=True)
class Realtime:
    """What imperfect timing costs.

    Attributes
    ----------
    policy, name
        Policy and configuration.
    days
        Days played.
    objective
        J of each day [$/day], by cause; ``"none"`` is the tick-based run, ``"all"`` all causes together.
    """

    policy: str
    name: str
    days: tuple[int, ...]
    objective: Mapping[str, np.ndarray]

    def loss(self, cause: str) -> tuple[float, float, float]:
        """Mean of what a cause costs, day by day, and its 95 % interval [$/day]."""
        return mean_interval(self.objective[cause] - self.objective["none"])

    def table(self) -> Any:
        """A table to print with rich: one row a cause."""
        from rich.table import Table

        table = Table(title=f"{self.name}, {self.policy}: {len(self.days)} days in continuous time; $/day")
        table.add_column("cause")
        for header in ("J", "costs", "95 % interval"):
            table.add_column(header, justify="right")
        for cause, values in self.objective.items():
            mean, low, high = self.loss(cause)
            costs = ("", "") if cause == "none" else (f"{mean:+,.2f}", f"{low:+,.2f} to {high:+,.2f}")
            table.add_row(cause, f"{values.mean():,.2f}", *costs)
        return table

    def to_dict(self) -> dict[str, Any]:
        """Plain content of ``realtime.json``."""
        return {
            "name": self.name,
            "policy": self.policy,
            "days": list(self.days),
            "causes": {
                cause: {
                    "objective_by_day": values.tolist(),
                    "costs_per_day": dict(zip(("mean", "low_95", "high_95"), self.loss(cause), strict=True)),
                }
                for cause, values in self.objective.items()
            },
        }


def evaluate_realtime(
    source: Any,
    delays: Delays | str | Path | Mapping[str, Any],
    *,
    policy: str = "learned",
    days: str | Sequence[int] = "test",
    seed: int = 0,
    out: str | Path | None = None,
    show: bool = True,
) -> Realtime:
    """Play a policy under realistic timing, with each cause alone and with all together.

    Parameters
    ----------
    source
        Folder of a run; or a preset name, path, mapping or resolved configuration.
    delays
        Delays, or a YAML file or mapping of them.
    policy
        As for :func:`powergrid.evaluate`.
    days, seed
        What to play; equal for all causes.
    out
        Folder for ``realtime.json``; the run's own if ``None``, nowhere if there is no run.
    show
        Print a table.

    Raises
    ------
    ConfigError
        If the delays have faults, delay nothing that the configuration has, or the configuration cannot be used.
    RunError
        If a learned policy is asked for without a run, or does not fit the configuration.
    MissingExtraError
        If SimPy is not installed.
    ArgumentError
        If the policy stands behind a safety layer, or its actions correct another.
    """
    from powergrid.core.files import make_folder, write_json
    from powergrid.learn import evaluate as ticks

    if isinstance(policy, SafePolicy):
        raise ArgumentError(
            "a safety layer computes the tick in which actions are decided, and under realistic timing they arrive in "
            "others; give the policy without SafePolicy"
        )
    _simpy()
    given = delays if isinstance(delays, Delays) else load_delays(delays)
    if not given.causes:
        raise ConfigError(
            [Issue("", "the delays delay and lose nothing", f"set one of {', '.join(Delays.model_fields)}")]
        )
    run = ticks.run_folder(source)
    if (corrected := residual_of(policy, run, None)) is not None:
        raise ArgumentError(
            f"the actions of this policy correct {corrected} in the tick in which both decide, and under realistic "
            "timing they arrive in others; train it without residual"
        )
    objective: dict[str, np.ndarray] = {}
    name, chosen = "", np.zeros(0, int)
    for cause in ("none", *given.causes, "all"):
        own = IDEAL if cause == "none" else given if cause == "all" else given.only(cause)
        env = _environment(source if run is None else run / "config.yaml", own)
        chosen = ticks.chosen_days(env.world, days)
        outcome = ticks.play(env, policy, ticks.decider(env, policy, run), chosen, seed, Late(own, env.world))
        objective[cause] = outcome.objective
        name = env.world.resolved.config.name
    if "all" in objective and len(given.causes) == 1:
        del objective["all"]
    result = Realtime(policy, name, tuple(int(day) for day in chosen), objective)
    folder = Path(out) if out is not None else run
    if folder is not None:
        make_folder(folder)
        write_json(folder / "realtime.json", result.to_dict())
    if show:
        console().print(result.table())
    return result


def _environment(source: Any, delays: Delays) -> Any:
    """The environment, with its messages as late and as lossy as the delays say."""
    import powergrid
    from powergrid.config.resolve import resolve

    resolved: ResolvedConfig = resolve(source)
    if any(cause.startswith("message") for cause in delays.causes):
        if resolved.config.messages is None:
            message = "messages: the agents of this configuration send none"
            raise ConfigError([Issue("messages", message, "leave messages out of the delays, or add them to it")])
        changed: dict[str, Any] = {}
        if not delays.messages.delay.is_zero:
            changed["delay"] = delays.messages.delay.model_dump()
        if delays.messages.loss > 0.0:
            changed["loss"] = delays.messages.loss
        resolved = with_overrides(resolved, messages=changed)
    return powergrid.make(with_overrides(resolved, residual=None), backend="numpy")


class Late:
    """Actions as the actuators hold them, from the decisions of all ticks so far.

    Parameters
    ----------
    delays
        What delays them.
    world
        The world they belong to.
    """

    def __init__(self, delays: Delays, world: Any):
        self._delays, self._world = delays, world
        self._timing: Timing | None = None
        self._decided: list[np.ndarray] = []

    def begin(self, keys: np.ndarray) -> None:
        """Run the events of days with these keys."""
        layout = self._world.layout
        ticks = np.arange(layout.settings.episode_length)[:, None]
        slots = layout.slots
        since = ticks - slots.offset[: layout.acting]
        due = (since >= 0) & (since % slots.interval[: layout.acting] == 0)
        if layout.actors_change:
            absences = self._world.absences(np, keys)
            due = due & np.stack([self._there(tick, absences) for tick in range(len(ticks))], 1)
        self._timing = timing_of(self._delays, keys, due, layout.settings.dt_h * 3600.0)
        self._decided = []

    def _there(self, tick: int, absences: Any) -> np.ndarray:
        """Whether each of those that act is there in a tick, ``(days, A)``."""
        layout = self._world.layout
        there: np.ndarray = layout.availability.present(np, np.full(len(absences.joins), tick), absences, layout.acting)
        return there

    def arrive(self, state: Any, actions: np.ndarray) -> tuple[Any, np.ndarray]:
        """State and actions of a tick: what has arrived acts even where its agent is not due."""
        if self._timing is None:
            raise RunError("begin comes first")
        self._decided.append(actions)
        layout, tick = self._world.layout, len(self._decided) - 1
        held = self._timing.held[:, tick]
        late = np.stack(self._decided)[np.maximum(held, 0), np.arange(len(held))[:, None], np.arange(held.shape[1])]
        arrived = held >= 0
        if layout.actors_change:
            arrived = arrived & self._there(tick, state.absences)
        plan = layout.slots
        mine = (plan.actor >= 0) & (plan.actor < held.shape[1])
        flat = np.clip(late, -1.0, 1.0).reshape(len(late), -1)
        acted = arrived[:, np.maximum(np.where(mine, plan.actor, 0), 0)] & mine
        slots = np.where(acted, flat[:, np.where(mine, plan.given, 0)], state.slots)
        # where nothing has arrived, what stands in the slots is what an agent that is due takes
        stays = np.zeros_like(flat)
        stays[:, plan.given[mine]] = state.slots[:, mine]
        late = np.where(arrived[..., None], late, stays.reshape(late.shape).astype(late.dtype))
        return state._replace(slots=slots), late
