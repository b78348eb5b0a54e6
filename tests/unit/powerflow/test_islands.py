"""Islands that a bus of their own holds at 1 pu: against pandapower, JAX and dense algebra."""

from __future__ import annotations

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import NetworkError
from powergrid.core.types import Control, NodeLoad
from powergrid.powerflow import pandapower, sparse_lu, zbus
from powergrid.powerflow.compile import compile_network

ISLANDS = {
    "case33bw": {
        "topologies": [*[("line_12",)] * 2, *[("line_4", "line_12")] * 3, ("line_4", "line_35"), ("line_2", "line_8")],
        "forming": [("17",), (), ("17",), ("30",), ("30", "17"), ("29",), ("3",)],
    },
    "ieee34": {  # one with a transformer and regulators in it
        "topologies": [("834-860",), ("834-860",), ("808-812",), ("834-842", "834-860")],
        "forming": [("836",), (), ("890",), ("844", "836")],
    },
}  # fmt: skip


def own_load(grid, share: float = 0.6) -> NodeLoad:
    m = len(grid.buses.name)
    return NodeLoad(*(share * np.bincount(grid.loads.bus, power, m) for power in (grid.loads.p_mw, grid.loads.q_mvar)))


@pytest.mark.parametrize("name", ISLANDS)
def test_equal_to_pandapower_with_a_grid_at_the_forming_bus(name: str) -> None:
    grid, given = powergrid.network(name), ISLANDS[name]
    control = Control(topology=np.arange(len(given["topologies"]) + 1))
    ours = sparse_lu.solve(sparse_lu.plan(grid, **given, tol_pu=1e-11), own_load(grid), control)
    theirs = pandapower.solve(pandapower.plan(grid, **given), own_load(grid), control, ours)
    assert ours.converged.all()
    assert theirs.converged.all()
    assert (ours.energised == (theirs.v_pu > 0)).all()
    assert (ours.p_form_mw[:2] == 0).sum() == 2 * ours.p_form_mw.shape[1] - 1
    for field in ("v_re", "v_im", "p_slack_mw", "q_slack_mvar", "p_form_mw", "q_form_mvar", "loss_mw"):
        assert np.abs(getattr(ours, field) - getattr(theirs, field)).max() < 1e-6, field
    served = (own_load(grid).p_mw * ours.energised).sum(-1)
    np.testing.assert_allclose(ours.p_slack_mw + ours.p_form_mw.sum(-1), served + ours.loss_mw, atol=1e-7)


@pytest.mark.parametrize("name", ISLANDS)
def test_jax_gives_the_same(name: str) -> None:
    import jax

    grid, rng = powergrid.network(name), np.random.default_rng(1)
    given = ISLANDS[name] | {"tol_pu": 1e-11, "meters": [0]}
    count, k = len(given["topologies"]) + 1, len(grid.regulators.branch)
    control = Control(
        topology=np.arange(count),
        tap_ratio=1 + 0.00625 * rng.integers(-8, 8, (count, k)),
        v_source_pu=rng.uniform(0.98, 1.05, count),
    )
    ours = sparse_lu.solve(sparse_lu.plan(grid, **given), own_load(grid), control)
    with jax.enable_x64(True):
        plan = zbus.plan(grid, **given)
        theirs = jax.tree.map(np.asarray, jax.jit(lambda load: zbus.solve(plan, load, control))(own_load(grid)))
        single = zbus.solve(plan, NodeLoad(*(np.float32(x) for x in own_load(grid)[:2])), control)
    assert theirs.converged.all()
    assert (ours.energised == theirs.energised).all()
    for field in ("v_re", "v_im", "loss_mw", "p_slack_mw", "p_meter_mw", "p_form_mw", "q_form_mvar"):
        assert np.abs(getattr(ours, field) - getattr(theirs, field)).max() < 1e-9, field
    assert single.p_form_mw.dtype == np.float32
    assert np.abs(single.p_form_mw - ours.p_form_mw).max() < 2e-5


def test_each_scenario_has_its_bits_in_any_batch() -> None:
    grid, given = powergrid.network("case33bw"), ISLANDS["case33bw"]
    plan, load = sparse_lu.plan(grid, **given), own_load(grid)
    choice = np.random.default_rng(2).integers(0, len(given["topologies"]) + 1, 70)
    batch = sparse_lu.solve(plan, load, Control(topology=choice))
    for i in (0, 33, 69):
        alone = sparse_lu.solve(plan, load, Control(topology=choice[i]))
        assert np.array_equal(alone.v_re, batch.v_re[i])
        assert np.array_equal(alone.p_form_mw, batch.p_form_mw[i])


