"""The examiner of device families."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from powergrid.agents.device_agent import DeviceAgent, LinearDevice
from powergrid.core.errors import DeviceError, MissingExtraError, PowerGridError
from powergrid.core.types import Entry
from powergrid.datasets import load
from powergrid.engine.assembly.kernel_trial import check_kernels, raised_by
from powergrid.plugins.registries import DEVICES
from powergrid.testing.python_devices import check_python_device
from powergrid.testing.trial import (
    BATCH,
    DT_H,
    TICKS,
    UNITS,
    DeviceFaults,
    Tick,
    Trial,
    columns_of,
    drawn,
    gradients,
    leaves,
    make_trial,
    mapped,
    one_tick,
    rating_faults,
    run_batch,
    run_columns,
    run_floats,
    run_jax,
)
from powergrid.worlds.python_devices import reader

_TOLERANCE = 1e-9
_STEPS = 33
_SHAPE = (*BATCH, UNITS)


def device_test(*kinds: type[DeviceAgent] | str, **params: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator for pytest: examine devices, then give the test a unit of each as its argument ``device``.

    Parameters
    ----------
    *kinds
        Classes or registered names; the test runs once for each.
    **params
        Their settings.

    Examples
    --------
    ::

        @device_test("heat_pump", p_max_mw=0.01)
        def test_heat_pump(device):
            assert device.bus == "1"
    """
    import pytest

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(test)
        def run(*arguments: Any, device: Any, **others: Any) -> Any:
            check_device(device, **params)
            kind: Any = DEVICES.get(device) if isinstance(device, str) else device
            return test(*arguments, device=kind(id="examined", bus="1", **params), **others)

        names = [kind if isinstance(kind, str) else kind.__name__ for kind in kinds]
        marked: Callable[..., Any] = pytest.mark.parametrize("device", kinds, ids=names)(run)
        return marked

    return decorate


def check_device(cls_or_name: type[DeviceAgent] | str, **params: Any) -> None:
    """Examine a device: a family as its kernels are used, alone, in columns, in a batch and on JAX.

    A unit is built with `params` and driven for 24 ticks of 15 min with random commands, some of them outside the
    limits, NaN or infinite. Floats, columns, batch and JAX (float64) must agree to 1e-9; energy must balance to
    1e-9 MWh; limits must hold, and the power and energy that the settings give (``p_max_mw``, ``max_p_mw``,
    ``capacity_mwh``) be kept; state and money must stay finite; no violation may be negative and no marginal cost may
    fall with power; a reset must be reproducible; named entries must have units and match what the kernels give;
    derivatives must be finite; `linear` must describe the same unit. Plain Python devices
    are examined by :func:`powergrid.testing.python_devices.check_python_device`.

    Parameters
    ----------
    cls_or_name
        The class, or its registered name.
    **params
        Its settings.

    Raises
    ------
    AssertionError
        With the family's name and every fault that was found, a sentence each.
    UnknownNameError
        If no family has that name.
    MissingExtraError
        If JAX is not installed.
    """
    kernels = DEVICES.get(cls_or_name) if isinstance(cls_or_name, str) else cls_or_name
    if kernels.is_python():
        check_python_device(kernels, **params)
        return
    if kernels.step is DeviceAgent.step:
        raise AssertionError(
            f"{kernels.__name__}: there is no `step` kernel, so there is nothing to run in a batch; a plain device "
            "has the methods `update_state` and `update_cost_safety` instead"
        )
    try:
        trial = make_trial(kernels, params)
    except Exception as error:  # whatever a stranger's constructor raises
        raise AssertionError(f"{kernels.__name__} cannot be made: {type(error).__name__}: {error}") from error
    failed = _examine(trial)
    raised = [sentence for error in failed if (sentence := raised_by(trial.kernels, error))]
    if failed and (raised or not trial.faults):  # what else fails does so because of the faults
        trial.claim(False, _reason(trial, failed[0]))
    if trial.faults:
        raise DeviceFaults(kernels.__name__, trial.faults)


