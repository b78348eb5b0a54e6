"""Cooperative dispatch by ADMM against HiGHS, its limits, its load from meters, and all forms of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import highspy
import numpy as np
import pytest

import powergrid
from powergrid.agents.protocol import Context, Member, Members, Unit
from powergrid.agents.protocols.admm import CooperativeDispatch
from powergrid.core import graph
from powergrid.core.errors import ConfigError
from powergrid.core.graph import Graph
from powergrid.testing.coordination import check_protocol

_ROUNDS, _GAP = 500, 1e-4


def _path(size: int) -> Graph:
    return graph.of_pairs(size, ((k, k + 1) for k in range(size - 1)))


_GRAPHS = {"full": graph.full, "path": _path, "ring": graph.ring, "star": graph.star}


def _members(seed: int, slopes: tuple[float, float] = (20.0, 200.0)) -> list[Member]:
    """Two to six members with one to three units each, some of which cannot stand still."""
    rng = np.random.default_rng(seed)

    def unit() -> Unit:
        low, span, cost, slope = (
            rng.choice([0.0, 0.05]),
            rng.uniform(0.1, 0.6),
            *rng.uniform((20.0, slopes[0]), (80.0, slopes[1])),
        )
        return Unit(low, low + span, True, cost, slope)

    return [
        Member(f"m{k}", 0.0, 0.0, units=tuple(unit() for _ in range(rng.integers(1, 4))))
        for k in range(rng.integers(2, 7))
    ]


def _named(member: Member) -> Member:
    """A member whose units have names."""
    units = tuple(unit._replace(id=f"{member.id}_{k}") for k, unit in enumerate(member.units))
    return member._replace(units=units, injecting=tuple(unit.id for unit in units))


def _dispatch(
    members: list[Member], links: Graph, tariff: tuple[float, float] = (0.0, 0.0), **params: Any
) -> tuple[Any, Context, Any]:
    """The protocol among members, what its kernel uses, and its state at reset; `tariff` is retail and feed-in."""
    protocol, count = CooperativeDispatch(**params), len(members)
    added = protocol.entries(Members(map(_named, members), links, 1.0))
    nothing = np.zeros(count)
    ctx = Context(
        params=protocol.params(),
        dt_h=1.0,
        tick=np.zeros(1),
        due=nothing,
        retail_per_mwh=nothing + tariff[0],
        feed_in_per_mwh=nothing + tariff[1],
        price_per_mwh=nothing[:1],
        v_pu=nothing,
        governed=np.zeros(len(added.tables.unit_member)),
        command_member=added.tables.unit_member,
        tables=added.tables,
        uniform=nothing,
        frequency_hz=nothing,
        island=nothing,
        works=np.ones(len(added.tables.unit_member)),
    )
    return protocol, ctx, protocol.initial(np, (), added.widths, float)


class Tie(NamedTuple):
    """Tie with the utility: its two prices [$/MWh] and its limit [MW]."""

    retail_per_mwh: float
    feed_in_per_mwh: float
    limit_mw: float = 100.0


def _optimum(members: list[Member], load_mw: float, tie: Tie | None = None) -> np.ndarray:
    """Powers of least cost [MW], from the quadratic program as HiGHS solves it; a tie's purchase and sale come last."""
    units = [unit for member in members for unit in member.units]
    low, high, cost, slope = (
        [getattr(unit, name) for unit in units] for name in ("p_low_mw", "p_high_mw", "cost_per_mwh", "slope_per_mw2h")
    )
    if tie is not None:
        low, high, slope = [*low, 0.0, -tie.limit_mw], [*high, tie.limit_mw, 0.0], [*slope, 0.0, 0.0]
        cost = [*cost, tie.retail_per_mwh, tie.feed_in_per_mwh]
    count = len(cost)
    model = highspy.HighsModel()
    program = model.lp_
    program.num_col_, program.num_row_ = count, 1
    program.col_lower_, program.col_upper_, program.col_cost_ = map(np.array, (low, high, cost))
    program.row_lower_ = program.row_upper_ = np.array([load_mw])
    program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    program.a_matrix_.start_, program.a_matrix_.index_ = np.array([0, count]), np.arange(count)
    program.a_matrix_.value_ = np.ones(count)
    if any(slope):
        model.hessian_.dim_ = count
        model.hessian_.start_, model.hessian_.index_ = np.arange(count + 1), np.arange(count)
        model.hessian_.value_ = np.array(slope)
    solver = highspy.Highs()
    solver.silent()
    solver.passModel(model)
    solver.run()
    assert solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return np.array(solver.getSolution().col_value)


