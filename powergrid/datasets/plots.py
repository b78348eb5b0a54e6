"""Figures of datasets: the year as heat map, duration curve and typical days; and made days beside training days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from powergrid.core.errors import DataError, MissingExtraError
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.resample import DAY_S
from powergrid.datasets.units import parts_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from powergrid.datasets.synthesis import Comparison

SEASONS = {
    "Dec-Feb": ((334, 365), (0, 59)),
    "Mar-May": ((59, 151),),
    "Jun-Aug": ((151, 243),),
    "Sep-Nov": ((243, 334),),
}
"""Days of the year of each season, first included and last not."""
MOST_COLUMNS = 12
"""Rows of the largest figure."""

_COLOURS = {"Dec-Feb": "#2166ac", "Mar-May": "#1b9e77", "Jun-Aug": "#d95f02", "Sep-Nov": "#7570b3"}
_REAL, _MADE = "#444444", "#d95f02"
_UNITS = {
    "pu": "pu",
    "mw": "MW",
    "mvar": "Mvar",
    "mwh": "MWh",
    "per_mwh": "$/MWh",
    "c": "degC",
    "m_s": "m/s",
    "h": "h",
    "w_m2": "W/m2",
    "t_per_mwh": "t/MWh",
}


def card_figure(dataset: Dataset, columns: Sequence[str] | None = None) -> Figure:
    """A row for each column: heat map of all days, duration curve, and the typical day of each season.

    Parameters
    ----------
    dataset
        Any dataset; missing values are blank.
    columns
        At most `MOST_COLUMNS` series; by default the first of each quantity.

    Raises
    ------
    DataError, UnknownNameError
        If there are too many columns, or there is no such column.
    MissingExtraError
        If matplotlib is absent.
    """
    if columns is None:
        quantities = dict.fromkeys(name.split(":")[0] for name in dataset.columns)
        columns = [dataset.sites(quantity)[0] for quantity in quantities][:MOST_COLUMNS]
    if not 1 <= len(columns) <= MOST_COLUMNS:
        raise DataError(f"{len(columns)} columns are asked for; choose 1 to {MOST_COLUMNS} with --column")
    figure: Figure
    with _style() as make:
        figure, grid = make(len(columns), 3, (11.0, 2.1 * len(columns) + 0.5), [1.6, 1.0, 1.0])
        for axes, name in zip(grid, columns, strict=True):
            by_day = _by_day(dataset, name)
            _heat_map(figure, axes[0], by_day, name)
            _duration(axes[1], by_day, name)
            _typical(axes[2], by_day, dataset.first_day, name)
        titles = ("all days by time of the day", "duration curve", "typical day: median, 10 % to 90 %")
        for axis, title in zip(grid[0], titles, strict=True):
            axis.set_title(title, fontsize=9)
        grid[0][2].legend(fontsize=6, frameon=False, ncols=2, loc="upper left")
        figure.suptitle(
            f"{dataset.name}, {dataset.local_date(0)} to {dataset.local_date(dataset.days - 1)}", fontsize=11
        )
    return figure


def comparison_figure(found: Comparison) -> Figure:
    """Made days beside training days: quantiles, autocorrelation and correlation, a row for each column.

    Raises
    ------
    MissingExtraError
        If matplotlib is absent.
    """
    from powergrid.datasets.synthesis.compare import SHARES

    count = len(found.columns)
    figure: Figure
    with _style() as make:
        figure, grid = make(count, 3, (11.0, 1.9 * count + 0.6), [1.0, 1.3, 1.0])
        for k, (axes, name) in enumerate(zip(grid, found.columns, strict=True)):
            for which, (label, colour) in enumerate((("training days", _REAL), ("made days", _MADE))):
                low, mid, high = found.quantiles[which, :, k]
                axes[0].plot([low, high], [1 - which] * 2, color=colour, lw=3, solid_capstyle="butt")
                axes[0].plot([mid], [1 - which], "o", color=colour, ms=5)
                axes[0].plot([found.mean[which, k]], [1 - which], "|", color=colour, ms=14, mew=1.5)
                line = "o-" if which == 0 else "s--"
                axes[1].plot(found.lags_h, found.autocorrelation[which, :, k], line, color=colour, ms=3, label=label)
                offset = -0.18 if which == 0 else 0.18
                others = np.delete(np.arange(count), k)
                axes[2].bar(others + offset, found.correlation[which, k, others], 0.36, color=colour)
            axes[0].set(yticks=[1, 0], yticklabels=["training", "made"], ylim=(-0.6, 1.6))
            axes[0].set_xlabel(_label(name), fontsize=8)
            axes[1].set(ylim=(-0.6, 1.05), xscale="log", xticks=found.lags_h)
            axes[1].set_xticklabels([f"{lag} h" for lag in found.lags_h])
            axes[1].minorticks_off()
            axes[2].set(xlim=(-0.6, count - 0.4), ylim=(-1, 1), xticks=range(count), xticklabels=range(1, count + 1))
            axes[2].axhline(0, color="#888888", lw=0.6)
            axes[1].set_ylabel(f"{k + 1}", fontsize=11, rotation=0, labelpad=12, weight="bold")
        shares = f"{SHARES[0]:.0%} to {SHARES[-1]:.0%}, dot: median, bar: mean"
        for axis, title in zip(grid[0], (shares, "autocorrelation", "correlation with column ..."), strict=True):
            axis.set_title(title, fontsize=9)
        grid[0][1].legend(fontsize=7, frameon=False)
    return figure


def _by_day(dataset: Dataset, name: str) -> np.ndarray:
    """Values of a series by day and time of the day; what the wind makes of a turbine's curve."""
    series = dataset.series(name)
    values = series.values if series.curve is None else series.curve.power(series.values)
    by_day: np.ndarray = values.reshape(dataset.days, DAY_S // series.interval_s)
    if np.isnan(by_day).all():
        raise DataError(f"dataset {dataset.name}, series {name}: all values are missing, so there is nothing to draw")
    return by_day


def _heat_map(figure: Figure, axis: Axes, by_day: np.ndarray, name: str) -> None:
    low, high = np.nanpercentile(by_day, [0.5, 99.5])  # one price spike must not hide a year
    image = axis.imshow(
        by_day.T, aspect="auto", origin="lower", extent=(0, len(by_day), 0, 24), cmap="viridis", vmin=low, vmax=high,
        interpolation="nearest",
    )  # fmt: skip
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    outside = (bool(np.nanmin(by_day) < low), bool(np.nanmax(by_day) > high))
    figure.colorbar(image, ax=axis, pad=0.01, fraction=0.05, extend=beyond[outside])
    axis.set(yticks=[0, 6, 12, 18, 24], ylabel="hour")
    axis.set_xlabel(f"day ({_label(name)})", fontsize=8)


def _duration(axis: Axes, by_day: np.ndarray, name: str) -> None:
    known = np.sort(by_day[~np.isnan(by_day)])[::-1]
    axis.plot(100.0 * (np.arange(len(known)) + 0.5) / len(known), known, color=_REAL, lw=1.2)
    axis.set(xlim=(0, 100), xlabel="% of the time above")
    axis.set_ylabel(_unit(name), fontsize=8)


def _typical(axis: Axes, by_day: np.ndarray, first_day: int, name: str) -> None:
    day_of_year = (first_day + np.arange(len(by_day))) % 365
    hour = (np.arange(by_day.shape[1]) + 0.5) * 24.0 / by_day.shape[1]
    for season, spans in SEASONS.items():
        inside = np.any([(day_of_year >= first) & (day_of_year < end) for first, end in spans], axis=0)
        part = by_day[inside]
        if not len(part) or np.isnan(part).all(axis=0).any():
            continue
        low, mid, high = np.nanpercentile(part, [10, 50, 90], axis=0)
        axis.plot(hour, mid, color=_COLOURS[season], lw=1.3, label=season)
        axis.fill_between(hour, low, high, color=_COLOURS[season], alpha=0.12, lw=0)
    axis.set(xlim=(0, 24), xticks=[0, 6, 12, 18, 24], xlabel="hour")
    axis.set_ylabel(_unit(name), fontsize=8)


def _unit(name: str) -> str:
    unit = parts_of(name.split(":")[0])[1]
    return _UNITS.get(unit, unit)


def _label(name: str) -> str:
    return f"{name} [{_unit(name)}]" if _unit(name) else name


@contextmanager
def _style() -> Iterator[Any]:
    """What makes a figure with a grid of axes, without a window."""
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "Drawing a dataset") from error

    def make(rows: int, columns: int, size: tuple[float, float], widths: list[float]) -> tuple[Figure, Any]:
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns, squeeze=False, width_ratios=widths)

    with matplotlib.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        yield make