def _examine(trial: Trial) -> list[Exception]:
    """All checks, in an order in which each may rely on those before it; what they or the kernels have raised."""
    failed: list[Exception] = []

    def attempt(check: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return check(*arguments)
        except MissingExtraError:
            raise
        except Exception as error:  # whatever a stranger's kernel raises, and checks that rely on what is not so
            failed.append(error)
            return None

    attempt(_check_names, trial)
    made = attempt(drawn, trial)
    if made is None:
        return failed
    attempt(_check_reset, made)
    run = attempt(run_batch, made)
    if run is None:
        return failed
    first, ticks = run
    for check in (
        _check_columns,
        _check_finite,
        _check_costs,
        _check_forms,
        _check_entries,
        _check_ratings,
        _check_energy,
    ):
        attempt(check, made, ticks)
    attempt(_check_inputs_untouched, made)
    attempt(_check_float32, made)
    attempt(_check_settlement, made, first, ticks)
    attempt(_check_linear, made, ticks)
    attempt(lambda: _check_same(made, "JAX and NumPy", run_jax(made), ticks))
    attempt(_check_gradients, made, first, ticks)
    return failed


def _reason(trial: Trial, error: Exception) -> str:
    try:
        check_kernels(trial.unit, reader(load("embedded_2022"), 3600.0 * DT_H), DT_H)
    except DeviceError as found:
        return found.sentence
    except PowerGridError as found:  # a series that the embedded data do not have
        return str(found)
    return raised_by(trial.kernels, error) or f"it failed with {type(error).__name__}: {error}"


def _check_names(trial: Trial) -> None:
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


def _check_reset(trial: Trial) -> None:
    """A reset depends on its numbers only, and fills the batch."""
    params = columns_of(trial.params)
    once, again = (trial.kernels.reset(np, params, trial.uniform.copy()) for _ in range(2))
    for name, value, repeated in zip(once._fields, once, again, strict=True):
        trial.claim(np.shape(value) == _SHAPE, f"reset gives {name} of shape {np.shape(value)} instead of {_SHAPE}")
        trial.claim(np.array_equal(value, repeated), f"two resets with the same numbers differ in {name}")


def _check_columns(trial: Trial, ticks: list[Tick]) -> None:
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


def _check_finite(trial: Trial, ticks: list[Tick]) -> None:
    """No command may bring NaN or infinity into anything."""
    for number, tick in enumerate(ticks):
        for name, value in leaves(tick):
            trial.claim(np.isfinite(value), f"{name} is not finite at tick {number}, command {trial.commands[number]}")


def _check_costs(trial: Trial, ticks: list[Tick]) -> None:
    """No violation is a reward, and where a marginal cost is declared, fuel grows dearer with power."""
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
    falls = np.flatnonzero(np.diff(slope) < -_TOLERANCE * np.maximum(np.abs(slope[1:]), 1.0))
    if len(falls):
        at = int(falls[0])
        trial.claim(
            False,
            f"marginal_cost falls from {slope[at]:.6g} to {slope[at + 1]:.6g} $/MWh between {p_mw[at]:.6g} and "
            f"{p_mw[at + 1]:.6g} MW; a market needs offers that rise with power",
        )


def _check_inputs_untouched(trial: Trial) -> None:
    """Kernels are pure: what they are given stays as it is."""
    params = columns_of(trial.params)
    state = trial.kernels.reset(np, params, trial.uniform)
    given = (params, state, trial.commands[0], trial.exogenous[0], trial.outlooks[0])
    kept = [mapped(np.copy, values) for values in given]
    one_tick(np, trial.kernels, *given)
    for before, after in zip(kept, given, strict=True):
        for name, old, new in zip(before._fields, before, after, strict=True):
            what = f"{type(before).__name__}.{name}"
            trial.claim(
                np.array_equal(old, new, equal_nan=True), f"a kernel writes into {what}; it must make new arrays"
            )


def _check_forms(trial: Trial, ticks: list[Tick]) -> None:
    """Plain numbers and columns give what the batch gives."""
    one, unit = (1, 0), (0, 1, 2)
    _check_same(trial, "columns and batch", run_columns(trial, one), [_picked(tick, one) for tick in ticks])
    alone = [_picked(tick._replace(rule=()), unit) for tick in ticks]
    _check_same(trial, "plain floats and batch", run_floats(trial, unit), alone)


def _picked(tick: Tick, at: tuple[int, ...]) -> Any:
    def pick(values: Any) -> Any:
        columns = [value[at] for value in values]
        return type(values)(*columns) if hasattr(values, "_fields") else tuple(columns)

    return mapped(pick, tick)


def _check_same(trial: Trial, who: str, first: list[Tick], second: list[Tick]) -> None:
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        for (name, a), (_, b) in zip(leaves(one), leaves(other), strict=True):
            same = np.isclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE)
            trial.claim(same, f"{who} differ in {name} at tick {number} by {np.max(np.abs(a - b)):.3g}")


