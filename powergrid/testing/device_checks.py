"""Checks of a device family: kernels, names, bounds, energy and derivatives. Each notes its faults in the trial."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.core.types import Entry
from powergrid.testing.trial import (
    BATCH,
    DT_H,
    TICKS,
    UNITS,
    Tick,
    Trial,
    columns_of,
    gradients,
    leaves,
    mapped,
    one_tick,
    rating_faults,
    run_batch,
    run_columns,
    run_floats,
    tick_total,
)

TOLERANCE = 1e-9
_STEPS = 33
_STEP = 1e-5
"""Step of central differences over the size of the value [1]."""
_SLOPE = 1e-4
"""Largest relative error of a derivative."""
_SHAPE = (*BATCH, UNITS)


def check_names(trial: Trial) -> None:
    """Entries, idle command and series fit the columns."""
    unit, kernels = trial.unit, trial.kernels
    seen, chosen = unit.observation_entries(), unit.action_entries()
    strange = sorted(set(chosen) - set(kernels.Command._fields))
    trial.claim(not strange, f"action entries {strange} are no fields of Command {kernels.Command._fields}")
    names = [entry.name for entry in seen]
    trial.claim(len(set(names)) == len(names), f"observation entries must have different names, found {names}")
    for entry in (*seen, *chosen.values()):
        bounded = np.isfinite([entry.low, entry.high]).all() and entry.low < entry.high
        trial.claim(bounded, f'entry "{entry.name}" needs finite bounds low < high, found [{entry.low}, {entry.high}]')
        named = isinstance(entry.unit, str) and entry.unit.strip()
        trial.claim(named, f'entry "{entry.name}" needs a unit, found {entry.unit!r}; of a pure number it is "1"')
    idle = unit.idle()
    trial.claim(isinstance(idle, kernels.Command), f"idle() must be a Command, found {type(idle).__name__}")
    trial.claim([np.isfinite(value) for value in idle], f"idle() must be finite, found {idle}")
    trial.claim(
        set(unit.series()) == set(kernels.Exogenous._fields),
        f"series() names {sorted(unit.series())}, the fields of Exogenous are {sorted(kernels.Exogenous._fields)}",
    )
    for name, value in zip(trial.params._fields, trial.params, strict=True):
        trial.claim(
            isinstance(value, (int, float)) and value == value, f"params().{name} must be a number, is {value!r}"
        )


def check_reset(trial: Trial) -> None:
    """A reset depends only on its arguments, and fills the batch."""
    params = columns_of(trial.params)
    once, again = (trial.kernels.reset(np, params, trial.uniform.copy()) for _ in range(2))
    for name, value, repeated in zip(once._fields, once, again, strict=True):
        trial.claim(np.shape(value) == _SHAPE, f"reset gives {name} of shape {np.shape(value)} instead of {_SHAPE}")
        trial.claim(np.array_equal(value, repeated), f"two resets with the same numbers differ in {name}")


def check_columns(trial: Trial, ticks: list[Tick]) -> None:
    """As many columns as names, each as wide as the batch."""
    kernels, tick = trial.kernels, ticks[0]
    for what, names, columns in (
        ("money", kernels.money_names, tick.money),
        ("violation", kernels.violation_names, tick.violation),
        ("readings", [entry.name for entry in trial.unit.observation_entries()], tick.observe),
        ("rule", kernels.Command._fields, tick.rule),
    ):
        trial.claim(len(names) == len(columns), f"{what} gives {len(columns)} columns for the names {list(names)}")
    for name, value in leaves(tick):
        trial.claim(np.shape(value) == _SHAPE, f"{name} has shape {np.shape(value)} instead of {_SHAPE}")


def check_finite(trial: Trial, ticks: list[Tick]) -> None:
    """No command makes any result NaN or infinite."""
    for number, tick in enumerate(ticks):
        for name, value in leaves(tick):
            trial.claim(np.isfinite(value), f"{name} is not finite at tick {number}, command {trial.commands[number]}")


def check_costs(trial: Trial, ticks: list[Tick]) -> None:
    """No violation is negative, and a declared marginal cost does not fall with power."""
    for number, tick in enumerate(ticks):
        for name, value in zip(trial.kernels.violation_names, tick.violation, strict=True):
            trial.claim(value >= 0.0, f'violation "{name}" is {np.min(value):.6g} at tick {number}; none is below zero')
    p_mw = np.linspace(0.0, max(float(np.max(tick.injection.p_mw)) for tick in ticks), _STEPS)
    params = type(trial.params)(*(np.full(_STEPS, float(value)) for value in trial.params))
    slope = trial.kernels.marginal_cost(np, params, p_mw)
    if slope is None:
        return
    slope = np.broadcast_to(slope, p_mw.shape)
    trial.claim(np.isfinite(slope), "marginal_cost is not finite")
    falls = np.flatnonzero(np.diff(slope) < -TOLERANCE * np.maximum(np.abs(slope[1:]), 1.0))
    if len(falls):
        at = int(falls[0])
        trial.claim(
            False,
            f"marginal_cost falls from {slope[at]:.6g} to {slope[at + 1]:.6g} $/MWh between {p_mw[at]:.6g} and "
            f"{p_mw[at + 1]:.6g} MW; a market needs offers that rise with power",
        )


def check_inputs_untouched(trial: Trial) -> None:
    """Kernels are pure: they do not change their arguments."""
    params = columns_of(trial.params)
    state = trial.kernels.reset(np, params, trial.uniform)
    arguments = (params, state, trial.commands[0], trial.exogenous[0], trial.outlooks[0])
    kept = [mapped(np.copy, values) for values in arguments]
    one_tick(np, trial.kernels, *arguments)
    for before, after in zip(kept, arguments, strict=True):
        for name, old, new in zip(before._fields, before, after, strict=True):
            what = f"{type(before).__name__}.{name}"
            trial.claim(
                np.array_equal(old, new, equal_nan=True), f"a kernel writes into {what}; it must make new arrays"
            )


def check_forms(trial: Trial, ticks: list[Tick]) -> None:
    """Runs on plain numbers and on columns agree with the batch."""
    one, unit = (1, 0), (0, 1, 2)
    check_same(trial, "columns and batch", run_columns(trial, one), [_picked(tick, one) for tick in ticks])
    alone = [_picked(tick._replace(rule=()), unit) for tick in ticks]
    check_same(trial, "plain floats and batch", run_floats(trial, unit), alone)


def _picked(tick: Tick, at: tuple[int, ...]) -> Any:
    def pick(values: Any) -> Any:
        columns = [value[at] for value in values]
        return type(values)(*columns) if hasattr(values, "_fields") else tuple(columns)

    return mapped(pick, tick)


def check_same(trial: Trial, who: str, first: list[Tick], second: list[Tick]) -> None:
    """Two forms of the same run agree."""
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        for (name, a), (_, b) in zip(leaves(one), leaves(other), strict=True):
            same = np.isclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)
            trial.claim(same, f"{who} differ in {name} at tick {number} by {np.max(np.abs(a - b)):.3g}")


def check_float32(trial: Trial) -> None:
    """Single precision stays single precision; otherwise a batch needs twice the memory."""
    first, ticks = run_batch(trial, np.float32)
    for name, value in zip(first._fields, first, strict=True):
        trial.claim(np.asarray(value).dtype == np.float32, f"reset turns float32 into {value.dtype} in {name}")
    for name, value in leaves(ticks[0]):
        trial.claim(np.asarray(value).dtype == np.float32, f"a kernel turns float32 into {value.dtype} in {name}")


def check_entries(trial: Trial, ticks: list[Tick]) -> None:
    """Observations stay inside their bounds, apparent power inside the rating."""
    entries: tuple[Entry, ...] = trial.unit.observation_entries()
    rating = getattr(trial.unit.settings, "sn_mva", None)
    for number, tick in enumerate(ticks):
        for seen, when in ((tick.observe, ""), (tick.failed_observe, " if the unit has failed")):
            for entry, value in zip(entries, seen, strict=True):
                inside = (value >= entry.low - TOLERANCE) & (value <= entry.high + TOLERANCE)
                trial.claim(
                    inside, f'observation "{entry.name}" leaves [{entry.low}, {entry.high}] at tick {number}{when}'
                )
        if rating is not None:
            apparent = np.hypot(tick.injection.p_mw, tick.injection.q_mvar)
            trial.claim(apparent <= rating + 1e-6, f"apparent power passes sn_mva {rating} at tick {number}")


def check_ratings(trial: Trial, ticks: list[Tick]) -> None:
    """Power and energy stay within the limits of the unit's own settings."""
    p_mw = max(float(np.abs(tick.injection.p_mw).max()) for tick in ticks)
    stored_mwh = np.cumsum([tick.energy.stored for tick in ticks], axis=0)
    for limit, reached, what in rating_faults(trial.unit.settings, p_mw, float(np.ptp(stored_mwh, axis=0).max())):
        trial.claim(False, f"it {what} {reached:.6g}, beyond its own {limit}; are these kW or MW?")


