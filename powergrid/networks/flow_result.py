"""Tables that ``network.power_flow()`` and ``network.sensitivities()`` return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


class Slack(NamedTuple):
    """Power the sources feed in [MW, Mvar]."""

    p_mw: float
    q_mvar: float


@dataclass(frozen=True, eq=False)
class FlowResult:
    """Tables of one power flow.

    Attributes
    ----------
    converged
        Check it before using the rest.
    iterations
        Iterations taken.
    losses_mw
        Active losses of all branches [MW].
    slack
        What all sources feed in [MW, Mvar].
    bus
        One row per node: ``bus``, ``phase`` (empty for a balanced network), ``v_pu``, ``va_degree``, and ``p_mw``,
        ``q_mvar``, the net power that sources, generators, loads and shunts inject there (positive into the network).
    branch
        One row per branch, named by its index: ``element`` (its kind), ``index`` (its row in ``network.branches``),
        ``from_bus``, ``to_bus``, ``phase``, ``i_ka`` (the larger of both ends), ``loading_percent`` (NaN without a
        rating), and the power entering it at its ends, ``p_from_mw``, ``q_from_mvar``, ``p_to_mw``, ``q_to_mvar``. A
        closed switch in a loop of closed switches has NaN.
    generators
        One row per generator, named: ``bus``, ``p_mw``, ``q_mvar``, ``v_pu``, ``v_set_pu``, and ``at_limit``, True
        where it feeds in a reactive limit and does not hold its voltage.
    method
        The method that solved it.
    unbalance
        Of a three-phase network: ``bus`` and ``unbalance_percent``, the negative over the positive sequence voltage of
        every bus that has three phases.
    """

    converged: bool
    iterations: int
    losses_mw: float
    slack: Slack
    bus: pd.DataFrame
    branch: pd.DataFrame
    generators: pd.DataFrame
    method: str
    unbalance: pd.DataFrame | None = None

    def __str__(self) -> str:
        v = self.bus["v_pu"]
        state = f"converged in {self.iterations} iterations" if self.converged else "NOT CONVERGED"
        return (
            f"power flow {state}: source {self.slack.p_mw:.4f} MW, {self.slack.q_mvar:.4f} Mvar; "
            f"losses {1000 * self.losses_mw:.2f} kW; voltages {v.min():.4f} to {v.max():.4f} pu"
        )


@dataclass(frozen=True, eq=False)
class Sensitivities:
    """How voltages and losses answer to one more MW or Mvar that is injected, around a solved flow.

    Attributes
    ----------
    v_by_p, v_by_q
        Changes of the voltages' magnitudes [pu/MW, pu/Mvar]: one row per bus or node, one column per bus or node where
        power is injected.
    loss_by_p, loss_by_q
        Changes of the network's losses [MW/MW, MW/Mvar] by where power is injected.
    """

    v_by_p: pd.DataFrame
    v_by_q: pd.DataFrame
    loss_by_p: pd.Series
    loss_by_q: pd.Series
