"""Federated averaging: learners keep their data, and share the parameters of their policies every few updates.

McMahan, Moore, Ramage, Hampson and Agüera y Arcas, "Communication-efficient learning of deep networks from
decentralized data", AISTATS 2017 (arXiv:1602.05629), algorithm 1: each of `n` learners takes some steps of its own,
then

    mean = sum_k share_k theta_k,   theta_k <- theta_k + weight (mean - theta_k)

with shares in proportion to the samples behind each; ``weight: 1`` is the published form, in which all go on with the
mean. All start from the same parameters, without which the mean of networks means little (section 3 of the paper).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from powergrid.agents.protocol import LearningProtocol, ProtocolSettings, Pupil
from powergrid.core.errors import ConfigError, Issue, nearest
from powergrid.plugins import register_protocol


class Settings(ProtocolSettings):
    """Parameters of federated averaging."""

    interval: int = Field(1, ge=1, le=1_000_000, description="updates of the learners between two averagings")
    weight: float = Field(1.0, gt=0, le=1, description="part of the way to the mean that members go [1]")
    shares: Literal["samples", "equal"] | dict[str, float] = Field(
        "samples",
        description="share of each member in the mean: in proportion to its decisions, equal, or a number by id",
    )

    @model_validator(mode="after")
    def _shares_add_up(self) -> Settings:
        if isinstance(self.shares, dict) and not (
            all(share >= 0.0 for share in self.shares.values()) and sum(self.shares.values()) > 0.0
        ):
            raise ValueError("shares are not negative, and one of them is above zero")
        return self


@register_protocol("federated", aliases=("federated_averaging", "fedavg"))
class FederatedAveraging(LearningProtocol):
    r"""Members learn on their own and average the parameters of their policies every `interval` updates.

    After an averaging the parameters of member :math:`k` are

    .. math:: \theta_k + w \Big(\sum_j s_j \theta_j - \theta_k\Big), \qquad \sum_j s_j = 1,

    with the `weight` :math:`w` and the shares :math:`s_j`, which are by default in proportion to the decisions that
    each takes in a tick. Only parameters travel: no observation, action or reward leaves its agent, apart from what a
    central critic sees while it learns.
    """

    Settings = Settings

    @property
    def interval(self) -> int:
        """Updates between two averagings."""
        return int(self.settings.interval)

    def mixing(self, members: Sequence[Pupil]) -> np.ndarray:
        """``(1 - weight) I + weight 1 s'``, ``(n, n)``."""
        shares = self._shares(members)
        return np.asarray((1.0 - self.settings.weight) * np.eye(len(members)) + self.settings.weight * shares[None, :])

    def _shares(self, members: Sequence[Pupil]) -> np.ndarray:
        """Share of each member in the mean, ``(n,)``; they sum to one."""
        given = self.settings.shares
        ids = [member.id for member in members]
        if isinstance(given, Mapping):
            for id in given:
                if id not in ids:
                    raise ConfigError([Issue("protocols", f'federated: shares: "{id}" is no member', nearest(id, ids))])
            for id in ids:
                if id not in given:
                    hint = f'add "{id}", with 0 if it shall only receive the mean'
                    raise ConfigError([Issue("protocols", f'federated: shares: "{id}" has no share', hint)])
            parts = np.array([given[id] for id in ids])
        else:
            parts = np.array([member.decisions if given == "samples" else 1.0 for member in members])
        return np.asarray(parts / parts.sum())
