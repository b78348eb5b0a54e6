"""A feeder drawn with matplotlib: buses and branches in place, the equipment marked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from powergrid.core.errors import MissingExtraError, NetworkError
from powergrid.networks.kinds import AnyNetwork
from powergrid.networks.layout import crossings
from powergrid.plugins.registries import register_study
from powergrid.studies.labels import HEIGHT, SIDES, WIDTH, Labels
from powergrid.studies.one_line import furthest, highest, one_line, positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from powergrid.networks.network import Network

_INK, _FAINT, _PAPER = "#2b2b2b", "#9a9a9a", "white"
_SOURCE, _TRANSFORMER, _REGULATOR, _CAPACITOR = "#111111", "#b3541e", "#6a3d9a", "#1f6f8b"
_BENDS = (0.11, -0.11, 0.2, -0.2, 0.3, -0.3, 0.42, -0.42)
"""Heights of an open branch's curve that are tried, over its length."""
_BEYOND = 1.2
"""Least reach of the scale of voltages, over the distance of the limits from 1 pu."""
DENSE, MANY = 150, 250
"""Networks of more buses leave out names that cross lines; of still more, all but the source's."""
_ROOM = 0.6
"""Least distance of a name to the next line in a dense network, over the size of the name."""
_HORIZONTAL, _VERTICAL = {-1: "right", 0: "center", 1: "left"}, {-1: "top", 0: "center", 1: "bottom"}


@register_study("drawing")
def draw(
    network: AnyNetwork,
    ax: Axes | None = None,
    *,
    v_pu: np.ndarray | None = None,
    loading: np.ndarray | None = None,
    v_limits_pu: tuple[float, float] = (0.95, 1.05),
) -> Axes:
    """Draw a network.

    Lines are drawn where the network's coordinates put them, or as a tree where it has none. Open branches are dashed.
    A composed guest stands on a tinted ground with its name, its buses without their prefix. Of a three-phase network
    one line per element is drawn, buses with fewer phases name them, and colours show the phase whose voltage lies
    furthest from 1 pu and the fullest phase.

    Parameters
    ----------
    network
        The :class:`~powergrid.networks.Network` or :class:`~powergrid.networks.UnbalancedNetwork` to draw.
    ax
        Axes to draw into; by default a new figure whose size follows the number of buses.
    v_pu
        Voltage of each bus [pu], ``(m,)``: colours the buses on a scale that holds the limits.
    loading
        Loading of each branch [%], ``(b,)``: colours the branches on a scale from 0 to at least 100 %.
    v_limits_pu
        Limits of voltages [pu], marked on their scale.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, for titles and saving: ``network.draw().figure.savefig("feeder.png")``.

    Raises
    ------
    NetworkError
        If `v_pu` or `loading` have another length than the buses or branches.
    MissingExtraError
        If matplotlib is not installed.
    """
    for what, values, names in (("v_pu", v_pu, network.buses.name), ("loading", loading, network.branches.name)):
        if values is not None and np.shape(values) != (len(names),):
            raise NetworkError(f"{what} must have shape ({len(names)},), not {np.shape(values)}")
    label = "voltage [pu]"
    if network.is_three_phase:
        v_pu = None if v_pu is None else furthest(network, v_pu)
        loading = None if loading is None else highest(network, loading)
        network, label = one_line(network), "voltage of the phase furthest from 1 [pu]"
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "Drawing a network") from error
    xy = np.column_stack(positions(network))
    if ax is None:
        width = float(np.clip(1.5 * np.sqrt(len(xy)), 8.0, 20.0))
        tall = np.ptp(xy[:, 1]) / max(np.ptp(xy[:, 0]), 1e-9)
        _, ax = pyplot.subplots(figsize=(width, width * np.clip(tall, 0.5, 1.0)), layout="constrained")
    picture = _Picture(network, ax, xy)
    picture.areas()
    picture.branches(loading)
    picture.equipment()
    picture.buses(v_pu, label, v_limits_pu)
    picture.legend()
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.06)
    ax.set_axis_off()
    picture.labels()
    return ax


