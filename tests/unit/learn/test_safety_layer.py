"""The safety layer on real networks: what it changes, what it leaves alone, what it says where limits cannot hold."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize, nnls

import powergrid
from powergrid import SafePolicy
from powergrid.core import random
from powergrid.core.errors import ArgumentError
from powergrid.learn.evaluate import evaluate
from powergrid.learn.projection import project
from powergrid.learn.realtime import evaluate_realtime
from powergrid.learn.safety_layer import SafetyLayer
from powergrid.worlds.simulation import Simulation

PRESET = "voltage_control_34"
DAYS = [150, 220]
NOON = 50


def pushy(observations):
    """Every unit delivers all it can, active and reactive: voltages leave the band."""
    counts = {agent: 1 if agent.startswith("cap") else 2 for agent in observations}
    return {agent: np.ones((len(seen), counts[agent])) for agent, seen in observations.items()}


@pytest.fixture(scope="module")
def evaluation():
    policies = ({"pushy": pushy, "kept": SafePolicy(pushy)}, "rule_based", SafePolicy("rule_based"))
    return evaluate(PRESET, policy=policies, days=DAYS[:1], show=False)


@pytest.fixture(scope="module")
def world():
    return powergrid.make(PRESET, backend="numpy").world


def at(world, tick, days, policy="idle"):
    """A simulation of some days side by side in the state before a tick."""
    simulation = Simulation(world)
    key = random.key_from_seed(np, np.arange(len(days), dtype=np.uint64))
    state, *_ = simulation.reset(key, np.asarray(days))
    for _ in range(tick):
        state, _ = simulation.step(state, simulation.decide(state, policy))
    return simulation, state


def ones(world, days):
    return np.ones((days, len(world.layout.actors), world.layout.action_size), np.float32)


def test_limits_hold_behind_the_layer(evaluation):
    voltage = [i for i, name in enumerate(evaluation.cost_names) if "voltage" in name or "overload" in name]
    outside, kept = evaluation["pushy"], evaluation["kept"]
    assert (outside.costs[:, voltage].sum(-1) > 1.0).all()
    assert (outside.violated_ticks > 10).all()
    assert kept.costs[:, voltage].sum() == 0.0
    assert kept.safety["ticks_outside_per_day"] == 0.0
    assert 10 < kept.safety["ticks_changed_per_day"] <= 96
    assert set(kept.safety["held"]) == {f"cap_{k}.on" for k in range(1, 7)}


def test_what_is_safe_stays_as_it_is(evaluation):
    free, safe = evaluation["rule_based"], evaluation["rule_based_safe"]
    assert not free.costs.any()
    assert np.array_equal(free.arrays["actions"], safe.arrays["actions"])
    assert free.trajectory_hash == safe.trajectory_hash
    assert safe.safety["ticks_changed_per_day"] == 0.0


def test_the_evaluation_says_what_the_layer_did(evaluation):
    content = json.loads(json.dumps(evaluation.to_dict()))["policies"]
    assert content["kept"]["safety_layer"]["margin_pu"] == 0.001
    assert "safety_layer" not in content["pushy"]
    assert "kept: the safety layer changed" in evaluation.table().caption


def test_days_side_by_side_are_those_one_by_one(world):
    days = [100, 150, 200, 220]
    simulation, state = at(world, NOON, days)
    layer, actions = SafetyLayer(world), ones(world, 4)
    actions[2] = 0.0  # safe among unsafe ones
    together, done = layer.project(simulation, state, actions)
    assert done.changed.tolist() == [True, True, False, True]
    assert np.array_equal(together[2], actions[2])
    for k, day in enumerate(days):
        simulation = Simulation(world)
        state, *_ = simulation.reset(random.key_from_seed(np, np.array([k], dtype=np.uint64)), np.array([day]))
        for _ in range(NOON):
            state, _ = simulation.step(state, simulation.decide(state, "idle"))
        alone, own = layer.project(simulation, state, actions[k : k + 1])
        assert np.allclose(alone[0], together[k], atol=1e-6)
        assert own.changed[0] == done.changed[k]


def test_one_linearisation_brings_voltages_to_the_margin(world):
    simulation, state = at(world, NOON, DAYS)
    for margin_pu in (0.001, 0.004):
        layer = SafetyLayer(world, margin_pu=margin_pu, rounds=1)
        safe, done = layer.project(simulation, state, ones(world, 2))
        assert done.changed.all()
        assert not done.outside.any()
        v_pu = simulation.step(state, safe)[1].flow.v_pu
        assert np.allclose(v_pu.max(-1), 1.05 - margin_pu, atol=1e-3)


def test_no_other_actions_within_the_limits_are_nearer(world):
    """Against many actions around those of the layer, in shares of the units' ratings."""
    rng, count = np.random.default_rng(0), 200
    simulation, state = at(world, NOON, [150])
    given = ones(world, 1)
    safe, _ = SafetyLayer(world, margin_pu=0.0).project(simulation, state, given)
    simulation, _ = at(world, 0, [150] * count)
    state = repeated(state, count)
    tried = np.repeat(safe, count, 0)
    moved = rng.normal(0.0, 1.0, (count, 8, 2)) * 10.0 ** rng.uniform(-3, 0, (count, 1, 1))
    tried[1:, :8] = np.clip(tried[1:, :8] + moved[1:], -1.0, 1.0)
    tried[0] = safe[0]
    rating = np.array([0.5, 0.25, 0.12, 0.06, 0.06, 0.12, 0.2, 0.2])
    wanted = simulation.step(state, np.repeat(given, count, 0))[1]
    output = simulation.step(state, tried)[1]
    units = [simulation.layout.families[i].ids for i in simulation.layout.injecting]
    own = [k for k, id in enumerate(id for ids in units for id in ids) if id.startswith(("pv", "ess"))]
    order = [id for ids in units for id in ids if id.startswith(("pv", "ess"))]
    scale = np.array([dict(zip(names(), rating, strict=True))[id] for id in order])
    change = np.concatenate([(output.p_mw - wanted.p_mw)[:, own], (output.q_mvar - wanted.q_mvar)[:, own]], -1)
    distance = np.sqrt((change**2 / np.tile(scale, 2) ** 2).sum(-1))
    within = (output.flow.v_pu.max(-1) <= 1.05 + 1e-6) & (output.flow.v_pu.min(-1) >= 0.95 - 1e-6)
    assert within[0]
    assert within[1:].sum() > 10
    assert distance[1:][within[1:]].min() > 0.98 * distance[0]


