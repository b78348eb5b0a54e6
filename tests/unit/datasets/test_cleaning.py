"""Cleaning: steps in order, what they report, and what they leave alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import powergrid
from powergrid import datasets
from powergrid.core.errors import ConfigError, DataError
from powergrid.datasets import clean

ZONE = "America/New_York"


def hours(year: int = 2023) -> pd.DataFrame:
    """A year of local standard time in UTC, whose values are the hours since it began."""
    index = pd.date_range(f"{year}-01-01T05:00", periods=8760, freq="1h", tz="UTC")
    return pd.DataFrame({"load_p_pu:a": np.arange(8760.0)}, index=index)


def on_the_wall(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_axis(frame.index.tz_convert(ZONE).tz_localize(None))


def test_clock_changes_give_days_of_23_and_25_hours() -> None:
    truth = hours()
    local = on_the_wall(truth)
    by_date = local.groupby(local.index.date).size()
    assert sorted(by_date[by_date != 24].tolist()) == [23, 25]
    found = clean(local, [{"clock_changes": ZONE}])
    assert found.frame.index.equals(truth.index)
    assert np.array_equal(found.frame.to_numpy(), truth.to_numpy())
    assert "2 in repeated hours" in str(found.report)
    assert found.table.utc_offset_h == -5.0


def test_an_hour_of_autumn_that_is_there_once_is_either_of_the_two() -> None:
    local = on_the_wall(hours())
    collapsed = local[~local.index.duplicated()]
    for once, absent in (("first", "2023-11-05T06:00Z"), ("second", "2023-11-05T05:00Z")):
        found = clean(collapsed, [{"clock_changes": {"zone": ZONE, "once": once}}, "gaps"])
        (missing,) = found.frame.index[found.frame["load_p_pu:a"].isna()]
        assert missing == pd.Timestamp(absent)


def test_stamps_in_the_hour_that_spring_skips_are_refused_or_dropped() -> None:
    naive = pd.DataFrame({"x": np.arange(48.0)}, index=pd.date_range("2023-03-12", periods=48, freq="1h"))
    with pytest.raises(DataError, match=r"cleaning step clock_changes: 1 stamps lie in the hour .* 2023-03-12 02:00"):
        clean(naive, [{"clock_changes": ZONE}])
    found = clean(naive, [{"clock_changes": {"zone": ZONE, "skipped": "drop"}}])
    assert found.frame["x"].tolist() == [0.0, 1.0, *np.arange(3.0, 48.0)]
    assert (np.diff(found.table.seconds) == 3600).all()


def test_hour_ending_before_the_clock_changes_or_after() -> None:
    truth = hours()
    local = on_the_wall(truth)
    labels = local.set_axis(local.index + pd.Timedelta(hours=1))  # hour of the clock, as ERCOT: no hour ending 03:00
    assert pd.Timestamp("2023-03-12T03:00") not in labels.index
    found = clean(labels, ["hour_ending", {"clock_changes": ZONE}])
    assert found.frame.index.equals(truth.index)
    instants = on_the_wall(truth.set_axis(truth.index + pd.Timedelta(hours=1)))
    found = clean(instants, [{"clock_changes": ZONE}, {"hour_ending": 3600}])
    assert found.frame.index.equals(truth.index)


def test_duplicates_and_order() -> None:
    index = pd.DatetimeIndex(["2023-01-01T01:00", "2023-01-01T00:00", "2023-01-01T01:00", "2023-01-01T01:00"])
    frame = pd.DataFrame({"x": [1.0, 0.0, 1.0, 3.0]}, index=index)
    with pytest.raises(DataError, match="given again with other values"):
        clean(frame, ["order", "duplicates"])
    for keep, value in (("first", 1.0), ("last", 3.0), ("mean", 2.0)):
        found = clean(frame, ["order", {"duplicates": keep}])
        assert found.frame["x"].tolist() == [0.0, value]
    with pytest.raises(DataError, match="write `order` before"):
        clean(frame, ["gaps"])


def test_gaps_stay_missing_unless_a_step_fills_them_and_only_short_ones() -> None:
    frame = hours().iloc[: 24 * 21].copy()
    frame.iloc[[30, 31, *range(200, 206)]] = np.nan
    frame = frame.drop(frame.index[[400, 401]])
    kept = clean(frame, ["gaps"])
    assert int(kept.frame.isna().to_numpy().sum()) == 10
    assert not kept.filled.to_numpy().any()
    wanted = {"hold": [29.0, 29.0], "interpolate": [30.0, 31.0], "same_hour_last_week": [np.nan, np.nan]}
    for fill, values in wanted.items():
        found = clean(frame, [{"gaps": {"fill": fill, "longest_h": 2}}])
        column = found.frame["load_p_pu:a"].to_numpy()
        assert np.array_equal(column[[30, 31]], values, equal_nan=True)
        assert np.isnan(column[200:206]).all()
        assert np.array_equal(
            found.filled.to_numpy().ravel(), np.isnan(kept.frame.to_numpy().ravel()) & ~np.isnan(column)
        )
    assert column[[400, 401]].tolist() == [232.0, 233.0]
    assert "10 values missing; 2 filled" in str(found.report)


def test_outliers_are_flagged_and_removed_only_when_asked() -> None:
    day = 0.5 + 0.3 * np.sin(np.arange(96) / 96 * 2 * np.pi)
    index = pd.date_range("2023-01-01", periods=96 * 60, freq="15min", tz="UTC")
    frame = pd.DataFrame({"load_p_pu:a": np.tile(day, 60)}, index=index)
    frame.iloc[[1000, 3000]] = [[40.0], [-7.0]]
    flagged = clean(frame, ["outliers"])
    assert np.flatnonzero(flagged.outlier.to_numpy()).tolist() == [1000, 3000]
    assert flagged.frame.equals(frame)
    removed = clean(frame, [{"outliers": "missing"}, {"gaps": "interpolate"}])
    assert np.flatnonzero(removed.filled.to_numpy()).tolist() == [1000, 3000]
    assert removed.frame.to_numpy().max() < 0.9


def test_unit_by_range_and_stated() -> None:
    index = pd.date_range("2023-01-01", periods=8760, freq="1h", tz="UTC")
    daily = np.sin(np.arange(8760) / 24 * 2 * np.pi)
    frame = pd.DataFrame({"price_per_mwh:a": 0.08 + 0.03 * daily, "ambient_temp_c:a": 288.0 + 5 * daily}, index=index)
    found = clean(frame, ["unit"])
    assert found.frame["price_per_mwh:a"].max() == pytest.approx(110.0)
    assert found.frame["ambient_temp_c:a"].mean() == pytest.approx(14.85)
    assert "price_per_mwh:a from EUR/kWh, ambient_temp_c:a from K" in str(found.report)
    with pytest.raises(DataError, match="names no unit"):
        clean(frame.set_axis(["a", "b"], axis=1), ["unit"])


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (["gap"], 'step 1: unknown cleaning step "gap"; did you mean "gaps"'),
        ([{"gaps": "fill"}, {"clock_changes": "Mars/Base"}], r"step 1: .*step 2: .*unknown time zone"),
        ([{"gaps": {"longest_h": -1}}], "greater than 0"),
        ([{"order": 3}], "takes no value"),
        ([["order"]], "is no step"),
    ],
)
def test_all_faults_of_a_pipeline_come_at_once(steps: list, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        clean(hours(), steps)


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 499), min_size=0, max_size=60),
    st.lists(st.integers(0, 499), max_size=20),
    st.sampled_from(["keep", "hold", "interpolate", "same_hour_last_week"]),
    st.sampled_from(["first", "last", "mean"]),
    st.floats(0.5, 12.0),
    st.randoms(use_true_random=False),
)
def test_cleaning_twice_changes_nothing(gone, twice, fill, keep, longest_h, random) -> None:
    base = on_the_wall(hours().iloc[1600:2100])
    frame = pd.concat([base.drop(base.index[sorted(set(gone))]), base.iloc[twice] + 1.0])
    if len(frame) < 3:
        return
    rows = list(range(len(frame)))
    random.shuffle(rows)
    steps = [
        {"clock_changes": ZONE}, "order", {"duplicates": keep}, {"outliers": "flag"},
        {"gaps": {"fill": fill, "longest_h": longest_h}},
    ]  # fmt: skip
    once = clean(frame.iloc[rows], steps)
    again = clean(once.table, steps)
    assert again.frame.equals(once.frame)
    assert again.filled.equals(once.filled)
    assert again.outlier.equals(once.outlier)
    untouched = ~once.filled.to_numpy().ravel()
    known = once.frame.to_numpy().ravel()[untouched]
    assert np.isin(known[~np.isnan(known)] % 0.5, 0.0).all()  # values are those given, or means of two of them


def write_wall_clock(path: Path) -> None:
    """Hour-ending Eastern time with two rows missing, one row twice and one text that stands for nothing."""
    local = on_the_wall(hours())
    day = 0.6 + 0.2 * np.sin(np.arange(8760) / 24 * 2 * np.pi)
    texts = [f"{value:.4f}" for value in day]
    texts[100] = "n/a"
    stamps = (local.index + pd.Timedelta(hours=1)).strftime("%Y-%m-%d %H:%M")
    lines = [f"{stamp},{text}" for stamp, text in zip(stamps, texts, strict=True)]
    del lines[5000:5002]
    path.write_text("\n".join(["time,load", *lines[:10], lines[9], *lines[10:]]) + "\n")


def test_a_series_in_yaml_is_cleaned_in_order(tmp_path: Path) -> None:
    write_wall_clock(tmp_path / "load.csv")
    steps = ["hour_ending", {"clock_changes": ZONE}, "duplicates", {"year": 2023}, {"gaps": "interpolate"}]
    mine = datasets.from_series({"load": {"path": "load.csv", "cleaning": steps}}, folder=tmp_path)
    values = mine.series("load_p_pu:user").values
    day = 0.6 + 0.2 * np.sin(np.arange(8760) / 24 * 2 * np.pi)
    assert values == pytest.approx(day, abs=0.02)
    with pytest.raises(DataError, match="clock changes need"):
        datasets.from_series({"load": {"path": "load.csv", "cleaning": ["hour_ending"]}}, folder=tmp_path)
    for form, sentence in (
        ({"cleaning": ["gap"]}, "did you mean"),
        ({"cleaning": ["gaps"], "time": "end"}, "hour_ending"),
        ({"cleaning": ["unit"], "unit": "kW"}, "stands beside cleaning"),
    ):
        with pytest.raises(DataError, match=sentence):
            datasets.from_series({"load": {"path": "load.csv", **form}}, folder=tmp_path)


def test_what_stays_missing_is_refused_where_an_environment_needs_it(tmp_path: Path) -> None:
    write_wall_clock(tmp_path / "load.csv")
    steps = ["hour_ending", {"clock_changes": ZONE}, "duplicates", {"year": 2023}, "gaps"]
    config = {
        "network": "ieee13",
        "datasets": {"load": {"path": str(tmp_path / "load.csv"), "cleaning": steps}},
        "agents": [{"id": "b", "type": "ESS", "bus": 671, "params": {"capacity_mwh": 1, "max_p_mw": 0.5}}],
    }
    with pytest.raises(ConfigError, match="3 values missing") as caught:
        powergrid.load_config(config)
    assert "gaps: interpolate" in str(caught.value)
    config["datasets"]["load"]["cleaning"][-1] = {"gaps": "interpolate"}
    env = powergrid.make(config)
    env.reset(seed=0)


def test_nyiso_as_it_was_compiled_upstream(samples: Path) -> None:
    frame = pd.read_csv(samples / "nyiso" / "nyiso_loadHourly_2021_wide.csv.gz", index_col=0, parse_dates=True)
    zone = {"clock_changes": {"zone": ZONE, "skipped": "drop"}}
    found = clean(frame, [zone, {"year": 2021}, "gaps"])
    assert found.frame.shape[0] == 8760
    assert int(found.frame.isna().all(axis=1).sum()) == 1  # the second 01:00 of November, which upstream collapsed
    assert "1 in the skipped hour dropped" in str(found.report)


def test_ercot_workbook_by_wall_clock(samples: Path) -> None:
    pytest.importorskip("openpyxl")
    sheets = pd.read_excel(next((samples / "ercot").glob("*.xlsx")), sheet_name=["Mar", "Nov"])
    compiled = pd.read_csv(samples / "ercot" / "ercot_dam_spp_2021_2022_hourly.csv.gz", index_col=0)
    compiled.index = pd.to_datetime(compiled.index, utc=True)
    for sheet in sheets.values():
        north = sheet[sheet["Settlement Point"] == "LZ_NORTH"]
        ends = pd.to_timedelta(north["Hour Ending"].str[:2].astype(int), unit="h")
        index = pd.DatetimeIndex(pd.to_datetime(north["Delivery Date"]) + ends)
        frame = pd.DataFrame({"price_per_mwh:north": north["Settlement Point Price"].to_numpy()}, index=index)
        found = clean(frame, ["hour_ending", {"clock_changes": "America/Chicago"}, "gaps"])
        column = next(name for name in compiled.columns if "LZ_NORTH" in name)
        assert not found.frame.isna().to_numpy().any()
        assert found.frame.iloc[:, 0].to_numpy() == pytest.approx(compiled.loc[found.frame.index, column].to_numpy())


def test_columns_of_one_file_are_read_together_and_a_changed_file_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from powergrid.datasets import cells

    opened = []
    read = cells._read
    monkeypatch.setattr(cells, "_read", lambda file, *more: opened.append(file.name) or read(file, *more))
    hours = pd.date_range("2023-01-01", periods=8760, freq="1h")
    columns = {f"c{k}": np.arange(8760) % 24 + 10.0 + k for k in range(4)}
    pd.DataFrame({"time": hours, **columns}).to_csv(tmp_path / "y.csv", index=False)
    lines = [f"  load_p_pu:s{k}: {{path: y.csv, column: c{k}, unit: kW, rating: 100}}" for k in range(4)]
    (tmp_path / "y.yaml").write_text("\n".join(["name: y", "series:", *lines]))
    for factor in (1.0, 2.0):
        shown = datasets.load(str(tmp_path / "y.yaml"))
        for k, column in enumerate(columns.values()):
            assert shown.series(f"load_p_pu:s{k}").values == pytest.approx(factor * column / 100.0)
        table = pd.DataFrame({name: 2.0 * column for name, column in columns.items()}, index=hours)
        table.to_csv(tmp_path / "y.csv", index_label="time")
    assert opened == ["y.csv", "y.csv"]
