"""The loop over plain Python devices, written out for each class: it is all that such a device costs.

Reading attributes by name in a loop over names takes half as long again as the user's own methods, so the names that a
class answers with stand in the text of its loop, as a person would have written it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from powergrid.core.errors import DeviceError
from powergrid.engine.python.units import changed, failed

_TEXT = """
def loop(units, tick, seen, paid, v_pu, answers):
    device = units[0][0]
    try:
        for (device, update_state, update_cost_safety, {fixed}), price, own, voltage in zip(units, seen, paid, v_pu):
            device.t, device.price_per_mwh, device.electricity_price, device.v_pu = tick, price, own, voltage
            update_state()
            update_cost_safety()
            state = device.state
            answers += (state.P, state.Q, device.cost, device.safety, {readings})
            if {moved}:
                raise changed(device, [{fixed}])
    except DeviceError:
        raise
    except (Exception, SystemExit) as error:
        raise failed(device, error) from error
"""


@cache
def loop_of(readings: Sequence[str], parameters: Sequence[str]) -> Callable[..., None]:
    """``loop(units, tick, seen, paid, v_pu, answers)``: one tick of units of one class.

    Units are rows of :func:`row`; `seen`, `paid` and `v_pu` hold a number for each, and what the units answer is put
    behind `answers`, one after the other.
    """
    fixed = [f"fixed_{i}" for i in range(len(parameters))]
    tests = [f"device.{name} is not {kept}" for name, kept in zip(parameters, fixed, strict=True)]
    text = _TEXT.format(
        fixed=", ".join(fixed),
        readings=", ".join(f"device.{name}" for name in readings),
        moved=" or ".join(tests) or "False",
    )
    names: dict[str, Any] = {"DeviceError": DeviceError, "changed": changed, "failed": failed}
    exec(text, names)
    loop: Callable[..., None] = names["loop"]
    return loop


def row(device: Any) -> tuple[Any, ...]:
    """A device with its methods and the parameters that must stay what they are."""
    kept = (getattr(device, name) for name in device.facts.parameters)
    return device, device.update_state, device.update_cost_safety, *kept
