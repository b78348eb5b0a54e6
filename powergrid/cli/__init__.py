"""The command line: one file for each command of ``powergrid``."""

from __future__ import annotations


def main() -> None:
    """Entry point of the ``powergrid`` command."""
    from powergrid.cli.app import app

    app()
