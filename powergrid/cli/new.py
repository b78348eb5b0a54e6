"""``powergrid new``: a plugin template with its test and its YAML file, or a training script of one file."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from powergrid.core.registry import Registry

_TEMPLATES = Path(__file__).parent / "templates"


class Kind(StrEnum):
    """Kinds of plugins, and scripts that train with another library."""

    device = "device"
    protocol = "protocol"
    network = "network"
    dataset = "dataset"
    policy = "policy"
    cleanrl = "cleanrl"


_SCRIPTS = {Kind.cleanrl: "cleanrl_ppo.py"}
"""Kinds that are one script, and its name where none is given."""


def new_command(
    kind: Annotated[Kind, typer.Argument(help="What to write.")],
    name: Annotated[
        str | None,
        typer.Argument(help="Name in lower case, words joined by underscores; of a script, its file.", metavar="NAME"),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", "-f", help="Plugin folder; my_devices, my_networks ... if left out.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="A device as a plain Python class instead of a kernel; CPU only.")
    ] = False,
) -> None:
    """Write a plugin template: a commented file, its test and its YAML file; or a training script of one file.

    All of them work without changes. Existing files are not overwritten.

    Examples:

    - `powergrid new device heat_pump`

    - `powergrid new device heat_pump --plain --folder my_devices/`

    - `powergrid new network my_village`

    - `powergrid new cleanrl my_ppo.py`
    """
    from powergrid.cli.output import print_line, print_note
    from powergrid.core.errors import PowerGridError

    if plain and kind is not Kind.device:
        raise PowerGridError(f"--plain is for devices, not for a {kind.value}")
    if kind in _SCRIPTS:
        _write_script(kind, (folder or Path()) / (name or _SCRIPTS[kind]))
        return
    if name is None:
        raise PowerGridError(f"a {kind.value} needs a name, such as: powergrid new {kind.value} my_{kind.value}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise PowerGridError(
            f'"{name}" cannot be the name of a file and a type; use lower case letters, digits and underscores, such '
            f'as "{re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "heat_pump"}"'
        )
    place = folder or Path(f"my_{'policies' if kind is Kind.policy else f'{kind.value}s'}")
    replacements = {"module": name, **_names(kind, name)}
    source = "device_plain" if plain else kind.value
    files = {
        place / f"{name}.py": f"{source}.py.txt",
        place / "tests" / f"test_{name}.py": f"{kind.value}_test.py.txt",
        place / f"{name}.yaml": f"{kind.value}.yaml.txt",
    }
    taken = [str(file) for file in files if file.exists()]
    if taken:
        raise PowerGridError(f"{', '.join(taken)} exists already; choose another name or folder")
    for file, template in files.items():
        text = _filled((_TEMPLATES / template).read_text(encoding="utf-8"), replacements)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        print_line(str(file))
    if _taken(kind, name):
        print_note(f'PowerGrid has a {kind.value} "{name}" already, so this one is called "{replacements["type"]}"')
    print_line(f"next: powergrid check {place}, pytest {place}, powergrid show {place / name}.yaml")


def _write_script(kind: Kind, file: Path) -> None:
    """Write a script and say how it is run."""
    from powergrid.cli.output import print_line
    from powergrid.core.errors import PowerGridError

    if file.suffix != ".py":
        raise PowerGridError(f'"{file}" is no Python file; give a name such as {_SCRIPTS[kind]}')
    if file.exists():
        raise PowerGridError(f"{file} exists already; choose another name or folder")
    text = (_TEMPLATES / f"{kind.value}.py.txt").read_text(encoding="utf-8")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(_filled(text, {"file": str(file)}), encoding="utf-8")
    print_line(str(file))
    print_line(f"next: python {file} --help")


def _names(kind: Kind, name: str) -> dict[str, str]:
    """Class and registered type: a device type has the name of its class, all others have the name of their file."""
    pascal = _pascal(name)
    own = pascal if kind is Kind.device else name
    if _taken(kind, name):
        pascal, own = f"My{pascal}", f"My{pascal}" if kind is Kind.device else f"my_{name}"
    return {"class": pascal, "type": own}


def _taken(kind: Kind, name: str) -> bool:
    """Whether the name is taken, as a file or as a class."""
    return name in _registry(kind) or _pascal(name) in _registry(kind)


def _pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _registry(kind: Kind) -> Registry:
    from powergrid.plugins import registries

    found: Registry = {
        Kind.device: registries.DEVICES,
        Kind.protocol: registries.PROTOCOLS,
        Kind.network: registries.NETWORKS,
        Kind.dataset: registries.DATASETS,
        Kind.policy: registries.POLICIES,
    }[kind]
    return found


def _filled(text: str, replacements: dict[str, str]) -> str:
    for key, value in replacements.items():
        text = text.replace("{{" + key + "}}", value)
    return text
