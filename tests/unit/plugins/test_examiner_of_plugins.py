"""The examiner: plain Python devices and strangers' kernels that are wrong, each named with what is wrong."""

from __future__ import annotations

import hvac
import numpy as np
import pytest

from powergrid.agents import DeviceAgent
from powergrid.core.types import Entry
from powergrid.devices.storage import Storage
from powergrid.plugins import load_plugins
from powergrid.plugins.registries import DEVICES
from powergrid.testing import check_device, device_test


@pytest.fixture(scope="module")
def proposal(tmp_path_factory):
    load_plugins(hvac.folder(tmp_path_factory.mktemp("examined")))
    return DEVICES.get("HVAC")


def test_the_proposals_hvac_passes_with_a_warning_that_cooling_generates(proposal):
    with pytest.warns(UserWarning, match=r"HVACAgent: with the action \[-5.0\] it still feeds 0.005 MW"):
        check_device(proposal, temp_range=[20, 24])


class Plain(DeviceAgent):
    """A consumer that is right, to be made wrong."""

    shared: list = []  # noqa: RUF012  (a class attribute on purpose)

    def __init__(self, limit=1.0, **kwargs):
        super().__init__(**kwargs)
        self.limit, self.level = limit, 0.0
        self.action.dim_c, self.action.range = 1, np.array([[0.0], [1.0]])

    def update_state(self):
        self.level = 0.5 * self.level + self.action.c[0]
        self.state.P = self.limit * self.level

    def update_cost_safety(self):
        self.cost = self.level


def test_a_right_device_passes():
    check_device(Plain)


SEEN = []


def _raises(self):
    raise OSError("no luck")


def _infinite(self):
    self.state.Q = np.inf


def _rewrites(self):
    self.limit += 1.0


def _shares(self):
    type(self).shared.append(self.t)


def _remembers(self):
    SEEN.append(self.t)
    self.state.P = float(len(SEEN))


def _random(self):
    self.state.P = float(np.random.default_rng().random())


def _far(self):
    self.level = 7.0


def _overloads(self):
    self.state.P = 250.0


def _bounded(self):
    return (Entry("level", "1", 0.0, 2.0),)


def _rewards(self):
    self.cost, self.safety = 0.0, -0.5


def _moves(self):
    self.bus = "2"


def _widens(self):
    self.action.range = np.array([[0.0], [9.0]])


def _quits(self):
    raise SystemExit(3)


def _unitless(self):
    return (Entry("level", "", 0.0, 9.0),)


@pytest.mark.parametrize(
    ("methods", "sentence"),
    [
        ({"update_state": _raises}, r"Wrong: update_state failed at tick 0: OSError: no luck"),
        ({"update_cost_safety": _infinite}, r"Wrong: update_state left state.Q = inf"),
        ({"update_state": _rewrites}, r"changed the parameter limit from 1.0 to 2.0"),
        ({"update_state": _shares}, r"change Plain.shared to \[0, 1, .*all units share"),
        ({"update_state": _remembers}, r"two episodes with the same actions differ: state.P = "),
        ({"update_state": _random}, r"two episodes with the same actions differ: state.P = "),
        ({"update_cost_safety": _rewards}, r"Wrong: update_cost_safety left safety = -0.5 at tick 0"),
        ({"update_state": _moves}, r"Wrong: its methods change bus from '1' to '2'"),
        ({"update_state": _widens}, r"Wrong: its methods change action.range"),
        ({"update_state": _quits}, r"Wrong: update_state failed at tick 0: SystemExit: 3"),
        ({"observation_entries": _unitless}, r'Wrong: entry "level" needs a unit, found \'\''),
        ({"update_state": _overloads, "p_max_mw": 0.25}, r"a power \[MW\] of 250, beyond its own p_max_mw 0.25"),
        ({"update_state": _far, "observation_entries": _bounded}, r'observation "level" = 7 leaves \[0, 2\] at tick 0'),
    ],
)
def test_a_wrong_device_is_named_with_method_and_value(methods, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_device(type("Wrong", (Plain,), methods))


def test_a_forgotten_method_and_an_action_upside_down():
    class Half(DeviceAgent):
        def update_state(self):
            self.state.P = 0.001

    with pytest.raises(AssertionError, match="Half: there is no method `update_cost_safety` beside `update_state`"):
        check_device(Half)

    class Reversed(Plain):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.action.range = np.array([[1.0], [0.0]])

    with pytest.raises(AssertionError, match=r"upside down: lowest 1.0 is not below highest 0.0"):
        check_device(Reversed)


def _divides(xp, params, state, command, exogenous, dt_h):
    raise ZeroDivisionError("by nothing")


def _forgets_the_power(xp, params, state, command, exogenous, dt_h):
    return state


def test_a_kernel_that_raises_or_gives_the_wrong_thing_is_named():
    for kernel, sentence in (
        (_divides, "Faulty: step failed: ZeroDivisionError: by nothing"),
        (_forgets_the_power, "Faulty: step gave State, expected"),
    ):
        with pytest.raises(AssertionError, match=sentence):
            check_device(type("Faulty", (Storage,), {"step": staticmethod(kernel)}), capacity_mwh=1.0, max_p_mw=0.5)


@device_test(Plain, limit=2.0)
def test_a_test_gets_an_examined_unit(device):
    assert device.limit == 2.0
    assert isinstance(device, Plain)


def test_the_decorator_stops_a_wrong_device():
    wrong = type("Wrong", (Plain,), {"update_state": _raises})

    @device_test(wrong)
    def checked(device):
        raise RuntimeError("the test itself must not run")

    with pytest.raises(AssertionError, match="no luck"):
        checked(device=wrong)
