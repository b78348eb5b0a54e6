"""Files of CAISO, ERCOT, NYISO, the WIND Toolkit and weather: given samples, and every documented form."""

from __future__ import annotations

import gzip
from pathlib import Path

import market_files as made
import numpy as np
import pandas as pd
import pytest

from powergrid.core.errors import DataError
from powergrid.datasets import Dataset, load
from powergrid.datasets.readers import caiso, ercot, nyiso, weather, wind_toolkit

PACIFIC, CENTRAL, EASTERN = "America/Los_Angeles", "America/Chicago", "America/New_York"
CLOCK_CHANGES = [("2023-03-11", 3, 71), ("2023-11-04", 3, 73)]
"""First day, days and hours around each clock change of 2023."""


def known(dataset: Dataset, column: str) -> pd.Series:
    """Values that are not missing, by UTC."""
    series = dataset.series(column)
    index = pd.date_range(dataset.start, periods=len(series.values), freq=f"{series.interval_s}s")
    return pd.Series(series.values, index).dropna()


def expect(dataset: Dataset, column: str, stamps: pd.DatetimeIndex, values: np.ndarray) -> None:
    """Every value at its own hour, and no other."""
    found = known(dataset, column)
    assert list(found.index) == list(stamps.tz_convert("UTC"))
    np.testing.assert_allclose(found.to_numpy(), values, atol=0.006)


# ---------------------------------------------------------------------------------------------------- given samples


def test_oasis_samples_equal_the_compiled_year(samples: Path) -> None:
    found = caiso.read(sorted((samples / "caiso").glob("*.zip")), year=2023)
    table = pd.read_csv(samples / "caiso" / "caiso_2023_hourly.csv.gz", index_col=0, parse_dates=True)
    pairs = {
        "load_mw:ca_iso": "load_mw CA ISO-TAC",
        "solar_mw:np15": "solar_mw NP15",
        "wind_mw:sp15": "wind_mw SP15",
        "price_per_mwh:lmp_0096wd_7_n001": "lmp_usd_per_mwh 0096WD_7_N001",
        "lmp_losses_per_mwh:0096wd_7_n001": "mcl_usd_per_mwh 0096WD_7_N001",
    }
    for column, name in pairs.items():
        values = known(found, column)
        assert len(values) == 71 + 73
        np.testing.assert_allclose(values, table[name].reindex(values.index), atol=0.0051)
    assert found.missing["load_mw:ca_iso"].sum() == 8760 - 144
    assert known(found, "solar_mw:sp15").min() < 0  # plants draw power at night


def test_oasis_parts_and_areas_add_up(samples: Path) -> None:
    found = caiso.read(sorted((samples / "caiso").glob("*.zip")), year=2023)
    node = "0096wd_7_n001"
    parts = sum(known(found, f"lmp_{part}_per_mwh:{node}") for part in ("energy", "congestion", "losses", "ghg"))
    np.testing.assert_allclose(parts, known(found, f"price_per_mwh:lmp_{node}"), atol=2e-5)
    areas = sum(known(found, f"load_mw:{area}") for area in ("pge", "sce", "sdge", "vea", "mwd"))
    assert (areas == known(found, "load_mw:ca_iso")).all()


def test_ercot_workbook_equals_the_compiled_years(samples: Path) -> None:
    file = samples / "ercot" / "rpt.00013060.0000000000000000.DAMLZHBSPP_2021.excerpt.xlsx"
    found = ercot.read(file, year=2021)
    table = pd.read_csv(samples / "ercot" / "ercot_dam_spp_2021_2022_hourly.csv.gz", index_col=0, parse_dates=True)
    assert len(found.columns) == 15
    for column in found.columns:
        values = known(found, column)
        assert len(values) == 7 * 24 + 71 + 73
        assert (values == table[column.partition(":")[2].upper()].reindex(values.index)).all()
    assert known(found, "price_per_mwh:lz_north").max() > 8000  # the winter storm


def test_wind_toolkit_sample(samples: Path) -> None:
    found = wind_toolkit.read(samples / "weather" / "nrel_wtk_wind100m_15min_2019.csv.gz")
    assert (found.days, found.columns, found.interval) == (365, ("wind_speed_m_s:100m",), 900)
    assert f"{found.start:%Y-%m-%d %H:%M}" == "2019-01-01 00:00"
    np.testing.assert_array_equal(found.series("wind_speed_m_s:100m").values[:2], [13.97, 14.01])
    assert not found.missing.any(axis=None)


