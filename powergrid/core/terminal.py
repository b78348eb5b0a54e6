"""Output on any terminal: a character that the terminal lacks is written in plain letters and raises no error."""

from __future__ import annotations

import codecs
import sys
import unicodedata
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

PLAIN = "powergrid-plain"
"""Name under which :func:`in_plain_letters` is an error handler of Python's codecs."""

_LETTERS = {
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MIDDLE DOT}": "-",
    "\N{BULLET}": "-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{DEGREE SIGN}": "deg ",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
}


def in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """ASCII in place of what an encoding lacks: a letter without its accent, a sign's usual form, else ``?``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_plain(character) for character in error.object[error.start : error.end]), error.end


def _plain(character: str) -> str:
    if character in _LETTERS:
        return _LETTERS[character]
    if 0x2500 <= ord(character) < 0x25A0:  # frames and blocks
        return "-"
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"


codecs.register_error(PLAIN, in_plain_letters)


def accept_all_text() -> None:
    """Let standard output and standard error take any text; for the command line, not for a library."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=PLAIN)


class _Forgiving:
    """A stream that writes in plain letters what its encoding lacks."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        return self._stream.write(text.encode(encoding, PLAIN).decode(encoding))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def console(stderr: bool = False, **options: Any) -> Console:
    """A rich console on standard output or standard error that accepts any text."""
    from rich.console import Console

    forgiving: Any = _Forgiving(sys.stderr if stderr else sys.stdout)
    return Console(file=forgiving, **options)
