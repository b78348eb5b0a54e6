"""Configurations as YAML, and their JSON Schema for other programs."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, cast

from powergrid.config.agent_entries import COORDINATORS
from powergrid.config.findings import known_names
from powergrid.config.schema import SCHEMA_VERSION, EnvironmentConfig
from powergrid.datasets.loaders import is_file
from powergrid.datasets.series_file import SeriesFile
from powergrid.plugins.load import module_file
from powergrid.plugins.registries import DATASETS, DEVICES, NETWORKS, POLICIES, PROTOCOLS


def to_yaml(config: EnvironmentConfig, base_dir: Path, folder: Path | None = None) -> str:
    """A configuration as YAML, every default written out; see :meth:`ResolvedConfig.to_yaml`."""
    from ruamel.yaml import YAML

    data = _without_none(config.model_dump(mode="json", by_alias=True))
    data["plugins"] = [_moved(place, base_dir, folder) for place in data["plugins"]]
    for agent in data["agents"]:
        policy = agent.get("policy")
        if isinstance(policy, dict) and "python" in policy:
            policy["python"] = _moved_module(policy["python"], base_dir, folder)
    if isinstance(data["datasets"], dict):
        forms = cast(dict[str, SeriesFile], config.datasets)
        data["datasets"] = {key: _series(form, base_dir, folder) for key, form in forms.items()}
    elif is_file(data["datasets"]):
        data["datasets"] = _moved(data["datasets"], base_dir, folder)
    if not data["carbon"]:
        del data["carbon"]
    if "file" in data["tariff"]:
        data["tariff"]["file"] = _moved(data["tariff"]["file"], base_dir, folder)
    if "file" in data["network"]:
        data["network"]["file"] = _moved(data["network"]["file"], base_dir, folder)
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 120
    stream = io.StringIO()
    yaml.dump(data, stream)
    return f"# PowerGrid configuration, schema version {SCHEMA_VERSION}\n{stream.getvalue()}"


def json_schema() -> dict[str, Any]:
    """JSON Schema of a configuration with the registered names, for editors and other programs.

    The names are examples, since plugins may register others.
    """
    schema = EnvironmentConfig.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "PowerGrid environment"
    definitions = schema["$defs"]
    offered = {
        ("AgentConfig", "type"): [*known_names(DEVICES), *COORDINATORS],
        ("AgentConfig", "policy"): ["learned", "centralized", "python", *known_names(POLICIES)],
        ("ProtocolConfig", "type"): known_names(PROTOCOLS),
        ("HorizontalConfig", "type"): known_names(PROTOCOLS),
        ("Coordination", "protocol"): known_names(PROTOCOLS),
        ("NetworkConfig", "base"): known_names(NETWORKS),
        ("Attach", "network"): known_names(NETWORKS),
    }
    for (section, key), names in offered.items():
        definitions[section]["properties"][key]["examples"] = names
    schema["properties"]["datasets"]["examples"] = known_names(DATASETS)
    return schema


def _without_none(value: Any, inside_params: bool = False) -> Any:
    """Drop keys without a value, but not those of parameters and settings: ``null`` may differ from the default."""
    if isinstance(value, dict):
        return {
            key: _without_none(item, inside_params or key in ("params", "settings"))
            for key, item in value.items()
            if item is not None or inside_params
        }
    return [_without_none(item, inside_params) for item in value] if isinstance(value, list) else value


def _series(form: SeriesFile, base_dir: Path, folder: Path | None) -> str | dict[str, object]:
    """A series file with its path relative to the folder and its options; only the path where it has no options."""
    fields = form.changed_fields()
    fields["path"] = _place(form.path, base_dir, folder)
    return str(fields["path"]) if list(fields) == ["path"] else fields


def _place(value: str, base_dir: Path, folder: Path | None) -> str:
    """A path relative to the folder; the name of a column of a registered dataset does not change."""
    return value if value.partition(":")[0] in DATASETS else _moved(value, base_dir, folder)


def _moved_module(target: str, base_dir: Path, folder: Path | None) -> str:
    """``module:Class`` with the file of the module where it stands beside the configuration."""
    module, _, name = target.rpartition(":")
    file = module_file(module, base_dir)
    return target if file is None else f"{_moved(str(file), base_dir, folder)}:{name}"


def _moved(place: str, base_dir: Path, folder: Path | None) -> str:
    path = Path(place).expanduser()
    path = path if path.is_absolute() else Path(os.path.normpath(base_dir / path))
    if folder is None or path.drive != Path(folder).resolve().drive:
        return path.as_posix()
    return Path(os.path.relpath(path, Path(folder).resolve())).as_posix()
