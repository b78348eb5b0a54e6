"""Named columns that the packages exchange.

Shapes are written ``(*batch, n)``: any leading batch axes (none for one environment, one for many), then units, buses
or agents. Powers are injections into the grid, positive everywhere inside PowerGrid.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any
"""A NumPy or JAX array; kernels are written against either."""


class Injection(NamedTuple):
    """Power a device feeds into its bus (negative: it consumes).

    Attributes
    ----------
    p_mw, q_mvar
        Active and reactive power [MW, Mvar], ``(*batch, n)``.
    """

    p_mw: Array
    q_mvar: Array


class Energy(NamedTuple):
    """Energy account of one tick [MWh]: ``primary_in + from_grid = stored + useful_out + to_grid + lost``."""

    primary_in: Array
    stored: Array
    useful_out: Array
    lost: Array


CONSTANT_SERIES = "constant"
"""Series that every environment has: 1 at every tick."""


class NodeLoad(NamedTuple):
    """What every bus draws from the network, ``(*batch, m)`` with one column per bus; negative values are generation.

    Attributes
    ----------
    p_mw, q_mvar
        Constant power [MW, Mvar].
    p_i_mw, q_i_mvar
        Constant current, as power at 1 pu. ``None`` where a network has none.
    p_z_mw, q_z_mvar
        Constant impedance, as power at 1 pu. ``None`` where a network has none.
    """

    p_mw: Array
    q_mvar: Array
    p_i_mw: Array | None = None
    q_i_mvar: Array | None = None
    p_z_mw: Array | None = None
    q_z_mvar: Array | None = None


class Control(NamedTuple):
    """Settings of the network that may differ from tick to tick and from environment to environment.

    Attributes
    ----------
    tap_ratio
        Voltage gain of each regulator [1], ``(*batch, k)``; ``None`` keeps the network's own.
    cap_on
        Share of each switchable shunt that is connected [1], ``(*batch, c)``; ``None`` keeps the network's own.
    topology
        Index into the plan's topologies, ``(*batch,)``; ``None`` is the network as given.
    v_source_pu
        Voltage of the source [pu], ``(*batch,)``; ``None`` keeps the network's own.
    v_set_pu
        Set points of voltage-controlled buses [pu]; ``None`` where there are none.
    """

    tap_ratio: Array | None = None
    cap_on: Array | None = None
    topology: Array | None = None
    v_source_pu: Array | None = None
    v_set_pu: Array | None = None


class Flow(NamedTuple):
    """A solved power flow. Non-convergence is data: check ``converged`` before using the rest.

    Attributes
    ----------
    v_re, v_im, v_pu
        Bus voltages: real part, imaginary part and magnitude [pu], ``(*batch, m)``.
    loading
        Loading of each branch [%], ``(*batch, b)``; zero where a branch has no rating.
    loss_mw
        Active losses of the whole network [MW], ``(*batch,)``.
    p_slack_mw, q_slack_mvar
        Power the source feeds in [MW, Mvar], ``(*batch,)``.
    p_meter_mw, q_meter_mvar
        Power entering each metered branch at its from bus [MW, Mvar], ``(*batch, k)``.
    residual_pu
        Largest change of a voltage in the last iteration [pu], ``(*batch,)``.
    iterations
        Iterations taken, ``(*batch,)``.
    converged
        True where the residual fell below the tolerance, ``(*batch,)``.
    energised
        True where a bus is connected to a source, ``(*batch, m)``.
    p_form_mw, q_form_mvar
        Power that the reference of each island delivers [MW, Mvar], ``(*batch, references)``; zero where it is not in
        service. ``None`` where a method has no references.
    """

    v_re: Array
    v_im: Array
    v_pu: Array
    loading: Array
    loss_mw: Array
    p_slack_mw: Array
    q_slack_mvar: Array
    p_meter_mw: Array
    q_meter_mvar: Array
    residual_pu: Array
    iterations: Array
    converged: Array
    energised: Array
    p_form_mw: Array | None = None
    q_form_mvar: Array | None = None


class Entry(NamedTuple):
    """One named number of an observation or an action.

    Attributes
    ----------
    name
        What it is, without its owner: ``"soc"``.
    unit
        Its unit, ``"1"`` for a pure number.
    low, high
        Finite bounds in that unit.
    """

    name: str
    unit: str
    low: float
    high: float

    def label(self, owner: str = "") -> str:
        """Full label such as ``"ess_1.soc [1]"``."""
        prefix = f"{owner}." if owner else ""
        return f"{prefix}{self.name} [{self.unit}]"
