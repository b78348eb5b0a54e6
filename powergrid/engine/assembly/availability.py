"""Which devices may be out of service and which agents absent, and the columns of the signals that say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from powergrid.coordination.channels import Channels, Column
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Entry
from powergrid.engine.assembly.ownership import Ownership
from powergrid.engine.assembly.parts import Parts
from powergrid.engine.availability import MAX_SPELLS, Availability, Life, Rates, most_spells, rates_of, tick_at
from powergrid.engine.layout import SHARED, Family, Settings
from powergrid.engine.switching import NEVER

FAILED = Entry("failed", "1", 0.0, 1.0)
"""What a device that may be out of service observes: 1 while it is."""
ABSENT = Entry("absent", "1", 0.0, 1.0)
"""Whether an agent is absent, which only those observe who observe everything."""


def availability(
    parts: Parts, ownership: Ownership, families: Sequence[Family], channels: Channels
) -> Availability | None:
    """Who may be out or absent, with new columns of the signals behind all others; ``None`` where nobody ever is.

    Raises
    ------
    ConfigError
        If a device fails more often in an episode than can be drawn; if an agent that joins or leaves decides nothing,
        or for a plain Python device or the steps of a regulator; or if no agent that acts stays.
    """
    mortal = [agent for agent in parts.agents if agent.presence is not None]
    left_with = _left_with(parts, ownership, mortal)
    failing = {agent.id: agent for agent in parts.devices if agent.reliability is not None or agent.id in left_with}
    placed = [(i, row, id) for i, family in enumerate(families) for row, id in enumerate(family.ids) if id in failing]
    if not placed and not mortal:
        return None
    settings, accounts = parts.settings, len(ownership.accounts)
    column = len(channels.columns)
    channels.add([Column(id, FAILED, 0.0, False, "", False) for *_, id in placed])
    channels.add([Column(f"agent {agent.id}", ABSENT, 0.0, False, "", False) for agent in mortal])
    offered = [
        (column + k, *plant)
        for k, (i, row, _) in enumerate(placed)
        if (plant := _by_series(families[i], row, accounts)) is not None
    ]
    columns, series, p_mw, account = zip(*offered, strict=True) if offered else ((), (), (), ())
    acting = {id: row for row, id in enumerate([*ownership.actors, *ownership.python_agents])}
    number = {agent.id: k for k, agent in enumerate(mortal)}
    return Availability(
        units=tuple(id for *_, id in placed),
        family=np.array([i for i, *_ in placed], dtype=int),
        row=np.array([row for _, row, _ in placed], dtype=int),
        column=column,
        rates=tuple(_rates(failing[id], settings) for *_, id in placed),
        agents=tuple(number),
        lives=tuple(_life(agent, settings) for agent in mortal),
        actor=np.array([acting.get(id, -1) for id in number], dtype=int),
        agent_of=np.array([number[left_with[id]] if id in left_with else -1 for *_, id in placed], dtype=int),
        ticks=settings.episode_length,
        families=tuple(family.size for family in families),
        offered_column=np.array(columns, dtype=int),
        offered_series=np.array(series, dtype=int),
        offered_mw=np.array(p_mw, dtype=float),
        offered_account=np.array(account, dtype=int),
        accounts=accounts,
    )


def _left_with(parts: Parts, ownership: Ownership, mortal: Sequence[Any]) -> dict[str, str]:
    """Agent without which each device is out: its own, or the one that decides for it."""
    names = {agent.id for agent in mortal}
    if ownership.actors and names.issuperset(ownership.actors):
        message = f"all agents that act may be absent: {', '.join(ownership.actors)}"
        raise ConfigError([Issue("agents", message, "let one of them stay: leave out its presence")])
    found: dict[str, str] = {}
    for device in parts.devices:
        by = device.id if device.id in names else ownership.decider(device)[0]
        if by in names and device.role == "tap" and device.action_entries():
            message = f'"{by}" may be absent, and then nobody would stop the steps of "{device.id}"'
            raise ConfigError([Issue("agents", message, "give it local_control, or leave out the presence")])
        if by not in names or device.role != "injection":
            continue
        if device.facts is not None:
            message = f'"{by}" may be absent, and the plain Python device "{device.id}" cannot be out of service'
            raise ConfigError([Issue("agents", message, "give its class a step kernel, or leave out the presence")])
        found[device.id] = by
    needed = set(found.values())
    for agent in mortal:
        if agent.id not in needed and not ownership.decides(agent):
            message = f'"{agent.id}" has a presence, but decides nothing that could end with it'
            raise ConfigError([Issue("agents", message, "put it on the agents that decide")])
    return found


def _rates(agent: Any, settings: Settings) -> Rates:
    """Chances of a device from one tick to the next."""
    given = agent.reliability
    if given is None or given.mtbf_h is None:
        return Rates()
    rates = rates_of(given.mtbf_h, given.mttr_h, settings.dt_h)
    if most_spells(rates, settings.episode_length) > MAX_SPELLS:
        hours = settings.episode_length * settings.dt_h
        message = (
            f'device "{agent.id}" with mtbf_h {given.mtbf_h:g} and mttr_h {given.mttr_h:g} may fail more than '
            f"{MAX_SPELLS} times in an episode of {hours:g} h"
        )
        raise ConfigError([Issue("agents", message, "raise mtbf_h, or choose a shorter episode_length")])
    return rates


def _life(agent: Any, settings: Settings) -> Life:
    """Ticks in which an agent joins and leaves."""
    tick_s, given = settings.dt_h * 3600.0, agent.presence
    joins, leaves = given.joins_s, given.leaves_s
    return Life(
        (tick_at(joins[0], tick_s), tick_at(joins[1], tick_s)),
        (NEVER, NEVER) if leaves is None else (tick_at(leaves[0], tick_s), tick_at(leaves[1], tick_s)),
        0.0 if given.lifetime_h is None else -float(np.expm1(-settings.dt_h / given.lifetime_h)),
    )


def _by_series(family: Family, row: int, accounts: int) -> tuple[int, float, int] | None:
    """Series, power at a series value of 1 [MW] and account of a plant that follows one; ``None`` for other units."""
    fields = family.kernel.Exogenous._fields
    if "available_pu" not in fields:
        return None
    owner = int(family.account[row])
    series = int(family.sources[fields.index("available_pu")].place[row])
    return series, float(family.params.p_max_mw[row]), accounts if owner == SHARED else owner
