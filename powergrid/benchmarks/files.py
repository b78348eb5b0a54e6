"""Files of a comparison: tables as CSV and JSON, and the figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from powergrid.benchmarks.comparison import Comparison
from powergrid.benchmarks.figure import draw
from powergrid.core.files import make_folder, write_json, write_whole


def write(comparison: Comparison, folder: Path) -> None:
    """Write the tables as CSV and JSON, and the figure as SVG and PNG; each file whole or not at all.

    Raises
    ------
    RunError
        If the folder cannot be written.
    MissingExtraError
        If matplotlib is not installed.
    """
    make_folder(folder)
    for name, rows in (("protocols", comparison.rows()), ("protocols-by-day", comparison.rows_by_day())):
        text = _csv(rows)
        write_whole(folder / f"{name}.csv", lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
    write_json(folder / "protocols.json", comparison.to_dict())
    picture = draw(comparison)
    for ending, content in (("svg", picture.svg), ("png", picture.png)):
        place = folder / f"{picture.name}.{ending}"
        write_whole(place, lambda file, content=content: file.write(content))  # type: ignore[misc]


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
