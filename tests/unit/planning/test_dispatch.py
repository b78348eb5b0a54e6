"""Least-cost operation: cases solved by hand, on whole numbers and not, and prices from duals."""

from __future__ import annotations

import numpy as np
import pytest

from powergrid.agents.device_agent import LinearDevice
from powergrid.planning.dispatch import Before, Meter, Problem, least_cost, relaxed
from powergrid.planning.program import LinearProgram, NoOptimumError, Term


def problem(linear, load, retail, feed_in, *, before=None, settlement=None, dt_h=1.0, **more) -> Problem:
    arrays = (np.array(values, dtype=float) for values in (load, retail, feed_in))
    return Problem(
        dt_h=dt_h,
        ticks=len(load),
        linear=linear,
        meters=[Meter("pcc", "owner", tuple(linear), *arrays, "")],
        settlement_per_mwh=settlement or dict.fromkeys(linear, 0.0),
        before=before or {},
        **more,
    )


DIESEL = LinearDevice(
    0.0,
    1.0,
    cost_mw=(1.0,),
    cost_per_mwh=(40.0,),
    commitment=True,
    p_on_min_mw=0.5,
    no_load_cost_per_h=10.0,
    start_cost=15.0,
)


def test_value_of_energy_is_the_price_of_what_serves_the_next_megawatt_hour():
    generator = LinearDevice(0.0, 1.0, cost_mw=(1.0,), cost_per_mwh=(60.0,))
    found = least_cost(problem({"dg": generator}, [2.0, 0.5, 0.0], [90.0] * 3, [70.0, 40.0, 40.0], dt_h=0.25))
    # imports at retail; the generator serves the load in part; nothing to serve, and selling does not pay
    assert found.value_per_mwh["pcc"][:2] == pytest.approx([90.0, 60.0])
    assert 40.0 <= found.value_per_mwh["pcc"][2] <= 60.0
    assert found.p_mw["dg"] == pytest.approx([1.0, 0.5, 0.0])


def test_a_unit_that_is_off_starts_only_where_the_start_pays():
    off = {"dg": Before(on=False)}
    # one hour on saves 90 - 40 - 10 = 40 $, more than the start
    for load, retail, on in (([1.0, 0.0], 90.0, [1.0, 0.0]), ([1.0, 0.0], 60.0, [0.0, 0.0])):
        case = problem({"dg": DIESEL}, load, [retail, 0.0], [0.0, 0.0], before=off, commitment="milp")
        assert least_cost(case).on["dg"] == pytest.approx(on)


def test_relaxed_commitment_costs_no_more_and_whole_numbers_are_whole():
    case = problem({"dg": DIESEL}, [0.3, 0.3, 0.3], [90.0] * 3, [0.0] * 3, before={"dg": Before(on=True)})
    relaxed, whole = (least_cost(case._replace(commitment=how)) for how in ("relaxed", "milp"))
    assert relaxed.on["dg"] == pytest.approx([0.3, 0.3, 0.3])
    assert relaxed.cost < whole.cost
    assert set(np.round(whole.on["dg"], 9)) <= {0.0, 1.0}


def test_a_unit_stays_on_as_long_as_it_must():
    dear = DIESEL._replace(cost_per_mwh=(200.0,), min_up_h=3.0)
    held = {"dg": Before(p_mw=0.5, on=True, held_h=1.5)}
    for how in ("relaxed", "milp"):
        case = problem({"dg": dear}, [1.0] * 4, [90.0] * 4, [0.0] * 4, before=held, commitment=how)
        assert least_cost(case).on["dg"] == pytest.approx([1.0, 1.0, 0.0, 0.0])


def test_a_started_unit_keeps_its_shortest_time_on():
    # only the second hour pays, but a start brings three hours
    unit = DIESEL._replace(min_up_h=3.0)
    off = {"dg": Before(on=False)}
    retail = [0.0, 300.0, 0.0, 0.0, 0.0]
    case = problem({"dg": unit}, [1.0] * 5, retail, [0.0] * 5, before=off, commitment="milp")
    on = least_cost(case).on["dg"]
    assert on.sum() == pytest.approx(3.0)
    assert on[1] == pytest.approx(1.0)
    dearer = problem({"dg": unit}, [1.0] * 5, [0.0, 90.0, 0.0, 0.0, 0.0], [0.0] * 5, before=off, commitment="milp")
    assert least_cost(dearer).on["dg"] == pytest.approx(np.zeros(5))


