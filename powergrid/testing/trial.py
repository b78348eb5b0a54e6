"""A device under examination: a unit, random commands and series, and runs of its kernels in every form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from powergrid.agents.device_agent import DeviceAgent, Energy, Outlook
from powergrid.core.backend import Namespace, jax_float64, jax_module, jax_numpy
from powergrid.core.types import Array, Injection

TICKS = 24
"""Length of a run [ticks]."""
BATCH, UNITS = (2, 2), 3
"""Leading axes and units of a run; the sizes differ, so that swapped axes are found."""
DT_H = 0.25
"""Length of a tick [h]."""

_RANGES = {
    "_per_mwh": (-50.0, 300.0),
    "_pu": (0.0, 1.0),
    "_c": (-10.0, 40.0),
    "_m_s": (0.0, 25.0),
    "_mw": (-1.0, 1.0),
    "_w_m2": (0.0, 1100.0),
    "_sin": (-1.0, 1.0),
    "_cos": (-1.0, 1.0),
    "hour": (0.0, 24.0),
    "stay_h": (-4.0, 12.0),
}
"""Range of a series, by the unit at the end of its name."""
_BAD = np.array([np.nan, np.inf, -np.inf, 1e12, -1e12, 0.0])


class Tick(NamedTuple):
    """Results of one tick of a family; `rule` is empty for plain floats.

    The parts that begin with `failed` are those of the tick if the unit is out of service in it.
    """

    state: Any
    injection: Injection
    money: tuple[Array, ...]
    violation: tuple[Array, ...]
    energy: Energy
    observe: tuple[Array, ...]
    rule: tuple[Array, ...]
    failed: Any
    failed_money: tuple[Array, ...]
    failed_observe: tuple[Array, ...]


class Trial(NamedTuple):
    """One unit, and the inputs of its run.

    Attributes
    ----------
    unit, kernels
        The device, and its class with the kernels.
    params
        Its row of floats.
    uniform
        Numbers for the reset, ``(2, 2, 3)``; the first is 0.5.
    commands, exogenous, outlooks
        One per tick, each column ``(2, 2, 3)``. Every sixth command has NaN, infinities and huge numbers.
    faults
        Faults found until now, one sentence each.
    """

    unit: DeviceAgent
    kernels: type[DeviceAgent]
    params: Any
    uniform: np.ndarray
    commands: list[Any]
    exogenous: list[Any]
    outlooks: list[Outlook]
    faults: list[str]

    def claim(self, holds: ArrayLike, sentence: str) -> None:
        """Note a fault unless `holds` is true everywhere; sentences that differ only in numbers are noted once."""
        if not np.all(holds) and all(_without_numbers(sentence) != _without_numbers(said) for said in self.faults):
            self.faults.append(sentence)


def _without_numbers(sentence: str) -> str:
    return re.sub(r"-?\b(\d[\d.]*(e[+-]?\d+)?|nan|inf)\b", "#", sentence.partition(", command")[0])


class DeviceFaults(AssertionError):
    """A device with faults.

    Attributes
    ----------
    kind
        Its class.
    faults
        A sentence each.
    """

    def __init__(self, kind: str, faults: Sequence[str]):
        self.kind, self.faults = kind, tuple(faults)
        several = "".join(f"\n  {fault}" for fault in self.faults)
        super().__init__(f"{kind}: {self.faults[0]}" if len(self.faults) == 1 else f"{kind}:{several}")


def rating_faults(settings: Any, p_mw: float, energy_mwh: float) -> Iterator[tuple[str, float, str]]:
    """Limits of power and energy in its settings that a unit exceeds.

    Parameters
    ----------
    settings
        Object with ``p_max_mw``, ``max_p_mw`` or ``capacity_mwh``; what it lacks is not looked at, nor a field of
        pydantic with ``json_schema_extra={"rating": False}``, which bounds something else.
    p_mw
        Largest power that it has drawn or fed in [MW].
    energy_mwh
        Largest span of the energy that it has held [MWh].

    Yields
    ------
    tuple
        Limit with its name, the value reached and what the unit does.
    """
    share = 1.0 + 1e-6
    for name, reached, what in (
        ("p_max_mw", p_mw, "has a power [MW] of"),
        ("max_p_mw", p_mw, "has a power [MW] of"),
        ("capacity_mwh", energy_mwh, "holds an energy [MWh] of"),
    ):
        limit, field = getattr(settings, name, None), getattr(type(settings), "model_fields", {}).get(name)
        if field is not None and (field.json_schema_extra or {}).get("rating") is False:
            continue
        if isinstance(limit, int | float) and reached > limit * share:
            yield f"{name} {limit:g}", reached, what


def make_trial(kernels: type[DeviceAgent], params: dict[str, Any]) -> Trial:
    """Build the unit, without inputs."""
    unit = kernels("examined", "1", **params)
    return Trial(unit, unit.kernel, unit.params(), np.zeros((*BATCH, UNITS)), [], [], [], [])


def drawn(trial: Trial, seed: int = 0) -> Trial:
    """Draw the inputs of the run; the unit's entries must have no faults."""
    unit, random = trial.unit, np.random.default_rng(seed)
    uniform = random.random((*BATCH, UNITS))
    uniform[0, 0, 0] = 0.5
    return trial._replace(
        uniform=uniform,
        commands=[_command(unit, random, bad=tick % 6 == 4) for tick in range(TICKS)],
        exogenous=[_exogenous(unit, random) for _ in range(TICKS)],
        outlooks=[_outlook(random) for _ in range(TICKS)],
    )