def picture(
    network: AnyNetwork, v_pu: np.ndarray | None = None, loading: np.ndarray | None = None, *, dpi: int = 100
) -> np.ndarray:
    """The drawing of :func:`draw` as an RGB image, without any window.

    Returns
    -------
    ndarray
        uint8, ``(height, width, 3)``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 7.0), dpi=dpi, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    draw(network, figure.add_subplot(), v_pu=v_pu, loading=loading)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


class _Picture:
    """State that the parts of one drawing share: axes, coordinates and sizes that follow the number of buses."""

    def __init__(self, network: Network, ax: Any, xy: np.ndarray):
        self.network, self.ax, self.xy = network, ax, xy
        self.scale = float(np.clip(np.sqrt(30 / len(xy)), 0.55 if len(xy) <= MANY else 0.3, 1.15))
        self.handles: dict[str, Any] = {}
        self.titles: list[tuple[np.ndarray, str]] = []

    def areas(self) -> None:
        """Tinted ground and name of each composed guest."""
        from matplotlib.patches import FancyBboxPatch

        span = np.ptp(self.xy, axis=0).max()
        for area in dict.fromkeys(area for area in self.network.buses.area if area):
            own = self.xy[[here == area for here in self.network.buses.area]]
            low, size = own.min(axis=0), np.ptp(own, axis=0)
            pad = 0.022 * span
            look: dict[str, Any] = {"facecolor": "#eef3e6", "edgecolor": "none", "zorder": 0}
            ground = FancyBboxPatch(tuple(low), size[0], size[1], boxstyle=f"round,pad={pad}", **look)
            self.ax.add_patch(ground)
            corner = low[0], low[1] + size[1] + pad
            text = {"fontsize": 11 * self.scale + 2, "color": "#5a7a2c", "weight": "bold", "va": "bottom"}
            self.ax.text(*corner, area, **text)
            self.titles.append((np.array(corner), area))

    def branches(self, loading: np.ndarray | None) -> None:
        """Closed branches as straight lines, open ones as dashed arcs, which never hide behind a line."""
        from matplotlib.collections import LineCollection

        branches = self.network.branches
        ends = np.stack([self.xy[branches.from_bus], self.xy[branches.to_bus]], axis=1)
        closed = branches.closed
        style: dict[str, Any] = {"colors": _INK} if loading is None else {"cmap": _loading_colours()}
        lines = LineCollection(list(ends[closed]), linewidths=1.5 * self.scale + 0.3, zorder=1, **style)
        if loading is not None:
            values = np.asarray(loading, float)[closed]
            lines.set_array(values)
            lines.set_clim(0, max(100.0, float(np.nanmax(values, initial=0.0))))
            self._colorbar(lines, "loading [%]")
        self.ax.add_collection(lines)
        if not closed.all():
            dashed: dict[str, Any] = {"colors": _FAINT, "linestyles": (0, (4, 3)), "linewidths": 1.2, "zorder": 1}
            arcs: list[np.ndarray] = []
            for first, second in ends[~closed]:
                arcs.append(_arc(first, second, self.xy, ends[closed], arcs))
            self.handles["open"] = self.ax.add_collection(LineCollection(arcs, **dashed))

    def equipment(self) -> None:
        """Transformers, regulators and closed switches at the middle of their branch, capacitors around their bus."""
        branches, shunts = self.network.branches, self.network.shunts
        middle = (self.xy[branches.from_bus] + self.xy[branches.to_bus]) / 2
        along = self.xy[branches.to_bus] - self.xy[branches.from_bus]
        kind = np.array(branches.kind)
        size = 95 * self.scale**2
        for k in np.flatnonzero(kind == "transformer"):
            self._coils(middle[k], along[k] / max(np.hypot(*along[k]), 1e-12), size)
        regulators = middle[kind == "regulator"]
        self._marker("regulator", regulators, marker="o", s=1.7 * size, facecolors=_PAPER, edgecolors=_REGULATOR)
        self._marker("regulator", regulators, marker="$\\nearrow$", s=size, color=_REGULATOR)
        switches = middle[(kind == "switch") & branches.closed]
        self._marker("switch", switches, marker="s", s=0.35 * size, facecolors=_INK, edgecolors=_INK)
        banks = self.xy[np.unique(shunts.bus[shunts.q_mvar < 0])]
        self._marker("capacitor", banks, marker="d", s=2.6 * size, facecolors=_PAPER, edgecolors=_CAPACITOR)

    def _coils(self, point: np.ndarray, direction: np.ndarray, size: float) -> None:
        """The two circles of a transformer, side by side along its branch."""
        from matplotlib.transforms import offset_copy

        for side in (-1, 1):
            dx, dy = side * 0.32 * np.sqrt(size) * direction
            moved = offset_copy(self.ax.transData, self.ax.figure, x=dx, y=dy, units="points")
            face = _PAPER if side < 0 else "none"
            style = {"facecolors": face, "edgecolors": _TRANSFORMER, "transform": moved}
            self._marker("transformer", point[None], marker="o", s=size, **style)

    def _marker(self, label: str, at: np.ndarray, **style: Any) -> None:
        if len(at):
            drawn = self.ax.scatter(*at.T, linewidths=1.4, zorder=3, label=label, **style)
            self.handles.setdefault(label, drawn)

    def buses(self, v_pu: np.ndarray | None, label: str, limits: tuple[float, float]) -> None:
        """A dot per bus, the source a square."""
        size = 34 * self.scale**2
        source = self.xy[[self.network.source_bus, *self.network.sources.bus]]
        self._marker("source", source, marker="s", s=4.5 * size, facecolors=_SOURCE, edgecolors=_SOURCE)
        if v_pu is None:
            self.ax.scatter(*self.xy.T, s=size, color=_INK, zorder=5)
            return
        values = np.asarray(v_pu, float)
        limit, far = np.abs(np.subtract(limits, 1.0)).max(), np.abs(values - 1.0)
        reach = max(_BEYOND * limit, float(np.nanmax(far, initial=0.0)))
        style = {"cmap": "RdYlBu_r", "vmin": 1 - reach, "vmax": 1 + reach, "edgecolors": _INK, "linewidths": 0.6}
        dots = self.ax.scatter(*self.xy.T, s=2.2 * size, c=values, zorder=5, **style)
        bar = self._colorbar(dots, label)
        bar.ax.hlines(limits, 0.0, 1.0, colors=_INK, linewidth=1.6)
        step = np.diff(bar.get_ticks()).min(initial=reach)
        between = [tick for tick in bar.get_ticks() if np.abs(np.subtract(limits, tick)).min() > 0.6 * step]
        bar.set_ticks([tick for tick in sorted([*between, *limits]) if abs(tick - 1.0) <= reach])

    def labels(self) -> None:
        """Bus names, each on the side of its bus that has most room; buses that a conversion added have none.

        A name that would cover another or a bus is left out; in large networks also one that would cross a line.
        """
        from matplotlib.patheffects import withStroke

        network, count = self.network, len(self.network.buses.name)
        size, per_point = 4.5 + 4 * self.scale, self._per_point()
        labels = Labels(*self._marks(per_point), per_point, size)
        for corner, area in self.titles:
            labels.cover(corner, corner + np.array([WIDTH * len(area), HEIGHT]) * (11 * self.scale + 2) * per_point)
        banks = set(network.shunts.bus[network.shunts.q_mvar < 0].tolist())
        halo = [withStroke(linewidth=2, foreground=_PAPER)]
        style: dict[str, Any] = {"fontsize": size, "color": _INK, "zorder": 6, "path_effects": halo}
        source = network.source_bus
        for k in sorted(range(count), key=lambda k: k != source):  # the source's is never the one left out
            name, area = network.buses.name[k], network.buses.area[k]
            if "@" in name or (count > MANY and k != source):
                continue
            text = name.removeprefix(f"{area}.") if area else name
            gap = 4.2 * self.scale + 1.5 + 7.0 * self.scale * (k in banks or k == source)
            place = labels.place(self.xy[k], text, gap, _ROOM if count > DENSE else 0.0)
            if place is not None:
                where = {"ha": _HORIZONTAL[int(place.side[0])], "va": _VERTICAL[int(place.side[1])]}
                name = self.ax.annotate(text, self.xy[k], place.offset, textcoords="offset points", **style, **where)
                name.set_in_layout(False)  # the layout is settled: it must not move under the names

    def _per_point(self) -> float:
        """Coordinates per point of text, once legend and colour bars have taken their room."""
        self.ax.figure.draw_without_rendering()
        (x_0, _), (x_1, _) = self.ax.transData.transform([(0.0, 0.0), (1.0, 0.0)])
        return float(self.ax.figure.dpi / 72 / (x_1 - x_0))

    def _marks(self, per_point: float) -> tuple[np.ndarray, np.ndarray]:
        """Buses and symbols, which no name may cover, and points along the branches."""
        branches = self.network.branches
        steps = np.linspace(0, 1, 9)[:, None, None]
        along = self.xy[branches.from_bus] * (1 - steps) + self.xy[branches.to_bus] * steps
        wide = np.isin(branches.kind, ("transformer", "regulator"))
        symbols = (self.xy[branches.from_bus[wide]] + self.xy[branches.to_bus[wide]])[:, None] / 2
        symbols = symbols + 7 * self.scale * per_point * SIDES
        return np.concatenate([self.xy, symbols.reshape(-1, 2)]), along.reshape(-1, 2)

    def legend(self) -> None:
        """Meaning of the marks that occur."""
        if self.handles:
            style = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "frameon": False}
            size = max(8.0, 0.6 * self.ax.figure.get_size_inches()[0])  # readable on a large sheet, too
            self.ax.legend(self.handles.values(), self.handles.keys(), ncols=len(self.handles), fontsize=size, **style)

    def _colorbar(self, mappable: Any, label: str) -> Any:
        return self.ax.figure.colorbar(mappable, ax=self.ax, label=label, shrink=0.7, pad=0.02)


def _loading_colours() -> Any:
    """Grey over orange to red: an idle line stays visible, and no colour is one of the voltage scale's blues."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("loading", ["#c4c4c4", "#e0a030", "#c62828"])


