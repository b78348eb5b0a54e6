"""What coordination is worth, and what it sends: every protocol on the same days of the same world.

    python bench/protocols.py [--preset p2p_microgrids] [--days 30] [--out FOLDER]

Plays so many days of the test split, evenly spread, and prints the table of ``powergrid benchmark protocols``, then the
same as a table for a page of the documentation. With ``--out`` the tables and the figure are written there. The times
are processor times of this machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from powergrid.benchmarks.comparison import Comparison
from powergrid.benchmarks.protocols import compare


def as_markdown(found: Comparison) -> str:
    """The table in Markdown, the cheapest first."""
    head = ("protocol", "J", "saved", "95 % interval", "utility", "devices", "stored", "voltage", "loading", "messages")
    lines = [" | ".join((*head, "ms a step")), " | ".join(["---"] * (len(head) + 1))]
    for row in sorted(found.rows(), key=lambda row: row["objective"]):
        none = row["protocol"] == "none"
        saved = "" if none else f"{row['saved']:.1f}"
        interval = "" if none else f"{row['saved_low_95']:.1f} to {row['saved_high_95']:.1f}"
        parts = [f"{row[name]:,.1f}" for name in ("utility", "devices", "stored", "voltage", "loading")]
        cells = f"`{row['protocol']}`", f"{row['objective']:,.1f}", saved, interval, *parts
        lines.append(" | ".join((*cells, f"{row['messages_per_day']:,.0f}", f"{1e3 * row['step_s']:.1f}")))
    if found.bound is not None:
        lines.append(" | ".join(("lower bound", f"{found.bound.mean():,.1f}", *[""] * 9)))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="p2p_microgrids")
    parser.add_argument("--days", type=int, default=30, help="so many days of the test split, evenly spread")
    parser.add_argument("--out", type=Path, default=None, help="folder for the tables and the figure")
    given = parser.parse_args()
    found = compare(given.preset, days="test", most=given.days, out=given.out)
    print(as_markdown(found))


if __name__ == "__main__":
    main()
