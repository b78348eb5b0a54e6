"""A trial run of families that come from outside PowerGrid, when an environment is built.

It is short: do the kernels run, do they answer finite numbers of the right count, do they leave their arguments alone?
``powergrid.testing.check_device`` is the whole examination.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from powergrid.agents.device_agent import DeviceAgent
from powergrid.agents.short_form import KERNELS
from powergrid.core.errors import DeviceError
from powergrid.core.types import Array
from powergrid.engine.layout import Layout

_TICKS = 8
_UNITS = 2
_AT_TERMINAL = {"v_pu": 1.0, "p_branch_mw": 0.0, "p_net_mw": 0.0}


def check_kernels(device: Any, read: Callable[[str, Array], Array], dt_h: float) -> None:
    """Try a unit's kernels; those of PowerGrid itself are taken as they are.

    Parameters
    ----------
    read
        Values of a series at rows of the year, by its name.
    dt_h
        Tick [h].

    Raises
    ------
    DeviceError
        If there is no kernel, or one raises, answers anything but finite numbers, or writes into its arguments.
    """
    kind = type(device)
    if kind.step is DeviceAgent.step and device.role != "meter":
        raise _refused(
            device, "there is neither a `step` kernel nor the methods `update_state` and `update_cost_safety`"
        )
    if not _from_outside(kind):
        return
    _check_entries(device)
    if device.role == "injection":
        _check_ticks(device, read, dt_h)


def from_outside(layout: Layout) -> tuple[int, ...]:
    """Families whose kernels do not come with PowerGrid."""
    return tuple(i for i, family in enumerate(layout.families) if _from_outside(family.kernel))


def check_states(layout: Layout, which: Sequence[int], devices: Sequence[Any], tick: Array) -> None:
    """Check that the states of some families are finite after a tick, in every environment of a batch.

    Raises
    ------
    DeviceError
        Names the unit, the column and the value.
    """
    for i in which:
        family, columns = layout.families[i], devices[i]
        for name, values in zip(family.kernel.State._fields, columns, strict=True):
            finite = np.isfinite(values)
            if not finite.all():
                *lane, unit = map(int, np.argwhere(~finite)[0])
                value, when = float(values[(*lane, unit)]), int(np.asarray(tick)[tuple(lane)])
                sentence = f"step gave state.{name} = {value!r} at tick {when}; it must be finite"
                raise DeviceError(family.ids[unit], family.kernel.__name__, sentence)


def check_raised(layout: Layout, which: Sequence[int], error: Exception, tick: Array) -> None:
    """Raise a device error where a kernel of some families has raised `error`.

    Raises
    ------
    DeviceError
        If so; names a unit of the family, the method and the line.
    """
    for i in which:
        family = layout.families[i]
        sentence = raised_by(family.kernel, error, f" at tick {int(np.min(tick))}")
        if sentence:
            raise DeviceError(family.ids[0], family.kernel.__name__, sentence) from error


def raised_by(kind: Any, error: Exception, when: str = "") -> str:
    """The sentence for what a kernel of a family has raised; empty if none of them has."""
    trace, found = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        for name in KERNELS:
            if getattr(getattr(kind, name, None), "__code__", None) is code:
                place = f"{code.co_filename}, line {trace.tb_lineno}"
                found = f"{name} failed{when}: {type(error).__name__}: {error} ({place})"
                if isinstance(error, NotImplementedError) and getattr(kind, name) is getattr(DeviceAgent, name):
                    found = f"there is no kernel `{name}`"
        trace = trace.tb_next
    return found


def _from_outside(kind: type) -> bool:
    return kind.__module__.partition(".")[0] != "powergrid"


def _check_entries(device: Any) -> None:
    """Check that entries and idle command fit the columns."""
    chosen, fields = device.action_entries(), device.Command._fields
    for name, entry in chosen.items():
        if name not in fields:
            raise _refused(device, f'action_entries names "{name}", Command has the fields {list(fields)}')
        if not (np.isfinite([entry.low, entry.high]).all() and entry.low < entry.high):
            raise _refused(device, f'action "{name}" needs finite bounds low < high, has [{entry.low}, {entry.high}]')
    for entry in device.observation_entries():
        if not (np.isfinite([entry.low, entry.high]).all() and entry.low < entry.high):
            sentence = f'observation "{entry.name}" needs finite bounds low < high, has [{entry.low}, {entry.high}]'
            raise _refused(device, sentence)


def _check_ticks(device: Any, read: Callable[[str, Array], Array], dt_h: float) -> None:
    """A few ticks with random commands."""
    kind, random = type(device), np.random.default_rng(0)
    params = _columns(_call(device, "params"))
    state = _call(device, "reset", np, params, _fixed(np.full(_UNITS, 0.5)))
    _check_values(device, "reset", state._fields, state)
    entries, idle = device.action_entries(), device.idle()
    series = device.series()
    for tick in range(_TICKS):
        wanted = [
            random.uniform(entries[name].low, entries[name].high, _UNITS) if name in entries else np.full(_UNITS, value)
            for name, value in zip(kind.Command._fields, idle, strict=True)
        ]
        rows = [
            _AT_TERMINAL[n] if n in _AT_TERMINAL else read(series[n], np.array([tick]))[0]
            for n in kind.Exogenous._fields
        ]
        command, exogenous = kind.Command(*map(_fixed, wanted)), _columns(kind.Exogenous(*rows))
        state = type(state)(*map(_fixed, state))
        stepped = _call(device, "step", np, params, state, command, exogenous, dt_h)
        try:
            state, injection = stepped
            _check_values(device, "step", ("p_mw", "q_mvar"), injection)
            _check_values(device, "step", kind.State._fields, state)
        except (TypeError, ValueError) as error:
            raise _refused(
                device, f"step gave {type(stepped).__name__}, expected (state, Injection(p_mw, q_mvar))"
            ) from error
        injection = type(injection)(*map(_fixed, injection))
        after = (np, params, type(state)(*map(_fixed, state)), injection, exogenous, dt_h)
        _check_values(device, "money", kind.money_names, _call(device, "money", *after))
        violations = _call(device, "violation", *after)
        _check_values(device, "violation", kind.violation_names, violations)
        for name, value in zip(kind.violation_names, violations, strict=True):
            if np.min(value) < 0.0:
                raise _refused(device, f"violation gives {name} = {float(np.min(value))!r}; it must not be negative")
        names = [entry.name for entry in device.observation_entries()]
        _check_values(device, "readings", names, _call(device, "readings", *after[:4]))


def _call(device: Any, method: str, *arguments: Any) -> Any:
    try:
        return getattr(device if method == "params" else type(device), method)(*arguments)
    except Exception as error:  # whatever a stranger's kernel raises
        sentence = f"{method} failed: {type(error).__name__}: {error}"
        if isinstance(error, ValueError) and "read-only" in str(error):
            sentence = f"{method} writes into its arguments ({error}); it must make new arrays"
        raise _refused(device, sentence) from error


def _check_values(device: Any, method: str, names: Sequence[str], values: Sequence[Array]) -> None:
    if len(values) != len(names):
        raise _refused(device, f"{method} gives {len(values)} columns for the names {list(names)}")
    for name, value in zip(names, values, strict=True):
        if np.shape(value) not in ((), (_UNITS,)):
            sentence = (
                f"{method} gives {name} of shape {np.shape(value)} for {_UNITS} units; it must have one number each"
            )
            raise _refused(device, sentence)
        if not np.isfinite(np.asarray(value, dtype=float)).all():
            raise _refused(device, f"{method} gives {name} = {np.asarray(value).tolist()}; it must be finite")


def _columns(row: Any) -> Any:
    return type(row)(*(_fixed(np.full(_UNITS, float(value))) for value in row))


def _fixed(values: Any) -> Array:
    """An array that nobody can write into."""
    array = np.array(values, dtype=float)
    array.setflags(write=False)
    return array


def _refused(device: Any, sentence: str) -> DeviceError:
    return DeviceError(device.id, type(device).__name__, sentence)
