"""Exogenous rows are those of the year, whichever are read, and cost memory by the episode, not by the year."""

import tracemalloc

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import ConfigError
from powergrid.datasets import load
from powergrid.worlds.build import build
from powergrid.worlds.episode_rows import EpisodeRows

SECONDS = {
    "name": "seconds",
    "network": "ieee13",
    "agents": [
        {"id": "sun", "type": "SolarPlant", "bus": "680"},
        {"id": "ess_1", "type": "ESS", "bus": "671", "policy": "learned"},
    ],
    "simulation": {"time_step": 1, "episode_length": 10},
}
"""Ten ticks of a second."""


@pytest.mark.parametrize("dt_s", [300, 900, 1200, 7200])
def test_series_are_the_same_bits_alone_and_in_the_table_of_the_year(dt_s):
    """A tick that divides the data's interval, one that does not, and several intervals a tick."""
    dataset = load("embedded_2022")
    names, table = dataset.table(dt_s)
    rows = np.array([0, 7, len(table) - 1, len(table) + 3, 5])
    for name, column in zip(names, table.T, strict=True):
        np.testing.assert_array_equal(dataset.at(name, dt_s, rows), column[rows % len(table)], strict=True)
        np.testing.assert_array_equal(dataset.at(name, dt_s, np.array(11)), column[11])


@pytest.mark.parametrize("dt_s", [900, 3600])
def test_rows_are_the_same_bits_alone_and_in_the_year(dt_s):
    table = build("two_microgrids", time_step=dt_s).table
    year = table.year()
    assert year.shape == (len(table), table.width) == (365 * 86_400 // dt_s, table.width)
    some = np.array([[3, 4], [len(table) - 1, len(table) + 2]])
    np.testing.assert_array_equal(table[some], year[some % len(table)], strict=True)
    np.testing.assert_array_equal(table[np.int32(5)], year[5], strict=True)
    np.testing.assert_array_equal(table.series([2, 0], some), year[some % len(table)][..., [2, 0]], strict=True)
    np.testing.assert_array_equal(table.column(1), year[:, 1], strict=True)


def test_a_row_holds_the_hours_ahead():
    world = build("two_microgrids")
    columns, year = world.layout.columns, world.table.year()
    series = len(columns.series)
    for hour in (1, columns.price_hours):
        ahead = np.roll(year[:, columns.price], -4 * hour)
        np.testing.assert_array_equal(year[:, series + hour - 1], ahead)
    first = series + columns.price_hours
    for hour in (1, columns.ahead_hours):
        futures = year[:, first + (hour - 1) * len(columns.ahead) :][:, : len(columns.ahead)]
        np.testing.assert_array_equal(futures, np.roll(year[:, list(columns.ahead)], -4 * hour, axis=0))


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_an_episode_reads_the_rows_of_its_day(backend):
    env = powergrid.make(SECONDS, backend=backend, time_step=60)
    world, day = env.world, 200
    price = world.layout.columns.price
    env.reset(seed=0, options={"day": 3})
    env.reset(seed=0, options={"day": day})
    labels = env.observation_labels("ess_1")
    k = next(i for i, label in enumerate(labels) if label.startswith("price_per_mwh"))
    for tick in range(1, 10):
        seen = env.step({"ess_1": np.zeros(1)})[0]["ess_1"][k]
        assert seen == np.float32(world.table[day * world.ticks_per_day + tick][price])


def test_memory_follows_the_episode():
    """The year at ticks of a second would take 9 GB."""
    build(SECONDS, time_step=900)  # what is loaded once
    tracemalloc.start()
    try:
        env = powergrid.make(SECONDS, backend="numpy")
        env.reset(seed=0)
        for _ in range(10):
            env.step({"ess_1": np.zeros(1)})
        assert tracemalloc.get_traced_memory()[1] < 64e6
    finally:
        tracemalloc.stop()


def test_jax_refuses_a_year_that_is_too_large():
    with pytest.raises(ConfigError, match=r"ticks of 1 s take .* GiB .*(\n.*)*longer time_step"):
        powergrid.make_functional(SECONDS)


class _Counted:
    """A table that counts the rows that are read."""

    width = 3

    def __init__(self):
        self.read = 0

    def __getitem__(self, rows):
        self.read += rows.size
        return np.repeat(rows[..., None].astype(float), 3, axis=-1)


def test_equal_days_share_their_rows_and_running_ones_stay():
    table = _Counted()
    rows = EpisodeRows(table, 8)
    places = rows.place(np.array([100, 200, 100]), np.zeros(0, int))
    assert places[0] == places[2] != places[1]
    assert table.read == 20
    later = rows.place(np.array([300, 200]), places[:1])
    assert table.read == 30
    for place, row in ((places[0], 100), (places[1], 200), (later[0], 300), (later[1], 200)):
        np.testing.assert_array_equal(rows.rows[place : place + 10, 0], row + np.arange(10))


def test_rows_that_nobody_reads_make_room():
    """Memory is bounded however many days are drawn, and what runs is never overwritten."""
    table = _Counted()
    rows = EpisodeRows(table, 8)
    rows._most = 4
    busy = rows.place(np.array([0, 50]), np.zeros(0, int))
    for row in range(100, 1000, 10):
        place = rows.place(np.array([row]), busy)
        np.testing.assert_array_equal(rows.rows[place[0] : place[0] + 10, 0], row + np.arange(10))
    assert len(rows.rows) == 4 * 10
    for place, row in zip(busy, (0, 50), strict=True):
        np.testing.assert_array_equal(rows.rows[place : place + 10, 0], row + np.arange(10))
    many = rows.place(np.arange(0, 500, 50), busy)
    assert len(set(many.tolist())) == 10
