"""Configurations made up from the registries: any network, device, policy and protocol, values at ends of ranges."""

from __future__ import annotations

import math
import random
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

import powergrid
from powergrid.agents.base import Observability
from powergrid.config import schema, schema_network
from powergrid.config.build_network import branch_names, capacitor_names, opening_names, regulator_names
from powergrid.config.findings import known_names
from powergrid.core.settings import NumberSettings
from powergrid.networks.terminals import bus_names
from powergrid.plugins.registries import DEVICES, POLICIES, PROTOCOLS

THREE = ("ieee13", "ieee34", "ieee123")
BALANCED = (*THREE, "ieee13", "ieee34", "case33bw", "case69", "cigre_mv", "microgrid_park", "case14", "radial")
SERIES = (
    "load_p_pu",
    "pv_pu",
    "wind_pu",
    "price_per_mwh",
    "load_p_pu:com_1",
    "ambient_temp_c",
    "hour",
    "v_pu",
    "nothing",
)


def made(draw: random.Random) -> dict[str, Any]:
    """One configuration; most can be made, some have faults that only the whole shows."""
    phases = "three" if draw.random() < 0.25 else "balanced"
    base = draw.choice(THREE if phases == "three" else BALANCED)
    network: dict[str, Any] = {"base": base, "phases": phases}
    if base == "radial":
        network["options"] = {"n": draw.choice((2, 3, 30))}
    if draw.random() < 0.3:
        network["load_scale"] = draw.choice((0, 1e-6, 0.5, 1.5, 4))
    places = _places(base, phases)
    for key, rule, role in (
        ("regulators", schema_network.RegulatorRule, "tap"),
        ("capacitors", schema_network.CapacitorRule, "cap"),
    ):
        if draw.random() < 0.25 and places[role]:
            network[key] = _some(draw, rule, draw.choice((1, 1, 2)), without=("match",))
    if draw.random() < 0.25 and places["switch"]:
        branch = draw.choice((*places["switch"][:20], "*", "6*"))
        start = draw.choice((0, 900, [0, 3600], 1e6))
        network["outages"] = {"branch": branch, "start": start, "duration": draw.choice((1, 900, 86400))}
    if draw.random() < 0.2 and phases == "balanced":
        network["modifications"] = [_modification(draw, places["injection"])]
    agents = [_agent(draw, number, places, phases) for number in range(draw.choice((1, 1, 2, 3, 6)))]
    data: dict[str, Any] = {"name": "made", "network": network, "agents": agents}
    _coordinate(draw, data)
    data["simulation"] = {"episode_length": draw.choice((1, 2, 5)), "time_step": draw.choice((1, 60, 900, 3600, 86400))}
    for key, section in (
        ("simulation", schema.Simulation),
        ("penalties", schema.Penalties),
        ("forecast", schema.Forecast),
    ):
        if key == "simulation" and draw.random() < 0.2:
            data[key]["intervals"] = {"device": 900, "grid": draw.choice((900, 3600)), "system": 86400}
        if draw.random() < 0.2:
            data[key] = data.get(key, {}) | _some(draw, section, 1, without=("episode_length", "time_step"))
    return data


@cache
def _places(base: str, phases: str) -> dict[str, tuple[str, ...]]:
    """Names by the role of what may stand there."""
    options = {"n": 2} if base == "radial" else {}
    network = powergrid.network(base, phases=phases, **options)
    roles = {"injection": bus_names, "tap": regulator_names, "cap": capacitor_names, "switch": opening_names}
    return {role: tuple(names(network)) for role, names in roles.items()} | {"meter": tuple(branch_names(network))}


def _agent(draw: random.Random, number: int, places: dict[str, tuple[str, ...]], phases: str) -> dict[str, Any]:
    type = draw.choice([name for name in DEVICES.names() if places[DEVICES.get(name).role]])
    kind = DEVICES.get(type)
    agent: dict[str, Any] = {"id": f"a{number}", "type": type, "bus": draw.choice(places[kind.role])}
    if draw.random() < 0.6:
        agent["params"] = _some(draw, kind.Settings, draw.choice((1, 1, 2, 3)))
    if draw.random() < 0.6:
        agent["policy"] = draw.choice((*known_names(POLICIES), "learned", "learned"))
    if phases == "three" and draw.random() < 0.3:
        agent["phases"] = draw.choice(("a", "b", "c", "ab", "abc"))
    if draw.random() < 0.1:
        agent["interval"] = draw.choice((60, 900, 1800, 86400, 10**8))
        agent["offset"] = draw.choice((0, 0, 60, 900, 10**8))
    if draw.random() < 0.2:
        agent["observability"] = draw.choice(get_args(Observability))
    return agent


