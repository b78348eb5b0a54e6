"""Style of all plots: colours that colour-blind readers can distinguish, fonts, and files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from powergrid.core.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT, GRID = "#22303c", "#7b8794", "#e3e8ec"
LIMIT = "#d55e00"
"""Colour of limits."""

# From Okabe and Ito's palette, https://jfly.uni-koeln.de/color/, the yellow darkened and a dark blue added.
TECHNOLOGY = {
    "grid": "#3c5a80",
    "p2p": "#cc79a7",
    "generator": "#a0a8b0",
    "storage": "#009e73",
    "wind": "#56b4e9",
    "solar": "#f2c53d",
}
_OTHER = ("#b58900", "#8c6bb1", "#80b1a3", "#b15928")
MICROGRID = ("#0072b2", "#d55e00", "#009e73", "#8c6bb1", "#b58900", "#7b8794")
POLICY = {"learned": "#0072b2", "rule_based": "#e69f00", "random": "#9aa5ae", "drain": "#d55e00", "mppt": "#56b4e9"}
_POLICIES = ("#cc79a7", "#009e73", "#8c6bb1", "#b15928")

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": "#aab4bd",
    "axes.labelcolor": INK,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "powergrid",  # equal pictures give equal files
    "figure.dpi": 100,
}


@dataclass(frozen=True)
class Picture:
    """A finished plot.

    Attributes
    ----------
    name
        File name without ending.
    alt
        Text alternative.
    svg, png
        The two files.
    """

    name: str
    alt: str
    svg: bytes
    png: bytes


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """An empty figure [inch] in the report's style.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "Writing a report") from error
    with matplotlib.rc_context(RC):
        yield Figure(figsize=(width, height), layout="constrained")


def finish(figure: Figure, name: str, alt: str) -> Picture:
    """Render a figure; call it inside :func:`canvas`."""
    png = _file(figure, "png")
    figure.set_layout_engine("none")  # the layout is found; finding it once more would take as long as all else
    return Picture(name, alt, svg=_file(figure, "svg"), png=png)


def _file(figure: Figure, ending: str) -> bytes:
    stream = io.BytesIO()
    metadata = {"Date": None} if ending == "svg" else {"Software": None}
    figure.savefig(stream, format=ending, dpi=150, facecolor="white", metadata=metadata)
    return stream.getvalue()


def technology_colour(kind: str, others: list[str]) -> str:
    """Colour of a technology. Technologies without a fixed colour take the next free one, in the order of `others`."""
    return TECHNOLOGY.get(kind) or _OTHER[others.index(kind) % len(_OTHER)]


def policy_colours(names: list[str]) -> dict[str, str]:
    """Colour of each policy, the same in every plot."""
    free = iter(_POLICIES * (1 + len(names) // len(_POLICIES)))
    return {name: POLICY.get(name) or next(free) for name in names}


def readable(name: str) -> str:
    """``rule_based`` as ``rule based``; a path is shortened to its last part."""
    return name.rstrip("/").rsplit("/", 1)[-1].replace("_", " ")


def policy_phrase(name: str) -> str:
    """``rule_based`` as ``the rule-based policy``, for sentences."""
    return f"the {readable(name).replace(' ', '-')} policy"


def hours(axes: Any, last_h: float) -> None:
    """Time axis of an episode: hours of the day, or days if it is long."""
    from matplotlib.ticker import MultipleLocator

    axes.set_xlim(0.0, last_h)
    axes.xaxis.set_major_locator(MultipleLocator(next(step for step in (1, 2, 6, 24, 168) if last_h / step <= 8)))


def thousands(axis: Any) -> None:
    """Write 1400 as 1,400 along an axis."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace("-", "\N{MINUS SIGN}")))


def darker(colour: str) -> str:
    """A shade of a colour for text on white."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(0.68 * part):02x}" for part in parts)
