"""The feeder at its worst moment, buses coloured by voltage and branches by loading."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from powergrid.networks.kinds import AnyNetwork
from powergrid.report.records import DayRecord
from powergrid.report.style import LIMIT, Picture, canvas, finish
from powergrid.studies.one_line import positions


class Moment(NamedTuple):
    """A tick of one of several days, and the bus that is furthest from the middle of the band."""

    row: int
    tick: int
    bus: int


def worst(record: DayRecord, v_min_pu: float, v_max_pu: float) -> Moment:
    """Tick and bus with the voltage nearest to the limits of the band, or furthest beyond them."""
    strain = np.maximum(record.v_pu - v_max_pu, v_min_pu - record.v_pu)
    strain = np.where((record.alive & record.converged)[..., None], strain, -np.inf)
    return Moment(*(int(i) for i in np.unravel_index(int(strain.argmax()), strain.shape)))


def draw(
    network: AnyNetwork, record: DayRecord, moment: Moment, when: str, v_limits_pu: tuple[float, float]
) -> Picture:
    """Drawing of the whole network at one tick.

    Parameters
    ----------
    network
        The world's network.
    record
        All days.
    moment
        The tick.
    when
        Date and time, for the description.
    v_limits_pu
        Limits of voltages [pu], marked on their scale.
    """
    v_pu, loading = (table[moment.row, moment.tick] for table in (record.v_pu, record.loading))
    with canvas(11.0, 7.0) as figure:
        axes = figure.subplots()
        network.draw(axes, v_pu=v_pu, loading=loading, v_limits_pu=v_limits_pu)
        x, y = positions(network)
        ring: dict[str, Any] = {"s": 230, "facecolors": "none", "edgecolors": LIMIT, "linewidths": 2.0, "zorder": 4}
        axes.scatter(x[moment.bus], y[moment.bus], **ring)
        layout: Any = figure.get_layout_engine()
        layout.set(h_pad=0.12)  # the legend's large marks need room below
        at = f"{record.names.buses[moment.bus]} at {v_pu[moment.bus]:.4f} per unit"
        alt = f"Feeder on {when}: voltages from {v_pu.min():.4f} to {v_pu.max():.4f} per unit, the worst bus is {at}."
        return finish(figure, "feeder", alt)
