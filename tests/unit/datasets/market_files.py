"""Files in the forms that markets publish, with values that state their own hour."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

FUELS = ("Dual Fuel", "Hydro", "Natural Gas", "Nuclear", "Other Fossil Fuels", "Other Renewables", "Wind")
NYISO_ZONES = {"CAPITL": 61757, "CENTRL": 61754, "HUD VL": 61758, "N.Y.C.": 61761, "WEST": 61752}


def hours(zone: str, first: str, days: int, step_s: int = 3600) -> pd.DatetimeIndex:
    """Starts of all intervals of some local days, in local time."""
    begin = pd.Timestamp(first, tz=zone)
    end = (pd.Timestamp(first) + pd.Timedelta(days=days)).tz_localize(zone)
    return pd.date_range(begin, end, freq=f"{step_s}s", inclusive="left")


def elapsed(stamps: pd.DatetimeIndex) -> np.ndarray:
    """Hours since 1970 modulo 1000: a value that tells its own time."""
    return (stamps.tz_convert("UTC").tz_localize(None).as_unit("s").asi8 / 3600.0) % 1000.0


def zipped(path: Path, members: Mapping[str, str | bytes]) -> Path:
    """A zip with some members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def oasis_prices(
    stamps: pd.DatetimeIndex, nodes: Mapping[str, np.ndarray], run: str = "DAM", value: str = "MW", seed: int = 0
) -> str:
    """PRC_LMP and its relatives: five rows for each node and interval, shuffled; LMP = MCE + MCC + MCL + MGHG."""
    step = stamps[1] - stamps[0]
    utc = stamps.tz_convert("UTC")
    parts = []
    for node, lmp in nodes.items():
        mce, mcc, mcl = np.round(0.9 * lmp, 5), np.round(0.15 * lmp, 5), np.round(-0.05 * lmp, 5)
        whole = mce + mcc + mcl
        for kind, values in {"LMP": whole, "MCE": mce, "MCC": mcc, "MCL": mcl, "MGHG": 0.0 * lmp}.items():
            part = pd.DataFrame(
                {
                    "INTERVALSTARTTIME_GMT": utc.strftime("%Y-%m-%dT%H:%M:%S-00:00"),
                    "INTERVALENDTIME_GMT": (utc + step).strftime("%Y-%m-%dT%H:%M:%S-00:00"),
                    "OPR_DT": stamps.strftime("%Y-%m-%d"),
                    "OPR_HR": stamps.hour + 1,
                    "OPR_INTERVAL": 0,
                    "NODE": node,
                    "MARKET_RUN_ID": run,
                    "LMP_TYPE": kind,
                    value: [f"{one:.5f}" for one in values],
                    "GROUP": 1,
                }
            )
            parts.append(part)
    return pd.concat(parts).sample(frac=1.0, random_state=seed).to_csv(index=False)


def oasis_load(stamps: pd.DatetimeIndex, areas: Mapping[str, np.ndarray]) -> str:
    """SLD_FCST of actual load, shuffled."""
    utc = stamps.tz_convert("UTC")
    parts = [
        pd.DataFrame(
            {
                "INTERVALSTARTTIME_GMT": utc.strftime("%Y-%m-%dT%H:%M:%S-00:00"),
                "INTERVALENDTIME_GMT": (utc + pd.Timedelta("1h")).strftime("%Y-%m-%dT%H:%M:%S-00:00"),
                "LOAD_TYPE": 0,
                "OPR_DT": stamps.strftime("%Y-%m-%d"),
                "OPR_HR": stamps.hour + 1,
                "MARKET_RUN_ID": "ACTUAL",
                "TAC_AREA_NAME": area,
                "MW": np.asarray(values),
            }
        )
        for area, values in areas.items()
    ]
    return pd.concat(parts).sample(frac=1.0, random_state=1).to_csv(index=False)


