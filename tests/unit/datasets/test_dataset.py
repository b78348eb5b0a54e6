"""Resampling, splits and windows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powergrid.core.errors import DataError, UnknownNameError
from powergrid.datasets import Dataset, load
from powergrid.datasets.resample import PowerCurve, curve_means, held_means, linear_means, points_at

TICKS = [dt for dt in range(1, 86_401) if 86_400 % dt == 0]
COARSE = [dt for dt in TICKS if dt >= 60]

CURVE = PowerCurve(np.array([3.0, 8.0, 12.0, 25.0, 25.5]), np.array([0.0, 0.4, 1.0, 1.0, 0.0]))

values_of_a_day = st.lists(st.floats(0, 30), min_size=96, max_size=96).map(np.array)


def days_of(dataset: Dataset) -> dict[str, np.ndarray]:
    return {split: dataset.split(split) for split in ("train", "validation", "test", "stress")}


@settings(max_examples=40, deadline=None)
@given(values=values_of_a_day, dt_s=st.sampled_from(TICKS))
def test_resampling_keeps_energy_on_any_tick(values, dt_s):
    held = held_means(values, 900, dt_s)
    assert len(held) == 86_400 // dt_s
    assert held.sum() * dt_s == pytest.approx(values.sum() * 900, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(speed=values_of_a_day, dt_s=st.sampled_from(COARSE), other_s=st.sampled_from(COARSE))
def test_wind_energy_is_the_same_on_every_tick(speed, dt_s, other_s):
    first, second = (curve_means(speed, 900, dt, CURVE) for dt in (dt_s, other_s))
    assert first.sum() * dt_s == pytest.approx(second.sum() * other_s, rel=1e-8, abs=1e-5)
    assert first.min() >= -1e-9
    assert first.max() <= 1 + 1e-9


def test_mean_power_is_the_integral_of_the_curve():
    """Against a fine sum over the line from 2 to 26 m/s and back, and along lines within one piece."""
    start, end = np.array([2.0, 26.0, 4.0, 24.9, 5.0]), np.array([26.0, 2.0, 7.0, 25.4, 5.0])
    share = (np.arange(200_000) + 0.5) / 200_000
    expected = [CURVE.power(a + share * (b - a)).mean() for a, b in zip(start, end, strict=True)]
    np.testing.assert_allclose(CURVE.mean_power(start, end), expected, atol=1e-9)


def test_points_run_straight_and_close_the_year():
    points = np.array([0.0, 4.0] * 12)
    np.testing.assert_allclose(points_at(points, 3600, 900)[:9], [0, 1, 2, 3, 4, 3, 2, 1, 0])
    np.testing.assert_allclose(points_at(points, 3600, 900)[-4:], [4, 3, 2, 1])
    np.testing.assert_allclose(linear_means(points, 3600, 1800)[:4], [1, 3, 3, 1])
    np.testing.assert_allclose(linear_means(points, 3600, 7200), 2.0)


@pytest.mark.parametrize("dt_s", [60, 300, 900, 1800, 3600])
def test_table_keeps_energy_and_holds_prices(dt_s):
    dataset = load("embedded_2022")
    names, table = dataset.table(dt_s)
    base = dataset.frame
    assert list(names) == list(base.columns)
    assert table.shape == (365 * 86_400 // dt_s, len(names))
    for name, column in zip(names, table.T, strict=True):
        if name.split(":")[0].endswith("_pu"):
            assert column.sum() * dt_s == pytest.approx(base[name].sum() * 900, rel=1e-9)
    price = table[:, names.index("price_per_mwh:lz_north")].reshape(8760, -1)
    np.testing.assert_array_equal(
        price, np.repeat(base["price_per_mwh:lz_north"].to_numpy()[::4, None], price.shape[1], 1)
    )


def test_table_at_the_base_is_the_frame_for_means():
    dataset = load("embedded_2022")
    names, table = dataset.table(900)
    means = [k for k, name in enumerate(names) if name.split(":")[0].endswith(("_pu", "_per_mwh"))]
    np.testing.assert_array_equal(table[:, means], dataset.frame.iloc[:, means].to_numpy())


def test_table_is_kept_and_read_only():
    dataset = load("embedded_2022")
    table = dataset.table(900)[1]
    assert dataset.table(900)[1] is table
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0] = 1.0


def test_table_of_some_columns_keeps_their_order():
    names, table = load("embedded_2022").table(3600, ["pv_pu:south", "load_p_pu:com_1"])
    assert names == ("pv_pu:south", "load_p_pu:com_1")
    np.testing.assert_array_equal(table[:, 0], load("embedded_2022").table(3600, ["pv_pu:south"])[1][:, 0])
    with pytest.raises(UnknownNameError, match="load_p_pu:res_1"):
        load("embedded_2022").table(900, ["load_p_pu:res1"])


@pytest.mark.parametrize("dt_s", [0, -900, 7, 0.5, 172_800])
def test_ticks_that_do_not_divide_a_day_are_refused(dt_s):
    with pytest.raises(DataError, match="divide a day"):
        load("embedded_2022").table(dt_s)


def test_window_wraps_past_the_year():
    dataset = load("embedded_2022")
    window = dataset.window(364, 192, 900)
    assert set(window) == set(dataset.columns)
    for name, values in window.items():
        table = dataset.table(900, [name])[1][:, 0]
        np.testing.assert_array_equal(values, np.concatenate([table[-96:], table[:96]]))
    with pytest.raises(DataError, match="days are 0 to 364"):
        dataset.window(365, 96, 900)


@pytest.mark.parametrize("name", ["embedded_2022", "ercot_2021"])
def test_splits_share_no_day_and_cover_the_year(name):
    days = days_of(load(name))
    together = np.concatenate(list(days.values()))
    assert sorted(together) == list(range(365))


def test_splits_are_whole_weeks_apart_from_stress_days():
    days = days_of(load("embedded_2022"))
    stress = set(days.pop("stress"))
    assert len(stress) == 4
    for split, weeks in (("train", {0, 1, 2}), ("validation", {3}), ("test", {4})):
        of_split = {day for day in range(365) if (day // 7) % 5 in weeks}
        assert set(days[split]) == of_split - stress


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_splits_cover_all_seasons(split):
    dataset = load("embedded_2022")
    months = [dataset.local_date(int(day)).month for day in dataset.split(split)]
    seasons = [sum(month in season for month in months) for season in ((12, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11))]
    assert min(seasons) >= 10


@pytest.mark.parametrize("name", ["embedded_2022", "ercot_2021"])
def test_training_days_look_no_farther_than_validation(name):
    """A day's episode that looks 24 h ahead reads the next day, wrapped at the year's end: never a test week's."""
    dataset = load(name)
    following = (dataset.split("train") + 1) % 365
    assert not np.isin((following // 7) % 5, [4]).any()


def test_stress_days_have_a_price_above_a_thousand():
    for name in ("embedded_2022", "ercot_2021"):
        dataset = load(name)
        highest = dataset.frame["price_per_mwh:lz_north"].to_numpy().reshape(365, 96).max(axis=1)
        np.testing.assert_array_equal(dataset.split("stress"), np.flatnonzero(highest > 1000))


def other_prices(change):
    """The embedded year with its prices changed."""
    year = load("embedded_2022")
    columns = {column: year.series(column) for column in year.columns}
    column = "price_per_mwh:lz_north"
    columns[column] = columns[column]._replace(values=change(columns[column].values))
    return Dataset.from_columns("mine", columns, start=year.start, utc_offset_h=year.utc_offset_h)


@pytest.mark.parametrize("factor", [150.0, 1e-3, 25_000.0])
def test_another_currency_changes_no_split(factor):
    mine, theirs = days_of(other_prices(lambda price: factor * price)), days_of(load("embedded_2022"))
    for split, days in theirs.items():
        np.testing.assert_array_equal(mine[split], days)


def test_where_no_day_stands_out_the_dearest_hundredth_is_stress():
    mine = other_prices(lambda price: np.minimum(price, 400.0) + np.arange(8760.0) / 8760)
    dearest = np.argsort(mine.frame["price_per_mwh:lz_north"].to_numpy().reshape(365, 96).max(axis=1))[-3:]
    assert set(mine.split("stress")) == set(dearest)
    part = mine.clip("2022-01-01", "2022-02-01")
    assert set(part.split("stress")) == {day for day in dearest if day < 31}


def test_stress_days_where_most_prices_are_zero_or_missing():
    mine = other_prices(lambda price: np.where(price > 1000, price, 0.0))
    assert len(mine.split("stress")) == 3  # no usual price: the dearest hundredth of the days
    gap = other_prices(lambda price: np.where(np.arange(8760) < 24, np.nan, price))
    np.testing.assert_array_equal(gap.split("stress"), load("embedded_2022").split("stress"))
    none = other_prices(lambda price: np.full(8760, np.nan))
    assert len(none.split("stress")) <= 3


def test_a_stress_price_of_ones_own():
    mine = load("embedded_2022").with_stress_price(300.0)
    highest = mine.frame["price_per_mwh:lz_north"].to_numpy().reshape(365, 96).max(axis=1)
    np.testing.assert_array_equal(mine.split("stress"), np.flatnonzero(highest > 300))
    part = mine.clip(start="2022-07-01")
    np.testing.assert_array_equal(part.split("stress") + 181, mine.split("stress")[mine.split("stress") >= 181])
    assert mine.with_stress_price(None) is mine
    assert mine.with_stress_price(1e5).split("stress").size == 0


def test_unknown_split_names_the_nearest():
    with pytest.raises(DataError, match='did you mean "validation"'):
        load("embedded_2022").split("valdation")


def frame_of(days: int, start: str, freq: str = "15min") -> pd.DataFrame:
    rows = days * int(pd.Timedelta("1D") / pd.Timedelta(freq))
    index = pd.date_range(start, periods=rows, freq=freq)
    return pd.DataFrame({"load_p_pu:a": np.arange(rows) / 10.0}, index=index)


def test_dataset_from_a_frame():
    dataset = Dataset("mine", frame_of(2, "2023-05-01T08:00Z"), source="s", licence="l")
    assert (dataset.days, dataset.utc_offset_h, dataset.interval) == (2, -8.0, 900)
    assert dataset.local_date(1).isoformat() == "2023-05-02"
    assert dataset.split("stress").size == 0
    pd.testing.assert_frame_equal(dataset.frame, frame_of(2, "2023-05-01T08:00Z"), check_freq=False, check_names=False)
    hourly = Dataset("mine", frame_of(1, "2023-05-01T00:00Z", "1h"), interval=3600)
    np.testing.assert_array_equal(hourly.table(900)[1][:, 0], np.repeat(np.arange(24) / 10.0, 4))


def test_missing_values_are_a_mask_and_refused_where_used():
    frame = frame_of(2, "2023-05-01T00:00Z")
    frame["price_per_mwh:x"] = 1.0
    mask = frame.isna()
    mask.iloc[5, 0] = True
    dataset = Dataset("mine", frame, mask)
    assert dataset.missing.to_numpy().sum() == 1
    assert dataset.table(900, ["price_per_mwh:x"])[1].shape == (192, 1)
    with pytest.raises(DataError, match=r"load_p_pu:a: 1 values missing, the first at 2023-05-01 01:15 UTC"):
        dataset.table(900)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.tz_localize(None), "index in UTC"),
        (lambda frame: frame.drop(frame.index[7]), r"2023-05-01 02:00:00\+00:00 does not follow"),
        (lambda frame: frame.iloc[:-1], "not whole days"),
        (lambda frame: frame.iloc[1:], "not whole days"),
        (lambda frame: frame.rename(columns={"load_p_pu:a": "load"}), 'column "load" has no site'),
    ],
)
def test_frames_that_are_no_dataset_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        Dataset("mine", change(frame_of(2, "2023-05-01T00:00Z")))


def test_a_part_of_a_year_keeps_its_stress_days():
    year = load("ercot_2021")
    part = load("ercot_2021", start="2021-02-01", end="2021-03-01")
    first = (part.start - year.start).days
    expected = [day - first for day in year.split("stress") if first <= day < first + 28]
    assert len(expected) > 3
    np.testing.assert_array_equal(part.split("stress"), expected)