def _cost(members: list[Member], power: np.ndarray, tie: Tie | None = None) -> float:
    """Cost of the units' powers, with the tie's behind them [$/h]."""
    units = [unit for member in members for unit in member.units]
    own = sum((u.cost_per_mwh + 0.5 * u.slope_per_mw2h * p) * p for u, p in zip(units, power, strict=False))
    if tie is None:
        return own
    traded = power[len(units) :]
    return own + float(
        tie.retail_per_mwh * np.maximum(traded, 0).sum() + tie.feed_in_per_mwh * np.minimum(traded, 0).sum()
    )


def _iterations(members: list[Member], links: Graph, load_mw: np.ndarray, tie: Tie | None = None, **params: Any) -> int:
    """Iterations after which objective and balance stay within 1e-4; more than the limit where they do not."""
    given = {"utility": False} if tie is None else {"pcc_limit_mw": tie.limit_mw}
    tariff = (0.0, 0.0) if tie is None else tie[:2]
    protocol, ctx, state = _dispatch(members, links, tariff, rounds_per_tick=1, **given, **params)
    total, state = float(load_mw.sum()), state._replace(load_mw=load_mw)
    best, last = _cost(members, _optimum(members, total, tie), tie), 0
    for k in range(1, _ROUNDS + 1):
        state, sent, commands = protocol.before(np, ctx, state, ())
        power = state.power_mw
        np.testing.assert_array_equal(commands, power[: len(commands)])
        assert sent.admm_residual == pytest.approx(power.sum() - total, abs=1e-12)
        if abs(power.sum() - total) > _GAP * total or abs(_cost(members, power, tie) - best) > _GAP * abs(best):
            last = k
    return last + 1


@pytest.mark.parametrize(("form", "links"), [("exchange", "full"), *(("consensus", name) for name in _GRAPHS)])
def test_cost_and_balance_are_those_of_the_quadratic_program(form, links):
    counts = []
    for seed in range(20):
        members = _members(seed)
        rng = np.random.default_rng(1000 + seed)
        low, high = (
            sum(getattr(unit, name) for member in members for unit in member.units)
            for name in ("p_low_mw", "p_high_mw")
        )
        share = rng.dirichlet(np.ones(len(members)))
        load_mw = (low + rng.uniform(0.2, 0.9) * (high - low)) * share
        counts.append(_iterations(members, _GRAPHS[links](len(members)), load_mw, form=form))
    print(f"{form} on {links}: iterations {sorted(counts)}")
    assert max(counts) <= _ROUNDS


@pytest.mark.parametrize(("form", "links"), [("exchange", "full"), *(("consensus", name) for name in _GRAPHS)])
def test_with_the_utility_cost_and_balance_are_those_of_the_community_s_bill(form, links):
    """Purchases, sales, neither, and a tie at its limit; the tie is a participant with two prices."""
    counts, sides = [], []
    for seed in range(20):
        members = _members(seed)
        rng = np.random.default_rng(2000 + seed)
        high = sum(unit.p_high_mw for member in members for unit in member.units)
        price = rng.uniform(10.0, 90.0)
        tie = Tie(price + 45.0, 0.9 * price, 100.0 if seed % 4 else 0.05 * high)
        load_mw = rng.uniform(0.3, 1.0) * high * rng.dirichlet(np.ones(len(members)))
        counts.append(_iterations(members, _GRAPHS[links](len(members)), load_mw, tie, form=form))
        sides.append(_optimum(members, float(load_mw.sum()), tie)[-2:].sum())
    print(f"{form} on {links}: iterations {sorted(counts)}, exchange with the utility {np.round(sorted(sides), 3)} MW")
    assert max(counts) <= _ROUNDS
    assert min(sides) < -1e-3
    assert max(sides) > 1e-3
    assert min(np.abs(sides)) < 1e-3


