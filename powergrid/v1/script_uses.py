"""Names of version 1 in a script, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from powergrid.core.errors import PowerGridError

DEVICES = {
    "DG": "type: DG in the YAML, powergrid.devices.generator.Generator",
    "ESS": "type: ESS in the YAML, powergrid.devices.storage.Storage, which stays in its window",
    "RES": "type: RES in the YAML, powergrid.devices.renewable.Renewable",
    "Grid": "type: GridConnection in the YAML, powergrid.devices.grid_connection.GridConnection",
    "Transformer": "type: Regulator for a tap changer; other transformers are part of the network",
    "Shunt": "type: Capacitor in the YAML, powergrid.devices.capacitor.Capacitor",
    "Switch": "type: Switch in the YAML, powergrid.devices.switch.Switch",
    "Device": "powergrid.agents.device_agent.DeviceAgent, registered with powergrid.register_device",
}
"""Replacement of a device class, for all modules from which it can be imported."""
_LABELS = "no counterpart is needed: actions and observations have labels, env.action_labels(agent)"
_FEEDER = 'powergrid.network("{}") is the published feeder; v1\'s deviates from it'
_TASK = 'gymnasium.make("powergrid/{}-v2"), or a YAML file and powergrid.make(...)'
_MICROGRIDS = 'powergrid.make("p2p_microgrids"), a PettingZoo environment'
REPLACEMENTS = {
    "powergrid.base_env": "powergrid.make(...) builds an environment from a YAML file; keeps working",
    "powergrid.devices": "powergrid list devices shows the families of version 2",
    "powergrid.core.actions": _LABELS,
    "powergrid.core.state": _LABELS,
    "powergrid.Action": _LABELS,
    "powergrid.DeviceState": _LABELS,
    "powergrid.utils.utils.NormalizeActionWrapper": "actions of version 2 lie in [-1, 1] already",
    "powergrid.utils": "costs and violations are in the ledger, infos of env.step(...)",
    "powergrid.networks.ieee13": _FEEDER.format("ieee13"),
    "powergrid.networks.ieee34": _FEEDER.format("ieee34"),
    "powergrid.networks.ieee123": _FEEDER.format("ieee123"),
    "powergrid.networks.lines": "the line data of powergrid.network(...) are the published ones",
    "powergrid.networks.cigre_lv": 'powergrid.network("cigre_lv")',
    "powergrid.networks.case34_3ph": 'powergrid.network("ieee34", phases="three")',
    "powergrid.networks.case_lvmg": 'nothing: it could not be solved; powergrid.network("cigre_lv") is of its kind',
    "powergrid.networks.imped2seq": "keeps working; three-phase networks need no sequence data",
    "powergrid.envs.single_agent.ieee13_mg": _TASK.format("IEEE13"),
    "powergrid.envs.single_agent.ieee34_mg": _TASK.format("IEEE34"),
    "powergrid.envs.single_agent.cigre_mv": _TASK.format("CIGREMV"),
    "powergrid.envs.multiagent": _MICROGRIDS,
    "pickle": "powergrid.v1.datasets.read_pickle reads a v1 data file without running anything in it",
    "pandapower.runpp": "network.power_flow() of a powergrid.Network; Network.from_pandapower(net) converts",
}
"""Replacement of another name of version 1; the longest prefix counts."""


class Use(NamedTuple):
    """A name of version 1 in a script.

    Attributes
    ----------
    line
        Line of the script, from 1.
    name
        What is used.
    replacement
        What replaces it.
    """

    line: int
    name: str
    replacement: str


def script_uses(path: str | Path) -> list[Use]:
    """List the names of version 1 in a script; the script is read and not executed.

    Parameters
    ----------
    path
        Python file.

    Returns
    -------
    list of Use
        In order of lines.

    Raises
    ------
    PowerGridError
        If the file cannot be read or is no Python.
    """
    tree = _parsed(path)
    found = [Use(line, name, _replacement(name)) for line, name in _names(tree) if _replacement(name)]
    return sorted(dict.fromkeys(found))


def script_environments(path: str | Path) -> list[str]:
    """Environments of version 1 that a script defines, by deriving from ``GridBaseEnv``, or imports.

    Parameters
    ----------
    path
        Python file; it is read, not run.

    Returns
    -------
    list of str
        Their names.

    Raises
    ------
    PowerGridError
        As :func:`script_uses`.
    """
    shipped = {"IEEE13Env", "IEEE34Env", "CIGREMVEnv"}
    known, found = {"GridBaseEnv", *shipped}, []
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.ImportFrom):
            found += [alias.asname or alias.name for alias in node.names if alias.name in shipped]
        elif isinstance(node, ast.ClassDef) and known & {ast.unparse(base).rpartition(".")[2] for base in node.bases}:
            known.add(node.name)
            found.append(node.name)
    return found


def _parsed(path: str | Path) -> ast.Module:
    file = Path(path)
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except OSError as error:
        raise PowerGridError(f"{file}: cannot be read ({error.strerror}); give the path of a Python file") from error
    except (SyntaxError, ValueError) as error:
        place = f"{file}:{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else str(file)
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise PowerGridError(f"{place}: is no Python ({reason}); mend it, or give another file") from error
    return tree


def _names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Imported names, attributes of imported modules such as ``pp.runpp``, and devices that a star brought."""
    modules: dict[str, str] = {}
    star = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                modules[alias.asname or root] = alias.name if alias.asname else root
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            star |= node.module == "powergrid.devices" and node.names[0].name == "*"
            for alias in node.names:
                yield node.lineno, node.module if alias.name == "*" else f"{node.module}.{alias.name}"
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            root, _, rest = ast.unparse(node).partition(".")
            if root in modules:
                yield node.lineno, f"{modules[root]}.{rest}"
        elif star and isinstance(node, ast.Name) and node.id in DEVICES:
            yield node.lineno, f"powergrid.devices.{node.id}"


def _replacement(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "powergrid" and parts[-1] in DEVICES and (len(parts) == 2 or parts[1] == "devices"):
        return DEVICES[parts[-1]]
    prefixes = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((REPLACEMENTS[prefix] for prefix in prefixes if prefix in REPLACEMENTS), "")
