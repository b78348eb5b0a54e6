"""A network from a file that ``pandapower.to_json`` wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path

from powergrid.core.errors import NetworkError
from powergrid.networks.network import Network


def read_pandapower(path: str | os.PathLike) -> Network:
    """Read a pandapower net saved as JSON and convert it.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    NetworkError
        If the file cannot be read, is no saved pandapower net, or holds what a Network cannot represent.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        held = json.loads(text)
    except FileNotFoundError as error:
        raise NetworkError(f"{file} does not exist; save a pandapower net there with pandapower.to_json") from error
    except (OSError, ValueError) as error:  # not text, or not JSON
        raise NetworkError(f"{file} cannot be read as JSON ({error}); save the net with pandapower.to_json") from error
    if not isinstance(held, dict) or held.get("_class") != "pandapowerNet":
        raise NetworkError(f"{file} holds no pandapower net; save the net with pandapower.to_json")
    import pandapower

    try:
        net = pandapower.from_json_string(text)
    except (UserWarning, AttributeError, KeyError, TypeError, ValueError) as error:  # what its reader is known to raise
        raise NetworkError(f"{file}: pandapower {pandapower.__version__} cannot read this net ({error})") from error
    if not isinstance(net, pandapower.pandapowerNet):
        raise NetworkError(f"{file} holds an incomplete pandapower net; save the net with pandapower.to_json")
    return Network.from_pandapower(net, name=str(net.name or file.stem))