def check_energy(trial: Trial, ticks: list[Tick]) -> None:
    """Energy balances: the input is stored, used, lost or injected."""
    for number, tick in enumerate(ticks):
        account = tick.energy
        gap = account.primary_in - tick.injection.p_mw * DT_H - account.stored - account.useful_out - account.lost
        trial.claim(
            np.abs(gap) <= TOLERANCE,
            f"energy does not balance at tick {number}: primary_in - p dt - stored - useful_out - lost = "
            f"{np.max(np.abs(gap)):.3g} MWh",
        )


def check_settlement(trial: Trial, first: Any, ticks: list[Tick]) -> None:
    """The stored energy of a unit has a finite worth in every state."""
    params, price = columns_of(trial.params), np.full(_SHAPE, 60.0)
    for state in (first, *(tick.state for tick in ticks)):
        worth = trial.kernels.worth(np, params, state, price)
        if worth is None:
            return
        trial.claim(np.isfinite(np.asarray(worth)), "worth is not finite")


def check_gradients(trial: Trial, first: Any, ticks: list[Tick]) -> None:
    """Derivatives exist at idle and at random commands, within the limits and beyond, and are those of the kernels.

    At random commands they are compared with central differences where these are smooth: where the slopes to both sides
    and over half the step agree. Idle units often stand exactly at a limit.
    """
    idle = mapped(lambda value: np.full(_SHAPE, float(value)), trial.unit.idle())
    numbers = [number for number in range(1, TICKS, 5) if np.isfinite(np.array(trial.commands[number])).all()]
    states = [first, *(ticks[number - 1].state for number in numbers)]
    commands = [idle, *(trial.commands[number] for number in numbers)]
    params = columns_of(trial.params)
    for state, command, found in zip(states, commands, gradients(trial, states, commands), strict=True):
        for which, derivative in enumerate(found):
            for name, value in zip(derivative._fields, derivative, strict=True):
                what = f"{type(derivative).__name__}.{name}"
                trial.claim(np.isfinite(value), f"the derivative by {what} is not finite; is a square root at zero?")
                if command is idle:
                    continue
                slope, smooth = _differences(trial, params, (state, command), which, name)
                gap = np.where(smooth & np.isfinite(value), np.abs(value - slope), 0.0)
                trial.claim(
                    gap <= _SLOPE * np.maximum(np.abs(slope), 1.0),
                    f"the derivative by {what} misses that of central differences by {gap.max():.3g}; is a value "
                    "rounded on its way to the result?",
                )


def _differences(
    trial: Trial, params: Any, given: tuple[Any, Any], which: int, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Central differences of a tick's powers, money and state by one column, and where they are smooth."""
    column = np.asarray(getattr(given[which], name), float)
    step = _STEP * np.maximum(np.abs(column), 1.0)

    def at(share: float) -> np.ndarray:
        pair = list(given)
        pair[which] = given[which]._replace(**{name: column + share * step})
        found: np.ndarray = np.broadcast_to(tick_total(np, trial, pair[0], pair[1], params), _SHAPE)
        return found

    low, half_low, here, half_high, high = (at(share) for share in (-1.0, -0.5, 0.0, 0.5, 1.0))
    wide, near = (high - low) / (2.0 * step), (half_high - half_low) / step
    size = np.maximum(np.abs(wide), 1.0)
    turns = np.abs((high - here) - (here - low)) / step
    return wide, (np.abs(wide - near) < 0.1 * _SLOPE * size) & (turns < 10.0 * _SLOPE * size)