@pytest.mark.parametrize("form", ["exchange", "consensus"])
def test_units_that_burn_no_fuel_keep_their_command(form):
    battery = Unit(-0.2, 0.2)
    members = [Member(f"m{k}", 0.0, 0.0, units=(Unit(0.0, 1.0, True, 40.0, 50.0), battery)) for k in range(2)]
    protocol, ctx, state = _dispatch(members, graph.full(2), (100.0, 10.0), form=form, rounds_per_tick=400)
    state = state._replace(load_mw=np.array([0.3, 0.5]))
    _, _, power = protocol.before(np, ctx._replace(governed=np.array([0.0, -0.1, 0.0, 0.2])), state, ())
    assert power == pytest.approx([0.35, -0.1, 0.35, 0.2], abs=1e-4)


def test_linear_costs_are_dispatched_in_merit_order():
    members = [Member(f"m{k}", 0.0, 0.0, units=(Unit(0.0, 0.4, True, 30.0 + 10.0 * k),)) for k in range(4)]
    count = _iterations(members, graph.full(4), np.array([0.3, 0.2, 0.2, 0.2]))
    print(f"linear costs: {count} iterations")
    assert count <= _ROUNDS


def test_the_next_tick_starts_where_the_last_one_ended():
    members, links = _members(3), graph.full(len(_members(3)))
    load_mw = np.full(len(members), 0.15)
    protocol, ctx, state = _dispatch(members, links, rounds_per_tick=200, utility=False)
    state, *_ = protocol.before(np, ctx, state._replace(load_mw=load_mw), ())
    again = ctx._replace(params=ctx.params._replace(rounds_per_tick=1.0))
    _, sent, power = protocol.before(np, again, state, ())
    assert power == pytest.approx(_optimum(members, float(load_mw.sum())), abs=1e-6)
    assert sent.admm_residual == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("form", ["exchange", "consensus"])
@pytest.mark.parametrize("load_mw", [-1.0, 50.0])
def test_what_the_units_cannot_cover_is_left_to_the_utility(form, load_mw):
    members = _members(1)
    protocol, ctx, state = _dispatch(members, graph.full(len(members)), form=form, rounds_per_tick=500, utility=False)
    state = state._replace(load_mw=np.full(len(members), load_mw / len(members)))
    for _ in range(6):
        state, _, power = protocol.before(np, ctx, state, ())
    units = [unit for member in members for unit in member.units]
    ends = [unit.p_low_mw if load_mw < 0.0 else unit.p_high_mw for unit in units]
    assert power == pytest.approx(ends, abs=1e-4)
    assert np.abs(state.price_per_mwh).max() < 1000.0


def test_own_load_is_what_the_meters_show_without_the_units():
    members = _members(2)
    protocol, ctx, state = _dispatch(members, graph.full(len(members)))
    power_mw = np.arange(1.0, 1.0 + len(ctx.tables.unit_member))
    state = state._replace(power_mw=np.append(power_mw, 7.0))  # the tie's last
    own = np.bincount(ctx.tables.unit_member, power_mw, minlength=len(members))
    after, *_ = protocol.after(np, ctx._replace(dt_h=0.25), state, 0.25 * (np.linspace(0.1, 0.5, len(members)) - own))
    assert after.load_mw == pytest.approx(np.linspace(0.1, 0.5, len(members)), abs=1e-12)


_COSTS = {"dg_1": (40.0, 60.0), "dg_2": (30.0, 90.0), "dg_3": (55.0, 40.0), "dg_4": (35.0, 200.0)}