def test_tmy3_sample_equals_the_embedded_year(samples: Path) -> None:
    pytest.importorskip("pvlib")
    found = weather.read(samples / "weather" / "tmy3_723170TYA_greensboro.csv.gz")
    embedded = load("embedded_2022")
    for quantity in ("ghi_w_m2", "dni_w_m2", "ambient_temp_c"):
        series, other = found.series(f"{quantity}:site"), embedded.series(f"{quantity}:greensboro")
        np.testing.assert_array_equal(series.values, other.values)
    plant = weather.with_pv(found, 36.1, -79.95).series("pv_pu:site").values
    assert 0.15 < plant.mean() < 0.25
    assert plant.max() <= 1.0
    assert not plant.reshape(-1, 24)[:, :4].any()


# ------------------------------------------------------------------------------------------------------------ CAISO


@pytest.mark.parametrize(("first", "days", "count"), CLOCK_CHANGES)
def test_oasis_days_of_23_and_25_hours(tmp_path: Path, first: str, days: int, count: int) -> None:
    stamps = made.hours(PACIFIC, first, days)
    assert len(stamps) == count
    price = made.elapsed(stamps) - 500.0  # negative prices too
    csv = made.oasis_prices(stamps, {"TH_NP15_GEN-APND": price, "DLAP_PGAE-APND": price + 1.0})
    file = made.zipped(tmp_path / "PRC_LMP.zip", {"20230311_20230314_PRC_LMP_DAM_20230401_v12.csv": csv})
    found = caiso.read(file)
    expect(found, "price_per_mwh:lmp_np15", stamps, price)
    expect(found, "price_per_mwh:lmp_pgae", stamps, price + 1.0)
    total = sum(known(found, f"lmp_{part}_per_mwh:np15") for part in ("energy", "congestion", "losses", "ghg"))
    np.testing.assert_allclose(total, known(found, "price_per_mwh:lmp_np15"), atol=2e-5)


@pytest.mark.parametrize(
    ("run", "value", "step_s", "site"), [("RTPD", "PRC", 900, "rtpd"), ("RTM", "VALUE", 300, "rtm")]
)
def test_oasis_real_time_markets(tmp_path: Path, run: str, value: str, step_s: int, site: str) -> None:
    stamps = made.hours(PACIFIC, "2023-11-05", 1, step_s)
    csv = made.oasis_prices(stamps, {"TH_SP15_GEN-APND": made.elapsed(stamps)}, run, value)
    (tmp_path / "real_time.csv").write_text(csv)
    found = caiso.read(tmp_path / "real_time.csv")
    expect(found, f"price_per_mwh:{site}_sp15", stamps, made.elapsed(stamps))
    assert f"lmp_energy_per_mwh:{site}_sp15" in found.columns


def test_missing_hours_of_oasis_stay_missing(tmp_path: Path) -> None:
    stamps = made.hours(PACIFIC, "2023-02-09", 2)
    sun = np.full(len(stamps), 5.0)
    sun[9] = np.nan
    (tmp_path / "ren.csv").write_text(made.oasis_renewables(stamps, {("ZP26", "Solar"): sun}))
    (tmp_path / "load.csv").write_text(made.oasis_load(stamps, {"PGE-TAC": sun * 0 + 7.0, "SCE-TAC": np.arange(48)}))
    found = caiso.read(tmp_path)
    assert np.flatnonzero(found.missing["solar_mw:zp26"]).tolist() == [9]
    with pytest.raises(DataError, match="1 values missing, the first at 2023-02-09 17:00 UTC"):
        found.at("solar_mw:zp26", 900)


def test_error_inside_a_zip_of_oasis_is_a_sentence(tmp_path: Path) -> None:
    file = made.zipped(tmp_path / "x.zip", {"INVALID_REQUEST.xml": made.oasis_error()})
    with pytest.raises(DataError, match=r"INVALID_REQUEST.xml: CAISO answers with error 1000: No data returned"):
        caiso.read(file)