def _command(unit: DeviceAgent, random: np.random.Generator, bad: bool) -> Any:
    """Random command, partly outside the limits, or one with NaN, infinite and huge numbers."""
    shape, entries, columns = (*BATCH, UNITS), unit.action_entries(), []
    for name in unit.Command._fields:
        low, high = (entries[name].low, entries[name].high) if name in entries else (-2.0, 2.0)
        reach = 0.25 * (high - low)
        columns.append(random.choice(_BAD, shape) if bad else random.uniform(low - reach, high + reach, shape))
    return unit.Command(*columns)


def _exogenous(unit: DeviceAgent, random: np.random.Generator) -> Any:
    def draw(name: str) -> np.ndarray:
        low, high = next((bounds for end, bounds in _RANGES.items() if name.endswith(end)), (0.0, 1.0))
        return random.uniform(low, high, (*BATCH, UNITS))

    return unit.Exogenous(*(draw(name) for name in unit.Exogenous._fields))


def _outlook(random: np.random.Generator) -> Outlook:
    shape = (*BATCH, UNITS)
    price = random.uniform(-50.0, 300.0, shape)
    ahead = random.uniform(-50.0, 300.0, (24, *shape))
    return Outlook(
        price_per_mwh=price,
        retail_per_mwh=np.maximum(price, 0.0) + 45.0,
        feed_in_per_mwh=0.9 * np.maximum(price, 0.0),
        price_ahead_per_mwh=ahead,
        mean_price_per_mwh=ahead.mean(0),
        net_load_mw=random.uniform(-1.0, 1.0, shape),
        hour=np.floor(random.uniform(0.0, 24.0, shape)),
        settlement_per_mwh=random.uniform(0.0, 200.0, shape),
    )


def one_tick(
    xp: Namespace,
    kernels: type[DeviceAgent],
    params: Any,
    state: Any,
    command: Any,
    exogenous: Any,
    outlook: Outlook | None,
) -> Tick:
    """Call every kernel once."""
    after, injection = kernels.step(xp, params, state, command, exogenous, DT_H)
    account = (xp, params, after, injection, exogenous, DT_H)
    failed = kernels.failed(xp, params, state, exogenous, DT_H)
    nothing = Injection(injection.p_mw * 0.0, injection.p_mw * 0.0)
    return Tick(
        state=after,
        injection=injection,
        money=tuple(kernels.money(*account)),
        violation=tuple(kernels.violation(*account)),
        energy=kernels.energy(xp, params, state, after, injection, exogenous, DT_H),
        observe=tuple(kernels.readings(xp, params, after, injection)),
        rule=() if outlook is None else tuple(kernels.rule(xp, params, state, exogenous, outlook, DT_H)),
        failed=failed,
        failed_money=tuple(kernels.money(xp, params, failed, nothing, exogenous, DT_H)),
        failed_observe=tuple(kernels.readings(xp, params, failed, nothing)),
    )


def columns_of(params: Any, dtype: DTypeLike = float) -> Any:
    """The row repeated for every unit, ``(n,)``."""
    return type(params)(*(np.full(UNITS, value, dtype=dtype) for value in params))


