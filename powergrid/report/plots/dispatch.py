"""One day of up to three accounts: power by source and use, state of charge, prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from powergrid.report.balance import Balance, balance
from powergrid.report.records import DayRecord
from powergrid.report.style import (
    FAINT,
    INK,
    TECHNOLOGY,
    Picture,
    canvas,
    finish,
    hours,
    readable,
    technology_colour,
)

LABELS = {"grid": "utility", "p2p": "peers", "storage": "battery"}
_BAND = "#c9d3dc"


def draw(record: DayRecord, accounts: Sequence[str], name: str, about: str) -> Picture:
    """One column per account.

    Parameters
    ----------
    record
        One day.
    accounts
        Which accounts to show.
    name, about
        File name, and policy and day for the description.
    """
    balances = [balance(record, account) for account in accounts]
    stored = np.isin(record.names.storage_account, accounts).any()
    heights = [3.0, 1.0, 1.2] if stored else [3.0, 1.2]
    with canvas(11.1, 1.5 * sum(heights) + 0.4) as figure:
        options: dict[str, Any] = {"height_ratios": heights, "hspace": 0.04, "wspace": 0.04}
        grid = figure.subplots(
            len(heights), len(accounts), sharex=True, sharey="row", squeeze=False, gridspec_kw=options
        )
        others = _others(balances)
        for column, (account, own) in enumerate(zip(accounts, balances, strict=True)):
            _power(grid[0, column], record.hours, own, others)
            grid[0, column].set_title(readable(account))
            if stored:
                _charge(grid[1, column], record, account)
            _prices(grid[-1, column], record, account)
            hours(grid[-1, column], record.hours[-1])
            grid[-1, column].set_xlabel("hour of the day")
        grid[0, 0].set_ylabel("power [MW]")
        if stored:
            grid[1, 0].set_ylabel("charge [%]")
        grid[-1, 0].set_ylabel("price [$/MWh]")
        figure.align_ylabels(grid[:, 0])
        _legend(figure, balances, others)
        return finish(figure, name, f"Power, state of charge and prices of {', '.join(accounts)} on {about}.")


def _others(balances: Sequence[Balance]) -> list[str]:
    kinds = dict.fromkeys(kind for own in balances for kind in (*own.sources, *own.uses))
    return [kind for kind in kinds if kind not in TECHNOLOGY]


def _power(axes: Any, edges: np.ndarray, own: Balance, others: list[str]) -> None:
    """Sources stacked upwards, uses downwards, the load as a line."""
    for parts, sign in ((own.sources, 1.0), (own.uses, -1.0)):
        base = np.zeros(len(edges) - 1)
        for kind, values in parts.items():
            top = base + sign * values
            axes.stairs(top, edges, baseline=base, fill=True, color=technology_colour(kind, others), linewidth=0)
            base = top
    if own.load_mw.any():
        axes.stairs(own.load_mw, edges, color=INK, linewidth=1.7, baseline=None)
    axes.axhline(0.0, color=INK, linewidth=0.8)


def _charge(axes: Any, record: DayRecord, account: str) -> None:
    mine = record.names.storage_account == account
    if not mine.any():
        axes.text(0.5, 0.5, "no battery", color=FAINT, ha="center", va="center", transform=axes.transAxes, fontsize=9)
    axes.plot(record.hours, 100.0 * record.soc[:, mine], color=TECHNOLOGY["storage"], linewidth=1.8)
    axes.set_ylim(-4.0, 104.0)
    axes.set_yticks([0, 50, 100])


def _prices(axes: Any, record: DayRecord, account: str) -> None:
    """Band between feed-in and retail price, and the price of this account's trades."""
    edges = record.hours
    retail, feed_in = (_series(record, quantity) for quantity in ("retail_per_mwh", "feed_in_per_mwh"))
    if retail is not None and feed_in is not None:
        axes.stairs(retail, edges, baseline=feed_in, fill=True, color=_BAND, alpha=0.55, linewidth=0)
        axes.stairs(retail, edges, color=FAINT, linewidth=1.2, baseline=None)
        axes.stairs(feed_in, edges, color=FAINT, linewidth=1.2, baseline=None, linestyle=(0, (2, 1)))
    column = int(np.flatnonzero(record.names.accounts == account)[0])
    traded = np.abs(np.nan_to_num(record.p2p_bought_mwh[:, column])) > 1e-9
    middle = 0.5 * (edges[1:] + edges[:-1])
    axes.plot(middle[traded], record.p2p_price_per_mwh[traded, column], "o", color=TECHNOLOGY["p2p"], markersize=2.6)


def _series(record: DayRecord, quantity: str) -> np.ndarray | None:
    found = [i for i, name in enumerate(record.names.series) if name.split(":")[0] == quantity]
    return record.series[:, found[0]] if found else None


def _legend(figure: Any, balances: Sequence[Balance], others: list[str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    kinds = dict.fromkeys(kind for own in balances for kind in (*own.sources, *own.uses))
    shown = [kind for kind in (*reversed(TECHNOLOGY), *others) if kind in kinds]
    handles: list[Any] = []
    if any(own.load_mw.any() for own in balances):
        handles.append(Line2D([], [], color=INK, linewidth=1.7, label="load"))
    handles += [Patch(color=technology_colour(kind, others), label=LABELS.get(kind, readable(kind))) for kind in shown]
    handles += [
        Line2D([], [], color=FAINT, linewidth=1.2, label="retail price"),
        Line2D([], [], color=FAINT, linewidth=1.2, linestyle=(0, (2, 1)), label="feed-in price"),
    ]
    if "p2p" in kinds:
        handles.append(Line2D([], [], color=TECHNOLOGY["p2p"], marker="o", linewidth=0, label="price between peers"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, columnspacing=1.4, handlelength=1.6)