def _coordinate(draw: random.Random, data: dict[str, Any]) -> None:
    """Perhaps coordinators above the devices, and a market among them."""
    agents = data["agents"]
    ids = [agent["id"] for agent in agents]
    if draw.random() < 0.4:
        cut = draw.randrange(len(ids) + 1)
        for number, children in enumerate((ids[:cut], ids[cut:])):
            coordinator: dict[str, Any] = {"id": f"g{number}", "type": "GridCoordinator", "sub_agents": children}
            coordinator["policy"] = draw.choice(("learned", "centralized", *known_names(POLICIES)))
            if draw.random() < 0.7:
                name = _protocol(draw, "vertical")
                params = _some(draw, PROTOCOLS.get(name).Settings, 1) if draw.random() < 0.4 else {}
                coordinator["protocol"] = {"type": name, "params": params}
            agents.append(coordinator)
        if draw.random() < 0.4:
            data["protocols"] = [{"type": _protocol(draw, "horizontal")}]
        if draw.random() < 0.2:
            agents.append({"id": "top", "type": "SystemAgent", "sub_agents": ["g0", "g1"], "policy": "learned"})
    elif draw.random() < 0.1:
        data["coordination"] = draw.choice(known_names(PROTOCOLS))


def _protocol(draw: random.Random, kind: str) -> str:
    """Name of a protocol, nearly always of the kind that fits."""
    fitting = [name for name in known_names(PROTOCOLS) if PROTOCOLS.get(name).kind == kind or draw.random() < 0.05]
    return draw.choice(fitting)


def _modification(draw: random.Random, buses: tuple[str, ...]) -> dict[str, Any]:
    at = draw.choice(buses)
    if draw.random() < 0.5:
        return {"add_bus": {"name": "extra", "vn_kv": draw.choice((0.01, 0.4, 4.16, 110, 2000)), "at_bus": at}}
    transformer = {
        "sn_mva": draw.choice((0.001, 1, 1000)),
        "vk_percent": draw.choice((0.1, 6, 100)),
        "vkr_percent": 0.1,
    }
    scale = draw.choice((0, 0.1, 1, 100))
    guest = draw.choice(("ieee13", "case33bw", "cigre_lv"))
    return {"attach": {"network": guest, "name": "m", "at_bus": at, "transformer": transformer, "load_scale": scale}}


def _some(draw: random.Random, model: type[BaseModel], count: int, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A few keys of a section with values that their types and bounds allow."""
    names = [name for name in sorted(model.model_fields) if name not in without]
    chosen = draw.sample(names, min(count, len(names)))
    found = {name: _value(draw, model, name, model.model_fields[name].annotation) for name in chosen}
    return {name: value for name, value in found.items() if value is not None}


def _value(draw: random.Random, model: type[BaseModel], name: str, annotation: Any) -> Any:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return draw.choice(inner)
    if inner and origin not in (list, dict, tuple):
        return _value(draw, model, name, draw.choice(inner))
    if annotation is bool:
        return draw.random() < 0.5
    if annotation in (int, float):
        number = _number(draw, model, name)
        return round(number) if annotation is int else number
    if annotation is str:
        return draw.choice(SERIES) if "series" in name else None
    return None


def _number(draw: random.Random, model: type[BaseModel], name: str) -> float:
    """The default, a number near it, or an end of the range, a hair inside or on it."""
    field = model.model_fields[name]
    default = field.default if isinstance(field.default, int | float) else 1.0
    shown = model._ranges[name][1] if issubclass(model, NumberSettings) else None
    assert shown is not None, "settings of numbers know their ranges"
    low, high = shown.low, shown.high
    span = high - low if math.isfinite(high - low) else 1.0
    return draw.choice(
        (
            *(default * factor for factor in (0.1, 0.5, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.5, 2.0, 10.0)),
            *(low, low + 1e-6 * span, high, high - 1e-6 * span, 1e-9, low + draw.random() * span),
        )
    )
