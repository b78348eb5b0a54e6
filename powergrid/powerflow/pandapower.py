"""The oracle: pandapower's Newton-Raphson behind the same two functions, one scenario after the other.

It serves tests and benchmarks. Nothing of PowerGrid's own compiler enters the solution except the start values: from a
flat or a DC start Newton diverges on networks with regulators, whose 0.1 % on 10 MVA turn one step into tens of MVA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.core.types import Array, Control, Flow, NodeLoad
from powergrid.powerflow.compile import Compiled, batch_shape, compile_network, no_load_voltages
from powergrid.powerflow.inputs import Voltages
from powergrid.powerflow.topology import Elements, Place, Topologies

if TYPE_CHECKING:
    from powergrid.networks.network import Network

TOLERANCE_MVA = 1e-9
"""Largest power mismatch at which Newton stops [MVA]."""
_UNSOLVED_PU = 1e3


@dataclass(frozen=True, eq=False)
class Plan:
    """What :func:`solve` needs, made once per network by :func:`plan`; not to be shared between threads.

    Attributes
    ----------
    compiled
        The network's columns as tables, for start values and widths.
    net
        pandapower net; load row k is at bus k.
    host
        Bus whose load row holds the load of each bus: the last one of its node, ``(m,)``.
    closed
        Whether each branch is closed in each topology, ``(T, b)``.
    max_iter
        Newton iterations after which a flow counts as not converged.
    meters
        Metered branches.
    regulator_row
        Row of each regulator in ``net.trafo``.
    from_kv
        Nominal voltage of each regulator's from bus [kV].
    shunt_row
        Row of each switchable shunt in ``net.shunt``.
    """

    compiled: Compiled
    net: Any
    host: np.ndarray
    closed: np.ndarray
    max_iter: int
    meters: tuple[int, ...]
    regulator_row: np.ndarray
    from_kv: np.ndarray
    shunt_row: np.ndarray


def plan(
    network: Network,
    *,
    tol_pu: float = 1e-8,
    max_iter: int = 100,
    meters: Sequence[int] = (),
    topologies: Sequence[Elements] = (),
    forming: Sequence[Sequence[Place]] = (),
    buses: Sequence[int] | None = None,
) -> Plan:
    """Convert a network.

    Parameters
    ----------
    network
        The network.
    tol_pu
        Not used: Newton stops at a power mismatch of `TOLERANCE_MVA`.
    max_iter
        Newton iterations after which a flow counts as not converged.
    meters
        Branches whose power at their from bus is reported; closed switches cannot be read.
    topologies
        What ``Control.topology`` chooses from, each the branches that stand differently than in the network as given.
    forming
        For each topology, the buses that hold its islands: external grids of 1 pu.
    buses
        Not used: every bus may draw.

    Raises
    ------
    NetworkError
        If the network cannot be converted or a meter sits at a closed switch.
    """
    import pandapower as pp

    compiled = compile_network(network, topologies, forming)
    if compiled.phases is not None:
        raise NetworkError("pandapower solves balanced networks only; take sparse_lu for a three-phase one")
    for branch in meters:
        if compiled.switch[branch]:
            raise NetworkError(
                f'pandapower reads no power at the closed switch "{compiled.branch_name[branch]}"; '
                'use method="sparse_lu", or meter a line beside it'
            )
    net = network.to_pandapower(bus_loads=True)
    for reference in range(compiled.moving.n_reference):
        pp.create_ext_grid(net, int(compiled.moving.held_by(reference)[0]), vm_pu=1.0, in_service=False)
    last = np.empty(compiled.n_node + 1, int)
    last[compiled.node] = np.arange(compiled.n_bus)
    row_of = {branch: row for row, branch in enumerate(net.trafo["branch"])}
    return Plan(
        compiled=compiled,
        net=net,
        host=last[compiled.node],
        closed=Topologies(network, topologies).closed(),
        max_iter=int(max_iter),
        meters=tuple(int(branch) for branch in meters),
        regulator_row=np.array([row_of[branch] for branch in compiled.regulator], int),
        from_kv=np.asarray(network.buses.vn_kv)[compiled.from_bus[compiled.regulator]],
        shunt_row=np.flatnonzero(network.shunts.switchable),
    )


def solve(plan: Plan, load: NodeLoad, control: Control | None = None, start: Voltages | None = None) -> Flow:
    """Solve the power flow of one scenario or, in a loop, of a batch.

    Parameters
    ----------
    plan
        From :func:`plan`.
    load
        What each bus draws, ``(*batch, m)``.
    control
        Taps, switchable shunts and source voltage; fields that are ``None`` keep the network's own.
    start
        Anything with ``v_re`` and ``v_im`` to start from; no-load voltages by default.

    Returns
    -------
    Flow
        ``residual_pu`` is zero where Newton converged. Where it did not, ``converged`` is False and the flow is that of
        the unloaded network.
    """
    batch = batch_shape(plan.compiled, load, control, start)
    given: list[Any] = [*load, *(Control() if control is None else control)]
    given += [None, None] if start is None else [start.v_re, start.v_im]
    scalars = (6 + Control._fields.index("topology"), 6 + Control._fields.index("v_source_pu"))
    count, flat = int(np.prod(batch, dtype=int)), []
    for place, value in enumerate(given):
        tail = () if value is None or place in scalars else np.shape(value)[-1:]
        flat.append(None if value is None else np.broadcast_to(value, batch + tail).reshape(count, *tail))
    flows = []
    for scenario in range(count):
        one = [None if value is None else value[scenario] for value in flat]
        flows.append(_solve_one(plan, NodeLoad(*one[:6]), Control(*one[6:11]), one[11:]))
    columns = [np.array(column) for column in zip(*flows, strict=True)]
    return Flow(*(column.reshape((*batch, *column.shape[1:])) for column in columns))


def _solve_one(plan: Plan, load: NodeLoad, control: Control, start: Sequence[Array]) -> Flow:
    import pandapower as pp

    compiled, net = plan.compiled, plan.net
    tap = compiled.tap_ratio if control.tap_ratio is None else control.tap_ratio
    v_source = compiled.source_v_pu if control.v_source_pu is None else float(control.v_source_pu)
    topology = 0 if control.topology is None else int(control.topology)
    _write(plan, load, control, tap, v_source)
    _connect(plan, topology)
    no_load = no_load_voltages(compiled, tap)[compiled.node] * v_source
    v = no_load if start[0] is None else start[0] + 1j * start[1]
    v = np.where(np.abs(v) > 0.5, v, no_load)
    if not all(value is None or np.isfinite(value).all() for value in (*load, tap, control.cap_on, v_source)):
        return _unsolved(plan, 0)
    try:
        pp.runpp(
            net, algorithm="nr", init_vm_pu=np.abs(v), init_va_degree=np.rad2deg(np.angle(v)), numba=True,
            tolerance_mva=TOLERANCE_MVA, max_iteration=plan.max_iter, calculate_voltage_angles=True,
            check_connectivity=topology > 0, lightsim2grid=False,
        )  # fmt: skip
    except pp.LoadflowNotConverged:
        return _unsolved(plan, plan.max_iter)
    return _flow(plan, topology)


def _connect(plan: Plan, topology: int) -> None:
    """Put branches in and out of service."""
    net, closed = plan.net, plan.closed[topology]
    net.ext_grid["in_service"] = np.append(True, plan.compiled.moving.holds[topology])
    for table in ("line", "trafo", "impedance", "switch"):
        column = "closed" if table == "switch" else "in_service"
        if len(net[table]) and len(plan.compiled.moving.size):
            net[table][column] = closed[net[table]["branch"].to_numpy()]


def _write(plan: Plan, load: NodeLoad, control: Control, tap: np.ndarray, v_source: float) -> None:
    """Put a scenario into the tables, whole columns at a time."""
    net = plan.net
    for column, power, current, impedance in (("p_mw", *load[0::2]), ("q_mvar", *load[1::2])):
        # One row per node: pandapower averages the shares of several rows at a node without regard to their power.
        sums = [
            np.bincount(plan.host, 0.0 * power if part is None else part, len(power))
            for part in (power, current, impedance)
        ]
        total = sums[0] + sums[1] + sums[2]
        net.load[column] = total
        for kind, part in (("i", sums[1]), ("z", sums[2])):
            share = np.divide(part, total, out=np.zeros(len(total)), where=total != 0)
            if np.any((total == 0) & (part != 0)):
                raise NetworkError("pandapower cannot hold a voltage-dependent load whose parts cancel at 1 pu")
            net.load[f"const_{kind}_{column[0]}_percent"] = 100.0 * share
    rated_kv = net.trafo["vn_hv_kv"].to_numpy(copy=True)
    rated_kv[plan.regulator_row] = plan.from_kv / tap
    net.trafo["vn_hv_kv"] = rated_kv
    on = 1.0 if control.cap_on is None else control.cap_on
    for column, power in (("p_mw", plan.compiled.cap.real), ("q_mvar", plan.compiled.cap.imag)):
        values = net.shunt[column].to_numpy(copy=True)
        values[plan.shunt_row] = power * on
        net.shunt[column] = values
    net.ext_grid.loc[0, "vm_pu"] = v_source


def _flow(plan: Plan, topology: int) -> Flow:
    """Read pandapower's result tables."""
    net, compiled = plan.net, plan.compiled
    v_pu = net.res_bus["vm_pu"].fillna(0.0).to_numpy()
    v = v_pu * np.exp(1j * np.deg2rad(net.res_bus["va_degree"].fillna(0.0).to_numpy()))
    loss, power = 0.0, np.zeros((2, compiled.n_branch), complex)  # at the from ends and the to ends
    for kind, ends in (("line", ("from", "to")), ("trafo", ("hv", "lv")), ("impedance", ("from", "to"))):
        table, result = net[kind], net[f"res_{kind}"]
        if not len(table):
            continue
        for side, end in enumerate(ends):
            power[side, table["branch"].to_numpy()] = result[f"p_{end}_mw"].fillna(0.0) + 1j * result[
                f"q_{end}_mvar"
            ].fillna(0.0)
        loss += float(result["pl_mw"].sum())
    p, q = power[0].real, power[0].imag
    at = np.maximum(v_pu[np.stack([compiled.from_bus, compiled.to_bus])], 1e-9)  # nothing flows where there is none
    loading = (np.stack([compiled.percent_from, compiled.percent_to]) * np.abs(power) / at).max(0)  # pu on 1 MVA
    meters = list(plan.meters)
    return Flow(
        v_re=v.real,
        v_im=v.imag,
        v_pu=v_pu,
        loading=np.where(plan.closed[topology], loading, 0.0),
        loss_mw=loss,
        p_slack_mw=float(net.res_ext_grid["p_mw"][0]),
        q_slack_mvar=float(net.res_ext_grid["q_mvar"][0]),
        p_meter_mw=p[meters],
        q_meter_mvar=q[meters],
        residual_pu=0.0,
        iterations=int(net._ppc["iterations"]),
        converged=True,
        energised=compiled.energised(topology),
        p_form_mw=net.res_ext_grid["p_mw"].fillna(0.0).to_numpy()[1:],
        q_form_mvar=net.res_ext_grid["q_mvar"].fillna(0.0).to_numpy()[1:],
    )


def _unsolved(plan: Plan, iterations: int) -> Flow:
    """The unloaded network at its own taps, marked as not converged."""
    compiled, meters = plan.compiled, len(plan.meters)
    v = no_load_voltages(compiled)[compiled.node] * compiled.source_v_pu
    return Flow(
        v_re=v.real,
        v_im=v.imag,
        v_pu=np.abs(v),
        loading=np.zeros(compiled.n_branch),
        loss_mw=0.0,
        p_slack_mw=0.0,
        q_slack_mvar=0.0,
        p_meter_mw=np.zeros(meters),
        q_meter_mvar=np.zeros(meters),
        residual_pu=_UNSOLVED_PU,
        iterations=iterations,
        converged=False,
        energised=np.ones(compiled.n_bus, bool),
        p_form_mw=np.zeros(compiled.moving.n_reference),
        q_form_mvar=np.zeros(compiled.moving.n_reference),
    )
