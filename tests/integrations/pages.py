"""Code of documentation pages, which tests run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

HOWTO = Path(__file__).parents[2] / "docs" / "howto"


def code_blocks(page: str, language: str) -> list[str]:
    """Contents of a page's fenced blocks of one language, in order."""
    text = (HOWTO / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
