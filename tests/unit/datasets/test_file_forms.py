"""Files as people have them: separators, decimal marks, dates, sheets, units and clocks."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from powergrid.core.errors import DataError, MissingExtraError
from powergrid.datasets import SeriesFile, from_csv, from_series, load, read_series
from powergrid.datasets.units import doubt

HOURS = pd.date_range("2023-01-01", "2024-01-01", freq="1h", inclusive="left")
VALUES = np.round(0.3 + 0.4 * np.clip(np.sin((HOURS.hour.to_numpy() - 6) / 12 * np.pi), 0, None), 3)


def table(stamps=None, values=VALUES) -> pd.DataFrame:
    return pd.DataFrame({"time": HOURS if stamps is None else stamps, "p": values})


def read(folder: Path, content, quantity: str = "load_p_pu", **form) -> np.ndarray:
    file = folder / "x.csv"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.write_text(content, encoding="utf-8")
    return read_series(SeriesFile(path="x.csv", **form), quantity=quantity, key="load", folder=folder).values


def refusal(folder: Path, content, quantity: str = "load_p_pu", **form) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, content, quantity, **form)
    assert "x.csv" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("said", [False, True])
def test_separators_and_decimal_marks(tmp_path, sep, decimal, said):
    text = table().to_csv(index=False, sep=sep, decimal=decimal)
    form = {"sep": sep, "decimal": decimal} if said else {}
    np.testing.assert_array_equal(read(tmp_path, text, **form), VALUES)


@pytest.mark.parametrize(
    "form",
    [
        *("%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y-%m-%dT%H:%M:%S.000"),
        *("%d.%m.%Y %H:%M", "%d.%m.%y %H:%M", "%d.%m.%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d-%m-%Y %H:%M"),
        *("%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%m/%d/%y %I:%M:%S %p"),
    ],
)
def test_usual_forms_of_dates(tmp_path, form):
    text = table(HOURS.strftime(form), np.arange(8760) / 8760).to_csv(index=False)
    np.testing.assert_allclose(read(tmp_path, text), np.arange(8760) / 8760, atol=1e-15)
    if ".000" not in form:
        np.testing.assert_allclose(read(tmp_path, text, date_format=form), np.arange(8760) / 8760, atol=1e-15)


@pytest.mark.parametrize("form", ["%d %b %Y %H:%M", "%Hh%M, %d %B %Y", "%Y%j%H"])
def test_a_stated_form(tmp_path, form):
    text = table(HOURS.strftime(form), np.arange(8760) / 8760).to_csv(index=False)
    np.testing.assert_allclose(read(tmp_path, text, date_format=form), np.arange(8760) / 8760, atol=1e-15)


def test_a_date_and_a_clock_column(tmp_path):
    frame = pd.DataFrame({"Datum": HOURS.strftime("%d.%m.%Y"), "Uhrzeit": HOURS.strftime("%H:%M"), "kW": VALUES})
    np.testing.assert_array_equal(read(tmp_path, frame.to_csv(index=False, sep=";", decimal=",")), VALUES)


def test_dates_that_can_be_read_in_two_ways_are_refused_with_both_lines(tmp_path):
    stamps = [f"{1 + k // 24 % 12:02d}/{1 + k // 288 % 12:02d}/2023 {k % 24:02d}:00" for k in range(8760)]
    told = refusal(tmp_path, table(stamps).to_csv(index=False))
    assert "can be read with the day or the month first" in told
    assert '`load: {path: x.csv, date_format: "%d/%m/%Y %H:%M"}` or `load: {path: x.csv, date_format: "%m/' in told
    both = ["13/01/2023 00:00", "01/13/2023 01:00", *HOURS[2:].strftime("%d/%m/%Y %H:%M")]
    assert "days and months change places" in refusal(tmp_path, table(both).to_csv(index=False))


def test_other_stamps_are_refused_with_what_to_write(tmp_path):
    told = refusal(tmp_path, table(HOURS.strftime("%d %b %Y %H:%M")).to_csv(index=False))
    assert '"01 Jan 2023 00:00" is no time in column time, line 2' in told
    assert 'state the form: `load: {path: x.csv, date_format: "%d.%m.%Y %H:%M"}`' in told
    told = refusal(tmp_path, table().to_csv(index=False), date_format="%d.%m.%Y")
    assert '"2023-01-01 00:00:00" is no time in the form "%d.%m.%Y" in column time, line 2' in told
    told = refusal(tmp_path, table().to_csv(index=False), date_format="%Q")
    assert 'date_format "%Q" is none' in told or "no time" in told


def test_a_number_with_two_readings_is_refused_with_both_lines(tmp_path):
    text = table(values=np.full(8760, "1,250")).to_csv(index=False, sep=";")
    told = refusal(tmp_path, text, "price_per_mwh")
    assert '"1,250" may have a decimal mark or thousands' in told
    assert 'separator ";"), column p' in told
    assert '`load: {path: x.csv, decimal: ","}` or `load: {path: x.csv, decimal: "."}`' in told
    assert (read(tmp_path, text, decimal=",") == 1.25).all()
    assert (read(tmp_path, text, "price_per_mwh", decimal=".") == 1250).all()


@pytest.mark.parametrize(
    ("cells", "value"),
    [(["1.234,5"], 1234.5), (["1,234.5"], 1234.5), (["1.234", "0,5"], 1234.0), (["-1e3", "12,5"], -1000.0)],
)
def test_thousands(tmp_path, cells, value):
    values = [*cells, *["7"] * (8760 - len(cells))]
    found = read(tmp_path, table(values=values).to_csv(index=False, sep=";"), "price_per_mwh")
    assert found[0] == value


def test_a_wrong_decimal_mark_is_told(tmp_path):
    text = table().to_csv(index=False, sep=";", decimal=",")
    told = refusal(tmp_path, text, decimal=".")
    assert '"0,3" is not a number at line 2 (time 2023-01-01 00:00:00) (decimal mark "."); write 12.5' in told
    assert '`load: {path: x.csv, decimal: ","}`' in told
    told = refusal(tmp_path, "time,p\n" + "\n".join(f"{stamp},0,5" for stamp in HOURS))
    assert "line 2: 3 cells, the header has 2" in told
    assert '`load: {path: x.csv, sep: ";", decimal: ","}`' in told


def test_a_wrong_separator_is_told(tmp_path):
    told = refusal(tmp_path, table().to_csv(index=False), sep=";")
    assert '(separator ";"): the header "time,p" has no such separator' in told
    told = refusal(tmp_path, table().to_csv(index=False, sep="#"))
    assert "one value column expected beside time#p, found none" in told
    assert '`load: {path: x.csv, sep: ";"}`' in told
    np.testing.assert_array_equal(read(tmp_path, table().to_csv(index=False, sep="#"), sep="#"), VALUES)


def test_lines_end_as_anywhere_and_begin_with_a_header(tmp_path):
    text = table().to_csv(index=False)
    for end in ("\r", "\r\n", "\n\n"):
        np.testing.assert_array_equal(read(tmp_path, text.replace("\n", end).encode()), VALUES)
    assert "line 1 is no header but a row (2023-01-01 00:00:00 0.3)" in refusal(tmp_path, text.partition("\n")[2])
    assert "line 2: 1 cells, the header has 2" in refusal(tmp_path, text.replace(",", ";", 1))


def test_columns_of_one_name_are_refused(tmp_path):
    frame = table().assign(q=1.0).set_axis(["time", "p", "p"], axis=1)
    told = refusal(tmp_path, frame.to_csv(index=False), column="p")
    assert '2 columns are called "p"' in told


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_encodings(tmp_path, encoding):
    text = table().rename(columns={"p": "Wärme °C"}).to_csv(index=False)
    np.testing.assert_array_equal(read(tmp_path, text.encode(encoding), column="Wärme °C"), VALUES)


def ends(minutes: int) -> pd.DatetimeIndex:
    return pd.date_range("2023-01-01", "2024-01-01", freq=f"{minutes}min", inclusive="right")


@pytest.mark.parametrize("minutes", [60, 15])
def test_stamps_at_the_end_of_their_interval(tmp_path, minutes):
    stamps = ends(minutes)
    values = np.arange(len(stamps)) / len(stamps)
    text = table(stamps, values).to_csv(index=False)
    told = refusal(tmp_path, text)
    assert "look like the ends of intervals: write `load: {path: x.csv, time: end}`" in told
    np.testing.assert_array_equal(read(tmp_path, text, time="end"), values)
    before = (stamps - pd.Timedelta(minutes=minutes)).strftime("%d.%m.%Y")
    clock = stamps.strftime("%H:%M").where(stamps.hour + stamps.minute > 0, "24:00")
    night = before + " " + clock
    np.testing.assert_array_equal(read(tmp_path, table(night, values).to_csv(index=False), time="end"), values)
    told = refusal(tmp_path, table().to_csv(index=False), time="end")
    assert "look like the starts of intervals: write `load: {path: x.csv, time: start}`" in told


def sun(turn_h: int = 0) -> np.ndarray:
    by_hour = np.clip(np.sin((np.arange(24) - 5.5) / 12 * np.pi), 0, None)
    return np.tile(np.roll(by_hour, turn_h), 365).round(4)


@pytest.mark.parametrize("offset_h", [-8, -5, -4, 9, 12])
def test_sun_of_another_clock_is_told_with_the_offset_that_mends_it(tmp_path, offset_h):
    text = table(values=sun(-offset_h)).to_csv(index=False)
    told = refusal(tmp_path, text, "pv_pu")
    wanted = offset_h if offset_h != 12 else -12
    assert "the middle of the sun's day is at" in told
    assert ("sun at midnight: the mean from 22:00 to 02:00 is 0." in told) == (offset_h != -4)
    assert f"write `utc_offset_h: {wanted}`" in told
    np.testing.assert_array_equal(read(tmp_path, text, "pv_pu", utc_offset_h=offset_h), sun())
    np.testing.assert_array_equal(read(tmp_path, text, "pv_pu", check=False), sun(-offset_h))


@pytest.mark.parametrize("column", ["pv_pu:south", "pv_pu:southwest", "ghi_w_m2:greensboro", "dni_w_m2:greensboro"])
def test_real_sun_is_told_by_its_clock(column):
    series = load("embedded_2022").series(column)
    a_day, quantity = 86_400 // series.interval_s, column.split(":")[0]
    for turn_h in range(-11, 12):
        found = doubt(quantity, np.roll(series.values, turn_h * a_day // 24), series.interval_s)
        assert abs(turn_h) == 3 or (found is None) == (abs(turn_h) < 3)


def test_utc_stamps_of_a_local_year(tmp_path):
    """A file whose stamps are UTC, but which covers the year of the place, is not turned."""
    values = np.arange(8760) / 8760
    utc = HOURS.tz_localize("Etc/GMT-1").tz_convert("UTC")
    for stamps in (utc, utc.strftime("%Y-%m-%dT%H:%MZ"), utc.tz_localize(None)):
        text = table(stamps, values).to_csv(index=False)
        np.testing.assert_array_equal(read(tmp_path, text, utc_offset_h=1), values)
        assert "the first interval starts at 2022-12-31T23:00:00" in refusal(tmp_path, text)
    counts = table(np.arange(8760), values).to_csv(index=False)
    np.testing.assert_array_equal(read(tmp_path, counts, utc_offset_h=1), np.roll(values, 1))
    assert "no multiple of 3600 s" in refusal(tmp_path, counts, utc_offset_h=5.5)


CONVERTED = [
    ("load_p_pu", "kW", 4500 * VALUES, {}, VALUES / VALUES.max()),
    ("load_p_pu", "kW", 4500 * VALUES, {"rating": 9000}, VALUES / 2),
    ("load_p_pu", "kwh", 4500 * VALUES, {"rating": 9000}, VALUES / 2),
    ("load_p_pu", "percent", 100 * VALUES, {}, VALUES),
    ("pv_pu", "MW", 40 * sun(), {"rating": 50}, 0.8 * sun()),
    ("price_per_mwh", "EUR/kWh", VALUES, {}, 1000 * VALUES),
    ("price_per_mwh", "ct/kWh", 100 * VALUES, {}, 1000 * VALUES),
    ("price_per_mwh", "JPY/MWh", VALUES, {}, VALUES),
    ("price_per_mwh", "€/MWh", VALUES, {}, VALUES),
    ("ambient_temp_c", "K", 273.15 + VALUES, {}, VALUES),
    ("ambient_temp_c", "F", 32 + 1.8 * VALUES, {}, VALUES),
    ("wind_speed_m_s", "km/h", 36 * VALUES, {}, 10 * VALUES),
    ("wind_speed_m_s", "kn", 3600 / 1852 * VALUES, {}, VALUES),
    ("ghi_w_m2", "kW/m2", sun(), {}, 1000 * sun()),
    ("demand_mw", "kW", VALUES, {}, VALUES / 1000),
    ("trip_mwh", "kWh", VALUES, {}, VALUES / 1000),
    ("co2_t_per_mwh", "g/kWh", 1000 * VALUES, {}, VALUES),
    ("stay_h", "min", 60 * VALUES, {}, VALUES),
]


@pytest.mark.parametrize(("quantity", "unit", "values", "more", "expected"), CONVERTED)
def test_stated_units_are_converted(tmp_path, quantity, unit, values, more, expected):
    found = read(tmp_path, table(values=values).to_csv(index=False), quantity, unit=unit, **more)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_energy_of_a_quarter_hour_is_four_times_its_power(tmp_path):
    stamps = pd.date_range("2023-01-01", "2024-01-01", freq="15min", inclusive="left")
    text = table(stamps, np.repeat(VALUES, 4)).to_csv(index=False)
    np.testing.assert_allclose(read(tmp_path, text, unit="kWh", rating=8), np.repeat(VALUES, 4) / 2)


DOUBTS = [
    (
        "price_per_mwh",
        VALUES,
        "largest value 0.7, expected tens to hundreds per MWh: looks like a price",
        "unit",
    ),
    ("load_p_pu", 4500 * VALUES, "largest value 3150, expected 0 to about 1.5: looks like kW", "unit: kW"),
    ("load_p_pu", 4.5e6 * VALUES, "expected 0 to about 1.5: looks like W", "unit: W"),
    ("load_p_pu", 100 * VALUES, "expected 0 to about 1.5: looks like percent", "unit: percent"),
    ("load_p_pu", 6 * VALUES, "largest value 4.2, expected 0 to about 1.5: looks like MW", "unit: MW"),
    ("load_p_pu", -VALUES, "8760 values below zero, the least -0.7", "check: false"),
    ("load_q_pu", -300 * VALUES, "largest value -210, expected -1.5 to about 1.5: looks like kW", "unit: kW"),
    ("pv_pu", 50 * sun(), "expected 0 to about 1.1: looks like percent", "unit: percent"),
    ("ambient_temp_c", 273 + 20 * VALUES, "largest value 287, expected -60 to 60 degC: looks like K", "unit: K"),
    ("ambient_temp_c", 90 * VALUES + 10, "largest value 73, expected -60 to 60 degC: looks like degF", "unit: degF"),
    ("wind_speed_m_s", 100 * VALUES, "largest value 70, expected 0 to about 40 m/s: looks like km/h", "unit: km/h"),
    ("ghi_w_m2", sun(), "largest value 0.9914, expected hundreds of W/m2: looks like kW/m2", "unit: kW/m2"),
]


@pytest.mark.parametrize(("quantity", "values", "told", "write"), DOUBTS)
def test_a_wrong_unit_is_told_with_the_value_seen_and_the_line_to_write(tmp_path, quantity, values, told, write):
    text = table(values=np.round(values, 4)).to_csv(index=False)
    message = refusal(tmp_path, text, quantity)
    assert f"{quantity}: " in message
    assert told in message
    assert "`load: {path: x.csv, " in message
    assert write in message
    if np.abs(values).max() > 100 and quantity.endswith("_pu"):
        assert "check: false" not in message
        assert "beyond physical sense" in refusal(tmp_path, text, quantity, check=False)
    else:
        assert "check: false}`" in message
        np.testing.assert_allclose(read(tmp_path, text, quantity, check=False), np.round(values, 4))


@pytest.mark.parametrize(("quantity", "unit"), [("load_p_pu", "pu"), ("price_per_mwh", "USD/MWh")])
def test_the_quantitys_own_unit_says_that_sizes_are_meant_so(tmp_path, quantity, unit):
    values = 4 * VALUES if quantity == "load_p_pu" else VALUES
    np.testing.assert_allclose(read(tmp_path, table(values=values).to_csv(index=False), quantity, unit=unit), values)


def test_what_is_beyond_sense_is_refused_whatever_is_stated(tmp_path):
    for quantity, unit, factor in (("load_p_pu", "percent", 5.75e6), ("price_per_mwh", "$/MWh", 1e20)):
        text = table(values=factor * VALUES).to_csv(index=False)
        assert "beyond physical sense" in refusal(tmp_path, text, quantity, unit=unit, check=False)
    assert "never negative" in refusal(tmp_path, table(values=-VALUES).to_csv(index=False), "pv_pu", check=False)
    year = load("embedded_2022")
    columns = {column: year.series(column) for column in year.columns}
    price = columns["price_per_mwh:lz_north"]
    columns["price_per_mwh:lz_north"] = price._replace(values=np.where(price.values > 500, 1e20, price.values))
    with pytest.raises(DataError, match=r"price_per_mwh:lz_north.*1e\+20 is beyond physical sense"):
        type(year).from_columns("mine", columns, start=year.start, utc_offset_h=-6.0)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"unit": "kelvin"}, 'unknown unit "kelvin"; units of load_p_pu: pu, percent, %, W, kW'),
        ({"unit": "MWW"}, 'did you mean "MW"?'),
        ({"unit": "pu", "rating": 3}, "a rating has no meaning for values in pu"),
    ],
)
def test_units_that_do_not_fit(tmp_path, form, told):
    (tmp_path / "x.csv").write_text(table().to_csv(index=False))
    with pytest.raises(DataError) as caught:
        from_series({"load": {"path": "x.csv", **form}}, folder=tmp_path)
    assert told in str(caught.value)


def test_from_csv_takes_several_columns_of_one_file(tmp_path):
    frame = table().assign(kW=3000 * VALUES, Preis=100 * VALUES)
    frame.to_csv(tmp_path / "all.csv", index=False, sep=";", decimal=",")
    mine = from_csv("all.csv", {"load": "p", "price": "Preis"}, folder=tmp_path, sep=";")
    assert mine.sites("load_p_pu") == mine.sites("load_q_pu")[:0] + ("load_p_pu:user",)
    np.testing.assert_array_equal(mine.series("load_q_pu:user").values, VALUES)
    np.testing.assert_allclose(mine.series("price_per_mwh:user").values, 100 * VALUES)
    assert "column Preis" in mine.source
    with pytest.raises(DataError, match=r"load: seperator: Extra inputs.*known: path, column, sep"):
        from_csv("all.csv", {"load": "p"}, folder=tmp_path, seperator=";")
    with pytest.raises(DataError, match="to which unit does not apply"):
        from_series({"price": {"path": "ercot_2021:price", "unit": "EUR/MWh"}})


@pytest.fixture
def book(tmp_path):
    with pd.ExcelWriter(tmp_path / "x.xlsx") as writer:
        table().to_excel(writer, sheet_name="Last", index=False)
        table(HOURS.strftime("%d.%m.%Y %H:%M"), 100 * VALUES).to_excel(writer, sheet_name="Preis", index=False)
    return tmp_path


def test_excel(book):
    files = {"load": {"path": "x.xlsx", "sheet": "Last"}, "price": {"path": "x.xlsx", "sheet": 1}}
    mine = from_series(files, folder=book)
    np.testing.assert_array_equal(mine.series("load_p_pu:user").values, VALUES)
    np.testing.assert_allclose(mine.series("price_per_mwh:user").values, 100 * VALUES)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({}, 'has the sheets "Last", "Preis"; write `load: {path: x.xlsx, sheet: Last}`'),
        ({"sheet": "Lasten"}, 'has no sheet "Lasten", only Last, Preis'),
        ({"sheet": 2}, "has no sheet 2; sheets are numbered from 0 to 1"),
        ({"sheet": "Last", "column": "q"}, '(sheet "Last"): unknown column "q"'),
    ],
)
def test_excel_faults(book, form, told):
    with pytest.raises(DataError) as caught:
        from_series({"load": {"path": "x.xlsx", **form}}, folder=book)
    assert told in str(caught.value)


def test_excel_without_openpyxl_names_the_extra(book, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"powergrid-marl\[excel\]"):
        read_series(book / "x.xlsx", quantity="load_p_pu")


def test_files_of_other_kinds(tmp_path):
    assert "is a gzip file under another ending" in refusal(tmp_path, b"\x1f\x8b" + bytes(99))
    assert "is a zip file" in refusal(tmp_path, b"PK\x03\x04" + bytes(99))
    assert "is not a text file" in refusal(tmp_path, b"time\0p")
    assert "no data" in refusal(tmp_path, "")
    assert "no data" in refusal(tmp_path, "# only\n# comments\n")
    (tmp_path / "x.xls").write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(DataError, match=r"\.xls files are not read; save it as \.xlsx"):
        read_series(tmp_path / "x.xls", quantity="load_p_pu")
    (tmp_path / "bad.xlsx").write_text("time,p\n")
    with pytest.raises(DataError, match="is no Excel file"):
        read_series(tmp_path / "bad.xlsx", quantity="load_p_pu")
    with zipfile.ZipFile(tmp_path / "empty.xlsx", "w") as made:
        made.writestr("x.xml", "<x/>")
    with pytest.raises(DataError, match="cannot be read"):
        read_series(tmp_path / "empty.xlsx", quantity="load_p_pu")


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from powergrid.core.errors import PowerGridError
from powergrid.datasets import SeriesFile, read_series
import pandas, openpyxl
def held():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024
before = held()
for path in sys.argv[1:]:
    try:
        read_series(path, quantity="load_p_pu")
    except PowerGridError as error:
        print(len(str(error)), error)
print(held() - before)
"""


