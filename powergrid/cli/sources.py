"""Which network a word on the command line means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from powergrid.core.errors import unknown_name

if TYPE_CHECKING:
    from powergrid.networks.network import Network


def bare_network(source: str) -> Network | None:
    """The registered network or the saved pandapower net called `source`; ``None`` where it is neither.

    A preset goes before a network of the same name.

    Raises
    ------
    UnknownNameError
        If it is a plain name of neither a preset, a network nor a file; names the nearest.
    """
    from powergrid.config import preset_names
    from powergrid.networks import NETWORKS, network
    from powergrid.networks.pandapower_file import read_pandapower

    if source in preset_names():
        return None
    if source in NETWORKS.names():
        return network(source)
    file = Path(source)
    if file.suffix == ".json" and file.is_file() and _is_pandapower(file):
        return read_pandapower(file)
    if not file.suffix and not file.exists():
        raise unknown_name("preset, network or file", source, (*preset_names(), *NETWORKS.names()))
    return None


def any_network(source: str) -> Network:
    """The network called `source`, or that of a preset or configuration file.

    Raises
    ------
    ConfigError
        If it is none of these, or the configuration has faults.
    """
    import powergrid

    found = bare_network(source)
    return powergrid.load_config(source).network() if found is None else found


def _is_pandapower(file: Path) -> bool:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(held, dict) and held.get("_class") == "pandapowerNet"
