"""Code of documentation pages, which tests run as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

HOWTO = Path(__file__).parents[2] / "docs" / "howto"


def code_blocks(page: str, language: str) -> list[str]:
    """Contents of a page's fenced blocks of one language, in order."""
    text = (HOWTO / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run_page(page: str, **shorter: tuple[str, str]) -> dict[str, Any]:
    """Run a page's Python as one script; its names.

    Each of `shorter` is a text of the script and what takes its place, so that a test trains for seconds where the page
    trains for minutes.
    """
    script = "\n".join(code_blocks(page, "python"))
    for old, new in shorter.values():
        assert script.count(old) == 1, f"{page} has {script.count(old)} times {old}"
        script = script.replace(old, new)
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(script, page, "exec"), names)
    return names


def costs(names: dict[str, Any]) -> dict[str, float]:
    """J of each policy of the page's evaluation [$/day]."""
    return {outcome.policy: outcome.objective.mean() for outcome in names["result"].outcomes}
