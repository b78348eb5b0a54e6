"""``powergrid data homes`` and ``powergrid data sessions``: archives of homes and charging sessions as own files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from powergrid.core.errors import Issue


class Form(StrEnum):
    """Forms of archives."""

    citylearn = "citylearn"
    building_stock = "building_stock"
    pecan_street = "pecan_street"


class Energy(StrEnum):
    """Which energy a session needs."""

    requested = "requested"
    delivered = "delivered"


_OPTIONS = {
    Form.citylearn: ("home", "zone", "year"),
    Form.building_stock: ("shift_h",),
    Form.pecan_street: ("home", "year", "utc_offset_h"),
}


def homes_command(
    form: Annotated[Form, typer.Argument(help="citylearn, building_stock (ResStock, ComStock) or pecan_street.")],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="The folder, or the files.")],
    home: Annotated[
        list[str] | None, typer.Option(help="Which homes; left out: all. citylearn: file names without .csv.")
    ] = None,
    zone: Annotated[
        str | None, typer.Option(help="citylearn: zone of a clock with daylight saving time, America/Los_Angeles.")
    ] = None,
    year: Annotated[int | None, typer.Option(help="Calendar year: citylearn of the first row, pecan_street.")] = None,
    shift_h: Annotated[
        float | None, typer.Option(help="building_stock: local standard time minus the clock of the stamps [h].")
    ] = None,
    utc_offset_h: Annotated[
        float | None, typer.Option(help="pecan_street: local standard time minus UTC [h]; left out: -6, Austin.")
    ] = None,
    base: Annotated[str, typer.Option(help="Dataset for all other series.")] = "embedded_2022",
    out: Annotated[Path, typer.Option(metavar="FILE.npz", help="Result.")] = Path("homes.npz"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the result if it exists.")] = False,
) -> None:
    """Read homes from an archive on disk into a dataset that loads. Nothing is downloaded.

    Pecan Street forbids to pass its data on: the command reads your own copy, and the result is for you alone.

    Examples:

    - `powergrid data homes citylearn citylearn_challenge_2022_phase_all --home Building_1 --zone America/Los_Angeles`

    - `powergrid data homes building_stock 102188-0.parquet --shift-h -1 --out austin.npz`

    - `powergrid data homes pecan_street 15minute_data_austin.csv --home 661 --year 2018`
    """
    from powergrid.cli.output import print_line, print_note
    from powergrid.core.errors import ConfigError, Issue
    from powergrid.datasets import save
    from powergrid.datasets.readers import building_stock, citylearn, pecan_street

    given = {"home": home, "zone": zone, "year": year, "shift_h": shift_h, "utc_offset_h": utc_offset_h}
    issues = [
        Issue(f"--{name.replace('_', '-')}", f"does not apply to {form.value}", "leave it out")
        for name, value in given.items()
        if value is not None and name not in _OPTIONS[form]
    ]
    if len(paths) > 1 and form is not Form.building_stock:
        issues.append(Issue("PATH", f"{len(paths)} paths; {form.value} takes one", "give one folder or file"))
    issues += _result_faults(out, ".npz", overwrite)
    if issues:
        raise ConfigError(issues)
    if form is Form.citylearn:
        found = citylearn.read(paths[0], home or (), zone=zone, year=year)
    elif form is Form.building_stock:
        found = building_stock.read(paths, shift_h=shift_h or 0.0)
    else:
        offset_h = -6.0 if utc_offset_h is None else utc_offset_h
        found = pecan_street.read(paths[0], home or (), year=year, utc_offset_h=offset_h)
    dataset = found.dataset(out.stem, base)
    save(dataset, out)
    for note in found.notes:
        print_line(note)
    if gaps := [column for column in found.series if dataset.missing[column].any()]:
        print_note(f"values of {', '.join(gaps)} stay missing; environments refuse them")
    print_note(f"licence: {found.licence}")
    print_line(f"{out}: {', '.join(found.series)}; write `datasets: {out}` in a configuration")


def carbon_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files with time and moer (kg/kWh).")],
    year: Annotated[int | None, typer.Option(help="Calendar year; left out: that of most rows.")] = None,
    utc_offset_h: Annotated[float, typer.Option(help="Local standard time minus UTC [h].")] = -8.0,
    site: Annotated[str, typer.Option(help="Name of the series behind carbon_t_per_mwh.")] = "sgip",
    base: Annotated[str, typer.Option(help="Dataset for all other series.")] = "embedded_2022",
    out: Annotated[Path, typer.Option(metavar="FILE.npz", help="Result.")] = Path("carbon.npz"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the result if it exists.")] = False,
) -> None:
    """Join monthly files of marginal emission rates (SGIP) into a dataset that loads. Nothing is downloaded.

    `carbon: carbon_t_per_mwh` in a configuration counts the emissions at the meters of each account.

    Examples:

    - `powergrid data carbon SGIP_CAISO_SCE_2020-*.csv.gz --out sce_2020.npz`
    """
    from powergrid.cli.output import print_line, print_note
    from powergrid.core.errors import ConfigError
    from powergrid.datasets import save
    from powergrid.datasets.readers import sgip

    if issues := _result_faults(out, ".npz", overwrite):
        raise ConfigError(issues)
    found = sgip.read(files, year=year, utc_offset_h=utc_offset_h, site=site)
    dataset = found.dataset(out.stem, base)
    save(dataset, out)
    for note in found.notes:
        print_line(note)
    (column,) = found.series
    if dataset.missing[column].any():
        print_note(f"values of {column} stay missing; environments refuse them: give the files of the whole year")
    print_line(f"{out}: {column}; write `datasets: {out}` and `carbon: {column}` in a configuration")


def sessions_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Sessions of ACN-Data: CSV (or .gz), or its JSON.")],
    station: Annotated[str | None, typer.Option(help="Station; left out: list them, the busiest first.")] = None,
    year: Annotated[int | None, typer.Option(help="Calendar year; needed with --station.")] = None,
    energy: Annotated[Energy, typer.Option(help="Energy that a vehicle needs.")] = Energy.requested,
    interval_s: Annotated[int, typer.Option(min=1, help="Interval of the series: the tick of the environment [s].")] = (
        900
    ),
    out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Result; left out: STATION_YEAR.csv.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the result if it exists.")] = False,
) -> None:
    """List the stations of a file of charging sessions, or write one station's series for an EV charger.

    Examples:

    - `powergrid data sessions acn_caltech.csv.gz`

    - `powergrid data sessions acn_caltech.csv.gz --station CA-305 --year 2019`
    """
    from powergrid.cli.output import print_line, print_table
    from powergrid.core.errors import ConfigError, Issue
    from powergrid.datasets import ev_sessions
    from powergrid.datasets.readers.homes import label

    if station is None:
        rows = []
        found = ev_sessions.read_stations(file, energy=energy.value)
        for name, sessions in sorted(found.items(), key=lambda item: -len(item[1])):
            hours = sum((one.departure - one.arrival).total_seconds() for one in sessions) / 3600.0 / len(sessions)
            kwh = 1000.0 * sum(one.energy_mwh for one in sessions) / len(sessions)
            first, last = (f"{pick(one.arrival for one in sessions):%Y-%m-%d}" for pick in (min, max))
            rows.append([name, f"{len(sessions):,}", first, last, f"{hours:.1f}", f"{kwh:.1f}"])
        print_table("stations", ["station", "sessions", "first", "last", "mean h", "mean kWh"], rows, 80)
        return
    result = out if out is not None else Path(f"{station}_{year}.csv")
    issues = [] if year is not None else [Issue("--year", "is missing", "write for example --year 2019")]
    issues += _result_faults(result, ".csv", overwrite)
    if issues or year is None:
        raise ConfigError(issues)
    sessions = ev_sessions.read_sessions(file, station, energy=energy.value)
    inside = [one for one in sessions if one.arrival.year == year]
    if not inside:
        years = ", ".join(sorted({str(one.arrival.year) for one in sessions}))
        raise ConfigError([Issue("--year", f"{station} has no session in {year}", f"years: {years}")])
    ev_sessions.write_series(inside, result, year, interval_s)
    site = label(station)
    print_line(
        f"{result}: {len(inside)} sessions of {station} in {year}; write `datasets: "
        f'{{"ev_stay_h:{site}": "{result}:stay", "ev_trip_mwh:{site}": "{result}:trip"}}` in a configuration'
    )


def _result_faults(path: Path, ending: str, overwrite: bool) -> list[Issue]:
    """What speaks against writing a result there."""
    from powergrid.core.errors import Issue

    if path.suffix != ending:
        return [Issue("--out", f'"{path}" does not end with {ending}', f"write --out {path.with_suffix(ending)}")]
    if path.exists() and not overwrite:
        return [Issue("--out", f"{path} exists already", "choose another name, or add --overwrite")]
    return []
