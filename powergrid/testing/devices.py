"""The examiner of device families."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from powergrid.agents.device_agent import DeviceAgent
from powergrid.core.errors import DeviceError, MissingExtraError, PowerGridError
from powergrid.datasets import load
from powergrid.engine.assembly.kernel_trial import check_kernels, raised_by
from powergrid.plugins.registries import DEVICES
from powergrid.testing import device_checks as checks
from powergrid.testing.linear_checks import check_linear
from powergrid.testing.python_devices import check_python_device
from powergrid.testing.trial import DT_H, DeviceFaults, Trial, drawn, make_trial, run_batch, run_jax
from powergrid.worlds.python_devices import reader


def device_test(*kinds: type[DeviceAgent] | str, **params: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator for pytest: examine devices, then call the test with a unit of each as its argument ``device``.

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
    """Examine a device: the kernels of a family alone, in columns, in a batch and on JAX.

    A unit is built with `params` and driven for 24 ticks of 15 min with random commands, some of them outside the
    limits, NaN or infinite. The examiner demands:

    - floats, columns, batch and JAX (float64) agree to 1e-9;
    - energy balances to 1e-9 MWh;
    - power and energy stay within the settings (``p_max_mw``, ``max_p_mw``, ``capacity_mwh``);
    - state and money stay finite, no violation is negative, and no marginal cost falls with power;
    - a reset is reproducible;
    - entries have names and units, and match the results of the kernels;
    - derivatives are finite, and those of central differences to 1e-4 where these are smooth;
    - a failed unit has finite readings within their bounds and finite money;
    - `linear` describes the same unit.

    :func:`powergrid.testing.python_devices.check_python_device` examines plain Python devices.

    Parameters
    ----------
    cls_or_name
        The class, or its registered name.
    **params
        Its settings.

    Raises
    ------
    AssertionError
        With the family's name and one sentence per fault.
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
    except Exception as error:  # a constructor may raise anything
        raise AssertionError(f"{kernels.__name__} cannot be made: {type(error).__name__}: {error}") from error
    failed = _examine(trial)
    raised = [sentence for error in failed if (sentence := raised_by(trial.kernels, error))]
    if failed and (raised or not trial.faults):  # other failures follow from the faults
        trial.claim(False, _reason(trial, failed[0]))
    if trial.faults:
        raise DeviceFaults(kernels.__name__, trial.faults)


def _examine(trial: Trial) -> list[Exception]:
    """Run all checks, each after those that it relies on; return the exceptions of checks and kernels."""
    failed: list[Exception] = []

    def attempt(check: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return check(*arguments)
        except MissingExtraError:
            raise
        except Exception as error:  # a kernel may raise anything, and a check may rely on what does not hold
            failed.append(error)
            return None

    attempt(checks.check_names, trial)
    drawn_trial = attempt(drawn, trial)
    if drawn_trial is None:
        return failed
    attempt(checks.check_reset, drawn_trial)
    run = attempt(run_batch, drawn_trial)
    if run is None:
        return failed
    first, ticks = run
    for check in (
        checks.check_columns,
        checks.check_finite,
        checks.check_costs,
        checks.check_forms,
        checks.check_entries,
        checks.check_ratings,
        checks.check_energy,
    ):
        attempt(check, drawn_trial, ticks)
    attempt(checks.check_inputs_untouched, drawn_trial)
    attempt(checks.check_float32, drawn_trial)
    attempt(checks.check_settlement, drawn_trial, first, ticks)
    attempt(check_linear, drawn_trial, ticks)
    attempt(lambda: checks.check_same(drawn_trial, "JAX and NumPy", run_jax(drawn_trial), ticks))
    attempt(checks.check_gradients, drawn_trial, first, ticks)
    return failed


def _reason(trial: Trial, error: Exception) -> str:
    try:
        check_kernels(trial.unit, reader(load("embedded_2022"), 3600.0 * DT_H), DT_H)
    except DeviceError as fault:
        return fault.sentence
    except PowerGridError as fault:  # a series that the embedded data do not have
        return str(fault)
    return raised_by(trial.kernels, error) or f"it failed with {type(error).__name__}: {error}"
