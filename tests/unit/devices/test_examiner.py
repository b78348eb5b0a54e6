"""The examiner of device families finds what may be wrong with one."""

from typing import Any

import numpy as np
import pytest

from powergrid.core.errors import UnknownNameError
from powergrid.core.types import Entry, Injection
from powergrid.devices import storage
from powergrid.devices.storage import Storage
from powergrid.testing import check_device


def passes_nan(xp: Any, params: Any, state: Any, command: Any, exogenous: Any, dt_h: float) -> Any:
    p_mw = xp.minimum(xp.maximum(command.p_mw, -0.01), 0.01)
    return state._replace(soc=state.soc - p_mw * dt_h), Injection(p_mw, p_mw * 0.0)


def writes_in_place(xp: Any, params: Any, state: Any, command: Any, exogenous: Any, dt_h: float) -> Any:
    after, injection = storage.step(xp, params, state, command, exogenous, dt_h)
    if isinstance(command.p_mw, np.ndarray):
        command.p_mw[...] = injection.p_mw
    return after, injection


def doubles_precision(xp: Any, params: Any, state: Any, command: Any, exogenous: Any, dt_h: float) -> Any:
    after, injection = storage.step(xp, params, state, command, exogenous, dt_h)
    return after, Injection(injection.p_mw * xp.where(after.soc < 2.0, 1.0, 0.0), injection.q_mvar)


def mixes_environments(xp: Any, params: Any, state: Any, command: Any, exogenous: Any, dt_h: float) -> Any:
    after, injection = storage.step(xp, params, state, command, exogenous, dt_h)
    return after, Injection(injection.p_mw, injection.q_mvar + 1e-6 * xp.mean(injection.p_mw))


def loses_energy(xp: Any, params: Any, state: Any, command: Any, exogenous: Any, dt_h: float) -> Any:
    after, injection = storage.step(xp, params, state, command, exogenous, dt_h)
    return after._replace(soc=after.soc * (1.0 - 1e-6)), injection


def passes_the_window(xp: Any, params: Any, state: Any, command: Any, exogenous: Any, dt_h: float) -> Any:
    wide = params._replace(soc_min=params.soc_min * 0.0 - 9.0)
    return storage.step(xp, wide, state, command, exogenous, dt_h)


def has_no_slope(xp: Any, params: Any, state: Any, command: Any, exogenous: Any, dt_h: float) -> Any:
    after, injection = storage.step(xp, params, state, command, exogenous, dt_h)
    return after, Injection(injection.p_mw, xp.sqrt(injection.q_mvar * injection.q_mvar))


@pytest.mark.parametrize(
    ("kernel", "sentence"),
    [
        (passes_nan, "is not finite at tick 4"),
        (writes_in_place, "a kernel writes into Command.p_mw"),
        (doubles_precision, "float32 into float64"),
        (mixes_environments, "differ in injection.q_mvar"),
        (loses_energy, "energy does not balance"),
        (passes_the_window, 'observation "soc" leaves'),
        (has_no_slope, "the derivative by .* is not finite"),
    ],
)
def test_faulty_step_is_found(kernel: Any, sentence: str) -> None:
    faulty = type("Faulty", (Storage,), {"step": staticmethod(kernel)})
    with pytest.raises(AssertionError, match=f"(?s)Faulty:.*{sentence}"):
        check_device(faulty, capacity_mwh=0.5)


def _draws_on_its_own(xp: Any, params: Any, uniform: Any) -> Any:
    soc = uniform * 0.0 + np.random.default_rng().random()
    return storage.State(soc)


def _free_energy(xp: Any, params: Any, state: Any, injection: Any, exogenous: Any, dt_h: float) -> Any:
    return (-1e-3 * xp.abs(injection.p_mw),)


def _priceless(xp: Any, params: Any, state: Any, settlement_per_mwh: Any) -> Any:
    return settlement_per_mwh * state.soc * np.inf