def names():
    return [*(f"pv_{k}" for k in range(1, 7)), "ess_1", "ess_2"]


def repeated(tree, count):
    if isinstance(tree, tuple):
        parts = [repeated(part, count) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return np.repeat(tree[:1], count, 0)


@pytest.mark.parametrize("charging", [-0.5, -1.0], ids=["loading beyond 100 %", "no solution"])
def test_overloaded_lines_are_relieved(charging):
    config = {
        "name": "overloaded",
        "network": {"base": "ieee13", "load_scale": 0.3, "capacitors": {"control": "fixed"}},
        "agents": [
            {"id": "ess", "type": "ESS", "bus": 680, "params": {"capacity_mwh": 40.0, "max_p_mw": 12.0}},
            {"id": "dg", "type": "DG", "bus": 671, "params": {"p_max_mw": 1.0}},
        ],
        "simulation": {"v_min_pu": 0.8, "v_max_pu": 1.2},
    }
    world = powergrid.make(config, backend="numpy").world
    simulation, state = at(world, 0, [10])
    given = np.array([[[charging], [1.0]]], np.float32)
    safe, done = SafetyLayer(world).project(simulation, state, given)
    before, after = (simulation.step(state, chosen)[1].flow for chosen in (given, safe))
    assert before.loading.max() > 110.0
    assert before.converged[0] == (charging == -0.5)
    assert 95.0 < after.loading.max() <= 100.0
    assert safe[0, 1, 0] == 1.0  # the generator relieves the line to the battery: it stays in full
    assert done.changed.all()
    assert not done.outside.any()


def test_where_no_actions_keep_the_limits_the_layer_says_so():
    """Taps at their highest, which the layer does not move: voltages can only be brought nearer to the band."""
    world = powergrid.make("voltage_control_13", backend="numpy").world
    simulation, state = at(world, 0, DAYS)
    for _ in range(8):
        state, _ = simulation.step(state, ones(world, 2))
    layer = SafetyLayer(world)
    assert {"tap_1.move", "cap_1.on"} <= set(layer.held)
    safe, done = layer.project(simulation, state, ones(world, 2))
    before, after = (simulation.step(state, chosen)[1] for chosen in (ones(world, 2), safe))
    assert done.outside.all()
    assert layer.outside == layer.decisions == 2
    excess = [np.maximum(o.flow.v_pu - 1.05, 0.0) for o in (before, after)]
    assert ((excess[1] ** 2).sum(-1) < 0.5 * (excess[0] ** 2).sum(-1)).all()
    assert (excess[1].max(-1) > 0.0).all()


@pytest.fixture(scope="module")
def programs():
    """Half-spaces like those of a feeder: rows that are nearly parallel, an upper and a lower limit each."""
    rng = np.random.default_rng(0)
    batch, m, n = 60, 50, 12
    slopes = np.abs(rng.normal(size=(batch, 1, n))) * (0.2 + rng.random((batch, m, n))) * 0.01
    room = rng.normal(0.0, 0.02, (batch, m)), rng.normal(0.12, 0.01, (batch, m))
    box = -1.5 * rng.random((batch, n)), 1.5 * rng.random((batch, n))
    return np.concatenate([slopes, -slopes], 1), np.concatenate(room, 1), *box


def least_distance(a, b, low, high):
    """Lawson and Hanson, "Solving Least Squares Problems", 1974, ch. 23: least distance programming by NNLS."""
    n = len(low)
    rows = np.vstack([-a, np.eye(n), -np.eye(n)]), np.concatenate([-b, low, -high])
    matrix = np.vstack([rows[0].T, rows[1][None]])
    last = np.eye(n + 1)[-1]
    residual = matrix @ nnls(matrix, last, maxiter=20_000)[0] - last
    return -residual[:n] / residual[n] if np.linalg.norm(residual) > 1e-6 else None


def test_the_projection_is_that_of_another_method(programs):
    found, wanted = project(*programs), [least_distance(*program) for program in zip(*programs, strict=True)]
    feasible = [k for k, z in enumerate(wanted) if z is not None]
    assert len(feasible) >= 20
    for k in feasible:
        assert np.allclose(found[k], wanted[k], atol=1e-4)


def test_an_infeasible_program_is_violated_least(programs):
    a, b, low, high = programs
    found = project(a, b - 0.1, low, high)
    violation = (np.maximum(np.einsum("bmn,bn->bm", a, found) - b + 0.1, 0.0) ** 2).sum(-1)
    assert (violation > 1e-6).all()
    for k in range(0, 60, 6):

        def squares(z, k=k):
            excess = np.maximum(a[k] @ z - b[k] + 0.1, 0.0)
            return 1e4 * (excess @ excess), 2e4 * a[k].T @ excess

        box = list(zip(low[k], high[k], strict=True))
        least = minimize(squares, 0.5 * (low[k] + high[k]), jac=True, bounds=box, method="L-BFGS-B", tol=1e-14)
        assert 1e4 * violation[k] <= least.fun * (1.0 + 1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin_pu": -0.1}, "margin_pu is -0.1; a number of at least 0"),
        ({"margin_pu": float("nan")}, "margin_pu is nan"),
        ({"margin_pu": "wide"}, "margin_pu is 'wide'"),
        ({"rounds": 0}, "rounds is 0; a whole number from 1 to 100"),
        ({"rounds": 1.5}, "rounds is 1.5"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        SafePolicy("idle", **settings)


def test_what_no_layer_can_serve_is_refused(world):
    with pytest.raises(ArgumentError, match="one safety layer is enough"):
        SafePolicy(SafePolicy("idle"))
    with pytest.raises(ArgumentError, match="must be a function"):
        SafePolicy(3.0)
    with pytest.raises(ArgumentError, match=r"nothing of the band from 0\.95 to 1\.05 pu; choose less than 0\.05"):
        SafetyLayer(world, margin_pu=0.05)
    with pytest.raises(ArgumentError, match="they arrive in others"):
        evaluate_realtime(PRESET, {"action_delay": 1.0}, policy=SafePolicy("idle"), days=[1], show=False)
    with pytest.raises(ArgumentError, match="has no name"):
        evaluate(PRESET, policy=[SafePolicy(pushy)], days=[1], show=False)
    bank = {"id": "bank", "type": "Capacitor", "bus": 675, "params": {"control": "manual"}, "policy": "learned"}
    config = {"name": "bank", "network": {"base": "ieee13"}, "agents": [bank]}
    with pytest.raises(ArgumentError, match="no action moves the power of a unit"):
        evaluate(config, policy=SafePolicy("random"), days=[1], show=False)
    battery = {"type": "ESS", "bus": 671, "params": {"capacity_mwh": 1.0, "max_p_mw": 0.5}}
    config["agents"] = [{"id": "planned", "policy": "mpc", **battery}, {"id": "learned", **battery}]
    with pytest.raises(ArgumentError, match="planned would decide twice"):
        evaluate(config, policy=SafePolicy("idle"), days=[1], show=False)
