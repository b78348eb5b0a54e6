"""Configurations gone wrong: each number gives one mutant of a preset or seed, the same at every call."""

from __future__ import annotations

import io
import random
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

from made import made
from pydantic import BaseModel
from ruamel.yaml import YAML

from powergrid.config import preset_names, schema, schema_agents, schema_network
from powergrid.config.findings import known_names
from powergrid.config.sources import PRESETS
from powergrid.plugins.registries import DATASETS, DEVICES, NETWORKS, POLICIES, PROTOCOLS

SEEDS = Path(__file__).parent / "seeds"
NUMBERS = (0, 1, -1, 0.0, -0.5, 0.5, 2, 3, 17, 96, 900, 1e-12, 1e20, -1e20, 1e300, 10**30, float("nan"), float("inf"))
TEXTS = (
    "",
    " ",
    "x",
    "0.5",
    "671",
    "nan",
    "1e400",
    "true",
    "*",
    "[*",
    "mg*",
    "\u00fc\u4e2d\U0001f600",
    "a" * 5000,
    "two\nlines",
)
PATHS = ("../../etc/passwd", ".", "/dev/null", "a\0b", "~nobody/x", "\ud800")
LISTS = ([], {}, [None], [[1]], [1, 2], {"a": 1}, [True], ["671", "671"], {"": ""})
STRANGE: tuple[Any, ...] = (None, True, False, *NUMBERS, -float("inf"), *TEXTS, *PATHS, *LISTS)
"""Values that stand where others belong."""
USUAL = ("load_p_pu", "pv_pu", "load_p_pu:com_1", "price_per_mwh", "671", "ess_1", "learned", "*", {}, [])
"""Values of keys that hold text."""


class Mutant(NamedTuple):
    """A configuration, and where it comes from."""

    origin: str
    given: Any


def mutant(seed: int, number: int) -> Mutant:
    """The configuration of a number: a text, or a mapping as a program gives it."""
    draw = random.Random(f"{seed}/{number}")
    if draw.random() < 0.4:
        return Mutant("made", made(draw))
    files = _files()
    origin = draw.choice(sorted(files))
    text = files[origin]
    if draw.random() < 0.2:
        for _ in range(draw.choice((1, 1, 2, 5))):
            text = _garbled(draw, text)
        return Mutant(origin, text)
    data = deepcopy(_data(origin))
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        draw.choice(_CHANGES)(draw, data)
    return Mutant(origin, _written(data) if draw.random() < 0.2 else data)


@cache
def _files() -> dict[str, str]:
    files = [PRESETS / f"{name}.yaml" for name in preset_names()] + sorted(SEEDS.glob("*.yaml"))
    return {file.stem: file.read_text(encoding="utf-8") for file in files}


@cache
def _data(origin: str) -> Any:
    return YAML(typ="safe", pure=True).load(_files()[origin])


def _written(data: Any) -> str:
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.dump(data, stream)
    return stream.getvalue()


def _garbled(draw: random.Random, text: str) -> str:
    """One slip of a hand that edits text."""
    lines, at = text.splitlines(keepends=True), draw.randrange(len(text) + 1)
    row = draw.randrange(len(lines)) if lines else 0
    kind = draw.randrange(9)
    if kind == 0 and lines:
        del lines[row]
    elif kind == 1 and lines:
        lines.insert(row, lines[row])
    elif kind == 2 and lines:
        lines[row] = " " * draw.choice((1, 2, 3)) + lines[row]
    elif kind == 3 and lines:
        lines[row] = lines[row].lstrip()
    elif kind == 4:
        return text[:at]
    elif kind == 5:
        return text[:at] + draw.choice("\t{}[]:,&*!|>'\"%@`#-?~\u00e9\u0000\ufeff\u2028") + text[at:]
    elif kind == 6:
        return text[:at] + text[at + draw.randrange(1, 6) :]
    elif kind == 7 and lines:
        other = draw.randrange(len(lines))
        lines[row], lines[other] = lines[other], lines[row]
    elif lines:
        lines[row] = lines[row].replace(": ", draw.choice((":", ": - ", ": &x ", ": *x ", ": !!int ", " ")), 1)
    return "".join(lines)


