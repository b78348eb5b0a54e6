"""Curves that protocols give to the units of their members: whose they are, and whether they can be followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from powergrid.coordination.channels import Replacements
from powergrid.core.errors import ConfigError, Issue
from powergrid.engine.assembly.layers import Opened
from powergrid.engine.followers import Given
from powergrid.engine.layout import Family

_KINDS = {"volt_var": "reactive power", "volt_watt": "active power to limit"}
"""What a unit offers that follows each kind of curve."""


def given(opened: Sequence[Opened], shifts: Replacements) -> dict[str, Given]:
    """Curves of each unit, by its id.

    Parameters
    ----------
    shifts
        Signals that are added to volt-var curves.

    Raises
    ------
    ConfigError
        If two protocols give one unit a curve of the same kind.
    """
    found: dict[str, Given] = {}
    for item in opened:
        for name, curve in _curves(item):
            for unit in (unit for member in item.members for unit in _units(member)):
                own = found.get(unit.id, Given(shift=shifts.heard_by(unit)))
                if getattr(own, name) is not None:
                    message = f'"{unit.id}" gets a {name.replace("_", "-")} curve from two protocols'
                    raise ConfigError([Issue("protocols", message, "let it be a member of one of them")])
                found[unit.id] = own._replace(**{name: curve})
    return found


def check(
    opened: Sequence[Opened],
    inverters: Any,
    injectors: Sequence[Any],
    families: Sequence[Family],
    decider: Sequence[tuple[str, bool, str, int]],
) -> None:
    """Refuse members none of whose units can follow a curve, and learners that have nothing else to choose.

    Parameters
    ----------
    inverters
        Units that follow their voltage (:class:`powergrid.engine.inverters.Inverters`); ``None`` where none does.
    injectors
        Devices that inject power, in their order.
    decider
        Who decides each slot, and whether from outside, as a :class:`~powergrid.engine.assembly.parts.SlotBook` has it.

    Raises
    ------
    ConfigError
        With the member's name.
    """
    for item in opened:
        for name, _ in _curves(item):
            slot_of = _slots(inverters, name, injectors)
            for member in item.members:
                units = [unit.id for unit in _units(member) if unit.id in slot_of]
                if not units:
                    kind = name.replace("_", "-")
                    message = f'a {kind} curve for "{member.id}": it has no unit that offers {_KINDS[name]}'
                    action = "take it out of members; units offer reactive power with sn_mva, unless they form islands"
                    raise ConfigError([Issue("protocols", message, action)])
                for id in units if name == "volt_var" else ():
                    if decider[slot_of[id]][1] and _choices(families, id) == [slot_of[id]]:
                        message = f'"{id}" learns its reactive power alone, which its volt-var curve decides'
                        action = "give it policy: rule_based, or take it out of members"
                        raise ConfigError([Issue("protocols", message, action)])


def check_corrected(policy: Any, followers: Callable[[Any], Any], units: Sequence[str]) -> None:
    """Refuse units that follow a curve under the policy that actions correct, where no action reaches them.

    Parameters
    ----------
    policy
        The policy; ``None`` where actions are commands.
    followers
        Units that follow their voltage under a policy (:class:`powergrid.engine.inverters.Inverters`), or ``None``.
    units
        Ids of units that inject power, in their order.

    Raises
    ------
    ConfigError
        With the units' names.
    """
    if policy is None:
        return
    by_policy, anyway = ([] if found is None else found.unit.tolist() for found in map(followers, (policy, None)))
    issues = [
        Issue(
            "residual",
            f'"{units[unit]}" follows a curve of its own within the power flow, where no action corrects it',
            "give it a local policy, such as rule_based, or leave residual out",
        )
        for unit in by_policy
        if unit not in anyway
    ]
    if issues:
        raise ConfigError(issues)


def _curves(item: Opened) -> Iterator[tuple[str, Any]]:
    """Kinds and curves that a protocol gives."""
    for name in _KINDS:
        curve = getattr(item.added, name)
        if curve is not None:
            yield name, curve


def _units(member: Any) -> list[Any]:
    """Units of a member."""
    return [agent for agent in (member, *member.descendants()) if getattr(agent, "role", "") == "injection"]


def _slots(inverters: Any, name: str, injectors: Sequence[Any]) -> Mapping[str, int]:
    """Slot that a kind of curve fills, of each unit that follows one."""
    if inverters is None:
        return {}
    slots = inverters.q_slot if name == "volt_var" else inverters.p_slot
    follows = np.flatnonzero(slots >= 0)
    return {injectors[inverters.unit[k]].id: int(slots[k]) for k in follows.tolist()}


def _choices(families: Sequence[Family], id: str) -> list[int]:
    """Slots of what somebody may choose of a unit."""
    return [
        int(f.slot[row, j])
        for f in families
        for row, own in enumerate(f.ids)
        if own == id
        for j in np.flatnonzero(f.free[row])
    ]