def mapped(function: Callable[[Any], Any], values: Any) -> Any:
    """Apply `function` to every field of a NamedTuple."""
    return type(values)(*(function(value) for value in values))


def run_batch(trial: Trial, dtype: DTypeLike = float) -> tuple[Any, list[Tick]]:
    """Initial state and ticks of the whole batch on NumPy."""

    def cast(values: Any) -> Any:
        return mapped(lambda column: column.astype(dtype), values)

    params = columns_of(trial.params, dtype)
    state = first = trial.kernels.reset(np, params, trial.uniform.astype(dtype))
    ticks = []
    for command, exogenous, outlook in zip(trial.commands, trial.exogenous, trial.outlooks, strict=True):
        tick = one_tick(np, trial.kernels, params, state, cast(command), cast(exogenous), cast(outlook))
        ticks.append(tick)
        state = tick.state
    return first, ticks


def run_columns(trial: Trial, at: tuple[int, ...]) -> list[Tick]:
    """Ticks of one environment of the batch, units as columns."""
    params = columns_of(trial.params)
    state, ticks = trial.kernels.reset(np, params, trial.uniform[at]), []
    for command, exogenous, outlook in zip(trial.commands, trial.exogenous, trial.outlooks, strict=True):
        # an outlook has hours before the batch
        c, e, o = (mapped(lambda column: column[(..., *at, slice(None))], v) for v in (command, exogenous, outlook))
        ticks.append(one_tick(np, trial.kernels, params, state, c, e, o))
        state = ticks[-1].state
    return ticks


def run_floats(trial: Trial, at: tuple[int, ...]) -> list[Tick]:
    """Ticks of one unit of the batch on plain numbers."""
    state, ticks = trial.kernels.reset(np, trial.params, float(trial.uniform[at])), []
    for command, exogenous in zip(trial.commands, trial.exogenous, strict=True):
        c, e = (mapped(lambda column: float(column[at]), values) for values in (command, exogenous))
        ticks.append(one_tick(np, trial.kernels, trial.params, state, c, e, None))
        state = mapped(float, ticks[-1].state)
    return ticks


def run_jax(trial: Trial) -> list[Tick]:
    """Ticks of the whole batch on JAX in float64, compiled."""
    jax, jnp = jax_module(), jax_numpy()

    def compiled(params: Any, state: Any, command: Any, exogenous: Any, outlook: Outlook) -> Tick:
        return one_tick(jnp, trial.kernels, params, state, command, exogenous, outlook)

    ticks = []
    with jax_float64():
        step = jax.jit(compiled)
        params = mapped(jnp.asarray, columns_of(trial.params))
        state = trial.kernels.reset(jnp, params, jnp.asarray(trial.uniform))
        for given in zip(trial.commands, trial.exogenous, trial.outlooks, strict=True):
            ticks.append(step(params, state, *given))
            state = ticks[-1].state
        return [jax.tree.map(np.asarray, tick) for tick in ticks]


def tick_total(xp: Namespace, trial: Trial, state: Any, command: Any, params: Any) -> Array:
    """Sum of a tick's powers, money and state, by unit."""
    exogenous = mapped(xp.asarray, trial.exogenous[0])
    after, injection = trial.kernels.step(xp, params, state, command, exogenous, DT_H)
    money = trial.kernels.money(xp, params, after, injection, exogenous, DT_H)
    return sum((*after, *injection, *money), start=0.0 * injection[0])


def gradients(trial: Trial, states: Sequence[Any], commands: Sequence[Any]) -> list[Any]:
    """Derivatives of one tick's powers, money and state by the state and the command before it, on JAX."""
    jax, jnp = jax_module(), jax_numpy()

    def total(state: Any, command: Any, params: Any) -> Array:
        return tick_total(jnp, trial, state, command, params).sum()

    with jax_float64():
        slope = jax.jit(jax.grad(total, argnums=(0, 1)))
        params = mapped(jnp.asarray, columns_of(trial.params))
        found = [slope(state, command, params) for state, command in zip(states, commands, strict=True)]
        return [jax.tree.map(np.asarray, pair) for pair in found]


def leaves(tick: Tick) -> Iterator[tuple[str, Any]]:
    """Name and value of every column of a tick, such as ``("state.soc", ...)``."""
    for part, values in zip(tick._fields, tick, strict=True):
        names = getattr(values, "_fields", range(len(values)))
        for name, value in zip(names, values, strict=True):
            yield f"{part}.{name}", value