# -- changes of data ------------------------------------------------------------------------------------------------


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Container and key of every value."""
    found: list[tuple[Any, Any]] = []
    waiting = [data]
    while waiting:
        here = waiting.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here))
        found += [(here, key) for key in keys]
        waiting += [here[key] for key in keys if isinstance(here[key], dict | list)]
    return found


def _place(draw: random.Random, data: Any, kind: Any = object) -> tuple[Any, Any] | None:
    fitting = [(here, key) for here, key in _places(data) if isinstance(here[key], kind)]
    return draw.choice(fitting) if fitting else None


def _drop(draw: random.Random, data: Any) -> None:
    if found := _place(draw, data):
        del found[0][found[1]]


def _strange(draw: random.Random, data: Any) -> None:
    if found := _place(draw, data):
        found[0][found[1]] = deepcopy(draw.choice(STRANGE))


def _scale(draw: random.Random, data: Any) -> None:
    if found := _place(draw, data, int | float):
        here, key = found
        here[key] = here[key] * draw.choice((0, -1, 0.001, 0.1, 0.5, 0.9, 1.1, 2, 10, 1000, 1e6))


def _swap(draw: random.Random, data: Any) -> None:
    one, other = _place(draw, data), _place(draw, data)
    if one and other:
        value = deepcopy(other[0][other[1]])
        one[0][one[1]] = value


def _rename(draw: random.Random, data: Any) -> None:
    fitting = [(here, key) for here, key in _places(data) if isinstance(here, dict)]
    if not fitting:
        return
    here, key = draw.choice(fitting)
    name = str(key)
    typo = name[: len(name) // 2] + name[len(name) // 2 + 1 :]
    here[draw.choice((typo, name.upper(), name + "s", "type", "params", "bus", "", "1"))] = here.pop(key)


def _repeat(draw: random.Random, data: Any) -> None:
    if found := _place(draw, data, list):
        items = found[0][found[1]]
        if items:
            items.insert(draw.randrange(len(items) + 1), deepcopy(draw.choice(items)))


def _shuffle(draw: random.Random, data: Any) -> None:
    if found := _place(draw, data, list):
        draw.shuffle(found[0][found[1]])


def _name(draw: random.Random, data: Any) -> None:
    """Another registered name, or one that stands elsewhere in the document."""
    if found := _place(draw, data, str):
        texts = [here[key] for here, key in _places(data) if isinstance(here[key], str)]
        registry = draw.choice((DEVICES, POLICIES, NETWORKS, PROTOCOLS, DATASETS))
        coordinators = ("GridCoordinator", "SystemAgent", "learned", "centralized")
        found[0][found[1]] = draw.choice(
            (draw.choice(known_names(registry)), draw.choice(texts), draw.choice(coordinators))
        )


def _parameter(draw: random.Random, data: Any) -> None:
    """A value that its type allows for a parameter of some device."""
    agents = [item for item in _agents(data) if str(item.get("type")) in DEVICES]
    if agents:
        agent = draw.choice(agents)
        params = agent["params"] = agent["params"] if isinstance(agent.get("params"), dict) else {}
        _put(draw, params, DEVICES.get(str(agent["type"])).Settings)


def _device(draw: random.Random, data: Any) -> None:
    """Another type of device in the place of one."""
    if agents := _agents(data):
        agent = draw.choice(agents)
        agent["type"] = draw.choice(known_names(DEVICES))
        if draw.random() < 0.7:
            agent["params"] = {}
            for _ in range(draw.randrange(3)):
                _put(draw, agent["params"], DEVICES.get(agent["type"]).Settings)


def _key(draw: random.Random, data: Any) -> None:
    """A key of the schema with a value that its type allows."""
    sections: dict[str, type[BaseModel]] = {
        "simulation": schema.Simulation,
        "penalties": schema.Penalties,
        "training": schema.Training,
        "messages": schema_agents.Messages,
        "tariff": schema.TariffConfig,
        "forecast": schema.Forecast,
        "network": schema_network.NetworkConfig,
        "coordination": schema_agents.Coordination,
    }
    if not isinstance(data, dict):
        return
    name = draw.choice((*sections, "agent", "agent", "regulators", "capacitors", "outages", "whole"))
    network = data.get("network")
    if name == "agent":
        if agents := _agents(data):
            _put(draw, draw.choice(agents), schema_agents.AgentConfig)
    elif name == "whole":
        _put(draw, data, schema.EnvironmentConfig)
    elif name in ("regulators", "capacitors", "outages"):
        rules = {
            "regulators": schema_network.RegulatorRule,
            "capacitors": schema_network.CapacitorRule,
            "outages": schema_network.OutageRule,
        }
        if isinstance(network, dict):
            rule: dict[str, Any] = {"branch": "*", "start": 0, "duration": 900} if name == "outages" else {}
            for _ in range(draw.choice((1, 2))):
                _put(draw, rule, rules[name])
            network[name] = rule
    elif isinstance(data.setdefault(name, {}), dict):
        _put(draw, data[name], sections[name])


def _agents(data: Any) -> list[dict[str, Any]]:
    agents = data.get("agents") if isinstance(data, dict) else None
    return [item for item in agents if isinstance(item, dict)] if isinstance(agents, list) else []


def _put(draw: random.Random, here: dict[str, Any], model: type[BaseModel]) -> None:
    if not model.model_fields:
        return
    name = draw.choice(sorted(model.model_fields))
    here[name] = _value(draw, model.model_fields[name].annotation, model.model_fields[name].default)


def _value(draw: random.Random, annotation: Any, default: Any) -> Any:
    """A value of a type, near the default where that is a number."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return draw.choice(inner)
    if inner and origin not in (list, dict, tuple):
        return _value(draw, draw.choice(inner), default)
    if annotation is bool:
        return draw.random() < 0.5
    if annotation in (int, float):
        known = isinstance(default, int | float) and default
        number = (default if known else 1.0) * 10.0 ** draw.choice((0, 0, -0.3, 0.3, -1, 1, -2, 2, 4))
        return round(number) if annotation is int else number
    if annotation is type(None):
        return None
    if origin is tuple:
        return [_value(draw, item, default) for item in inner]
    if origin is list:
        return [_value(draw, inner[0], default) for _ in range(draw.randrange(3))]
    return deepcopy(
        draw.choice(("load_p_pu", "pv_pu", "load_p_pu:com_1", "price_per_mwh", "671", "ess_1", "learned", "*", {}, []))
    )


_CHANGES = (
    *(_drop, _strange, _strange, _swap, _rename, _repeat, _shuffle, _name, _name),
    *(_scale, _parameter, _device, _key) * 3,
)
