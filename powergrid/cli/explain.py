"""``powergrid explain``: where a power flow fails, and how far it is from failing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from powergrid.cli.sources import PLUGINS_HELP, any_network

if TYPE_CHECKING:
    import pandas as pd

    from powergrid.studies.diagnosis import Explanation


def explain_command(
    source: Annotated[
        str, typer.Argument(metavar="PRESET|NETWORK|FILE", help="A preset, a network, or a file that describes one.")
    ],
    loading: Annotated[float, typer.Option("--loading", metavar="X", help="Factor on all loads.")] = 1.0,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Length of the tables.")] = 8,
    plugins: Annotated[bool, typer.Option("--plugins", help=PLUGINS_HELP)] = False,
) -> None:
    """Explain why a power flow has no solution: the buses and branches that lack most power, and the loading limit.

    All loads of the network are scaled together. If there is a solution, the command prints how far the loads may grow.

    Examples:

    - `powergrid explain case33bw --loading 4`

    - `powergrid explain p2p_microgrids`
    """
    from powergrid.cli.output import print_line
    from powergrid.studies import explain

    explanation = explain(any_network(source, plugins), loading, rows)
    for line in _summary(explanation):
        print_line(line)
    if len(explanation.buses):
        print_line()
        at = explanation.failed_loading if explanation.converged else explanation.loading
        _print_buses(explanation.buses, at)
        print_line()
        _print_branches(explanation.branches)


def _summary(explanation: Explanation) -> list[str]:
    state = "has a solution" if explanation.converged else "has no solution"
    return [
        f"network      {explanation.name}",
        f"loading      {explanation.loading:g} times its own loads {state}",
        f"limit        {_limit(explanation)}",
        f"power flow   {explanation.method}: {explanation.reason}",
    ]


def _limit(explanation: Explanation) -> str:
    solved, failed = explanation.solved_loading, explanation.failed_loading
    if solved != solved:
        return "no solution even without load; check the impedances and the voltage set points"
    if failed != failed:
        return f"still solved at {solved:g} times"
    return f"solved up to {solved:.4g} times, not from {failed:.4g} times on"


def _print_buses(buses: pd.DataFrame, loading: float) -> None:
    from powergrid.cli.output import print_table

    names = [f"{bus}.{phase}" if phase else bus for bus, phase in zip(buses.bus, buses.phase, strict=True)]
    numbers = zip(*(buses[column] for column in ("p_mw", "q_mvar", "v_pu", "v_solved_pu")), strict=True)
    rows = [(name, *(_number(value, 4) for value in row)) for name, row in zip(names, numbers, strict=True)]
    head = ("bus", "P missing [MW]", "Q missing [Mvar]", "v [pu]", "v when last solved [pu]")
    print_table(f"Buses that lack most power at {loading:.4g} times the loads", head, rows)


def _print_branches(branches: pd.DataFrame) -> None:
    from powergrid.cli.output import print_table

    rows = [
        (name, f"{f} - {t}", _number(missing, 4), _number(drop, 4), _number(percent, 0))
        for name, f, t, missing, drop, percent in zip(*(branches[column] for column in branches), strict=True)
    ]
    head = ("branch", "between", "missing [MVA]", "drop when last solved [pu]", "loading [%]")
    print_table("Branches at these buses", head, rows)


def _number(value: float, digits: int) -> str:
    return "-" if value != value else f"{value:.{digits}f}"