def _check_float32(trial: Trial) -> None:
    """Single precision stays single precision, else a batch silently takes twice the memory."""
    first, ticks = run_batch(trial, np.float32)
    for name, value in zip(first._fields, first, strict=True):
        trial.claim(np.asarray(value).dtype == np.float32, f"reset turns float32 into {value.dtype} in {name}")
    for name, value in leaves(ticks[0]):
        trial.claim(np.asarray(value).dtype == np.float32, f"a kernel turns float32 into {value.dtype} in {name}")


def _check_entries(trial: Trial, ticks: list[Tick]) -> None:
    """Observations stay inside their bounds, apparent power inside the rating."""
    entries: tuple[Entry, ...] = trial.unit.observation_entries()
    rating = getattr(trial.unit.settings, "sn_mva", None)
    for number, tick in enumerate(ticks):
        for entry, value in zip(entries, tick.observe, strict=True):
            inside = (value >= entry.low - _TOLERANCE) & (value <= entry.high + _TOLERANCE)
            trial.claim(inside, f'observation "{entry.name}" leaves [{entry.low}, {entry.high}] at tick {number}')
        if rating is not None:
            apparent = np.hypot(tick.injection.p_mw, tick.injection.q_mvar)
            trial.claim(apparent <= rating + 1e-6, f"apparent power passes sn_mva {rating} at tick {number}")


def _check_ratings(trial: Trial, ticks: list[Tick]) -> None:
    """Power and energy stay inside of what the unit's own settings say."""
    p_mw = max(float(np.abs(tick.injection.p_mw).max()) for tick in ticks)
    stored_mwh = np.cumsum([tick.energy.stored for tick in ticks], axis=0)
    for limit, reached, what in rating_faults(trial.unit.settings, p_mw, float(np.ptp(stored_mwh, axis=0).max())):
        trial.claim(False, f"it {what} {reached:.6g}, beyond its own {limit}; are these kW or MW?")


def _check_energy(trial: Trial, ticks: list[Tick]) -> None:
    """What comes in is stored, used, lost or injected."""
    for number, tick in enumerate(ticks):
        account = tick.energy
        gap = account.primary_in - tick.injection.p_mw * DT_H - account.stored - account.useful_out - account.lost
        trial.claim(
            np.abs(gap) <= _TOLERANCE,
            f"energy does not balance at tick {number}: primary_in - p dt - stored - useful_out - lost = "
            f"{np.max(np.abs(gap)):.3g} MWh",
        )


def _check_settlement(trial: Trial, first: Any, ticks: list[Tick]) -> None:
    """What a unit holds is worth a finite amount, whatever has happened to it."""
    params, price = columns_of(trial.params), np.full(_SHAPE, 60.0)
    for state in (first, *(tick.state for tick in ticks)):
        worth = trial.kernels.worth(np, params, state, price)
        if worth is None:
            return
        trial.claim(np.isfinite(np.asarray(worth)), "worth is not finite")


def _check_linear(trial: Trial, ticks: list[Tick]) -> None:
    """The linear form holds the unit's own trajectory and asks no more money for it."""
    at = (0, 0, 0)
    series = (np.array([getattr(row, name)[at] for row in trial.exogenous]) for name in trial.kernels.Exogenous._fields)
    linear = trial.unit.linear(trial.kernels.Exogenous(*series))
    if linear is None:
        return
    p_mw = np.array([tick.injection.p_mw[at] for tick in ticks])
    lowest, highest = np.broadcast_to(linear.p_min_mw, TICKS), np.broadcast_to(linear.p_max_mw, TICKS)
    trial.claim(lowest <= highest, "linear() has p_min_mw above p_max_mw")
    trial.claim(
        (p_mw >= lowest - _TOLERANCE) & (p_mw <= highest + _TOLERANCE), "a run leaves the power limits of linear()"
    )
    changes = np.abs(np.diff(p_mw))
    trial.claim(changes <= linear.ramp_mw_per_h * DT_H + _TOLERANCE, "a run leaves the ramp of linear()")
    _check_blocks(trial, linear, float(highest.max()))
    _check_stored(trial, linear, p_mw, np.array([tick.energy.stored[at] for tick in ticks]))
    paid = np.array([sum(column[at] for column in tick.money) for tick in ticks])
    asked = _linear_cost(linear, p_mw, lowest)
    trial.claim(asked <= paid + _TOLERANCE, f"linear() asks {np.max(asked - paid):.3g} $ more than money in a tick")


