"""Years of markets in environments, single columns of them, and tables of gridstatus."""

from __future__ import annotations

from pathlib import Path

import market_files as made
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import powergrid
from powergrid.config.check_data import build_dataset
from powergrid.core.errors import DataError, UnknownNameError
from powergrid.datasets import from_gridstatus, from_series, load
from powergrid.datasets.fetching import cache
from powergrid.datasets.splits import of_weeks

MARKETS = {"caiso_2024": "lmp_np15", "ercot_2020": "hb_hubavg", "nyiso_2019": "lbmp_nyc"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a year of each market in its own form: prices of the day and season, load, and sun with a gap."""
    folder = tmp_path_factory.mktemp("cache")
    for name in MARKETS:
        place, year = cache.folder_of(name, folder), int(name[-4:])
        place.mkdir(parents=True)
        if name.startswith("caiso"):
            stamps = made.hours("America/Los_Angeles", f"{year}-01-01", 366)
            price, load_mw = curve(stamps)
            sun = np.clip(np.sin((np.asarray(stamps.hour) - 6) / 12 * np.pi), 0, None) * 1000.0 - 3.0
            sun[1000] = np.nan
            nodes = {"TH_NP15_GEN-APND": price, "TH_SP15_GEN-APND": price - 1.0}
            (place / "price.csv").write_text(made.oasis_prices(stamps, nodes))
            (place / "load.csv").write_text(made.oasis_load(stamps, {"CA ISO-TAC": load_mw}))
            (place / "sun.csv").write_text(made.oasis_renewables(stamps, {("NP15", "Solar"): sun}))
        elif name.startswith("ercot"):
            stamps = made.hours("America/Chicago", f"{year}-01-01", 366)
            (place / "year.csv").write_text(made.ercot_day_ahead(stamps, {"HB_HUBAVG": curve(stamps)[0]}))
        else:
            stamps = made.hours("America/New_York", f"{year}-01-01", 365)
            price, load_mw = curve(stamps)
            (place / f"{year}0101damlbmp_zone.csv").write_text(made.nyiso_prices(stamps, {"N.Y.C.": price}))
            (place / f"{year}0101palIntegrated.csv").write_text(made.nyiso_load(stamps, {"N.Y.C.": load_mw}))
    return folder


@pytest.fixture(autouse=True)
def own_cache(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.CACHE, str(filled))


def curve(stamps: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
    """Price and load with a day, a year, and one dear day."""
    hour, date = np.asarray(stamps.hour), np.asarray(stamps.dayofyear)
    day, season = 2 * np.pi * hour / 24, 2 * np.pi * date / 365
    price = np.round(40.0 - 15.0 * np.cos(day) + 10.0 * np.cos(season), 2)
    price[(date == 200) & (hour == 12)] = 2000.0
    return price, np.round(20000.0 - 3000.0 * np.cos(day), 0)


@pytest.mark.parametrize("name", MARKETS)
def test_a_day_of_each_market_runs_in_p2p_microgrids(name: str) -> None:
    env = powergrid.make("p2p_microgrids", datasets=name)
    env.reset(seed=0)
    for _ in range(96):
        _, rewards, _, _, _ = env.step({agent: env.action_space(agent).sample() * 0.0 for agent in env.agents})
        assert all(np.isfinite(list(rewards.values())))
    env.close()


@pytest.mark.parametrize("name", MARKETS)
def test_weeks_are_split_and_no_test_day_trains(name: str) -> None:
    dataset = build_dataset(name, Path())
    days = {split: set(dataset.split(split).tolist()) for split in ("train", "validation", "test", "stress")}
    assert days["stress"] == {199}
    assert sum(map(len, days.values())) == dataset.days == len(set().union(*days.values()))
    for split in ("train", "validation", "test"):
        assert all(of_weeks(split, np.array(sorted(days[split]))))
    assert dataset.sites("load_p_pu")[0] == "load_p_pu:res_1"  # households, not the area of the market
    assert dataset.sites("price_per_mwh") == tuple(
        column for column in load(name).columns if column.startswith("price_per_mwh:")
    )


def test_leap_years_keep_their_days_and_the_base_repeats_one() -> None:
    market, base = build_dataset("caiso_2024", Path()), load("embedded_2022")
    assert (market.days, str(market.local_date(59)), str(market.local_date(365))) == (366, "2024-02-29", "2024-12-31")
    own, other = market.series("load_p_pu:res_1").values, base.series("load_p_pu:res_1").values
    np.testing.assert_array_equal(own[59 * 96 : 60 * 96], other[58 * 96 : 59 * 96])
    np.testing.assert_array_equal(own[60 * 96 :], other[59 * 96 :])


def test_columns_of_markets_in_datasets() -> None:
    found = from_series({"price": "caiso_2024:lmp_sp15", "load": "nyiso_2019:nyc"})
    price = load("caiso_2024").series("price_per_mwh:lmp_sp15").values
    np.testing.assert_array_equal(found.series("price_per_mwh:user").values, np.delete(price, slice(59 * 24, 60 * 24)))
    np.testing.assert_array_equal(
        found.series("load_q_pu:user").values, load("nyiso_2019").series("load_p_pu:nyc").values
    )


def test_unknown_nodes_show_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match='"lmp_np51"; did you mean "lmp_np15"'):
        from_series({"price": "caiso_2024:lmp_np51"})
    with pytest.raises(DataError, match="is given in mw; name a column in pu"):
        from_series({"load": "nyiso_2019:load_mw:nyc"})


def test_gaps_are_filled_only_when_asked() -> None:
    with pytest.raises(DataError, match="1 values missing"):
        from_series({"solar": "caiso_2024:np15"}).at("pv_pu:user", 900)
    place = {"path": "caiso_2024:np15", "cleaning": [{"gaps": {"fill": "interpolate", "longest_h": 2}}]}
    filled = from_series({"solar": place})
    assert np.isfinite(filled.at("pv_pu:user", 900)).all()
    with pytest.raises(DataError, match="is a column of a dataset, to which unit does not apply"):
        from_series({"solar": {**place, "unit": "kW"}})


def test_validate_refuses_what_cannot_run(tmp_path: Path) -> None:
    from powergrid.cli.app import app

    def validated(dataset: str) -> str:
        file = tmp_path / "env.yaml"
        file.write_text(f"extends: p2p_microgrids\ndatasets: {dataset}\n")
        return CliRunner().invoke(app, ["validate", str(file)]).output

    assert "caiso_2023 is not on this machine" in " ".join(validated("caiso_2023").split())
    assert "did you mean" in validated("casio_2024")


def test_fetch_states_size_and_licence_and_reads_what_is_there(filled: Path) -> None:
    from powergrid.cli.app import app

    run = CliRunner().invoke
    listed = run(app, ["data", "fetch"])
    assert listed.exit_code == 0
    assert "nsrdb:<latitude>" in listed.output.replace("\n", "")
    told = " ".join(run(app, ["data", "fetch", "caiso_2022", "--dry-run"]).output.split())
    assert "36 files, about 60 MB, from CAISO OASIS" in told
    assert "licence: published by the California ISO" in told
    refused = run(app, ["data", "fetch", "caiso_2022", "--offline"])
    assert refused.exit_code != 0
    assert "downloads are off" in " ".join(refused.output.split())


def test_table_of_gridstatus() -> None:
    stamps = made.hours("US/Central", "2023-11-05", 1)
    rows = [
        {
            "Time": stamp,
            "Interval Start": stamp,
            "Interval End": stamp + pd.Timedelta("1h"),
            "Market": "DAY_AHEAD_HOURLY",
            "Location": place,
            "Location Type": "Hub",
            "LMP": value,
            "Energy": value - 3.0,
            "Congestion": 2.0,
            "Loss": 1.0,
        }
        for stamp, value in zip(stamps, made.elapsed(stamps), strict=True)
        for place in ("ARKANSAS.HUB", "TEXAS.HUB")
    ]
    frame = pd.DataFrame(rows).sample(frac=1.0, random_state=0)
    found = from_gridstatus(frame, "miso")
    assert found.utc_offset_h == -6.0
    price = found.frame["price_per_mwh:texashub"].dropna()
    assert list(price.index) == list(stamps.tz_convert("UTC"))
    np.testing.assert_array_equal(price, made.elapsed(stamps))
    parts = sum(found.frame[f"lmp_{part}_per_mwh:texashub"] for part in ("energy", "congestion", "losses"))
    np.testing.assert_allclose(parts.dropna(), price)
    mix = pd.DataFrame(
        {"Interval Start": stamps, "Interval End": stamps + pd.Timedelta("1h"), "Wind": 5.0, "Load": 7.0}
    )
    assert from_gridstatus(mix).columns == ("load_mw:system", "wind_mw:system")
    with pytest.raises(DataError, match="several markets"):
        from_gridstatus(pd.concat([frame, frame.assign(Market="REAL_TIME")]))
    with pytest.raises(DataError, match="have no time zone"):
        from_gridstatus(mix.assign(**{"Interval Start": mix["Interval Start"].dt.tz_localize(None)}))