def test_a_three_phase_island_against_dense_algebra() -> None:
    grid = powergrid.network("ieee34", phases="three")
    given = {"topologies": [("834-860",), ("834-860",)], "forming": [("836",)]}
    load = grid.node_load(0.5)
    flow, dead = (
        sparse_lu.solve(sparse_lu.plan(grid, **given, tol_pu=1e-12), load, Control(topology=np.array(t)))
        for t in (1, 2)
    )
    island = flow.energised & ~dead.energised
    assert flow.converged
    assert island.sum() > 6
    held = [i for i, bus in enumerate(grid.buses.bus) if bus == "836"]
    angle = {"a": 0.0, "b": -120.0, "c": 120.0}
    wanted = np.exp(1j * np.deg2rad([angle[grid.buses.phase[i]] for i in held]))
    v_bus = flow.v_re + 1j * flow.v_im
    assert np.abs(v_bus[held] - wanted).max() < 1e-6
    assert np.abs(v_bus - dead.v_re - 1j * dead.v_im)[~island].max() < 1e-12

    compiled = compile_network(grid, given["topologies"], given["forming"])
    at, n = compiled.node, compiled.n_node
    y = compiled.ybus(moving=False).toarray()
    v, drawn = np.zeros(len(y), complex), np.zeros(len(y), complex)
    v[at] = v_bus
    pairs = zip(at[compiled.phases.pair_a], at[compiled.phases.pair_b], strict=True)
    ends = [(node, None, 1.0) for node in at] + [(a, b, np.sqrt(3.0)) for a, b in pairs]
    for kind in range(3):  # constant power, current, impedance
        for (a, b, nominal), s in zip(ends, load[2 * kind] + 1j * load[2 * kind + 1], strict=True):
            u = v[a] - (0.0 if b is None else v[b])
            if s != 0 and u != 0:
                current = np.conj(s * (abs(u) / nominal) ** kind / u)
                drawn[a] += current
                if b is not None:
                    drawn[b] -= current
    np.add.at(drawn, at[compiled.cap_bus], np.conj(compiled.cap) * v[at[compiled.cap_bus]])
    missing = y @ v + drawn
    inner = np.setdiff1d(at[flow.energised][at[flow.energised] < n], at[held])
    assert np.abs(missing[inner]).max() < 1e-8
    delivered = (v[at[held]] * np.conj(missing[at[held]])).sum()
    assert flow.p_form_mw[0] == pytest.approx(delivered.real, abs=1e-8)
    assert flow.q_form_mvar[0] == pytest.approx(delivered.imag, abs=1e-8)
    assert delivered.real > 0.02


@pytest.mark.parametrize("method", [sparse_lu, zbus, pandapower])
def test_buses_that_can_hold_no_island_are_refused(method) -> None:
    grid = powergrid.network("case33bw")
    cut = [("line_12",)]
    with pytest.raises(NetworkError, match='"5" cannot hold an island in topology 1: it is not cut off'):
        method.plan(grid, topologies=cut, forming=[("5",)])
    with pytest.raises(NetworkError, match='"15" cannot hold an island in topology 1: "17" holds it already'):
        method.plan(grid, topologies=cut, forming=[("17", "15")])
    with pytest.raises(NetworkError, match="no bus"):
        method.plan(grid, topologies=cut, forming=[("1O",)])
    with pytest.raises(NetworkError, match="allowed are 0 to 32"):
        method.plan(grid, topologies=cut, forming=[(33,)])
    with pytest.raises(NetworkError, match="of 2 topologies, but there are 1"):
        method.plan(grid, topologies=cut, forming=[(), ("17",)])


THREE_PHASE = {
    "ieee34": {"topologies": [("834-860",), ("834-860",), ("832-888",), ("808-810", "816-824")],
               "forming": [("836",)]},
    "ieee123": {"topologies": [("151-300", "97-197"), ("97-197",), ("67-97",), ("13-18", "151-300"), ("1-7",)],
                "forming": [(), ("300",)]},
}  # fmt: skip
"""Lines, a transformer, laterals and switches that open, a tie that closes, islands dead and held."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n == "ieee123" else ()) for n in THREE_PHASE]
)
def test_jax_gives_the_same_in_three_phases(name: str) -> None:
    import jax

    grid, rng = powergrid.network(name, phases="three"), np.random.default_rng(1)
    switch = [grid.rows("13-152")] if name == "ieee123" else []
    given = THREE_PHASE[name] | {"tol_pu": 1e-11, "meters": [grid.rows(_first_element(grid)), *switch]}
    count, own = len(given["topologies"]) + 1, grid.node_load(0.6)
    control = Control(
        topology=np.arange(count),
        tap_ratio=1 + 0.00625 * rng.integers(-4, 9, (count, len(grid.regulators.branch))),
        v_source_pu=rng.uniform(0.99, 1.05, count),
    )
    load = NodeLoad(*(None if part is None else part * rng.uniform(0.5, 1.0, (count, part.shape[-1])) for part in own))
    ours = sparse_lu.solve(sparse_lu.plan(grid, **given), load, control)
    with jax.enable_x64(True):
        plan = zbus.plan(grid, **given)
        theirs = jax.tree.map(np.asarray, jax.jit(lambda load: zbus.solve(plan, load, control))(load))
        again = zbus.solve(plan, load, control, theirs)
        plain = zbus.solve(plan, own)
        single = zbus.solve(plan, NodeLoad(*(None if x is None else np.float32(x) for x in load)), control)
    assert theirs.converged.all()
    assert (ours.energised == theirs.energised).all()
    assert not ours.energised.all()
    assert np.asarray(again.iterations).max() <= 5
    fields = ("v_re", "v_im", "loading", "loss_mw", "p_slack_mw", "q_slack_mvar", "p_meter_mw", "q_meter_mvar",
              "p_form_mw", "q_form_mvar")  # fmt: skip
    for field in fields:
        limit = 2e-6 if field == "loading" else 2e-8  # percent
        assert np.abs(getattr(ours, field) - getattr(theirs, field)).max() < limit, field
    alone = sparse_lu.solve(sparse_lu.plan(grid, tol_pu=1e-11), own)
    assert np.abs(np.asarray(plain.v_pu) - alone.v_pu).max() < 2e-6  # switches that move have a resistance
    assert single.v_re.dtype == np.float32
    assert np.abs(np.asarray(single.v_pu) - ours.v_pu).max() < 2e-6


def _first_element(grid) -> str:
    """Name of what the source feeds first, without its phase."""
    row = int(np.flatnonzero(np.isin(grid.branches.from_bus, grid.source_nodes))[0])
    return grid.branches.name[row].rpartition(".")[0]