def workbook(path: Path, rows: str, extra: str = "") -> None:
    """A workbook whose only sheet holds these rows."""
    kind = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    with pd.ExcelWriter(path) as writer:
        table().head(2).to_excel(writer, index=False)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    sheet = f'{extra}<worksheet xmlns="{kind}"><sheetData>{rows}</sheetData></worksheet>'
    members["xl/worksheets/sheet1.xml"] = sheet.encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what a process has held")
def test_hostile_files_cost_a_sentence_and_bounded_memory(tmp_path):
    made = {
        "wide.csv": ("time," + "," * 9_000_000 + "\n", "more than 2,000 columns"),
        "cells.csv": ("time,p\n" + "," * 9_000_000 + "\n", "more than 8,000,000 cells"),
        "quote.csv": ('time,p\n2023-01-01,"' + "x" * 1_000_000, "cannot be read"),
        "name.csv": ("t" * 5_000_000 + "\n" + "1\n" * 9, "is no header, it has a name of 5,000,000 letters"),
    }
    for name, (text, _) in made.items():
        (tmp_path / name).write_text(text)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(90_000_000))
    (tmp_path / "bomb.xlsx").write_bytes(bomb.getvalue())
    with (tmp_path / "sparse.csv").open("wb") as stream:
        stream.truncate(1 << 33)
    corner = '<row r="{0}"><c r="XFD{0}"><v>1</v></c></row>'
    workbook(tmp_path / "corner.xlsx", corner.format(1_048_576))
    workbook(tmp_path / "far.xlsx", '<row r="1"><c r="B1"><v>1</v></c></row><row r="999999999999"/>')
    workbook(tmp_path / "row.xlsx", f'<row r="1">{"<c><v>1</v></c>" * 1_000_000}</row>')
    laughs = '<!ENTITY a0 "1">' + "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 10))
    workbook(
        tmp_path / "laughs.xlsx", '<row r="1"><c><v>&a9;</v></c></row>', f'<!DOCTYPE x [<!ENTITY a0 "1">{laughs}]>'
    )
    told = [*(sentence for _, sentence in made.values()), "claims to unpack to 90 MB", "has 8,590 MB"]
    told += ["more than 1,048,576 rows, 2,000 columns", "more than 1,048,576 rows", "has rows of too many cells"]
    told += ["has declarations", "it is no regular file"]
    packed = ("bomb.xlsx", "sparse.csv", "corner.xlsx", "far.xlsx", "row.xlsx", "laughs.xlsx")
    paths = [*(str(tmp_path / name) for name in (*made, *packed)), "/dev/zero"]
    done = subprocess.run([sys.executable, "-c", LIMITED, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *lines, grown_mb = done.stdout.splitlines()
    assert len(lines) == len(told)
    for line, sentence in zip(lines, told, strict=True):
        length, message = line.split(" ", 1)
        assert sentence in message
        assert int(length) < 1000
    assert int(grown_mb) < 400


def test_minutes(tmp_path):
    """Also those at 23:24:00, which end like a day."""
    minutes = pd.date_range("2023-01-01", "2024-01-01", freq="1min", inclusive="left")
    values = np.arange(len(minutes)) % 1440 / 1440
    np.testing.assert_array_equal(read(tmp_path, table(minutes, values).to_csv(index=False)), values)
