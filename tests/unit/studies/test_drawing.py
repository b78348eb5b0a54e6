"""Drawings: everything is there, once, and in place."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import LineCollection

from powergrid.core.errors import NetworkError
from powergrid.networks import compose, network
from powergrid.networks.layout import tree_layout
from powergrid.networks.phase_builder import PhaseBuilder
from powergrid.studies.one_line import positions

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def composed():
    grid = network("ieee34")
    unit = {"sn_mva": 1.0, "vk_percent": 5.75, "vkr_percent": 0.75}
    for name, at in (("mg1", "808"), ("mg2", "830"), ("mg3", "834")):
        grid = compose(grid, network("ieee13"), at, name=name, transformer=unit, load_scale=0.2)
    return grid


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("name", ["ieee13", "ieee34", "ieee123", "case33bw"])
def test_every_bus_is_labelled_once_at_its_place(name):
    grid = network(name)
    ax = grid.draw()
    assert sorted(texts(ax)) == sorted(grid.buses.name)
    placed = {text.get_text(): text.xy for text in ax.texts}
    for k, bus in enumerate(grid.buses.name):
        assert np.allclose(placed[bus], (grid.buses.x[k], grid.buses.y[k]))


def test_open_branches_bend_clear_of_the_buses_between():
    grid = network("case33bw")
    ax = grid.draw()
    xy = np.stack(positions(grid), axis=1)
    arcs = [
        arc
        for item in ax.collections
        if isinstance(item, LineCollection)
        for arc in item.get_segments()
        if len(arc) > 2
    ]
    assert len(arcs) == 5
    for arc, branch in zip(arcs, np.flatnonzero(~grid.branches.closed), strict=True):
        ends = [int(side[branch]) for side in (grid.branches.from_bus, grid.branches.to_bus)]
        np.testing.assert_allclose(arc[[0, -1]], xy[ends])
        others = np.delete(xy, ends, axis=0)
        assert np.abs(arc[:, None] - others).max(axis=2).min() > 0.15  # neighbours stand one apart


def test_legend_names_the_equipment_that_occurs():
    words = {text.get_text() for text in network("ieee13").draw().get_legend().get_texts()}
    assert words == {"source", "transformer", "regulator", "switch", "capacitor"}
    words = {text.get_text() for text in network("case33bw").draw().get_legend().get_texts()}
    assert words == {"source", "open"}


def test_guests_are_named_and_shown_without_prefix():
    shown = texts(composed().draw())
    assert {"mg1", "mg2", "mg3", "808"} <= set(shown)
    assert shown.count("671") == 3
    assert not [text for text in shown if text.startswith("mg1.")]


def test_guests_stand_apart_from_each_other_and_from_the_host():
    grid = composed()
    xy = np.column_stack([grid.buses.x, grid.buses.y])
    area = np.array(grid.buses.area)
    span = np.ptp(xy[area == ""], axis=0).max()
    for guest in ("mg1", "mg2", "mg3"):
        low, high = xy[area == guest].min(axis=0), xy[area == guest].max(axis=0)
        outside = np.maximum(np.maximum(low - xy, xy - high), 0)[area != guest]
        assert np.hypot(*outside.T).min() > 0.02 * span


def test_voltages_and_loadings_colour_buses_and_branches():
    grid = network("ieee13")
    v_pu, loading = np.linspace(0.93, 1.06, 14), np.linspace(0, 130, len(grid.branches.name))
    ax = grid.draw(v_pu=v_pu, loading=loading)
    labels = [axis.get_ylabel() for axis in ax.figure.axes]
    assert "voltage [pu]" in labels
    assert "loading [%]" in labels
    scales = [drawn.get_clim() for drawn in ax.collections if drawn.get_array() is not None]
    assert (0.0, 130.0) in scales


def overlapping(ax) -> list[tuple[str, str]]:
    """Names that cover each other on the finished sheet, measured by the renderer."""
    ax.figure.canvas.draw()
    names = [text for text in ax.texts if text.get_text()]
    boxes = [text.get_window_extent() for text in names]
    pairs = itertools.combinations(range(len(boxes)), 2)
    return [(names[i].get_text(), names[j].get_text()) for i, j in pairs if boxes[i].overlaps(boxes[j])]


@pytest.mark.parametrize("name", ["mv_oberrhein", "ieee123", "case118", "kerber_village"])
def test_no_name_covers_another(name):
    ax = network(name).draw()
    assert overlapping(ax) == []
    wanted = [bus for bus in network(name).buses.name if "@" not in bus]
    assert len(ax.texts) > 0.95 * len(wanted)


def test_no_name_covers_another_beside_scales_and_titles():
    grid = composed()
    ax = grid.draw(v_pu=np.ones(len(grid.buses.name)), loading=np.zeros(len(grid.branches.name)))
    assert overlapping(ax) == []


@pytest.mark.parametrize(("limits", "v_pu"), [((0.95, 1.05), 1.01), ((0.95, 1.05), 1.3), ((0.9, 1.1), 0.99)])
def test_limits_are_marked_on_the_scale_of_voltages(limits, v_pu):
    grid = network("ieee13")
    ax = grid.draw(v_pu=np.full(14, v_pu), v_limits_pu=limits)
    bar = next(axis for axis in ax.figure.axes if axis.get_ylabel() == "voltage [pu]")
    low, high = bar.get_ylim()
    for limit in limits:
        assert low < limit < high
        assert np.isclose(bar.get_yticks(), limit).any()
    marks = [path[0, 1] for lines in bar.collections for path in getattr(lines, "get_segments", list)()]
    assert set(limits) <= {round(float(mark), 9) for mark in marks}


def test_given_axes_are_used():
    from matplotlib import pyplot

    _, axes = pyplot.subplots(1, 2)
    assert network("ieee13").draw(axes[1]) is axes[1]
    assert not axes[0].texts


@pytest.mark.parametrize("what", ["v_pu", "loading"])
def test_wrong_lengths_are_refused(what):
    with pytest.raises(NetworkError, match=f"{what} must have shape"):
        network("ieee13").draw(**{what: np.ones(3)})


@pytest.mark.parametrize("name", ["ieee34", "ieee123", "case33bw"])
def test_tree_layout_gives_each_bus_its_own_place_one_step_from_its_feeder(name):
    grid = network(name)
    x, y = tree_layout(grid)
    assert len(np.unique(np.column_stack([x, y]), axis=0)) == len(x)
    closed = grid.branches.closed
    step = x[grid.branches.to_bus[closed]] - x[grid.branches.from_bus[closed]]
    assert (np.abs(step) == 1).all()


def test_three_phases_are_drawn_as_one_line():
    """One label a bus, with the phases where some are missing; the phase furthest from 1 pu and the fullest one."""
    grid = network("ieee13", phases="three")
    found = grid.power_flow()
    ax = grid.draw(v_pu=found.bus.v_pu.to_numpy(), loading=found.branch.loading_percent.to_numpy())
    labels = texts(ax)
    assert len(labels) == len(set(grid.buses.bus))
    assert {"611 c", "645 bc", "652 a", "684 ac", "671", "RG60"} <= set(labels)
    dots = next(
        dots for dots in ax.collections if dots.get_array() is not None and len(dots.get_array()) == len(labels)
    )
    expected = found.bus.groupby("bus", sort=False).v_pu.agg(lambda v: v.iloc[(v - 1).abs().argmax()])
    np.testing.assert_allclose(dots.get_array(), expected)
    lines = next(lines for lines in ax.collections if isinstance(lines, LineCollection))
    fullest = found.branch.loading_percent.groupby(found.branch.index.str[:-2], sort=False).max()
    np.testing.assert_allclose(lines.get_array(), fullest)


def test_three_phases_without_coordinates_become_a_tree():
    builder = PhaseBuilder()
    for bus, phases in (("one", "abc"), ("two", "abc"), ("three", "b")):
        builder.bus(bus, 4.16, phases)
    builder.line("one", "two", "abc", np.eye(3) * (0.1 + 0.1j), np.zeros((3, 3)), 0.1)
    builder.line("two", "three", "b", np.eye(1) * (0.1 + 0.1j), np.zeros((1, 1)), 0.1)
    grid = builder.build("small", "one", source_v_pu=1.0, f_hz=60.0, source_note="")
    assert texts(grid.draw()) == ["one", "two", "three b"]
    assert len(positions(grid)[0]) == 7
