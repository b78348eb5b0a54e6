"""Homes of CityLearn, ResStock and Pecan Street: clocks, units, gaps, licences, and what is refused."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import powergrid
from powergrid import datasets
from powergrid.cli.app import app
from powergrid.core.errors import DataError, UnknownNameError
from powergrid.datasets.ev_sessions import read_sessions, read_stations
from powergrid.datasets.readers import building_stock, citylearn, pecan_street, sgip

ANGELES = "America/Los_Angeles"


def middle(pv: np.ndarray, months: range) -> float:
    """Middle of the sun's day in some months of an hourly year [h]."""
    month = pd.date_range("2021-01-01", periods=8760, freq="h").month
    mean = np.nanmean(np.where(np.isin(month, months), pv, np.nan).reshape(365, 24), axis=0)
    return float((mean * (np.arange(24) + 0.5)).sum() / mean.sum())


@pytest.fixture
def fontana(samples: Path, tmp_path: Path) -> Path:
    """A folder with the names that CityLearn gives its files."""
    for number in (1, 4):
        source = samples / "homes" / f"citylearn_2022_building_{number}.csv.gz"
        shutil.copy(source, tmp_path / f"Building_{number}.csv.gz")
    for name in ("pricing", "carbon_intensity", "weather"):
        shutil.copy(samples / "homes" / f"citylearn_2022_{name}.csv.gz", tmp_path / f"{name}.csv.gz")
    return tmp_path


def test_citylearn_homes_are_in_standard_time(fontana: Path) -> None:
    homes = citylearn.read(fontana, zone=ANGELES, year=2016)
    pv = homes.series["pv_pu:building_1"].values
    assert abs(middle(pv, range(6, 9)) - middle(pv, range(1, 3))) < 0.3
    raw = pd.read_csv(fontana / "Building_1.csv.gz")
    assert homes.rating_kw["load_p_pu:building_1"] == raw["non_shiftable_load"].max()
    load_kwh = homes.series["load_p_pu:building_1"].values * homes.rating_kw["load_p_pu:building_1"]
    # 12 March has an hour that no clock shows, 6 November one twice
    assert load_kwh.sum() == pytest.approx(raw["non_shiftable_load"].sum(), rel=1e-3)
    new_year = (8760 - 24 * 212) + 0  # rows begin on 1 August
    assert load_kwh[:24] == pytest.approx(raw["non_shiftable_load"].to_numpy()[new_year : new_year + 24])
    assert homes.series["price_per_mwh:citylearn"].values.max() == pytest.approx(540.0)
    assert 0.05 < homes.series["carbon_t_per_mwh:citylearn"].values.mean() < 0.3


def test_a_clock_with_daylight_saving_time_is_refused_until_its_zone_is_given(fontana: Path) -> None:
    with pytest.raises(DataError, match=r"later in summer than in winter.*give its zone"):
        citylearn.read(fontana)
    with pytest.raises(UnknownNameError, match='did you mean "Building_1"'):
        citylearn.read(fontana, ["Building_11"], zone=ANGELES)
    with pytest.raises(DataError, match=r"no column month.*no building"):
        citylearn.read(fontana, ["weather"], zone=ANGELES)


def test_homes_play_in_an_environment(fontana: Path) -> None:
    homes = citylearn.read(fontana, ["Building_1"], zone=ANGELES)
    datasets.save(homes.dataset("fontana"), fontana / "homes.npz")
    env = powergrid.make(
        {
            "network": {"base": "ieee13", "load_series": "load_p_pu:building_1"},
            "datasets": str(fontana / "homes.npz"),
            "agents": [
                {"id": "roof", "type": "SolarPlant", "bus": 671, "params": {"p_max_mw": 0.5}},
                {"id": "b", "type": "ESS", "bus": 671, "params": {"capacity_mwh": 1}, "policy": "learned"},
            ],
        },
        backend="numpy",
        episode_length=4,
    )
    env.reset(seed=0)
    *_, infos = env.step({"b": np.zeros(env.action_space("b").shape)})
    assert infos["b"]["converged"]


def test_simulated_homes_of_the_samples_run_by_standard_time(samples: Path, tmp_path: Path) -> None:
    name = "resstock-amy2018-2021-release-1-102188.csv.gz"
    shutil.copy(samples / "homes" / name, tmp_path / name)
    homes = citylearn.read(tmp_path, year=2018)
    assert [column.split(":")[0] for column in homes.series] == ["load_p_pu"]  # no sun in it
    raw = pd.read_csv(tmp_path / name)["non_shiftable_load"]
    (one,) = homes.series.values()
    assert one.values * next(iter(homes.rating_kw.values())) == pytest.approx(raw.to_numpy())


