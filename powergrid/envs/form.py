"""Arguments that say in which form an environment shows observations, actions and infos."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from powergrid.core.errors import ConfigError, Issue, nearest
from powergrid.core.types import Array

PADS = (None, "role", "all")
INFOS = ("flat", "none")


class Form(NamedTuple):
    """Arguments of an environment that say in which form it shows observations, actions and infos.

    Attributes
    ----------
    normalize
        Whether observations are scaled by the range that each number usually lies in.
    pad
        ``"role"`` if agents of one role have equal spaces and equal names of entries, ``"all"`` if all agents have
        equal spaces, ``None`` for each agent's own.
    agent_id
        Whether each observation ends with the number of the agent, one-hot.
    infos
        ``"flat"``, or ``"none"`` for empty infos.
    """

    normalize: bool = False
    pad: str | None = None
    agent_id: bool = False
    infos: str = "flat"

    def checked(self) -> Form:
        """Return itself.

        Raises
        ------
        ConfigError
            With every argument that is not available.
        """
        issues = [
            Issue(name, f"{value!r} is not available", "True or False")
            for name, value in (("normalize", self.normalize), ("agent_id", self.agent_id))
            if not isinstance(value, bool)
        ]
        for name, value, allowed in (("pad", self.pad, PADS), ("infos", self.infos, INFOS)):
            if value not in allowed:
                words = ", ".join(f'"{word}"' if word else "None" for word in allowed)
                hint = nearest(str(value), [word for word in allowed if word]) or f"one of {words}"
                issues.append(Issue(name, f"{value!r} is not available", hint))
        if issues:
            raise ConfigError(issues)
        return self


class ObservationScale(NamedTuple):
    """How an agent's observation is scaled: ``shown = (physical - middle) / half_span``.

    Attributes
    ----------
    middle, half_span
        Middle of the range that each number usually lies in, and half of its width, in the unit of its label, ``(d,)``.
        Where numbers are not scaled they are 0 and 1; padding has a `half_span` of 0.
    """

    middle: np.ndarray
    half_span: np.ndarray

    def physical(self, shown: Array) -> Array:
        """Observations in the units of their labels, ``(*batch, d)``."""
        return self.middle + self.half_span * shown

    def shown(self, physical: Array) -> Array:
        """Observations as the environment shows them, ``(*batch, d)``; 0 where there is padding."""
        return (physical - self.middle) * reciprocal(self.half_span)


def reciprocal(half_span: np.ndarray) -> np.ndarray:
    """One over each number, and 0 where it is 0."""
    found: np.ndarray = np.divide(1.0, half_span, out=np.zeros_like(half_span), where=half_span > 0.0)
    return found
