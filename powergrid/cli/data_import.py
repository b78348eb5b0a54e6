"""``powergrid data import``: from flags to a YAML file that loads."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from powergrid.core.errors import Issue
    from powergrid.datasets.described import DatasetFile


class Hour(StrEnum):
    """What a stamp marks."""

    beginning = "beginning"
    ending = "ending"
    ending_instant = "ending_instant"


class Fill(StrEnum):
    """How short gaps are filled."""

    keep = "keep"
    hold = "hold"
    interpolate = "interpolate"
    same_hour_last_week = "same_hour_last_week"


class Keep(StrEnum):
    """Which row of a repeated stamp is used."""

    first = "first"
    last = "last"
    mean = "mean"


class Outliers(StrEnum):
    """What becomes of values that stand out."""

    flag = "flag"
    missing = "missing"


_EACH = "for all series, or KEY=VALUE for one; may be repeated"


def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Excel file.")],
    series: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=COLUMN",
            help="Series and its column, such as load=P_kW or load_p_pu:home_1=kW; KEY alone if there is one value "
            "column. Keys: load, solar, wind, price, temperature, or a name that ends with its unit. May be repeated.",
        ),
    ],
    unit: Annotated[list[str] | None, typer.Option(help=f"Unit of the values, such as kW or EUR/MWh, {_EACH}.")] = None,
    rating: Annotated[list[str] | None, typer.Option(help=f"Power that is 1 per unit, {_EACH}.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of an Excel file.")] = None,
    sep: Annotated[str | None, typer.Option(help="Separator of cells.")] = None,
    decimal: Annotated[str | None, typer.Option(help="Decimal mark, . or ,")] = None,
    date_format: Annotated[str | None, typer.Option(help='Form of the stamps, such as "%d/%m/%Y %H:%M".')] = None,
    zone: Annotated[
        str | None, typer.Option(help="Time zone of a wall clock with daylight saving time: America/New_York.")
    ] = None,
    utc_offset_h: Annotated[
        float | None, typer.Option(help="Stamps are UTC; local standard time minus UTC [h].")
    ] = None,
    hour: Annotated[
        Hour,
        typer.Option(
            help="Whether a stamp marks the beginning or the end of its interval: ending labels the hour of the clock "
            "(in spring there is no hour ending 03:00), ending_instant is the time at its end (there is no 02:00)."
        ),
    ] = (Hour.beginning),
    year: Annotated[int | None, typer.Option(help="Calendar year to cut out or to complete.")] = None,
    duplicates: Annotated[Keep | None, typer.Option(help="Row to use of a repeated stamp; left out: refused.")] = None,
    outliers: Annotated[
        Outliers | None, typer.Option(help="Flag values that stand out, or make them missing; left out: not searched.")
    ] = None,
    fill: Annotated[Fill | None, typer.Option(help="How gaps are filled; left out: gaps are refused.")] = None,
    longest_gap_h: Annotated[float, typer.Option(help="Longest gap that is filled [h].")] = 3.0,
    base: Annotated[str, typer.Option(help="Dataset for all other series.")] = "embedded_2022",
    name: Annotated[str | None, typer.Option(help="Name of the dataset; left out: that of the file.")] = None,
    source: Annotated[str, typer.Option(help="Who measured or published the data.")] = "",
    licence: Annotated[str, typer.Option(help="Terms under which they may be used.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="FILE.yaml", help="Result; left out: beside the file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the result if it exists.")] = False,
) -> None:
    """Import a file: check its series, and write a YAML file that describes them, which loads as a dataset.

    The command asks nothing: flags state what the file does not show. If something is missing or wrong, it lists all
    faults at once with what to add, and writes nothing. `datasets: FILE.yaml` in a configuration uses the result.

    Examples:

    - `powergrid data import plant.csv --series load --unit kW`

    - `powergrid data import my.xlsx --series load=P_kW --series solar=PV --unit kW --rating load=3000 --sheet 2024`

    - `powergrid data import meter.csv --series load=kWh --unit kWh --zone America/New_York --hour ending --year 2024
      --duplicates first --fill interpolate --longest-gap-h 2 --licence "mine"`
    """
    from powergrid.cli.output import print_line, print_note
    from powergrid.core.errors import ConfigError, Issue
    from powergrid.core.files import write_whole
    from powergrid.datasets.described import as_yaml, built, cleaning_reports

    result = out if out is not None else file.with_suffix(".yaml")
    issues: list[Issue] = []
    if result.suffix not in (".yaml", ".yml"):
        issues.append(
            Issue("--out", f'"{result}" does not end with .yaml', f"write --out {result.with_suffix('.yaml')}")
        )
    elif result.exists() and not overwrite:
        issues.append(Issue("--out", f"{result} exists already", "choose another name, or add --overwrite"))
    steps = _steps(hour, zone, duplicates, year, outliers, fill, longest_gap_h)
    common = {
        "path": os.path.relpath(file, result.parent) if file.drive == result.drive else str(file.resolve()),
        "sheet": sheet,
        "sep": sep,
        "decimal": decimal,
        "date_format": date_format,
        "utc_offset_h": utc_offset_h,
        "cleaning": steps,
    }
    if zone is not None and utc_offset_h is not None:
        issues.append(Issue("--zone", "stands beside --utc-offset-h", "a wall clock has a zone, UTC has none"))
    columns = _pairs("--series", series, issues)
    units = _by_key("--unit", unit or [], columns, issues)
    ratings = _by_key("--rating", rating or [], columns, issues)
    described = _description(
        {"name": name or file.stem, "source": source, "licence": licence, "base": base},
        {
            key: {**common, "column": columns[key], "unit": units.get(key), "rating": ratings.get(key)}
            for key in columns
        },
        issues,
    )
    dataset = None
    if described is not None:
        try:
            dataset = built(described, result.parent, str(file))
        except ConfigError as error:
            issues += error.issues
    if issues or described is None or dataset is None:
        raise ConfigError(issues)
    command = shlex.join(["powergrid", *sys.argv[1:]]) if sys.argv[1:2] == ["data"] else "powergrid data import"
    text = as_yaml(described, f"written by: {' '.join(command.split())}")
    write_whole(result, lambda stream: stream.write(text.encode()))
    for key, report in cleaning_reports(described, result.parent).items():
        for done in report:
            print_line(f"{key}: {done}")
    missing = [column for column in dataset.columns if dataset.missing[column].any()]
    if missing:
        print_note(f"values of {', '.join(missing)} stay missing; environments refuse them, --fill fills short gaps")
    if not licence:
        print_note("no licence is stated; write --licence, so that others learn what they may do with the data")
    print_line(f"{result}: {', '.join(described.series)} of {file.name}; write `datasets: {result}` in a configuration")


def _steps(
    hour: Hour,
    zone: str | None,
    duplicates: Keep | None,
    year: int | None,
    outliers: Outliers | None,
    fill: Fill | None,
    longest_h: float,
) -> list[Any]:
    """The pipeline that the flags describe, in its usual order; empty if they ask for none."""
    steps: list[Any] = ["hour_ending"] if hour is Hour.ending else []
    steps += [] if zone is None else [{"clock_changes": zone}]
    steps += ["hour_ending"] if hour is Hour.ending_instant else []
    if not steps and all(flag is None for flag in (duplicates, year, outliers, fill)):
        return []
    steps += ["order", "duplicates" if duplicates is None else {"duplicates": duplicates.value}]
    steps += [] if year is None else [{"year": year}]
    steps += [] if outliers is None else [{"outliers": outliers.value}]
    return steps + ([] if fill is None else [{"gaps": {"fill": fill.value, "longest_h": longest_h}}])


def _pairs(flag: str, texts: Sequence[str], issues: list[Issue]) -> dict[str, str | None]:
    """``KEY=VALUE`` by key; ``None`` for a key alone."""
    from powergrid.core.errors import Issue

    found: dict[str, str | None] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or (equals and not value):
            issues.append(Issue(flag, f'"{text}" is not KEY=VALUE', f"write for example {flag} load=P_kW"))
        elif key in found:
            issues.append(Issue(flag, f"{key} is given twice", "leave one of them out"))
        else:
            found[key] = value or None
    return found


def _by_key(flag: str, texts: Sequence[str], keys: Mapping[str, object], issues: list[Issue]) -> dict[str, str]:
    """The value of each key: its own, or that for all."""
    from powergrid.core.errors import Issue, nearest

    for_all = [text for text in texts if "=" not in text]
    if len(for_all) > 1:
        issues.append(Issue(flag, f"{' and '.join(for_all)} are given for all series", "write KEY=VALUE for each"))
    found = dict.fromkeys(keys, for_all[0]) if for_all else {}
    for key, value in _pairs(flag, [text for text in texts if "=" in text], issues).items():
        if key in keys:
            found[key] = value or ""
        else:
            hint = " ".join(part for part in (nearest(key, keys), f"series: {', '.join(keys)}") if part)
            issues.append(Issue(flag, f'"{key}" is no series', hint))
    return found


def _description(
    head: Mapping[str, str], series: Mapping[str, Mapping[str, Any]], issues: list[Issue]
) -> DatasetFile | None:
    """The checked description; ``None`` after noting its faults."""
    from pydantic import ValidationError

    from powergrid.core.errors import Issue
    from powergrid.datasets.described import DatasetFile

    stated = {
        key: {name: value for name, value in form.items() if value not in (None, [])} for key, form in series.items()
    }
    for form in stated.values():
        if "sheet" in form and form["sheet"].isdigit():
            form["sheet"] = int(form["sheet"])
    try:
        return DatasetFile.model_validate({**head, "series": stated})
    except ValidationError as error:
        for fault in error.errors():
            issues.append(Issue(".".join(map(str, fault["loc"])), fault["msg"]))
        return None