def stock(path: Path, shift_h: int = 0) -> pd.DataFrame:
    """A file in the form of ResStock: ends of quarter hours, kWh, generation below zero."""
    stamps = pd.date_range("2018-01-01 00:15", periods=35_040, freq="15min")
    hour = ((np.arange(35_040) + 0.5) / 4.0 - shift_h) % 24.0
    table = pd.DataFrame(
        {
            "timestamp": stamps,
            "bldg_id": 7,
            "out.electricity.total.energy_consumption": 0.25 + 0.1 * np.sin(np.arange(35_040)),
            "out.electricity.pv.energy_consumption": -0.5 * np.maximum(np.sin((hour - 6.0) * np.pi / 12.0), 0.0),
        }
    )
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    return table


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_stock_has_energy_at_the_ends_of_intervals(tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    file = tmp_path / f"7-0.{ending}"
    table = stock(file)
    homes = building_stock.read([file])
    load, pv = homes.series["load_p_pu:7_0"], homes.series["pv_pu:7_0"]
    kwh = load.values * homes.rating_kw["load_p_pu:7_0"] / 4.0
    assert kwh == pytest.approx(table["out.electricity.total.energy_consumption"].to_numpy())
    assert homes.rating_kw["pv_pu:7_0"] == pytest.approx(2.0, rel=1e-3)
    assert int(pv.values[:96].argmax()) in (47, 48)


def test_stock_on_another_clock_is_refused_until_the_shift_is_given(tmp_path: Path) -> None:
    file = tmp_path / "8-0.csv"
    stock(file, shift_h=5)
    with pytest.raises(DataError, match="not local standard time"):
        building_stock.read([file])
    pv = building_stock.read([file], shift_h=-5.0).series["pv_pu:8_0"].values
    assert int(pv[96:192].argmax()) in (47, 48)


def austin(path: Path, years: str = "2018") -> pd.DataFrame:
    """A file in the form of Pecan Street with two homes, a year of clock changes, a gap and blanks."""
    utc = pd.date_range(f"{years}-01-01 06:00", periods=35_040, freq="15min", tz="UTC")
    local = utc.tz_convert("America/Chicago")
    text = [f"{stamp:%Y-%m-%d %H:%M:%S}{stamp:%z}"[:-2] for stamp in local]
    hour = np.asarray((utc.hour + utc.minute / 60.0 - 6.0) % 24.0)
    sun = 3.0 * np.maximum(np.sin((hour + 0.125 - 6.0) * np.pi / 12.0), 0.0)
    use = 1.0 + 0.5 * np.cos(np.arange(35_040) / 7.0)
    first = pd.DataFrame({"dataid": 661, "local_15min": text, "grid": use - sun, "solar": sun, "solar2": np.nan})
    second = pd.DataFrame({"dataid": 1642, "local_15min": text, "grid": use, "solar": np.nan, "solar2": np.nan})
    table = pd.concat([first.drop(index=range(4000, 4008)), second]).sample(frac=1.0, random_state=1)
    table.to_csv(path, index=False)
    return first


def test_pecan_street_through_clock_changes(tmp_path: Path) -> None:
    file = tmp_path / "15minute_data_austin.csv.gz"
    first = austin(file)
    homes = pecan_street.read(file, [661])
    load = homes.series["load_p_pu:home_661"].values * homes.rating_kw["load_p_pu:home_661"]
    gap = np.isnan(load)
    assert np.flatnonzero(gap).tolist() == list(range(4000, 4008))
    assert load[~gap] == pytest.approx((first["grid"] + first["solar"]).to_numpy()[~gap])
    assert "pv_pu:home_1642" not in pecan_street.read(file).series
    assert "do not pass on" in homes.licence
    with pytest.raises(UnknownNameError, match="1642"):
        pecan_street.read(file, [1643])


def test_pecan_street_by_name_reads_the_users_copy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"licence forbids.*agreement"):
        datasets.load("pecan_street")
    with pytest.raises(DataError, match="0 files"):
        datasets.load("pecan_street", cache_dir=tmp_path)
    austin(tmp_path / "15minute_data_austin.csv")
    found = datasets.load("pecan_street", cache_dir=tmp_path)
    assert "load_p_pu:home_1642" in found.columns
    assert "do not pass on" in found.licence


