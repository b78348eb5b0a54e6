"""Which units follow their voltage: their policy says so, and somebody may choose what they command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.curves import VOLT_WATT, Curve, Limit, left_of
from powergrid.engine.inverters import Inverters

NOTHING = Curve(0.5, 0.9, 1.1, 1.5, 0.0)
"""Curve of units that only limit their active power."""


class Given(NamedTuple):
    """What protocols let a unit follow, whoever decides what it commands.

    Attributes
    ----------
    volt_var, volt_watt
        Its curves; ``None`` where its policy says them.
    shift
        Column of the signals that is added to the volt-var curve; -1 for none.
    """

    volt_var: Curve | None = None
    volt_watt: Limit | None = None
    shift: int = -1


class Unit(NamedTuple):
    """What is known of a unit when it is given its curves.

    Attributes
    ----------
    family, row, number
        Family, row in it, and number among the injecting units.
    nodes
        Nodes of its terminal.
    curve
        Volt-var curve of its own, for policies that have none.
    given
        What protocols let it follow.
    """

    family: int
    row: int
    number: int
    nodes: tuple[int, ...]
    curve: tuple[float, ...] | None
    given: Given = Given()


class Followers:
    """Finds the units that follow their voltage under a policy, or as a protocol says.

    Parameters
    ----------
    families, plan
        Families of the layout, and its slots.
    units
        Units that may follow a curve.
    policy_of
        Policy that decides a slot where another decides for all who act from outside; ``None`` where none does.
    sensitivity
        :func:`powergrid.powerflow.sensitivity.voltage_sensitivity` of the network.
    rest_pu
        Largest ``|r|`` at rest [pu].
    """

    def __init__(
        self,
        families: Sequence[Any],
        plan: Any,
        units: Sequence[Unit],
        policy_of: Callable[[int, Any], Any],
        sensitivity: Callable[[Sequence[Sequence[int]]], tuple[np.ndarray, np.ndarray]],
        rest_pu: float,
    ):
        self._families, self._plan, self._units, self._policy_of = families, plan, units, policy_of
        self._sensitivity, self._rest_pu = sensitivity, rest_pu
        self._found: dict[Any, Inverters | None] = {}

    def __call__(self, policy: Any = None) -> Inverters | None:
        """Inverters where `policy` decides for all who act from outside; ``None`` where no unit follows its voltage."""
        if policy not in self._found:
            self._found[policy] = self._make(policy)
        return self._found[policy]

    def _make(self, policy: Any) -> Inverters | None:
        decides = lambda slot: self._policy_of(slot, policy)  # noqa: E731
        return inverters_of(self._families, self._plan, self._units, decides, self._sensitivity, self._rest_pu)


def inverters_of(
    families: Sequence[Any],
    plan: Any,
    units: Sequence[Unit],
    policy_of: Callable[[int], Any],
    sensitivity: Callable[[Sequence[Sequence[int]]], tuple[np.ndarray, np.ndarray]],
    rest_pu: float,
) -> Inverters | None:
    """The units that follow their voltage; ``None`` where none does.

    Parameters
    ----------
    families
        Families of the layout.
    plan
        Its slots.
    policy_of
        Policy that decides a slot; ``None`` where somebody else does.
    sensitivity
        :func:`powergrid.powerflow.sensitivity.voltage_sensitivity` of the network.
    """
    found = [_columns(families[unit.family], plan, unit, policy_of) for unit in units]
    followers = [unit for unit, columns in zip(units, found, strict=True) if columns is not None]
    if not followers:
        return None
    columns = list(zip(*(row for row in found if row is not None), strict=True))
    q_slot, p_slot, by_share = (np.array(column) for column in columns[:3])
    q_gain, left, begin_pu, end_pu, rated_mw, low_mw, half_mw = (np.array(c, float) for c in columns[3:10])
    r_pu, x_pu = sensitivity([unit.nodes for unit in followers])
    return Inverters(
        family=np.array([unit.family for unit in followers]),
        row=np.array([unit.row for unit in followers]),
        unit=np.array([unit.number for unit in followers]),
        q_slot=q_slot,
        p_slot=p_slot,
        curve=Curve(*np.array(columns[10], float).T),
        q_gain=q_gain,
        shift=np.array([unit.given.shift for unit in followers]),
        left=left,
        begin_pu=begin_pu,
        end_pu=end_pu,
        rated_mw=rated_mw,
        low_mw=low_mw,
        half_mw=half_mw,
        by_share=by_share,
        node=np.array([(*unit.nodes, *[unit.nodes[0]] * 2)[:3] for unit in followers]),
        share=np.array([(*[1.0 / len(unit.nodes)] * len(unit.nodes), 0.0, 0.0)[:3] for unit in followers]),
        r_pu=r_pu,
        x_pu=x_pu,
        rest_pu=rest_pu,
    )


def _columns(family: Any, plan: Any, unit: Unit, policy_of: Callable[[int], Any]) -> tuple[Any, ...] | None:
    """Slots, whether the command is a share, gain, limits and curve of a unit; ``None`` where it follows nothing."""
    params, row = family.params, unit.row
    rating_mva = rating_of(params)
    q_slot, q_policy = _decided(family, row, ("q_mvar",), policy_of)
    p_slot, p_policy = _decided(family, row, ("p_mw", "p_share"), policy_of)
    curve, limit = _followed(unit, q_slot, q_policy, p_policy)
    by_share = p_slot >= 0 and "p_share" in family.kernel.Command._fields
    low_mw, half_mw = (0.0, 0.0) if by_share or p_slot < 0 else (plan.low[p_slot], plan.half_span[p_slot])
    rated_mw = low_mw + 2.0 * half_mw
    if by_share:
        rated_mw = min(getattr(params, "p_max_mw", rating_mva)[row], rating_mva[row])
    limits = limit is not None and rated_mw > 0.0  # what only draws is left alone
    if curve is None and not limits:
        return None
    limit = limit or VOLT_WATT
    left = left_of(limit, 0.0 if by_share else max(low_mw, 0.0) / max(rated_mw, 1e-12))
    numbers = (left, limit.begin_pu, limit.end_pu, *((rated_mw, low_mw, half_mw) if limits else (1.0, 0.0, 0.5)))
    gain = 0.0 if curve is None else rating_mva[row] / plan.half_span[q_slot]
    slots = (q_slot if curve is not None else -1, p_slot if limits else -1, by_share and limits)
    return *slots, gain, *numbers, NOTHING if curve is None else curve


def rating_of(params: Any) -> Any:
    """Rating of units of a family, or of one of them [MVA]; an empty tuple where they have none."""
    return params.rating_mva if hasattr(params, "rating_mva") else getattr(params, "sn_mva", ())


def _followed(unit: Unit, q_slot: int, q_policy: Any, p_policy: Any) -> tuple[Curve | None, Limit | None]:
    """Curves of a unit: those that protocols give, else those that the policies say."""
    curve, limit = unit.given.volt_var, unit.given.volt_watt
    if curve is None:
        curve = getattr(q_policy, "volt_var", None)
        if curve is None and getattr(q_policy, "own_curves", False) and unit.curve is not None:
            curve = Curve(*unit.curve)
    if limit is None and getattr(p_policy, "volt_watt", False):
        limit = VOLT_WATT
    return curve if q_slot >= 0 else None, limit


def _decided(family: Any, row: int, names: tuple[str, ...], policy_of: Callable[[int], Any]) -> tuple[int, Any]:
    """Slot of the first of some command fields that somebody may choose, and the policy that does; -1 and ``None``."""
    for j, name in enumerate(family.kernel.Command._fields):
        if name in names and family.free[row, j]:
            slot = int(family.slot[row, j])
            return slot, policy_of(slot)
    return -1, None