def test_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    stamps = made.hours(PACIFIC, "2023-06-08", 1)
    for k in (0, 1):
        (tmp_path / f"{k}.csv").write_text(made.oasis_load(stamps, {"PGE-TAC": np.arange(24) + 3 * k}))
    with pytest.raises(DataError, match=r"load_mw:pge has the values 0 and 3 at 2023-06-08 07:00 UTC; leave one of"):
        caiso.read(tmp_path)
    (tmp_path / "1.csv").write_text((tmp_path / "0.csv").read_text())  # the same rows twice are no contradiction
    assert known(caiso.read(tmp_path), "load_mw:pge").tolist() == list(range(24))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("half.zip", b"PK\x03\x04 not whole", "no zip archive"),
        ("other.csv", b"a,b\n1,2\n", "is no report that is read"),
        ("page.csv", b"<html>busy</html>", "is XML; fetch OASIS reports as CSV"),
    ],
)
def test_files_that_are_no_report(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told):
        caiso.read(tmp_path / name)


# ------------------------------------------------------------------------------------------------------------ ERCOT


@pytest.mark.parametrize(("first", "days", "count"), CLOCK_CHANGES)
def test_ercot_days_of_23_and_25_hours(tmp_path: Path, first: str, days: int, count: int) -> None:
    stamps = made.hours(CENTRAL, first, days)
    price = made.elapsed(stamps) - 300.0
    points = {"LZ_NORTH": price, "HB_WEST": price - 1.0}
    csv = made.ercot_day_ahead(stamps, points)
    daily = made.zipped(tmp_path / "cdr.zip", {"cdr.00012331.0000.20230311.130000.DAMSPNP4190.csv": csv})
    workbook = made.zipped(tmp_path / "year.zip", {"rpt.00013060.2023.xlsx": made.ercot_workbook(stamps, points)})
    for file in (daily, workbook):
        found = ercot.read(file)
        expect(found, "price_per_mwh:lz_north", stamps, price)
        expect(found, "price_per_mwh:hb_west", stamps, price - 1.0)
        assert len(known(found, "price_per_mwh:lz_north")) == count


@pytest.mark.parametrize("first", ["2023-03-12", "2023-11-05"])
def test_ercot_real_time_quarters(tmp_path: Path, first: str) -> None:
    stamps = made.hours(CENTRAL, first, 1, 900)
    (tmp_path / "rtm.csv").write_text(made.ercot_real_time(stamps, "LZ_WEST", made.elapsed(stamps)))
    found = ercot.read(tmp_path / "rtm.csv")
    expect(found, "price_per_mwh:rtm_lz_west", stamps, made.elapsed(stamps))
    expect(found, "price_per_mwh:rtm_lz_west_ew", stamps, made.elapsed(stamps) + 1.0)


@pytest.mark.parametrize("first", ["2023-03-12", "2023-11-05"])
def test_ercot_load_wind_and_sun(tmp_path: Path, first: str) -> None:
    stamps = made.hours(CENTRAL, first, 1)
    rows = [
        (day, hour, "Y" if made._later(stamps[k]) else "N") for k, (day, hour, _) in enumerate(made.ercot_rows(stamps))
    ]
    value = made.elapsed(stamps)
    load_csv = ["OperDay,HourEnding,COAST,FAR_WEST,NORTH_C,TOTAL,DSTFlag"]
    load_csv += [f"{d},{h:02d}:00,{v:.2f},1,2,{v + 3:.2f},{f}" for (d, h, f), v in zip(rows, value, strict=True)]
    wind_csv = [
        "DELIVERY_DATE,HOUR_ENDING,SYSTEM_WIDE_GEN,COP_HSL_SYSTEM_WIDE,STWPF_SYSTEM_WIDE,WGRPP_SYSTEM_WIDE,DSTFlag"
    ]
    wind_csv += [f"{d},{h:02d},{v:.2f},1,2,3,{f}" for (d, h, f), v in zip(rows[:-2], value[:-2], strict=True)]
    wind_csv += [f"{d},{h:02d},,1,2,3,{f}" for d, h, f in rows[-2:]]  # the future has no generation yet
    (tmp_path / "load.csv").write_text("\n".join(load_csv))
    (tmp_path / "wind.csv").write_text("\n".join(wind_csv))
    found = ercot.read(tmp_path)
    expect(found, "load_mw:coast", stamps, value)
    expect(found, "load_mw:ercot", stamps, value + 3)
    expect(found, "wind_mw:ercot", stamps[:-2], value[:-2])
    zones = sum(known(found, f"load_mw:{zone}") for zone in ("coast", "far_west", "north_c"))
    np.testing.assert_allclose(zones, known(found, "load_mw:ercot"))


