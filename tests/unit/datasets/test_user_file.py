"""Users' CSV files: good ones are read, bad ones refused with their place."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from powergrid.core.errors import DataError, UnknownNameError
from powergrid.datasets import SeriesFile, from_series, load, read_series


def rows_of(year: int = 2023, minutes: int = 60) -> list[tuple[str, str]]:
    start, end = datetime(year, 1, 1), datetime(year + 1, 1, 1)
    count = int((end - start) / timedelta(minutes=minutes))
    stamps = [start + timedelta(minutes=minutes * k) for k in range(count)]
    return [(stamp.isoformat(timespec="minutes"), f"{k % 24 / 24:.4f}") for k, stamp in enumerate(stamps)]


def write(folder: Path, rows, header: str = "time,load", comment: str = "") -> Path:
    file = folder / "load.csv"
    file.write_text(comment + header + "\n" + "\n".join(",".join(row) for row in rows) + "\n", encoding="utf-8")
    return file


def read(file: Path, column: str | None = None):
    return read_series(file, column, quantity="load_p_pu")


def refusal(folder: Path, rows, **kw) -> str:
    file = write(folder, rows, **kw)
    with pytest.raises(DataError) as caught:
        read(file)
    assert str(file) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("minutes", "per_day"), [(60, 24), (15, 96), (5, 288)])
def test_reads_a_year_and_infers_its_interval(tmp_path, minutes, per_day):
    series = read(write(tmp_path, rows_of(minutes=minutes), comment="# what it is\n\n# and more\n"))
    assert series.interval_s == 60 * minutes
    assert len(series.values) == 365 * per_day
    np.testing.assert_allclose(series.values[:24], np.round(np.arange(24) / 24, 4))


@pytest.mark.parametrize("minutes", [60, 15])
def test_leap_year_loses_its_29th_of_february(tmp_path, minutes):
    rows = rows_of(2024, minutes)
    rows = [(time, "0.9" if time.startswith("2024-02-29") else value) for time, value in rows]
    series = read(write(tmp_path, rows))
    a_day = 24 * 60 // minutes
    assert len(series.values) == 365 * a_day
    assert 0.9 not in series.values
    march = float(dict(rows)["2024-03-01T05:00"])
    assert series.values[59 * a_day + 5 * a_day // 24] == march


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("count", [8760, 8784, 35_040, 35_136])
def test_whole_numbers_count_intervals(tmp_path, first, count):
    rows = [(str(first + k), f"{k / count:.6f}") for k in range(count)]
    series = read(write(tmp_path, rows, header="hour,load"))
    assert len(series.values) * series.interval_s == 365 * 86_400
    assert series.values[0] == 0


def test_rows_in_any_order_are_sorted(tmp_path):
    rows = rows_of()
    ordered = read(write(tmp_path, rows))
    mixed = read(write(tmp_path, rows[::-1]))
    np.testing.assert_array_equal(ordered.values, mixed.values)


def test_utc_offsets_undo_the_clock_change(tmp_path):
    rows = []
    for hour, (_, value) in enumerate(rows_of()):
        summer = 1680 < hour < 7224
        local = datetime(2023, 1, 1) + timedelta(hours=hour + summer)
        rows.append((local.isoformat() + ("-05:00" if summer else "-06:00"), value))
    series = read(write(tmp_path, rows))
    np.testing.assert_allclose(series.values, np.tile(np.round(np.arange(24) / 24, 4), 365))


def test_one_of_several_columns(tmp_path):
    rows = [(time, value, "0.5") for time, value in rows_of()]
    file = write(tmp_path, rows, header="time,home,shop")
    assert (read(file, "shop").values == 0.5).all()
    with pytest.raises(DataError, match="found home, shop; name it with column="):
        read(file)
    with pytest.raises(DataError, match='did you mean "shop"'):
        read(file, "shp")
    dataset = from_series({"load": f"{file}:shop"})
    assert (dataset.table(900, ["load_p_pu:user"])[1] == 0.5).all()


def test_gap_is_refused_with_both_its_ends(tmp_path):
    rows = rows_of()
    del rows[100]
    message = refusal(tmp_path, rows)
    assert "column load" in message
    assert "line 102 (time 2023-01-05T05:00) comes 7200 s after line 101 (time 2023-01-05T03:00)" in message
    assert "add the missing rows" in message


def test_naive_clock_change_is_refused(tmp_path):
    rows = [row for row in rows_of() if row[0] != "2023-03-12T02:00"]
    rows.insert(7000, rows[7000])
    assert "time given twice" in refusal(tmp_path, rows)
    assert "UTC offsets" in refusal(tmp_path, rows)


@pytest.mark.parametrize("text", ["", "NaN", "null", "inf"])
def test_missing_value_is_refused(tmp_path, text):
    rows = rows_of()
    rows[57] = (rows[57][0], text)
    rows[60] = (rows[60][0], text)
    message = refusal(tmp_path, rows)
    assert "2 values missing or infinite, the first at line 59 (time 2023-01-03T09:00)" in message


def test_text_in_a_number_column_is_refused(tmp_path):
    rows = rows_of()
    rows[57] = (rows[57][0], "12 kW")
    assert '"12 kW" is not a number at line 61 (time 2023-01-03T09:00)' in refusal(
        tmp_path, rows, comment="# comment\n\n"
    )


def test_doubled_stamp_is_refused(tmp_path):
    rows = rows_of()
    rows[58] = (rows[57][0], "0.1")
    assert "time given twice at line 60 (time 2023-01-03T09:00)" in refusal(tmp_path, rows)


@pytest.mark.parametrize("keep", [48, 8759])
def test_too_short_is_refused(tmp_path, keep):
    message = refusal(tmp_path, rows_of()[:keep])
    assert f"{keep} rows of 3600 s" in message
    assert "a year has 8760; too short" in message


def test_more_than_a_year_is_refused(tmp_path):
    assert "too long: keep one calendar year" in refusal(tmp_path, rows_of(2022) + rows_of(2023))


def test_counts_that_are_no_year_are_refused(tmp_path):
    rows = [(str(k), "0.5") for k in range(8700)]
    assert "8700 rows are not a year" in refusal(tmp_path, rows, header="hour,load")
    rows = [(str(k + (k > 99)), "0.5") for k in range(8760)]
    assert "(hour 101) comes 7200 s after" in refusal(tmp_path, rows, header="hour,load")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [("soon", "1"), *rows[1:]], '"soon" is no time in column time, line 2'),
        (lambda rows: [(rows[0][0] + "+00:00", "1"), *rows[1:]], "some stamps have a UTC offset"),
        (lambda rows: rows[24:], "begins on 1 January at 00:00"),
        (lambda rows: [*rows[:9], (*rows[9], "7"), *rows[10:]], "line 11: 3 cells, the header has 2"),
        (lambda rows: [], "no data"),
        (
            lambda rows: [(time, str(100 * float(value))) for time, value in rows],
            "looks like percent; write `load_p_pu: {path: ",
        ),
    ],
)
def test_other_faults_name_their_place(tmp_path, change, message):
    assert message in refusal(tmp_path, change(rows_of()))


def test_negative_generation_is_refused(tmp_path):
    rows = rows_of()
    rows[3] = (rows[3][0], "-0.02")
    file = write(tmp_path, rows)
    with pytest.raises(DataError, match="1 values below zero"):
        read_series(file, quantity="pv_pu")
    form = SeriesFile(path=str(file), unit="$/MWh")
    assert read_series(form, quantity="price_per_mwh").values.min() == -0.02


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        read(tmp_path / "none.csv")


def test_hourly_file_is_held_and_the_rest_comes_from_the_base(tmp_path):
    file = write(tmp_path, rows_of())
    dataset = from_series({"load": file.name}, folder=tmp_path)
    assert dataset.sites("load_p_pu") == ("load_p_pu:user",)
    assert dataset.sites("load_q_pu") == ("load_q_pu:user",)
    _, table = dataset.table(900, ["load_p_pu:user", "pv_pu:south"])
    np.testing.assert_array_equal(table[:, 0], np.repeat(read(file).values, 4))
    np.testing.assert_array_equal(table[:, 1], load("embedded").table(900, ["pv_pu:south"])[1][:, 0])
    assert "load.csv" in dataset.source


def test_temperature_of_a_file_is_interpolated(tmp_path):
    file = write(tmp_path, rows_of())
    _, table = from_series({"temperature": file}).table(900, ["ambient_temp_c:user"])
    steps = np.diff(table[: 23 * 4, 0])
    assert (steps > 0).all()


def test_one_site_is_replaced_alone(tmp_path):
    dataset = from_series({"load_p_pu:res_2": write(tmp_path, rows_of())})
    assert set(dataset.columns) == set(load("embedded").columns)
    _, mine = dataset.table(3600, ["load_p_pu:res_1", "load_p_pu:res_2"])
    _, base = load("embedded").table(3600, ["load_p_pu:res_1", "load_p_pu:res_2"])
    np.testing.assert_array_equal(mine[:, 0], base[:, 0])
    np.testing.assert_allclose(mine[:24, 1], np.round(np.arange(24) / 24, 4))


def test_one_site_keeps_its_own_beside_a_series_for_all_whatever_the_order(tmp_path):
    file = write(tmp_path, [(time, "0.25") for time, _ in rows_of()])
    given = {"load_p_pu:res_2": "embedded_2022:load_p_pu:com_1", "load": file}
    for series in (given, dict(reversed(given.items()))):
        dataset = from_series(series)
        assert set(dataset.sites("load_p_pu")) == {"load_p_pu:user", "load_p_pu:res_2"}
        np.testing.assert_array_equal(
            dataset.series("load_p_pu:res_2").values, load("embedded_2022").series("load_p_pu:com_1").values
        )
        assert (dataset.series("load_q_pu:user").values == 0.25).all()
    with pytest.raises(DataError, match="load_p_pu is given twice, as load and load_p_pu"):
        from_series({"load": file, "load_p_pu": file})


def test_a_column_in_another_unit_is_refused():
    with pytest.raises(
        DataError, match=r"price_per_mwh: embedded_2022:load_p_pu:res_1 is given in pu; name a column in per_mwh"
    ):
        from_series({"price": "embedded_2022:load"})


def test_column_of_another_dataset_brings_its_stress_days():
    dataset = from_series({"price": "ercot_2021:price_per_mwh:lz_north"})
    np.testing.assert_array_equal(dataset.split("stress"), load("ercot_2021").split("stress"))
    np.testing.assert_array_equal(
        from_series({"price": "ercot_2021:price"}).table(3600, ["price_per_mwh:user"])[1],
        load("ercot_2021").table(3600, ["price_per_mwh:lz_north"])[1],
    )


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ({"laod": "load.csv"}, 'unknown series "laod"; did you mean "load"'),
        ({"load": "nothing.csv"}, r"nothing\.csv does not exist"),
        ({"load": "embeded_2022:load"}, 'did you mean "embedded_2022"'),
    ],
)
def test_wrong_names_are_refused(series, message):
    with pytest.raises(DataError, match=message):
        from_series(series)


def test_wrong_column_of_a_dataset_is_refused():
    with pytest.raises(UnknownNameError, match='did you mean "pv_pu:south"'):
        from_series({"solar": "embedded_2022:pv_pu:suoth"})


def test_base_of_other_days_is_refused():
    with pytest.raises(DataError, match="must cover the same days"):
        from_series({"price": "ercot_2021:price"}, base=load("embedded", end="2022-02-01"))


def test_sample_files_hold_the_embedded_year(root):
    files = {
        "load": "2024_load.csv",
        "solar": "2024_solar.csv",
        "wind": "2024_wind.csv",
        "price": "caiso_lmp_2024.csv",
    }
    folder = root / "configs" / "data"
    dataset = from_series(files, folder=folder)
    embedded = load("embedded_2022")
    for mine, theirs in (
        ("pv_pu:user", "pv_pu:south"),
        ("wind_pu:user", "wind_pu:turbine"),
        ("price_per_mwh:user", "price_per_mwh:lz_north"),
    ):
        ours, expected = dataset.table(3600, [mine])[1], embedded.table(3600, [theirs])[1]
        np.testing.assert_allclose(ours, expected, atol=5.1e-5)
    loads = embedded.table(3600, [f"load_p_pu:{kind}_{k}" for kind in ("res", "com") for k in (1, 2, 3)])[1]
    np.testing.assert_allclose(dataset.table(3600, ["load_p_pu:user"])[1][:, 0], loads.mean(axis=1), atol=5.1e-5)
    np.testing.assert_array_equal(dataset.split("stress"), embedded.split("stress"))
    for file in files.values():
        assert (folder / file).stat().st_size < 400_000
        assert (folder / file).read_text(encoding="utf-8").startswith("# ")
    assert "no California ISO data" in (folder / "caiso_lmp_2024.csv").read_text(encoding="utf-8")