def test_the_command_reads_homes_and_states_the_licence(tmp_path: Path) -> None:
    austin(tmp_path / "15minute_data_austin.csv")
    out = tmp_path / "mine.npz"
    words = ["data", "homes", "pecan_street", str(tmp_path / "15minute_data_austin.csv"), "--home", "1642"]
    done = CliRunner().invoke(app, [*words, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "do not pass on" in done.output
    assert "load_p_pu:home_1642" in datasets.load(str(out)).columns
    wrong = CliRunner().invoke(app, [*words, "--out", str(out), "--zone", ANGELES, "--shift-h", "1"])
    assert wrong.exit_code != 0
    for text in ("--zone", "--shift-h", "exists already"):
        assert text in wrong.output


def test_sessions_of_the_sample_by_station(samples: Path, tmp_path: Path) -> None:
    file = samples / "ev" / "acn_caltech_sessions_2019-05_08.csv.gz"
    stations = read_stations(file)
    raw = pd.read_csv(file)
    assert sum(map(len, stations.values())) == len(raw)
    delivered = read_sessions(file, "CA-305", energy="delivered")
    wanted = raw.loc[raw["station_id"] == "CA-305", "delivered_energy (kWh)"].sum()
    assert 1000.0 * sum(one.energy_mwh for one in delivered) == pytest.approx(wanted)
    listed = CliRunner().invoke(app, ["data", "sessions", str(file)])
    assert "CA-305" in listed.output
    out = tmp_path / "one.csv"
    words = ["data", "sessions", str(file), "--station", "CA-305", "--out", str(out)]
    assert "--year" in CliRunner().invoke(app, words).output
    assert CliRunner().invoke(app, [*words, "--year", "2019"]).exit_code == 0
    assert len(pd.read_csv(out)) == 35_040


def test_sessions_as_acn_data_gives_them(tmp_path: Path) -> None:
    item = {
        "connectionTime": "Wed, 25 Apr 2018 15:08:04 GMT",
        "disconnectTime": "Wed, 25 Apr 2018 23:20:10 GMT",
        "kWhDelivered": 7.9,
        "stationID": "2-39-79-379",
        "timezone": ANGELES,
        "userInputs": [{"kWhRequested": 12.0}],
    }
    file = tmp_path / "acn.json.gz"
    file.write_bytes(gzip.compress(json.dumps({"_items": [item, {**item, "userInputs": None}]}).encode()))
    first, second = read_sessions(file, "2-39-79-379")
    assert first.arrival.isoformat() == "2018-04-25T08:08:04"
    assert (first.energy_mwh, second.energy_mwh) == (0.012, 0.0079)
    file.write_bytes(gzip.compress(b'{"_items": [{"stationID": 1}]}'))
    with pytest.raises(DataError, match="no answer of ACN-Data"):
        read_stations(file)
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(DataError, match="cannot be read"):
        read_stations(file)


def test_marginal_emission_rates_of_the_sample(samples: Path, tmp_path: Path) -> None:
    file = samples / "emissions" / "sgip_caiso_sce_moer_5min_2020-08.csv.gz"
    (one,) = sgip.read([file]).series.values()
    raw = pd.read_csv(file)
    known = np.flatnonzero(~np.isnan(one.values))
    assert one.interval_s == 300
    assert one.values[known] == pytest.approx(raw["moer"].to_numpy())
    assert known[0] == (211 * 24 - 8) * 12  # 31 July 00:00 UTC is 30 July 16:00 in California; 2020 has a 29 February
    half = tmp_path / "half.csv"
    raw.iloc[4000:].to_csv(half, index=False)
    (joined,) = sgip.read([half, file], year=2020).series.values()
    assert np.array_equal(joined.values, one.values, equal_nan=True)
    raw.assign(moer=raw["moer"] + 0.1).to_csv(half, index=False)
    with pytest.raises(DataError, match="given again with other values"):
        sgip.read([half, file])
    raw.assign(moer=1000.0 * raw["moer"]).to_csv(half, index=False)
    with pytest.raises(DataError, match="kg/kWh"):
        sgip.read([half])


def test_a_year_of_marginal_rates_counts_in_an_environment(tmp_path: Path) -> None:
    utc = pd.date_range("2021-01-01 08:00", periods=8760 * 12, freq="5min", tz="UTC")
    rate = 0.3 + 0.2 * np.sin(np.arange(len(utc)) / 5000.0)
    for month in range(2):  # two files, which overlap
        rows = slice(0, 60_000) if month == 0 else slice(59_000, None)
        pd.DataFrame({"time": utc[rows], "moer": rate[rows]}).to_csv(tmp_path / f"{month}.csv", index=False)
    out = tmp_path / "year.npz"
    files = [str(tmp_path / f"{month}.csv") for month in range(2)]
    done = CliRunner().invoke(app, ["data", "carbon", *files, "--out", str(out)])
    assert done.exit_code == 0, done.output
    env = powergrid.make("p2p_microgrids", backend="numpy", datasets=str(out), carbon="carbon_t_per_mwh:sgip")
    env.reset(seed=0, options={"day": 100})
    *_, infos = env.step({agent: np.zeros(env.action_space(agent).shape) for agent in env.agents})
    wanted = rate[100 * 288 : 100 * 288 + 3].mean()
    import_mw = env.output.measured_mw[env.world.layout.meters.names.index("mg1.pcc")]
    assert infos["microgrid_1"]["carbon_kg"] == pytest.approx(250.0 * import_mw * wanted)