def _arc(
    first: np.ndarray, second: np.ndarray, buses: np.ndarray, lines: np.ndarray, arcs: Sequence[np.ndarray]
) -> np.ndarray:
    """Points of a shallow curve from `first` to `second`, ``(n, 2)``, bent to where it has most room.

    Of a few bends the one is taken that stays clear of the other buses, crosses few closed lines ``(l, 2, 2)`` and few
    of the curves drawn before, and is bent least.
    """
    t = np.linspace(0, 1, 25)[:, None]
    across = np.array([first[1] - second[1], second[0] - first[0]])
    span = max(float(np.hypot(*across)), 1e-12)
    others = buses[(buses != first).any(axis=1) & (buses != second).any(axis=1)]
    pieces = [lines, *(np.stack([arc[:-1], arc[1:]], axis=1) for arc in arcs)]
    starts, ends = (np.concatenate([piece[:, side] for piece in pieces]) @ [1, 1j] for side in (0, 1))
    best, best_merit = np.zeros((0, 2)), -np.inf
    for bend in _BENDS:
        arc = (1 - t) * first + t * second + 4 * t * (1 - t) * bend * across
        inner = arc[2:-2]
        room = np.abs(inner[:, None] - others).max(axis=2).min() / span if len(others) else 1.0
        points = inner @ [1, 1j]
        crossed = sum(crossings(a, b, starts, ends) for a, b in itertools.pairwise(points.tolist()))
        merit = min(room, 0.1) - 0.15 * abs(bend) - 0.02 * crossed
        if merit > best_merit + 1e-9:
            best, best_merit = arc, merit
    return best
