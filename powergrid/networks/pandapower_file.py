"""A pandapower net from a file that ``pandapower.to_json`` wrote."""

from __future__ import annotations

from pathlib import Path

from powergrid.core.errors import NetworkError
from powergrid.networks.pandapower_json import read_json
from powergrid.networks.pandapower_options import PandapowerNet


def read_net(file: Path) -> PandapowerNet:
    """Read a pandapower net saved as JSON.

    The file is looked through first (:mod:`powergrid.networks.pandapower_json`): nothing that it names is imported or
    run. Nets of older versions of pandapower are brought to the form of the installed one, as ``pandapower.from_json``
    does.

    Raises
    ------
    NetworkError
        If the file cannot be read or is no saved pandapower net.
    """
    text = read_json(file)
    import pandapower

    try:
        return pandapower.from_json_string(text, convert=True)
    except Exception as error:  # its reader raises whatever a damaged table leads to
        raise NetworkError(
            f"{file}: pandapower {pandapower.__version__} cannot read this net ({type(error).__name__}: "
            f"{error!s:.200}); load it with the pandapower that wrote it and save it again"
        ) from error
