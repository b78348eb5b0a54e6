"""A network from a file that ``pandapower.to_json`` wrote."""

from __future__ import annotations

import os
from pathlib import Path

from powergrid.core.errors import NetworkError, PowerGridError
from powergrid.networks.network import Network
from powergrid.networks.pandapower_json import read_json


def read_pandapower(path: str | os.PathLike, *, name: str | None = None) -> Network:
    """Read a pandapower net saved as JSON and convert it.

    The file is looked through first (:mod:`powergrid.networks.pandapower_json`): nothing that it names is imported or
    run. Nets of older versions of pandapower are brought to the form of the installed one, as ``pandapower.from_json``
    does.

    Parameters
    ----------
    path
        The file.
    name
        Name of the network; by default the net's own, else the file's.

    Raises
    ------
    NetworkError
        If the file cannot be read, is no saved pandapower net, or holds what a Network cannot represent.
    """
    file = Path(path)
    text = read_json(file)
    import pandapower

    try:
        net = pandapower.from_json_string(text, convert=True)
    except Exception as error:  # its reader raises whatever a damaged table leads to
        raise NetworkError(
            f"{file}: pandapower {pandapower.__version__} cannot read this net ({type(error).__name__}: "
            f"{error!s:.200}); load it with the pandapower that wrote it and save it again"
        ) from error
    try:
        return Network.from_pandapower(net, name=name or str(net.name or file.stem))
    except PowerGridError:
        raise
    except Exception as error:  # a table without a column, a bus that is not there
        raise NetworkError(
            f"{file}: a table of the net cannot be converted ({type(error).__name__}: {error!s:.200}); "
            "check that pandapower.runpp solves it, and save it again"
        ) from error
