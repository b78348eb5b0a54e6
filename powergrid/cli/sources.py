"""The network that a command-line argument names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from powergrid.core.errors import unknown_name

if TYPE_CHECKING:
    from powergrid.networks.network import Network

PLUGINS_HELP = (
    "Run the Python files that the configuration names under `plugins:` and as policies, with your rights; use it only "
    "if you trust them."
)


def bare_network(source: str) -> Network | None:
    """The registered network or the saved pandapower net called `source`; ``None`` where it is neither.

    A preset goes before a network of the same name.

    Raises
    ------
    UnknownNameError
        If it is a plain name of neither a preset, a network nor a file; names the nearest.
    """
    from powergrid.config import preset_names
    from powergrid.networks import NETWORKS, Network, network
    from powergrid.networks.pandapower_json import is_net

    if source in preset_names():
        return None
    if source in NETWORKS.names():
        return network(source)
    file = Path(source)
    if file.suffix == ".json" and file.is_file() and is_net(file):
        return Network.from_pandapower(file)
    if not file.suffix and not file.exists():
        raise unknown_name("preset, network or file", source, (*preset_names(), *NETWORKS.names()))
    return None


def any_network(source: str, plugins: bool = False) -> Network:
    """The network called `source`, or that of a preset or configuration file.

    Parameters
    ----------
    plugins
        Whether the files of its plugin folders run.

    Raises
    ------
    ConfigError
        If it is none of these, or the configuration has faults.
    """
    from powergrid.cli.output import print_unread
    from powergrid.config import load_config
    from powergrid.core.errors import ConfigError

    network = bare_network(source)
    if network is not None:
        return network
    resolved = load_config(source, plugins=plugins)
    if any(issue.path.startswith("network") for issue in resolved.unchecked):
        raise ConfigError(resolved.unchecked)
    print_unread(source, resolved)
    return resolved.network()