@pytest.mark.parametrize("first", ["2023-03-12", "2023-11-05"])
def test_ercot_native_load_marks_the_second_hour_with_dst(tmp_path: Path, first: str) -> None:
    stamps = made.hours(CENTRAL, first, 1)
    lines = ["Hour Ending,COAST,FWEST,NCENT,ERCOT"]
    for k, (day, hour, _) in enumerate(made.ercot_rows(stamps)):
        mark = " DST" if made._later(stamps[k]) else ""
        lines.append(f"{day} {hour:02d}:00{mark},{made.elapsed(stamps)[k]:.2f},1,2,5")
    (tmp_path / "native.csv").write_text("\n".join(lines))
    found = ercot.read(tmp_path / "native.csv")
    expect(found, "load_mw:coast", stamps, made.elapsed(stamps))
    assert {"load_mw:far_west", "load_mw:north_c", "load_mw:ercot"} <= set(found.columns)


def test_old_native_load_names_the_spring_hour_by_its_end(tmp_path: Path) -> None:
    stamps = made.hours(CENTRAL, "2016-03-13", 1)
    ends = (stamps + pd.Timedelta("1h")).tz_localize(None) - pd.Timedelta("3ms")  # cells such as 00:59:59.997
    frame = pd.DataFrame({"Hour_End": ends, "COAST": made.elapsed(stamps), "ERCOT": 1.0})
    with pd.ExcelWriter(tmp_path / "native.xlsx") as writer:
        frame.to_excel(writer, index=False)
    expect(ercot.read(tmp_path / "native.xlsx"), "load_mw:coast", stamps, made.elapsed(stamps))


def test_ercot_reports_that_count_to_25(tmp_path: Path) -> None:
    stamps = made.hours(CENTRAL, "2023-11-05", 1)
    lines = ["DeliveryDate,HourEnding,SettlementPoint,SettlementPointPrice,DSTFlag"]
    lines += [f"11/05/2023,{k + 1:02d}:00,LZ_WEST,{value:.2f},N" for k, value in enumerate(made.elapsed(stamps))]
    (tmp_path / "day.csv").write_text("\n".join(lines))
    expect(ercot.read(tmp_path / "day.csv"), "price_per_mwh:lz_west", stamps, made.elapsed(stamps))


def test_an_hour_that_spring_leaves_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text(
        "DeliveryDate,HourEnding,SettlementPoint,SettlementPointPrice,DSTFlag\n03/12/2023,03:00,LZ_WEST,1.0,N\n"
    )
    with pytest.raises(DataError, match="does not exist or is unclear in America/Chicago"):
        ercot.read(tmp_path / "day.csv")


# ------------------------------------------------------------------------------------------------------------ NYISO


@pytest.mark.parametrize(("first", "days", "count"), CLOCK_CHANGES)
def test_nyiso_days_of_23_and_25_hours(tmp_path: Path, first: str, days: int, count: int) -> None:
    stamps = made.hours(EASTERN, first, days)
    value = np.round(made.elapsed(stamps) - 300.0, 2)
    zones = {"N.Y.C.": value, "HUD VL": value + 2.0}
    days_of = {day: stamps[stamps.normalize() == day] for day in stamps.normalize().unique()}
    inside = {}
    for day, part in days_of.items():  # a monthly zip holds the daily files
        chosen = {zone: values[stamps.isin(part)] for zone, values in zones.items()}
        inside[f"{day:%Y%m%d}damlbmp_zone.csv"] = made.nyiso_prices(part, chosen)
    file = made.zipped(tmp_path / "20230301damlbmp_zone_csv.zip", inside)
    found = nyiso.read(file)
    expect(found, "price_per_mwh:lbmp_nyc", stamps, value)
    expect(found, "price_per_mwh:lbmp_hud_vl", stamps, value + 2.0)
    assert len(known(found, "price_per_mwh:lbmp_nyc")) == count
    energy, losses, congestion = (
        known(found, f"lbmp_{part}_per_mwh:nyc") for part in ("energy", "losses", "congestion")
    )
    np.testing.assert_allclose(energy + losses - congestion, value, atol=1e-9)  # congestion is subtracted
    assert (np.sign(congestion) == -np.sign(value)).all()


