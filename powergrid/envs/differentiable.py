"""Which parts of an environment on JAX carry derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from powergrid.core.derivatives import NotDifferentiableError
from powergrid.engine import island_droop
from powergrid.engine.layout import Layout


class Differentiable(NamedTuple):
    """What carries derivatives through the step, and what does not, with the reason.

    Attributes
    ----------
    carried
        Devices and protocols through which derivatives pass.
    held
        Devices whose position counts as constant, and why.
    by_surrogate
        Devices with a decision between off and on, and its names: its derivative is what on gives less what off gives
        in the same tick, of power, fuel and starts. What the decision does in later ticks is left out.
    refused
        What makes ``jax.grad`` raise :class:`~powergrid.core.derivatives.NotDifferentiableError`, and why.
    """

    carried: tuple[str, ...]
    held: Mapping[str, str]
    by_surrogate: Mapping[str, tuple[str, ...]]
    refused: Mapping[str, str]

    def require(self) -> None:
        """Raise unless derivatives pass through the whole step.

        Raises
        ------
        NotDifferentiableError
            With the name of everything that is refused, and why.
        """
        if self.refused:
            raise NotDifferentiableError("; ".join(f"{name}: {why}" for name, why in self.refused.items()))


def differentiable(layout: Layout) -> Differentiable:
    """What carries derivatives in a step."""
    carried: list[str] = []
    held: dict[str, str] = {}
    by_surrogate: dict[str, tuple[str, ...]] = {}
    refused: dict[str, str] = {}
    for family in layout.families:
        if family.kernel.held:
            held |= dict.fromkeys(family.ids, family.kernel.held)
            continue
        carried += family.ids
        deciding = {unit: family.on_off(slice(k, k + 1)) for k, unit in enumerate(family.ids)}
        by_surrogate |= {unit: names for unit, names in deciding.items() if names}
    for layer in layout.coordination.layers:
        name = f"{layer.protocol.kind} protocol {type(layer.protocol).__name__} of {', '.join(layer.ids)}"
        if layer.protocol.no_derivative:
            refused[name] = layer.protocol.no_derivative
        else:
            carried.append(name)
    if layout.grid.islands is not None:
        refused["islands"] = island_droop.NO_DERIVATIVE
    return Differentiable(tuple(carried), held, by_surrogate, refused)
