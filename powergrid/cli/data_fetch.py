"""``powergrid data fetch``: downloads, only here and only of what is named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def fetch_command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="caiso_YEAR, ercot_YEAR, nyiso_YEAR or nsrdb:LATITUDE,LONGITUDE,YEAR. Left out: lists the sources.",
            show_default=False,
        ),
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder of downloads. Left out: that of POWERGRID_DATA, or the user's cache folder."
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Refuse to download; check what is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="State size, source and licence, and stop.")] = False,
) -> None:
    """Download a dataset of a market or weather service into the cache, and read it once.

    An interrupted download continues where it stopped. NSRDB needs the environment variables NSRDB_API_KEY and
    NSRDB_EMAIL; neither is ever printed.

    Examples:

    - `powergrid data fetch`

    - `powergrid data fetch caiso_2024 --dry-run`

    - `powergrid data fetch nsrdb:39.74,-105.18,2022`
    """
    from powergrid.cli.output import print_line, print_table
    from powergrid.datasets.fetching import cache
    from powergrid.datasets.fetching.source import SOURCES

    if name is None:
        rows = [[SOURCES.get(key).form, SOURCES.get(key).about] for key in SOURCES.names()]
        print_table("sources", ["name", "what it has"], rows, 80)
        return
    print_line(f"{name}: {cache.described(name)}")
    if dry_run:
        return
    folder = _with_bars(name, cache_dir, offline)
    dataset = cache.load_named(name, cache_dir, offline=True)
    missing = int(dataset.missing.to_numpy().sum())
    print_line(f"{name}: {dataset.days} days, {len(dataset.columns)} series, {missing:,} values missing, in {folder}")
    print_line(f"write `datasets: {name}` in a configuration, or `powergrid data info {name}`")


def _with_bars(name: str, cache_dir: Path | None, offline: bool) -> Path:
    """Fetch with a bar for each file on a terminal; a file that is there has none."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from powergrid.datasets.fetching import cache

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, object] = {}

        def advance(file: str, done: int, whole: int) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=whole or None)
            bars.update(tasks[file], completed=done, total=whole or None)  # type: ignore[arg-type]

        return cache.fetch(name, cache_dir, offline=offline, progress=advance)