@pytest.mark.parametrize("first", ["2023-03-12", "2023-11-05"])
def test_nyiso_five_minutes_are_named_by_their_end(tmp_path: Path, first: str) -> None:
    stamps = made.hours(EASTERN, first, 1, 300)
    zones = {"N.Y.C.": made.elapsed(stamps), "WEST": made.elapsed(stamps) + 1.0}
    (tmp_path / "20230312realtime_zone.csv").write_text(made.nyiso_real_time(stamps, zones))
    found = nyiso.read(tmp_path)
    expect(found, "price_per_mwh:rt_nyc", stamps, zones["N.Y.C."])  # without the correction off the grid
    expect(found, "price_per_mwh:rt_west", stamps, zones["WEST"])


@pytest.mark.parametrize("first", ["2023-03-12", "2023-11-05"])
def test_nyiso_load_and_fuels(tmp_path: Path, first: str) -> None:
    stamps, fives = made.hours(EASTERN, first, 1), made.hours(EASTERN, first, 1, 300)
    value = np.round(made.elapsed(stamps), 1)
    (tmp_path / "20230312palIntegrated.csv").write_text(made.nyiso_load(stamps, {"N.Y.C.": value, "WEST": value + 1}))
    mix = np.floor(made.elapsed(fives) * 12.0)
    (tmp_path / "20230312rtfuelmix.csv").write_text(made.nyiso_fuel_mix(fives, mix))
    found = nyiso.read(tmp_path)
    expect(found, "load_mw:nyc", stamps, value)
    wind = mix + made.FUELS.index("Wind")
    wind[7] += 1.0  # the mean of two readings within 5 min
    expect(found, "generation_mw:wind", fives, wind)
    assert "generation_mw:dual_fuel" in found.columns


def test_nyiso_prices_need_the_name_of_their_market(tmp_path: Path) -> None:
    stamps = made.hours(EASTERN, "2023-06-01", 1)
    (tmp_path / "prices.csv").write_text(made.nyiso_prices(stamps, {"WEST": made.elapsed(stamps)}))
    with pytest.raises(DataError, match="the name of a file of prices states its market"):
        nyiso.read(tmp_path / "prices.csv")


# ---------------------------------------------------------------------------------------------------------- weather


def nsrdb(path: Path, minutes: int = 60) -> tuple[Path, np.ndarray]:
    """A year of NSRDB in local standard time, and its global irradiance."""
    stamps = pd.date_range("2022-01-01", "2023-01-01", freq=f"{minutes}min", inclusive="left")
    ghi = np.clip(900.0 * np.sin((stamps.hour + stamps.minute / 60 - 6.0) / 12.0 * np.pi), 0.0, None).round()
    frame = pd.DataFrame(
        {
            **{part: getattr(stamps, part.lower()) for part in ("Year", "Month", "Day", "Hour")},
            "Minute": stamps.minute + minutes // 2,
            "GHI": ghi,
            "DNI": 0.8 * ghi,
            "DHI": 0.3 * ghi,
            "Temperature": 10.0,
            "Wind Speed": 2.0,
        }
    )
    head = "Source,Location ID,City,State,Country,Latitude,Longitude,Time Zone,Elevation,Local Time Zone\n"
    path.write_text(head + "NSRDB,1,-,-,-,39.74,-105.18,-7,1800,-7\n" + frame.to_csv(index=False))
    return path, ghi


@pytest.mark.parametrize("minutes", [30, 60])
def test_nsrdb_readings_lie_in_the_middle_of_their_interval(tmp_path: Path, minutes: int) -> None:
    pytest.importorskip("pvlib")
    path, ghi = nsrdb(tmp_path / "nsrdb.csv", minutes)
    found = weather.read(path)
    assert (found.days, found.interval, found.utc_offset_h) == (365, 60 * minutes, -7.0)
    np.testing.assert_array_equal(found.series("ghi_w_m2:site").values, ghi)
    plant = weather.with_pv(found, 39.74, -105.18).series("pv_pu:site").values.reshape(365, -1).mean(axis=0)
    noon = (np.arange(len(plant)) + 0.5) @ plant / plant.sum() * 24 / len(plant)
    assert 11.0 < noon < 13.0


