"""Methods of networks that need more than columns: power flow, taps at rest, drawing.

These studies stand on this room and on the power flow, so they lie in a room above (:mod:`powergrid.studies`) and
register themselves there, as networks and devices do. A network finds one by its name when a method is called, and only
the result's type is known here: nothing here imports a study or the power flow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from powergrid.plugins.registries import STUDIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from powergrid.networks.flow_result import FlowResult, Sensitivities

Own = TypeVar("Own", bound="Studied")


class Studied:
    """Base of networks that can be solved, settled and drawn."""

    def power_flow(self, method: str = "auto", tol_pu: float = 1e-8, control: str = "fixed") -> FlowResult:
        """Solve with the network's own loads: see :func:`powergrid.studies.power_flow.power_flow`.

        With ``control="local"`` its regulators first step to where their relays bring them, see :meth:`settled`;
        ``"fixed"`` keeps their taps.
        """
        result: FlowResult = STUDIES.get("power_flow")(self, method, tol_pu, control)
        return result

    def sensitivities(self, tol_pu: float = 1e-10, control: str = "fixed") -> Sensitivities:
        """How voltages and losses answer to power: see :func:`powergrid.studies.sensitivities.sensitivities`.

        They hold around the flow with the network's own loads.
        """
        result: Sensitivities = STUDIES.get("sensitivities")(self, tol_pu, control)
        return result

    def settled(self: Own, *, gang: bool | None = None, method: str = "auto", tol_pu: float = 1e-8) -> Own:
        """The network with its regulators where their relays bring them: see :func:`powergrid.studies.settled.settled`.

        Its own loads are on.
        """
        network: Own = STUDIES.get("settled")(self, gang=gang, method=method, tol_pu=tol_pu)
        return network

    def draw(
        self,
        ax: Axes | None = None,
        v_pu: np.ndarray | None = None,
        loading: np.ndarray | None = None,
        v_limits_pu: tuple[float, float] = (0.95, 1.05),
    ) -> Axes:
        """Draw the feeder: see :func:`powergrid.studies.drawing.draw`."""
        axes: Axes = STUDIES.get("drawing")(self, ax, v_pu=v_pu, loading=loading, v_limits_pu=v_limits_pu)
        return axes
