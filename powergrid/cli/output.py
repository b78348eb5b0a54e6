"""Printed output: wide lines are never cut, and brackets are not read as markup."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from powergrid.core import terminal
from powergrid.core.errors import ConfigError, Issue

WIDTH = 160
"""Width of a line without a terminal."""


def console(stderr: bool = False) -> Console:
    """Standard output or standard error; a file or pipe gets wide lines."""
    stream = sys.stderr if stderr else sys.stdout
    return terminal.console(stderr, highlight=False, soft_wrap=True, width=None if stream.isatty() else WIDTH)


def print_line(text: str | Text = "") -> None:
    """One line on standard output, as it is."""
    console().print(Text(text) if isinstance(text, str) else text)


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]], width: int | None = None) -> None:
    """A table without frame; the last column takes the rest of the line, which ends at `width` where one is given."""
    table = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        title=title,
        title_justify="left",
        title_style="bold cyan",
        width=width,
    )
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table, soft_wrap=False)


def print_issues(issues: Iterable[Issue]) -> None:
    """Print each issue on a line, with the remedy below it, on standard error."""
    for issue in issues:
        place = issue.file + (f":{issue.line}" if issue.line is not None else "")
        head = Text()
        head.append(f"{place}: " if place else "", style="bold")
        head.append(f"{issue.path}: " if issue.path else "", style="cyan")
        head.append(issue.message)
        console(stderr=True).print(head)
        if issue.hint:
            console(stderr=True).print(Text(f"    {issue.hint}", style="dim"))


def print_unread(source: str, resolved: Any) -> None:
    """Print that Python files of the configuration did not run, and what could not be checked for this reason."""
    policies = [agent.policy for agent in resolved.config.agents]
    modules = [policy.python.partition(":")[0] for policy in policies if getattr(policy, "python", None)]
    folders = list(dict.fromkeys([*resolved.config.plugins, *modules]))
    if resolved.plugins or not folders:
        return
    what = "nothing else depends on them"
    if resolved.unchecked:
        what = f"{len(resolved.unchecked)} thing{'s' if len(resolved.unchecked) > 1 else ''} could not be checked"
    print_note(
        f"{source}: the files in {', '.join(folders)} have not been run ({what}); --plugins runs them, with your rights"
    )
    print_issues(resolved.unchecked)


def print_note(text: str) -> None:
    """Print a note on standard error; the command continues."""
    console(stderr=True).print(Text.assemble(("note: ", "bold yellow"), text))


def print_error(error: Any) -> None:
    """Print a user error."""
    if isinstance(error, ConfigError):
        print_issues(error.issues)
        count = len(error.issues)
        console(stderr=True).print(Text(f"{count} problem{'' if count == 1 else 's'}", style="bold red"))
    else:
        console(stderr=True).print(Text.assemble(("error: ", "bold red"), str(error)))
