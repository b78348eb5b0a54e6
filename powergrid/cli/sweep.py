"""``powergrid sweep``: train and evaluate many runs, and compare them in one table."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from powergrid.cli.settings import keep_compiled


class Executor(StrEnum):
    """Where jobs run."""

    local = "local"
    ray = "ray"
    dask = "dask"


def sweep_command(
    grid: Annotated[Path, typer.Argument(metavar="GRID", help="YAML file of the grid.")],
    on: Annotated[Executor, typer.Option(help="Processes of this machine, Ray or Dask.")] = Executor.local,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Runs side by side on this machine; as many as it has cores if left out."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Address of a cluster of Ray or Dask, which reaches the folder of the runs.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the sweep; runs/NAME, with the name of the grid, if left out.")
    ] = None,
    searched: Annotated[
        bool, typer.Option("--search", help="Sample values instead of all combinations, with Optuna.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the grid, list its runs, and exit.")] = False,
) -> None:
    """Train and evaluate every combination of seeds, configurations and algorithms.

    The same command continues a sweep that was stopped. A run that fails is listed, and the others go on.

    A grid, where only `base` is needed:

    ```yaml
    base: [ieee13_single, my_microgrid.yaml]
    steps: 200000
    seeds: 5                         # or [0, 1, 2]
    algorithms: [mappo, apg]
    over:                            # values of the configuration
      training.reward_scale: [0.5, 1.0]
    settings:                        # hyperparameters
      learning_rate: [0.0003, 0.001]
    evaluate: {days: test}
    ```

    With `--search`, some combinations are tried, the next ones near the best so far by J on validation days. Values
    are lists or ranges, `learning_rate: {low: 0.0001, high: 0.01, log: true}`, and `search: {trials: 30}` limits it.

    Examples:

    - `powergrid sweep grid.yaml --dry-run`

    - `powergrid sweep grid.yaml --workers 4`

    - `powergrid sweep grid.yaml --search --out runs/searched`

    - `powergrid sweep grid.yaml --on ray --address 10.0.0.1:6379 --out /shared/runs/first`
    """
    keep_compiled()
    from powergrid.cli.output import console, print_issues, print_line
    from powergrid.core.errors import Issue
    from powergrid.learn.sweep.grid import read_grid, read_space
    from powergrid.learn.sweep.job import is_done
    from powergrid.learn.sweep.sweep import folder_of, sweep

    if searched and dry_run:
        space, folder = read_space(grid), folder_of(grid, out)
        for key, values in (*space.over.items(), *space.settings.items()):
            print_line(f"{key}: {values}")
        print_line(f"{space.grid.search.trials} trials of {len(space.grid.seeds)} runs, in {folder}")
        return
    if dry_run:
        jobs, folder = read_grid(grid), folder_of(grid, out)
        done = [is_done(job, folder) for job in jobs]
        for job, ended in zip(jobs, done, strict=True):
            print_line(f"{job.name}{'  done' if ended else ''}")
        print_line(f"{len(jobs)} runs, {sum(done)} of them done, in {folder}")
        return
    if searched:
        from powergrid.learn.sweep.search import search as sweep
    results = sweep(grid, on=on.value, workers=workers, address=address, out=out)
    console().print(results.table(), soft_wrap=False)
    typer.echo(f"results: {results.folder}")
    if results.failed:
        print_issues(Issue(name, reason) for name, reason in results.failed.items())
        print_line(f"{len(results.failed)} of {len(results.jobs)} runs failed; their failure.txt has the traceback")
        raise typer.Exit(1)