def test_weather_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="is no file of NSRDB, PVGIS, TMY3 or EPW"):
        weather.read(tmp_path / "x.csv")


def test_pvgis_hours_are_in_utc(tmp_path: Path) -> None:
    pytest.importorskip("pvlib")
    stamps = pd.date_range("2019-01-01", "2020-01-01", freq="h", inclusive="left")
    lines = ["Latitude (decimal degrees):\t45.000", "Longitude (decimal degrees):\t15.000", "Elevation (m):\t250"]
    lines += ["Radiation database:\tPVGIS-SARAH3", "", "", "Slope: 0 deg.", "Azimuth: 0 deg.", ""]
    lines += ["time,G(i),H_sun,T2m,WS10m,Int"]
    lines += [f"{stamp:%Y%m%d:%H}10,{stamp.hour},0.0,5.0,1.0,0.0" for stamp in stamps]
    lines += ["", "G(i): Global irradiance", "PVGIS (c) European Union, 2001-2024"]
    (tmp_path / "pvgis.csv").write_text("\r\n".join(lines))
    found = weather.read(tmp_path / "pvgis.csv", "pvgis")
    assert found.utc_offset_h == 1.0
    sun = known(found, "poa_w_m2:site")
    assert (sun.to_numpy() == sun.index.hour).all()
    assert len(sun) == 8760


def test_typical_year_of_pvgis_is_turned_to_local_time(tmp_path: Path) -> None:
    pytest.importorskip("pvlib")
    lines = ["Latitude (decimal degrees): 45.000", "Longitude (decimal degrees): 15.000", "Elevation (m): 250"]
    lines += ["month,year", *(f"{month},2015" for month in range(1, 13))]
    lines += ["time(UTC),T2m,RH,G(h),Gb(n),Gd(h),IR(h),WS10m,WD10m,SP"]
    stamps = pd.date_range("2015-01-01", "2016-01-01", freq="h", inclusive="left")
    lines += [f"{stamp:%Y%m%d:%H}00,{stamp.hour},80,{stamp.hour * 10},0,0,300,2.5,0,100000" for stamp in stamps]
    (tmp_path / "tmy.csv").write_text("\r\n".join([*lines, "", "T2m: 2-m air temperature (degree Celsius)"]))
    found = weather.read(tmp_path / "tmy.csv")
    assert (found.days, found.utc_offset_h) == (365, 1.0)
    assert found.series("ambient_temp_c:site").values[:3].tolist() == [23.0, 0.0, 1.0]  # 00:00 local is 23:00 UTC
    assert found.series("ghi_w_m2:site").values[:3].tolist() == [230.0, 0.0, 10.0]


def test_epw_rows_name_the_end_of_their_hour(tmp_path: Path) -> None:
    pytest.importorskip("pvlib")
    head = "LOCATION,Place,ST,USA,TMY3,1,36.1,-79.95,-5.0,270\n" + "DESIGN CONDITIONS,0\n" * 7
    rows = []
    for stamp in pd.date_range("1999-01-01", "2000-01-01", freq="h", inclusive="left"):
        fields = ["0"] * 35
        fields[:6] = [str(one) for one in (stamp.year, stamp.month, stamp.day, stamp.hour + 1, 0, "A")]
        fields[6], fields[13], fields[21] = str(stamp.hour), str(stamp.hour * 10), "3.5"
        rows.append(",".join(fields))
    (tmp_path / "x.epw").write_text(head + "\n".join(rows) + "\n")
    found = weather.read(tmp_path / "x.epw", year=2023)
    assert found.series("ghi_w_m2:site").values[:3].tolist() == [0.0, 10.0, 20.0]
    assert found.series("ambient_temp_c:site").values[:3].tolist() == [23.0, 0.0, 1.0]  # a reading at the stamp
    with pytest.raises(DataError, match="2024 has 366; choose another year"):
        weather.read(tmp_path / "x.epw", year=2024)


def test_a_damaged_gzip_file_is_refused_in_a_sentence(tmp_path):
    content = bytearray(gzip.compress(b"a,b\n1,2\n" * 5000))
    content[10:20] = b"\xff" * 10
    (tmp_path / "year.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"year\.csv\.gz: is damaged"):
        caiso.read(tmp_path / "year.csv.gz")
