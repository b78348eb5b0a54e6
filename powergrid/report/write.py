"""One page about a run: the self-contained ``report.html``, and its plots in ``plots/``."""

from __future__ import annotations

from pathlib import Path

from powergrid.core.files import unwritable, write_whole
from powergrid.report import heading, markup, origins, sections
from powergrid.report.run import load_run


def write_report(run_dir: str | Path) -> Path:
    """Write the report of an evaluated run.

    Parameters
    ----------
    run_dir
        Folder with ``config.yaml``, ``evaluation.json`` and ``trajectories/``; with ``meta.json`` and
        ``metrics.jsonl`` after a training. A policy named ``"lower_bound"`` in ``evaluation.json`` is drawn as
        the lower bound.

    Returns
    -------
    Path
        ``report.html``, which needs no other file and no network. The plots are also in ``plots/*.png``.

    Raises
    ------
    RunError
        If the folder contains no evaluation, a file cannot be read, or the report cannot be written.
    MissingExtraError
        If matplotlib is not installed.
    """
    run = load_run(run_dir)
    parts = (
        sections.policies,
        sections.curve,
        sections.one_day,
        sections.trading,
        sections.voltages,
        sections.money,
    )
    written = [part(run) for part in parts]
    plots = run.folder / "plots"
    try:
        plots.mkdir(exist_ok=True)
    except OSError as error:
        raise unwritable(plots, error) from error
    for _, pictures in written:
        for picture in pictures:
            write_whole(plots / f"{picture.name}.png", lambda file, data=picture.png: file.write(data))  # type: ignore[misc]
    body = "\n".join([heading.result(run), *(html for html, _ in written), heading.setting(run), origins.section(run)])
    page = markup.document(heading.title(run), run.world.resolved.config.description or "", heading.byline(run), body)
    path = run.folder / "report.html"
    write_whole(path, lambda file: file.write(page.encode()))
    return path