def oasis_renewables(stamps: pd.DatetimeIndex, plants: Mapping[tuple[str, str], np.ndarray]) -> str:
    """SLD_REN_FCST of actual generation by hub and kind; hours that are NaN have no row."""
    utc = stamps.tz_convert("UTC")
    parts = [
        pd.DataFrame(
            {
                "OPR_DT": stamps.strftime("%Y-%m-%d"),
                "INTERVALSTARTTIME_GMT": utc.strftime("%Y-%m-%dT%H:%M:%S-00:00"),
                "INTERVALENDTIME_GMT": (utc + pd.Timedelta("1h")).strftime("%Y-%m-%dT%H:%M:%S-00:00"),
                "TRADING_HUB": hub,
                "RENEWABLE_TYPE": kind,
                "MW": np.asarray(values),
                "MARKET_RUN_ID": "ACTUAL",
            }
        )
        for (hub, kind), values in plants.items()
    ]
    return pd.concat(parts).dropna().sample(frac=1.0, random_state=2).to_csv(index=False)


def oasis_error(code: int = 1000, text: str = "No data returned for the specified selection") -> str:
    """What OASIS sends in place of data, inside a zip, with HTTP 200."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><m:OASISReport xmlns:m="http://www.caiso.com/soa/OASISReport_v1.xsd">'
        f"<m:MessagePayload><m:RTO><m:name>CAISO</m:name><m:ERROR><m:ERR_CODE>{code}</m:ERR_CODE>"
        f"<m:ERR_DESC>{text}</m:ERR_DESC></m:ERROR></m:RTO></m:MessagePayload></m:OASISReport>"
    )


def ercot_rows(stamps: pd.DatetimeIndex) -> Iterator[tuple[str, int, str]]:
    """Date, hour that ends the interval, and flag of the second 02:00 of autumn."""
    seen: set[tuple[str, int]] = set()
    for stamp in stamps:
        key = (stamp.strftime("%m/%d/%Y"), stamp.hour + 1)
        yield *key, "Y" if key in seen and stamp.minute == 0 and _later(stamp) else "N"
        seen.add(key)


def _later(stamp: pd.Timestamp) -> bool:
    """Whether a stamp lies in the second of the two equal hours."""
    before = stamp - pd.Timedelta("1h")
    return bool(before.hour == stamp.hour)


def ercot_day_ahead(stamps: pd.DatetimeIndex, points: Mapping[str, np.ndarray]) -> str:
    """Daily CSV of day-ahead prices, values with a leading blank."""
    lines = ["DeliveryDate,HourEnding,SettlementPoint,SettlementPointPrice,DSTFlag"]
    for k, (day, hour, _) in enumerate(ercot_rows(stamps)):
        flag = "Y" if _later(stamps[k]) else "N"
        lines += [f"{day},{hour:02d}:00,{point}, {values[k]:.2f},{flag}" for point, values in points.items()]
    return "\n".join(lines) + "\n"


def ercot_workbook(stamps: pd.DatetimeIndex, points: Mapping[str, np.ndarray]) -> bytes:
    """Yearly workbook of day-ahead prices: a sheet a month, a stray empty row in each."""
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    rows = list(ercot_rows(stamps))
    for month in range(1, 13):
        chosen = [k for k in range(len(stamps)) if stamps[k].month == month]
        if not chosen:
            continue
        sheet = book.create_sheet(pd.Timestamp(2020, month, 1).strftime("%b"))
        sheet.append(
            ["Delivery Date", "Hour Ending", "Repeated Hour Flag", "Settlement Point", "Settlement Point Price"]
        )
        for k in chosen:
            day, hour, _ = rows[k]
            for point, values in points.items():
                flag = "Y" if _later(stamps[k]) else "N"
                sheet.append([day, f"{hour:02d}:00", flag, point, round(float(values[k]), 2)])
        sheet.append([None] * 5)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def ercot_real_time(stamps: pd.DatetimeIndex, point: str, values: np.ndarray) -> str:
    """15-min settlement prices, with a second price of the zone weighted by energy."""
    lines = [
        "DeliveryDate,DeliveryHour,DeliveryInterval,SettlementPointName,SettlementPointType,SettlementPointPrice,DSTFlag"
    ]
    for k, stamp in enumerate(stamps):
        flag = "Y" if _later(stamp) else "N"
        head = f"{stamp:%m/%d/%Y},{stamp.hour + 1},{stamp.minute // 15 + 1},{point}"
        lines += [f"{head},LZ,{values[k]:.2f},{flag}", f"{head},LZEW,{values[k] + 1:.2f},{flag}"]
    return "\n".join(lines) + "\n"


def nyiso_prices(stamps: pd.DatetimeIndex, zones: Mapping[str, np.ndarray]) -> str:
    """damlbmp_zone: hour starts without a time zone, all zones of an hour together."""
    lines = [
        "Time Stamp,Name,PTID,LBMP ($/MWHr),Marginal Cost Losses ($/MWHr),Marginal Cost Congestion ($/MWHr)",
    ]
    for k, stamp in enumerate(stamps):
        for zone, values in zones.items():
            losses, congestion = round(0.05 * values[k], 2), round(-0.2 * values[k], 2)
            row = f"{stamp:%m/%d/%Y %H:%M},{zone},{NYISO_ZONES[zone]},{values[k]:.2f},{losses:.2f},{congestion:.2f}"
            lines.append(row)
    return "\n".join(lines) + "\n"


def nyiso_real_time(stamps: pd.DatetimeIndex, zones: Mapping[str, np.ndarray]) -> str:
    """realtime_zone: quoted, 5-min intervals named by their end, and one correction off the grid."""
    lines = [
        '"Time Stamp","Name","PTID","LBMP ($/MWHr)","Marginal Cost Losses ($/MWHr)","Marginal Cost Congestion ($/MWHr)"'
    ]
    ends = stamps + pd.Timedelta("5min")
    for k, end in enumerate(ends):
        for zone, values in zones.items():
            lines.append(f'"{end:%m/%d/%Y %H:%M:%S}","{zone}",{NYISO_ZONES[zone]},{values[k]:.2f},0.00,0.00')
        if k == 20:
            off = end + pd.Timedelta("133s")
            lines += [f'"{off:%m/%d/%Y %H:%M:%S}","{zone}",{NYISO_ZONES[zone]},9999.00,0.00,0.00' for zone in zones]
    return "\n".join(lines) + "\n"


def nyiso_load(stamps: pd.DatetimeIndex, zones: Mapping[str, np.ndarray]) -> str:
    """palIntegrated: hour starts with EDT or EST."""
    lines = ['"Time Stamp","Time Zone","Name","PTID","Integrated Load"']
    for k, stamp in enumerate(stamps):
        lines += [
            f'"{stamp:%m/%d/%Y %H:%M:%S}","{stamp.tzname()}","{zone}",{NYISO_ZONES.get(zone, 1)},{values[k]:.1f}'
            for zone, values in zones.items()
        ]
    return "\n".join(lines) + "\n"


def nyiso_fuel_mix(stamps: pd.DatetimeIndex, values: np.ndarray) -> str:
    """rtfuelmix: every 5 min, and one reading in between."""
    lines = ['"Time Stamp","Time Zone","Fuel Category","Gen MW"']
    for k, stamp in enumerate(stamps):
        lines += [
            f'"{stamp:%m/%d/%Y %H:%M:%S}","{stamp.tzname()}","{fuel}",{values[k] + i:.0f}'
            for i, fuel in enumerate(FUELS)
        ]
        if k == 7:
            off = stamp + pd.Timedelta("258s")
            lines += [
                f'"{off:%m/%d/%Y %H:%M:%S}","{off.tzname()}","{fuel}",{values[k] + i + 2:.0f}'
                for i, fuel in enumerate(FUELS)
            ]
    return "\n".join(lines) + "\n"
