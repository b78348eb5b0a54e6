"""HTML elements of the page; all text is escaped here."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape as plain_escape
from pathlib import Path

from powergrid.report.style import Picture

MINUS = "\N{MINUS SIGN}"


def escape(text: str) -> str:
    """Text for HTML; no line break separates a unit from its number."""
    return re.sub(r"(?<=\d) (?=[%$]|pu\b)", "&nbsp;", plain_escape(text))


def dollars(value: float, sign: bool = False) -> str:
    """Whole dollars with separators, cents below ten: ``"1,477"``, ``"0.45"``; zero has no sign."""
    digits = 2 if abs(value) < 9.995 else 0
    rounded = round(value, digits) + 0.0
    form = f"{{:{'+' if sign and rounded else ''},.{digits}f}}"
    return form.format(rounded).replace("-", MINUS)


def interval(low: float, high: float, sign: bool = False) -> str:
    """``"1,347 to 1,605"`` without a line break."""
    return f"{dollars(low, sign)} to {dollars(high, sign)}".replace(" ", "\N{NO-BREAK SPACE}")


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def figure(picture: Picture, caption: str) -> str:
    """An embedded plot with a caption."""
    data = base64.b64encode(picture.svg).decode("ascii")
    image = f'<img alt="{escape(picture.alt)}" src="data:image/svg+xml;base64,{data}">'
    return f'<figure><div class="wide">{image}</div><figcaption>{escape(caption)}</figcaption></figure>'


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, last_is_sum: bool = False) -> str:
    """A table whose first column is text and whose others are numbers."""
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    kinds = [""] * (len(lines) - 1) + ["sum" if last_is_sum else ""]
    body = "".join(f"<tr{_class(kind)}>{line}</tr>" for kind, line in zip(kinds, lines, strict=True))
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names with their meanings."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs) + "</dl>"


def tiles(entries: Iterable[tuple[str, str, str]]) -> str:
    """Large numbers: label, number, and a line below."""
    boxes = (
        f'<div class="tile"><span>{escape(label)}</span><b>{escape(number)}</b><small>{escape(below)}</small></div>'
        for label, number, below in entries
    )
    return f'<div class="tiles">{"".join(boxes)}</div>'


def more(title: str, content: str) -> str:
    """Content that a click opens."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def section(title: str, *parts: str) -> str:
    """A section with its heading."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def document(title: str, subtitle: str, byline: str, body: str) -> str:
    """The complete page; it needs no other file."""
    css = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    heading = f"<header><h1>{escape(title)}</h1>{paragraph(subtitle)}{paragraph(byline, 'byline')}</header>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head>\n"
        f"<body>{heading}\n<main>{body}</main></body></html>\n"
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
