"""The regulator's own controller on a voltage divider, and its commands."""

from typing import Any

import numpy as np
import pytest
from device_families import build
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from powergrid.core.backend import jax_float64, jax_numpy

DT_H = 0.25


def settle(unit: Any, row: Any, tap: float, relay: Any) -> list[tuple[float, float]]:
    """Rounds of control until rest: the taps and relay voltages on the way."""
    state, allowed, path = unit.State(tap, 0.0), unit.allowed_moves(np, row, DT_H), []
    while True:
        v_pu = relay(unit.ratio(row, state))
        path.append((float(state.tap), float(v_pu)))
        steps = unit.wanted_steps(np, row, state, v_pu, allowed)
        if not steps:
            return path
        assert len(path) < 40
        state = unit.moved(np, state, steps)


def constant_power(source_pu: float, r_pu: float, p_pu: float) -> Any:
    """Relay voltage behind a regulator and a resistance, for a load that draws constant power: v^2 - e v + r p = 0."""

    def relay(ratio: float) -> float:
        emf, drop = source_pu * ratio, r_pu * ratio**2 * p_pu
        return (emf + np.sqrt(max(emf**2 - 4.0 * drop, 0.0))) / 2.0

    return relay


@pytest.mark.parametrize("tap", [0.0, 16.0, -8.0, 3.4])
def test_it_ends_inside_the_band_without_hunting_from_any_tap(tap: float) -> None:
    unit, row = build("Regulator", v_set_pu=1.0)
    path = settle(unit, row, tap, constant_power(0.99, 0.05, 1.0))
    taps = [position for position, _ in path]
    assert abs(path[-1][1] - 1.0) <= 1.0 / 120.0 + 1e-6
    steps = np.diff(taps)
    assert (steps >= 0).all() or (steps <= 0).all()
    assert np.allclose(steps, np.round(steps))


def test_it_stops_at_the_near_edge_of_the_band() -> None:
    unit, row = build("Regulator", v_set_pu=1.0)
    source = 0.95
    below = settle(unit, row, 0.0, lambda ratio: source * ratio)
    above = settle(unit, row, 16.0, lambda ratio: source * ratio)
    # 0.95 (1 + 0.00625 t) enters [0.99167, 1.00833] at 7.02 from below and 9.82 from above
    assert (below[-1][0], above[-1][0]) == (8.0, 9.0)


@given(tap=st.floats(-16.0, 16.0), source=st.floats(0.9, 1.1), r_pu=st.floats(0.0, 0.1), p_pu=st.floats(-1.0, 1.0))
def test_it_always_comes_to_rest_in_the_band_or_at_the_end_of_its_range(
    tap: float, source: float, r_pu: float, p_pu: float
) -> None:
    unit, row = build("Regulator", v_set_pu=1.0)
    path = settle(unit, row, tap, constant_power(source, r_pu, p_pu))
    steps = np.diff([position for position, _ in path])
    assert (steps >= 0).all() or (steps <= 0).all()
    last_tap, last_v = path[-1]
    at_end = (last_v < 1.0 and last_tap > 15.0) or (last_v > 1.0 and last_tap < -15.0)
    assert abs(last_v - 1.0) <= 1.0 / 120.0 + 1e-6 or at_end


def test_downstream_waits_for_upstream_and_both_end_in_band() -> None:
    unit, row = build("Regulator", v_set_pu=1.0)
    both = type(row)(*(np.array([value, value]) for value in row))
    allowed = unit.allowed_moves(np, both, DT_H)
    upstream = np.array([[0.0, 1.0], [0.0, 0.0]])
    state, first_moves = unit.State(np.zeros(2), np.zeros(2)), []
    for _ in range(30):
        gain = unit.ratio(both, state)
        v_pu = np.array([0.94 * gain[0], 0.93 * gain[0] * gain[1] * 0.95])
        steps = unit.wanted_steps(np, both, state, v_pu, allowed)
        if not steps.any():
            break
        first_moves.append((steps[0], state.tap[1]))
        state = unit.moved(np, state, np.where(np.abs(steps) @ upstream > 0, 0.0, steps))
    assert all(tap == 0.0 for still_out, tap in first_moves if still_out)
    assert (np.abs(v_pu - 1.0) <= 1.0 / 120.0 + 1e-6).all()
    assert state.tap[1] > 0.0


@pytest.mark.parametrize(("dt_s", "moves"), [(10, 1), (60, 1), (61, 7), (300, 55), (900, 175), (3600, 715)])
def test_moves_that_fit_into_a_tick(dt_s: float, moves: float) -> None:
    unit, row = build("Regulator", delay_s=30, step_time_s=5)
    assert unit.allowed_moves(np, row, dt_s / 3600.0) == moves


def test_a_slow_relay_makes_one_step_a_tick() -> None:
    unit, row = build("Regulator", delay_s=120)
    assert unit.allowed_moves(np, row, 90 / 3600.0) == 1.0


def test_no_more_moves_than_the_tick_allows() -> None:
    unit, row = build("Regulator", move_cost=0.5)
    state = unit.State(0.0, 0.0)
    state = unit.moved(np, state, unit.wanted_steps(np, row, state, 0.9, 2.0))
    assert tuple(state) == (2.0, 2.0)
    assert unit.wanted_steps(np, row, state, 0.9, 2.0) == 0.0
    assert unit.money(np, row, state, None, None, DT_H)[0] == 1.0
    following, injection = unit.step(np, row, state, unit.Command(1.0), (), DT_H)
    assert tuple(following) == (2.0, 0.0)
    assert injection.p_mw == 0.0


def test_it_stays_where_it_cannot_or_need_not_move() -> None:
    unit, row = build("Regulator")
    top, middle = unit.State(16.0, 0.0), unit.State(2.0, 0.0)
    assert unit.wanted_steps(np, row, top, 0.9, 99.0) == 0.0
    assert unit.wanted_steps(np, row, top, 1.1, 99.0) < 0.0
    for v_pu in (1.0, 1.0 + 1.0 / 120.0 + 1e-9, 0.0, np.nan):
        assert unit.wanted_steps(np, row, middle, v_pu, 99.0) == 0.0


def test_commands_move_it_only_without_local_control() -> None:
    unit, row = build("OLTC", local_control=False, max_steps_per_tick=4, tap_init=15.0)
    assert list(unit.action_entries()) == ["move"]
    state = unit.reset(np, row, 0.5)
    taps = [float(unit.step(np, row, state, unit.Command(move), (), DT_H)[0].tap) for move in (-1.0, 0.5, -0.1, np.nan)]
    assert taps == [11.0, 16.0, 15.0, 15.0]
    assert unit.wanted_steps(np, row, state, 0.9, 99.0) == 0.0


def test_jax_takes_the_same_decisions() -> None:
    unit, row = build("Regulator")
    v_pu = np.linspace(0.85, 1.15, 61)
    state = unit.State(np.linspace(-16.0, 16.0, 61), np.zeros(61))
    on_numpy = unit.wanted_steps(np, row, state, v_pu, 9.0)
    with jax_float64():
        jnp = jax_numpy()
        lifted = unit.State(*(jnp.asarray(column) for column in state))
        on_jax = np.asarray(unit.wanted_steps(jnp, row, lifted, jnp.asarray(v_pu), 9.0))
    assert np.array_equal(on_numpy, on_jax)
    assert (on_numpy != 0.0).any()


@pytest.mark.parametrize(
    "wrong", [{"tap_init": 20.0}, {"tap_min": 5.0, "tap_max": 5.0, "tap_init": 5.0}, {"bandwidth_pu": 0.008}]
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        build("Regulator", **wrong)