def _hopeless(xp: Any, params: Any, state: Any, exogenous: Any, outlook: Any, dt_h: float) -> Any:
    raise ValueError("no idea")


def _rewards(xp: Any, params: Any, state: Any, injection: Any, exogenous: Any, dt_h: float) -> Any:
    return (state.soc * 0.0 - 1.0,)


def _cheaper(xp: Any, params: Any, p_mw: Any) -> Any:
    return 100.0 - 50.0 * p_mw


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"reset": staticmethod(_draws_on_its_own)}, "two resets"),
        ({"money": staticmethod(_free_energy)}, r"asks .* more than money"),
        ({"worth": staticmethod(_priceless)}, "worth is not finite"),
        ({"money_names": ("wear", "fuel")}, "money gives 1 columns"),
        ({"observation_entries": lambda self: (Entry("soc", "1", 0.0, 1.0),)}, "readings gives 2 columns"),
        ({"action_entries": lambda self: {"p": Entry("p", "MW", -1.0, 1.0)}}, "are no fields of Command"),
        ({"action_entries": lambda self: {"p_mw": Entry("p", "MW", -1.0, np.inf)}}, "needs finite bounds"),
        ({"linear": lambda self, _: Storage.linear(self, None)._replace(eta_in=1.0)}, r"linear\(\) stores"),
        ({"linear": lambda self, _: Storage.linear(self, None)._replace(p_max_mw=0.01)}, "leaves the power limits"),
        ({"step": Storage.__mro__[1].step}, "there is no `step` kernel"),
        ({"energy": Storage.__mro__[1].energy}, "there is no kernel `energy`"),
        ({"rule": staticmethod(_hopeless)}, r"rule failed: ValueError: no idea \(.*, line \d+\)"),
        ({"violation": staticmethod(_rewards), "violation_names": ("limit",)}, 'violation "limit" is -1 at tick 0'),
        ({"marginal_cost": staticmethod(_cheaper)}, r"marginal_cost falls from 100 to 9\d.*MW"),
        ({"action_entries": lambda self: {"p_mw": Entry("p", "", -1.0, 1.0)}}, 'entry "p" needs a unit'),
    ],
)
def test_faulty_family_is_found(faults: dict, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_device(type("Faulty", (Storage,), faults))


def feeds_kilowatts(xp: Any, params: Any, state: Any, command: Any, exogenous: Any, dt_h: float) -> Any:
    after, injection = storage.step(xp, params, state, command, exogenous, dt_h)
    return after, Injection(injection.p_mw * 1000.0, injection.q_mvar)


def test_power_beyond_the_own_rating_is_found() -> None:
    faulty = type("Faulty", (Storage,), {"step": staticmethod(feeds_kilowatts)})
    with pytest.raises(AssertionError) as caught:
        check_device(faulty, max_p_mw=0.25)
    (said,) = [fault for fault in caught.value.faults if "beyond" in fault]
    assert said.startswith("it has a power [MW] of 2")
    assert said.endswith("beyond its own max_p_mw 0.25; are these kW or MW?")


def test_all_faults_are_told_at_once() -> None:
    faults = {
        "step": staticmethod(feeds_kilowatts),
        "worth": staticmethod(_priceless),
        "violation": staticmethod(_rewards),
        "violation_names": ("limit",),
        "linear": lambda self, _: Storage.linear(self, None)._replace(eta_in=1.0),
        "reset": staticmethod(_draws_on_its_own),
    }
    with pytest.raises(AssertionError) as caught:
        check_device(type("Faulty", (Storage,), faults))
    told = "\n".join(caught.value.faults)
    for sentence in (
        "two resets",
        "beyond its own",
        "worth is not finite",
        "is -1 at tick 0",
        "linear() stores",
        "balance",
    ):
        assert sentence in told
    assert len(caught.value.faults) == len(set(caught.value.faults))


def test_unknown_name_gets_the_nearest_match() -> None:
    with pytest.raises(UnknownNameError, match=r'did you mean "[Ss]torage"'):
        check_device("Storag")