def test_a_stopped_unit_keeps_its_shortest_time_off():
    unit = DIESEL._replace(start_cost=0.0, min_down_h=2.0)
    retail = [300.0, 0.0, 300.0, 300.0]
    case = problem({"dg": unit}, [1.0] * 4, retail, [0.0] * 4, before={"dg": Before(on=True)}, commitment="milp")
    assert least_cost(case).on["dg"] == pytest.approx(np.ones(4))  # an hour off would take two
    free = case._replace(linear={"dg": unit._replace(min_down_h=0.0)})
    assert least_cost(free).on["dg"] == pytest.approx([1.0, 0.0, 1.0, 1.0])


def test_a_store_below_its_window_is_no_contradiction():
    battery = LinearDevice(-0.5, 0.5, 0.2, 0.9, 0.19, decay_per_h=0.01)
    found = least_cost(problem({"ess": battery}, [0.0] * 3, [50.0] * 3, [45.0] * 3, settlement={"ess": 20.0}))
    assert found.p_mw["ess"] == pytest.approx(np.zeros(3))


def test_the_answer_follows_from_the_program_alone():
    rng = np.random.default_rng(3)
    battery = LinearDevice(-0.5, 0.5, 0.0, 1.0, 0.5, eta_in=0.9, eta_out=0.9)
    cases = [
        problem({"ess": battery}, rng.random(24), 50.0 + 50.0 * rng.random(24), 20.0 * rng.random(24)) for _ in range(4)
    ]
    forward = [least_cost(case).p_mw["ess"] for case in cases]
    backward = [least_cost(case).p_mw["ess"] for case in reversed(cases)]
    for one, other in zip(forward, reversed(backward), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_has_no_optimum_is_refused():
    must_run = LinearDevice(0.6, 1.0, ramp_mw_per_h=0.1)
    case = problem({"dg": must_run}, [0.0], [50.0], [40.0], before={"dg": Before(p_mw=0.0)})
    with pytest.raises(NoOptimumError, match="infeasible"):
        least_cost(case)
    assert least_cost(relaxed(case)).p_mw["dg"] == pytest.approx([1.0])
    program = LinearProgram(2)
    column = program.columns(-np.inf, np.inf, 1.0)
    program.rows(-np.inf, 1.0, [Term(1.0, column)])
    with pytest.raises(NoOptimumError, match="unbounded"):
        program.minimise()


def test_a_relaxed_problem_has_an_optimum_whatever_the_state():
    over = LinearDevice(-0.5, 0.5, 0.2, 0.9, 1.4)
    crossed = LinearDevice(np.array([0.3, 0.3]), np.array([0.1, 0.4]))
    case = problem({"ess": over, "pv": crossed}, [0.2] * 2, [50.0] * 2, [45.0] * 2, dt_h=0.25)
    with pytest.raises(NoOptimumError, match="infeasible"):
        least_cost(case)
    found = least_cost(relaxed(case))
    assert found.p_mw["ess"] == pytest.approx([0.5, 0.5])
    assert np.isfinite(found.value_per_mwh["pcc"]).all()


def test_what_the_simplex_method_gives_up_is_solved_another_way(monkeypatch):
    from powergrid.core import highs

    tried, made = [], highs.solver

    class GivesUp:
        """A solver that gives up for numerical reasons."""

        def __init__(self, solver):
            self._solver = solver

        def __getattr__(self, name):
            return getattr(self._solver, name)

        def getModelStatus(self):
            import highspy

            return highspy.HighsModelStatus.kUnknown

    def solver(**options):
        tried.append(options)
        return GivesUp(made(**options)) if len(tried) == 1 else made(**options)

    monkeypatch.setattr(highs, "solver", solver)
    program = LinearProgram(2)
    power = program.columns(0.0, 1.0, 3.0)
    program.rows(0.5, 2.0, [Term(1.0, power)])
    assert program.minimise().cost == pytest.approx(3.0)
    assert tried[0]["presolve"] == "off"
    assert "presolve" not in tried[1]