def _config(**params: Any) -> dict[str, Any]:
    """Three microgrids, of which the first has two generators, on one feeder."""
    attached = [
        {
            "attach": {
                "network": "ieee13",
                "name": f"mg{k}",
                "at_bus": bus,
                "load_scale": 0.1,
                "transformer": transformer,
            }
        }
        for transformer in [{"sn_mva": 1.0, "vk_percent": 5.75, "vkr_percent": 0.75}]
        for k, bus in ((1, 808), (2, 830), (3, 834))
    ]
    network = {"base": "ieee34", "source_pu": 1.035, "load_scale": 0.5, "modifications": attached}

    def generator(id: str, bus: str) -> dict[str, Any]:
        cost, slope = _COSTS[id]
        own = {"p_max_mw": 0.6, "marginal_cost_per_mwh": cost, "marginal_cost_slope_per_mw2h": slope}
        return {"id": id, "type": "DG", "bus": bus, "policy": "rule_based", "params": own}

    agents = [generator("dg_4", "mg1.675"), *(generator(f"dg_{k}", f"mg{k}.671") for k in (1, 2, 3))]
    units = {1: ["dg_1", "dg_4"], 2: ["dg_2"], 3: ["dg_3"]}
    agents += [
        {"id": f"microgrid_{k}", "type": "GridCoordinator", "area": f"mg{k}", "sub_agents": own}
        for k, own in units.items()
    ]
    battery = {"id": "ess_1", "type": "ESS", "bus": "890", "policy": "learned", "params": {"capacity_mwh": 1.0}}
    members = [f"microgrid_{k}" for k in units]
    return {
        "network": network,
        "agents": [*agents, battery],
        "simulation": {"time_step": 900, "episode_length": 8},
        "protocols": [{"type": "admm", "members": members, "params": params}],
    }


@pytest.mark.parametrize("form", ["exchange", "consensus"])
def test_microgrids_cover_their_own_load_at_the_least_cost(form):
    env = powergrid.make(_config(form=form, rounds_per_tick=200, utility=False), backend="numpy")
    env.reset(seed=0)
    for _ in range(4):
        env.step({"ess_1": np.zeros(1)})
    power, metered = env.output.p_mw[:4], env.output.measured_mw[:3]
    units = tuple(Unit(0.0, 0.6, True, *_COSTS[id]) for id in ("dg_4", "dg_1", "dg_2", "dg_3"))
    # what crosses the microgrids' meters adds up to the change of losses since the last tick
    assert abs(metered.sum()) < 1e-4 * power.sum()
    assert power == pytest.approx(_optimum([Member("all", 0.0, 0.0, units=units)], float(power.sum())), abs=1e-4)
    env.close()


@pytest.mark.parametrize(
    ("params", "topology", "message"),
    [
        ({}, "neighbours", "everybody knows the imbalance"),
        ({"form": "consensus"}, [["microgrid_1", "microgrid_2"]], '"microgrid_1" reaches "microgrid_3" over no link'),
        ({"rho": 0.0}, "full", "rho"),
        ({"rounds_per_tick": 1000}, "full", "rounds_per_tick"),
        ({"form": "centre"}, "full", "centre"),
        ({"pcc_limit_mw": 1.0, "utility": False}, "full", "pcc_limit_mw limits the exchange with the utility"),
    ],
)
def test_wrong_settings_are_refused(params, topology, message):
    config = _config(**params)
    config["protocols"][0]["topology"] = topology
    with pytest.raises(ConfigError, match=message):
        powergrid.make(config, backend="numpy")


def test_members_without_units_are_refused():
    with pytest.raises(ConfigError, match="its members have no unit to dispatch"):
        CooperativeDispatch().entries(Members([Member("m0", 0.0, 0.0)], graph.full(1), 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["exchange", "consensus"])
@pytest.mark.parametrize("problem", [{"target_mw": 0.3}, {"pcc_limit_mw": 0.2}])
def test_it_is_the_same_in_every_form(form, problem):
    check_protocol("admm", form=form, **problem, rounds_per_tick=5, other_cost_per_mwh=50.0)
