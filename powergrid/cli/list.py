"""``powergrid list``: names of everything that is registered."""

from __future__ import annotations

import inspect
from enum import StrEnum
from typing import Annotated, Any

import typer


class Kind(StrEnum):
    """What can be listed."""

    presets = "presets"
    networks = "networks"
    devices = "devices"
    protocols = "protocols"
    policies = "policies"
    datasets = "datasets"


def list_command(
    kind: Annotated[Kind | None, typer.Argument(help="What to list; everything if left out.")] = None,
    plugins: Annotated[
        list[str] | None, typer.Option("--plugins", help="Folder with plugins to load first; may be repeated.")
    ] = None,
) -> None:
    """List presets, networks, devices, protocols, policies and datasets.

    Examples:

    - `powergrid list presets`

    - `powergrid list devices --plugins my_devices/`
    """
    from powergrid.cli.output import print_line, print_table
    from powergrid.plugins import load_plugins

    for folder in plugins or ():
        load_plugins(folder)
    for one in [kind] if kind is not None else list(Kind):
        columns, rows = _preset_rows() if one is Kind.presets else _registry_rows(one)
        print_table(one.value, columns, rows)
        print_line()


def _preset_rows() -> tuple[list[str], list[list[str]]]:
    from powergrid.config.sources import open_document, preset_names

    rows = []
    for name in preset_names():
        data = open_document(name).data
        network = data["network"] if isinstance(data["network"], str) else data["network"].get("base", "")
        attached = sum("attach" in change for change in _modifications(data["network"]))
        about = " ".join(data.get("description", "").split())
        rows.append([name, f"{network} + {attached}" if attached else network, str(len(data.get("agents", []))), about])
    return ["name", "network", "agents", "about"], rows


def _modifications(network: Any) -> list[dict[str, Any]]:
    return network.get("modifications", []) if isinstance(network, dict) else []


def _registry_rows(kind: Kind) -> tuple[list[str], list[list[str]]]:
    from powergrid.plugins import registries

    registry = {
        Kind.networks: registries.NETWORKS,
        Kind.devices: registries.DEVICES,
        Kind.protocols: registries.PROTOCOLS,
        Kind.policies: registries.POLICIES,
        Kind.datasets: registries.DATASETS,
    }[kind]
    rows = []
    for name in registry.names():
        item = registry.get(name)
        aliases = ", ".join(registry.aliases(name))
        text = f"{item.kind}: {about(item)}" if kind is Kind.protocols else about(item)
        rows.append([name, aliases, text])
    rows += [[name, "", f"cannot be loaded: {reason}"] for name, reason in registry.broken.items()]
    return ["name", "also", "about"], rows


def about(item: Any) -> str:
    """First sentence of a docstring."""
    text = inspect.getdoc(item) or ""
    return " ".join(text.split("\n\n")[0].replace("``", "").split())
