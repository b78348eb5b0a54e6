"""Where a configuration comes from: a preset by its name, a YAML or JSON file, or a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from powergrid.config.document import Document, plain
from powergrid.config.yaml_reader import read_yaml
from powergrid.core.errors import ConfigError, Issue, nearest
from powergrid.core.files import path_fault

PRESETS = Path(__file__).parent / "presets"

MAX_BYTES = 4_000_000
"""Largest file that is read as a configuration [byte]; a configuration of 10,000 agents has 1,000,000."""


def preset_names() -> tuple[str, ...]:
    """Names of the configurations that ship with the package."""
    return tuple(sorted(file.stem for file in PRESETS.glob("*.yaml")))


def open_document(source: str | Path | Mapping[str, Any]) -> Document:
    """Read a preset by name or a YAML or JSON file, or copy a mapping.

    Raises
    ------
    ConfigError
        If there is no such preset or file, or the text is no YAML.
    """
    if isinstance(source, Mapping):
        return Document(plain(source))
    if not isinstance(source, str | Path):
        message = f"a configuration is the name of a preset, a file or a mapping, not {type(source).__name__}"
        raise ConfigError([Issue("", message, f"presets: {', '.join(preset_names())}")])
    if fault := path_fault(str(source)):
        raise ConfigError([Issue("", f"{str(source)[:40]!r} is neither a preset nor a file: {fault}")])
    path = Path(source)
    if isinstance(source, str) and source in preset_names():
        path = PRESETS / f"{source}.yaml"
        return read_yaml(path.read_text(encoding="utf-8"), f"{source}.yaml", path.parent)
    if not path.is_file():
        names = preset_names()
        hint = "; ".join(part for part in (nearest(str(source), names), f"presets: {', '.join(names)}") if part)
        raise ConfigError([Issue("", f'there is no preset and no file "{source}"', hint)])
    if path.stat().st_size > MAX_BYTES:
        message = f"{path.stat().st_size:,} bytes are more than the {MAX_BYTES:,} that are read as a configuration"
        raise ConfigError(
            [Issue("", message, "write series of data into files and name them in datasets", str(source))]
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Issue("", f"cannot be read: {error}", "save it as UTF-8 text", str(source))]) from error
    return read_yaml(text, str(source), path.resolve().parent)
