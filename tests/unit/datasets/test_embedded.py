"""The embedded year against its sources, its calendar, and its files."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from powergrid.core.errors import DataError, UnknownNameError
from powergrid.datasets import load, names
from powergrid.datasets.embedded import FILE

COLUMNS = {
    *(f"load_{part}_pu:{kind}_{number}" for part in "pq" for kind in ("res", "com") for number in (1, 2, 3)),
    "pv_pu:south",
    "pv_pu:southwest",
    "wind_pu:turbine",
    "wind_speed_m_s:100m",
    "price_per_mwh:lz_north",
    "ambient_temp_c:greensboro",
    "ghi_w_m2:greensboro",
    "dni_w_m2:greensboro",
}


def hourly(column: str, name: str = "embedded_2022") -> np.ndarray:
    return load(name).table(3600, [column])[1].reshape(365, 24)


@pytest.fixture
def ercot(samples: Path) -> pd.Series:
    frame = pd.read_csv(samples / "ercot" / "ercot_dam_spp_2021_2022_hourly.csv.gz", index_col=0)
    frame.index = pd.to_datetime(frame.index, utc=True)
    return frame["LZ_NORTH"]


def test_registry_knows_the_year_and_its_alias():
    assert {"embedded_2022", "ercot_2021"} <= set(names())
    assert load("embedded") is load("embedded_2022")
    with pytest.raises(UnknownNameError, match='did you mean "embedded_2022"'):
        load("embeded_2022")


def test_frame_is_a_year_of_quarter_hours_from_local_midnight():
    dataset = load("embedded_2022")
    assert set(dataset.columns) == COLUMNS
    assert dataset.frame.shape == (35_040, 20)
    assert dataset.frame.index[0] == pd.Timestamp("2022-01-01T06:00Z")
    assert dataset.frame.index[-1] == pd.Timestamp("2023-01-01T05:45Z")
    assert not dataset.missing.to_numpy().any()
    assert dataset.local_date(0).strftime("%A") == "Saturday"


@pytest.mark.parametrize("name", ["embedded_2022", "ercot_2021"])
def test_every_price_is_ercots_at_its_own_hour(name, ercot):
    price = load(name).frame["price_per_mwh:lz_north"]
    assert len(price) == 35_040
    expected = ercot.reindex(price.index.floor("h"))
    np.testing.assert_array_equal(price.to_numpy(), expected.to_numpy())


@pytest.mark.parametrize("day", ["2022-03-13", "2022-11-06"])
def test_prices_on_the_days_of_the_clock_change(day, ercot):
    """All 24 hours of standard time: the clock change neither drops nor doubles one."""
    frame = load("embedded_2022").clip(day, str(np.datetime64(day) + 1)).frame
    assert len(frame) == 96
    hours = pd.date_range(f"{day}T06:00Z", periods=24, freq="h")
    np.testing.assert_array_equal(frame["price_per_mwh:lz_north"].to_numpy()[::4], ercot[hours].to_numpy())


def test_no_negative_price_in_2022_and_a_winter_storm_in_2021():
    assert load("embedded_2022").frame["price_per_mwh:lz_north"].min() > 0
    storm = load("ercot_2021").clip("2021-02-14", "2021-02-20").frame["price_per_mwh:lz_north"]
    assert storm.max() > 8000


@pytest.mark.parametrize("name", ["embedded_2022", "ercot_2021"])
def test_commercial_load_is_low_on_the_weekends_of_the_calendar(name):
    dataset = load(name)
    weekday = np.array([dataset.local_date(day).weekday() for day in range(365)])
    for site in ("com_1", "com_2", "com_3"):
        daily = dataset.table(86_400, [f"load_p_pu:{site}"])[1][:, 0]
        by_weekday = [daily[weekday == k].mean() for k in range(7)]
        assert max(by_weekday[5:]) < 0.9 * min(by_weekday[:5])


def test_business_hours_follow_the_clock_change_of_2022():
    """In standard time a clock-driven load moves one hour earlier on 13 March and back on 6 November."""
    dataset = load("embedded_2022")
    load_pu = dataset.table(900, ["load_p_pu:com_1"])[1].reshape(365, 96)
    opening = 16 + np.diff(load_pu[:, 16:36], axis=1).argmax(axis=1)
    monday = {f"{dataset.local_date(day)}": int(opening[day]) for day in range(365)}
    assert monday["2022-03-11"] - monday["2022-03-14"] == 4
    assert monday["2022-11-07"] - monday["2022-11-04"] == 4


def test_sun_peaks_around_local_noon_all_year():
    for column, latest in (("pv_pu:south", 12.8), ("pv_pu:southwest", 13.4)):
        power = load("embedded_2022").table(900, [column])[1].reshape(365, 96)
        hour = (np.arange(96) + 0.5) / 4
        for month in np.array_split(power, 12):
            mean = month.mean(axis=0)
            assert 11.75 < mean @ hour / mean.sum() < latest
        assert (power[:, :16] == 0).all()
        assert (power[:, 84:] == 0).all()


def test_temperature_is_read_at_the_hour_it_is_stamped_with(samples):
    source = pd.read_csv(samples / "weather" / "tmy3_723170TYA_greensboro.csv.gz", skiprows=1)
    frame = load("embedded_2022").frame["ambient_temp_c:greensboro"]
    at = source.set_index("Time (HH:MM)")["Dry-bulb (C)"]
    np.testing.assert_allclose(frame.to_numpy()[4::96], at["01:00"].to_numpy(), atol=1e-12)
    np.testing.assert_allclose(frame.to_numpy()[96::96], at["24:00"].to_numpy()[:-1], atol=1e-12)
    between = frame.to_numpy()
    np.testing.assert_allclose(between[2:-4:4], 0.5 * (between[0:-4:4] + between[4::4]), atol=1e-12)


def test_irradiance_is_the_mean_of_the_hour_that_its_stamp_ends(samples):
    source = pd.read_csv(samples / "weather" / "tmy3_723170TYA_greensboro.csv.gz", skiprows=1)
    for column, theirs in (("ghi_w_m2:greensboro", "GHI (W/m^2)"), ("dni_w_m2:greensboro", "DNI (W/m^2)")):
        np.testing.assert_array_equal(hourly(column).ravel(), source[theirs].to_numpy())
    hour = np.arange(24) + 0.5
    mean = hourly("ghi_w_m2:greensboro").mean(axis=0)
    # the site lies five degrees west of its time zone's meridian: the sun stands highest at 12:20
    assert 12.0 < mean @ hour / mean.sum() < 12.5


def test_temperature_is_coolest_before_dawn_and_warmest_in_the_afternoon():
    mean = hourly("ambient_temp_c:greensboro").mean(axis=0)
    assert 4 <= mean.argmin() <= 6
    assert 14 <= mean.argmax() <= 16


def test_wind_is_the_source_nine_hours_earlier(samples):
    source = pd.read_csv(samples / "weather" / "nrel_wtk_wind100m_15min_2019.csv.gz", skiprows=1)
    speed = source["wind speed at 100m (m/s)"].to_numpy()
    mine = load("embedded_2022").frame["wind_speed_m_s:100m"].to_numpy()
    np.testing.assert_allclose(mine[: -9 * 4], speed[9 * 4 :], atol=1e-9)
    np.testing.assert_allclose(mine[-9 * 4 :], speed[: 9 * 4], atol=1e-9)


def test_profiles_keep_every_published_value(samples):
    """One day is moved, the last day of the source makes room for a second Saturday."""
    source = pd.read_csv(samples / "profiles" / "smartds_sfo_15min_year_pu.csv.gz")
    frame = load("embedded_2022").frame
    for mine, theirs in (
        ("load_p_pu:com_1", "com_kw_16017_pu"),
        ("load_q_pu:res_3", "res_kvar_13334_pu"),
        ("pv_pu:southwest", "SFO_37.7452_-122.4074_15_225"),
    ):
        published = source[theirs].to_numpy()
        np.testing.assert_array_equal(frame[mine].to_numpy()[96:], published[: 364 * 96])
        np.testing.assert_array_equal(frame[mine].to_numpy()[:96], published[363 * 96 : 364 * 96])


def test_wind_power_follows_the_turbine():
    dataset = load("embedded_2022")
    power = dataset.table(900, ["wind_pu:turbine"])[1][:, 0]
    speed = dataset.frame["wind_speed_m_s:100m"].to_numpy()
    ends = np.stack([speed, np.roll(speed, -1)])
    low, high = ends.min(axis=0), ends.max(axis=0)
    assert (power[high < 2.0] == 0).all()
    np.testing.assert_allclose(power[(low > 14) & (high < 25)], 1.0, atol=1e-9)
    assert (power[low > 25.5] == 0).all()
    # 275 of 810 kW at 8 m/s and 400 kW at 9 m/s, from the turbine's table
    steady = (low >= 8) & (high <= 9)
    assert power[steady].min() >= 275 / 810 - 1e-9
    assert power[steady].max() <= 400 / 810 + 1e-9
    assert 0.4 < power.mean() < 0.6
    assert power.max() <= 1


def test_build_script_gives_the_shipped_file(samples, root, tmp_path):
    out = tmp_path / "year.npz"
    script = root / "scripts" / "build_embedded_year.py"
    subprocess.run([sys.executable, str(script), str(samples), "--out", str(out)], check=True, capture_output=True)
    with np.load(out) as built, np.load(FILE) as shipped:
        assert sorted(built.files) == sorted(shipped.files)
        for key in shipped.files:
            np.testing.assert_array_equal(built[key], shipped[key])


def test_files_are_small_and_every_array_has_its_licence():
    folder = FILE.parent
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1_000_000
    texts = {file.name: file.read_text() for file in folder.glob("LICENSE-*")}
    with np.load(FILE) as stored:
        for key in stored.files:
            assert any(f'"{key}"' in text for text in texts.values()), key
    for text in texts.values():
        assert all(word in text for word in ("Source:", "Licence:", "Credit:", "Changes:"))


def test_no_caiso_or_nyiso_values_are_shipped(root):
    for file in [*(root / "configs" / "data").iterdir(), *FILE.parent.iterdir()]:
        head = file.read_bytes()[:4000].decode("latin-1").lower()
        assert "nyiso" not in head
        assert "caiso" not in head


def test_loading_needs_no_pandas():
    code = (
        "import sys; from powergrid.datasets import load; d = load('embedded'); d.table(900); d.window(3, 96, 900); "
        "d.split('train'); sys.exit(any(m in sys.modules for m in ('pandas', 'pandapower', 'scipy', 'jax', 'numba')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_clip_keeps_dates_values_and_splits():
    whole = load("embedded_2022")
    part = load("embedded_2022", start="2022-06-01", end="2022-08-01")
    first = 151
    assert part.days == 61
    assert part.local_date(0).isoformat() == "2022-06-01"
    for split in ("train", "validation", "test", "stress"):
        days = whole.split(split)
        np.testing.assert_array_equal(part.split(split) + first, days[(days >= first) & (days < first + 61)])
    np.testing.assert_array_equal(
        part.window(5, 96, 900)["price_per_mwh:lz_north"], whole.window(first + 5, 96, 900)["price_per_mwh:lz_north"]
    )
    with pytest.raises(DataError, match="2022-01-01 to 2022-12-31"):
        load("embedded_2022", start="2021-01-01")
    with pytest.raises(DataError, match="is not a date"):
        load("embedded_2022", start="June")


def test_script_module_has_no_side_effect(root):
    script = root / "scripts" / "write_sample_csv.py"
    spec = importlib.util.spec_from_file_location("write_sample_csv", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert {file for file, *_ in module.FILES} == {path.name for path in (root / "configs" / "data").iterdir()}