def _check_blocks(trial: Trial, linear: LinearDevice, highest_mw: float) -> None:
    widths, costs = np.array(linear.cost_mw), np.array(linear.cost_per_mwh)
    trial.claim(widths.shape == costs.shape, "linear() needs one cost for each width")
    if len(widths):
        trial.claim((widths > 0).all() and (np.diff(costs) >= 0).all(), "cost blocks of linear() must rise in cost")
        trial.claim(widths.sum() >= highest_mw - _TOLERANCE, "cost blocks of linear() do not reach p_max_mw")
    for name in ("eta_in", "eta_out"):
        trial.claim(0.0 < getattr(linear, name) <= 1.0, f"linear() has {name} outside (0, 1]")


def _check_stored(trial: Trial, linear: LinearDevice, p_mw: np.ndarray, stored_mwh: np.ndarray) -> None:
    """The linear energy recursion gives the energy that the kernels store, inside the window."""
    if linear.e_max_mwh <= linear.e_min_mwh:
        return
    e_mwh = linear.e_start_mwh
    for number, p in enumerate(p_mw):
        drawn_mw = max(p, 0.0) / linear.eta_out + min(p, 0.0) * linear.eta_in
        change = -e_mwh * linear.decay_per_h * DT_H - drawn_mw * DT_H
        gap = abs(change - stored_mwh[number])
        trial.claim(gap <= _TOLERANCE, f"linear() stores {gap:.3g} MWh else than the kernels at tick {number}")
        e_mwh += change
        # self-discharge may take a resting store below its window, but no command may
        low = min(linear.e_min_mwh, e_mwh - change) * (1.0 - linear.decay_per_h * DT_H)
        inside = low - _TOLERANCE <= e_mwh <= linear.e_max_mwh + _TOLERANCE
        trial.claim(inside, f"stored energy {e_mwh:.6g} MWh leaves its window at tick {number}")


def _linear_cost(linear: LinearDevice, p_mw: np.ndarray, lowest_mw: np.ndarray) -> np.ndarray:
    """What the linear form asks for a trajectory, without starts [$ a tick]."""
    ends = np.cumsum(linear.cost_mw)
    fill = np.clip(p_mw[:, None] - (ends - linear.cost_mw), 0.0, linear.cost_mw) if len(ends) else np.zeros((TICKS, 0))
    running = (p_mw > 0.0) | (not linear.commitment)
    per_h = fill @ np.array(linear.cost_per_mwh) + linear.no_load_cost_per_h * running
    per_h = per_h + linear.throughput_cost_per_mwh * np.abs(p_mw)
    per_h = per_h + linear.curtailment_cost_per_mwh * (p_mw - lowest_mw)
    cost: np.ndarray = per_h * DT_H
    return cost


def _check_gradients(trial: Trial, first: Any, ticks: list[Tick]) -> None:
    """Derivatives exist at idle and at random commands, within the limits and beyond."""
    idle = mapped(lambda value: np.full(_SHAPE, float(value)), trial.unit.idle())
    numbers = [number for number in range(1, TICKS, 5) if np.isfinite(np.array(trial.commands[number])).all()]
    states = [first, *(ticks[number - 1].state for number in numbers)]
    commands = [idle, *(trial.commands[number] for number in numbers)]
    for by_state, by_command in gradients(trial, states, commands):
        for found in (by_state, by_command):
            for name, value in zip(found._fields, found, strict=True):
                what = f"{type(found).__name__}.{name}"
                trial.claim(np.isfinite(value), f"the derivative by {what} is not finite; is a square root at zero?")
