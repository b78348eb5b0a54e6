"""What fills each number of a command or an order: tables, made once, that every form of the step reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.policy import LocalPolicy
from powergrid.coordination.layers import Layer
from powergrid.engine.layout import Family

NOBODY, SHARE, RULE, RANDOM, RELAY, KERNEL, ABSTAIN = range(7)
"""What fills a slot: nobody here, a fixed share of the range, the rule of its family or protocol, a random number, the
relay of its regulator, the kernel of a policy, the order with which nobody takes part."""


REACH = 2.0
"""Half ranges by which an action of 1 moves the command that it corrects: from each end to the other."""


class Acting(NamedTuple):
    """A policy with a kernel at work on a family.

    Attributes
    ----------
    policy, params
        The policy object, and its plain numbers.
    family
        Index of the family.
    slots
        Whether it fills a slot, ``(K,)``.
    noise
        Slot whose random number each unit uses, ``(n,)``.
    """

    policy: LocalPolicy
    params: Any
    family: int
    slots: np.ndarray
    noise: np.ndarray


class Choices(NamedTuple):
    """What fills each slot.

    Attributes
    ----------
    how
        One of :data:`NOBODY` and the following, ``(K,)``.
    share
        Share of the range where `how` is :data:`SHARE`, ``(K,)``.
    reach
        How far the number from outside moves what is filled in, in half ranges, ``(K,)``: :data:`REACH`, or 0 where
        outside code has no say in a slot or chooses it alone.
    ruled
        Families whose rule is wanted.
    acting
        Policies with a kernel.
    """

    how: np.ndarray
    share: np.ndarray
    reach: np.ndarray
    ruled: tuple[int, ...]
    acting: tuple[Acting, ...]

    @property
    def random(self) -> bool:
        """Whether random numbers are needed."""
        return bool((self.how == RANDOM).any()) or any(acting.policy.noisy for acting in self.acting)

    @property
    def any(self) -> bool:
        """Whether any slot is filled here."""
        return bool((self.how != NOBODY).any())


def choices_of(
    families: Sequence[Family],
    layers: Sequence[Layer],
    rest: np.ndarray,
    taps: int | None,
    policy_of: Callable[[int], LocalPolicy | None],
    corrected: np.ndarray,
) -> Choices:
    """Tables of what fills each slot.

    Parameters
    ----------
    rest
        What each slot holds before the first decision, ``(K,)``.
    taps
        Index of the family of regulators.
    policy_of
        Policy that decides a slot, ``None`` where nobody here does.
    corrected
        Slots in which outside code corrects the policy, ``(K,)``.
    """
    how, share = np.zeros(len(rest), dtype=int), np.zeros(len(rest))
    kernels: dict[tuple[int, int], tuple[LocalPolicy, list[int]]] = {}
    for i, family in enumerate(families):
        stores = "soc" in family.kernel.State._fields
        for row, j in np.argwhere(family.free):
            slot, name = int(family.slot[row, j]), family.kernel.Command._fields[j]
            policy = policy_of(slot)
            if policy is None:
                continue
            if policy.act is not None:
                how[slot] = KERNEL
                kernels.setdefault((id(policy), i), (policy, []))[1].append(slot)
            elif policy.relays and i == taps:
                how[slot] = RELAY
            elif stores and name == "p_mw" and policy.stores is not None:
                how[slot], share[slot] = SHARE, policy.stores
            elif name in policy.fixed:
                how[slot], share[slot] = SHARE, policy.fixed[name]
            else:
                how[slot], share[slot] = _choice(policy.usual, rest[slot])
    for layer in layers:
        for slots in layer.orders:
            for slot in slots.tolist():
                policy = policy_of(slot)
                if policy is not None:
                    has = getattr(layer.protocol, policy.orders, True) is not None
                    how[slot], share[slot] = _choice(policy.orders if has else "middle", rest[slot])
    acting = []
    for (_, i), (policy, filled) in kernels.items():
        mask, first = np.zeros(len(rest), bool), families[i].slot[:, 0]
        mask[filled] = True
        acting.append(Acting(policy, policy.params(), i, mask, first))
    wanted = [family.slot[family.free] for family in families]
    ruled = tuple(i for i, slots in enumerate(wanted) if np.isin(how[slots], (RULE, KERNEL)).any())
    return Choices(how, share, REACH * (corrected & (how != NOBODY)), ruled, tuple(acting))


def _choice(choice: str, rest: float) -> tuple[int, float]:
    ways = {"rule": (RULE, 0.0), "abstain": (ABSTAIN, 0.0), "random": (RANDOM, 0.0), "middle": (SHARE, 0.0)}
    return ways.get(choice, (SHARE, rest))
