"""Regulators and capacitors without an agent: their settings by rules, and checks of these."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from pydantic import ValidationError

from powergrid.config.document import Keys
from powergrid.config.findings import Findings
from powergrid.config.schema_network import CapacitorRule, NetworkConfig, RegulatorRule
from powergrid.core.errors import NetworkError
from powergrid.networks.kinds import AnyNetwork
from powergrid.networks.regulation import regulators_at, relay_settings, standing_tap, upstream
from powergrid.plugins.registries import DEVICES

Rules: TypeAlias = Sequence[RegulatorRule] | Sequence[CapacitorRule]

VOLTS = 120.0
"""Voltage base on which regulator bandwidths are given [V]."""


class Controller(NamedTuple):
    """A regulator or capacitor of the network by local control.

    Attributes
    ----------
    kind
        Device type.
    place
        Regulator branch, whole bank, or shunt.
    params
        Its parameters.
    """

    kind: str
    place: str
    params: dict[str, Any]


def controllers(section: NetworkConfig, network: AnyNetwork, places: Sequence[str]) -> Iterator[Controller]:
    """Regulators and switchable capacitors without an agent.

    Parameters
    ----------
    section
        Network section of the configuration, with its rules.
    network
        The network.
    places
        Regulators and capacitors that have an agent.
    """
    moved = {row for place in places for row in regulators_at(network, place)}
    follows = np.any(upstream(network), axis=0).tolist()
    for name, k in _free_regulators(section.regulators, network, moved):
        params = _regulator_params(section.regulators, network, name, k, follows[k])
        yield Controller("Regulator", name, params)
    for name, free in zip(network.shunts.name, network.shunts.switchable, strict=True):
        if free and name not in places:
            yield Controller("Capacitor", name, _ruled(section.capacitors, name))


def check_controllers(
    findings: Findings, written: dict[str, Any], section: NetworkConfig, network: AnyNetwork, places: Sequence[str]
) -> None:
    """Note every rule whose settings a regulator or capacitor cannot have.

    Parameters
    ----------
    written
        Network section as the user wrote it.
    section, network, places
        See `controllers`.
    """
    faults: dict[tuple[Keys, str], list[str]] = {}
    for kind, place, params in controllers(section, network, places):
        for message, names in _faults(kind, place, params, network):
            key = "regulators" if kind == "Regulator" else "capacitors"
            path = _rule(written.get(key), getattr(section, key), key, place, names)
            faults.setdefault((path, message), []).append(place)
    for (path, message), concerned in faults.items():
        others = f" and {len(concerned) - 1} more" if len(concerned) > 1 else ""
        volts = f"bandwidth_v is {VOLTS:g} V times bandwidth_pu" if "bandwidth_pu" in message else ""
        findings.add(path, f'"{concerned[0]}"{others}: {message}', volts or "keys that are left out have usual values")


def _faults(kind: str, place: str, params: dict[str, Any], network: AnyNetwork) -> list[tuple[str, set[str]]]:
    """Faults in the settings of one of them: sentences, each with the names of settings in it."""
    try:
        settings = DEVICES.get(kind).Settings.model_validate(params)
        if kind == "Regulator" and not settings.local_control and settings.tap_init is None:
            standing_tap(network, place, settings)
    except ValidationError as error:
        said = [(str(detail["msg"]).removeprefix("Value error, "), detail["loc"]) for detail in error.errors()]
        return [(message, {*map(str, at), *re.findall(r"\w+", message)}) for message, at in said]
    except NetworkError as error:
        return [(str(error), {"local_control"})]
    return []


def _rule(written: object, rules: Rules, key: str, place: str, names: set[str]) -> Keys:
    """Path of the last rule for a place that sets one of `names`; else that of the whole list."""
    names = names | ({"bandwidth_v"} if "bandwidth_pu" in names else set())
    for i in reversed(range(len(rules))):
        rule = rules[i]
        named = [name for name in sorted(rule.model_fields_set) if name in names]
        if named and fnmatchcase(place, rule.match):
            return ("network", key, *((i,) if isinstance(written, list) else ()), named[0])
    return ("network", key) if written else ("network",)


def _free_regulators(rules: Rules, network: AnyNetwork, moved: set[int]) -> list[tuple[str, int]]:
    """Name and first row of each regulator, or bank whose phases move together, that no agent moves.

    Phases that no relay moves do not move together: each keeps the tap that it has. Neither do those of a bank of which
    an agent moves one phase.
    """
    first: dict[str, int] = {}
    names = [network.branches.name[branch] for branch in network.regulators.branch]
    apart = {names[k][:-2] for k in moved}
    for k, name in enumerate(names):
        ruled = _ruled(rules, name)
        gang = ruled.get("gang", network.regulators.gang[k] == 1.0) and ruled.get("local_control", True)
        together = gang and network.is_three_phase and name[:-2] not in apart
        if k not in moved:
            first.setdefault(name[:-2] if together else name, k)
    return list(first.items())


def _regulator_params(rules: Rules, network: AnyNetwork, name: str, k: int, follows: bool) -> dict[str, Any]:
    """Parameters of the regulator in row `k`, which another precedes or not: its network's, then those of the rules."""
    regulators, ruled = network.regulators, _ruled(rules, name)
    ruled.pop("gang", None)
    params: dict[str, Any] = {
        "step_pu": float(regulators.step_pu[k]),
        "tap_min": int(regulators.tap_min[k]),
        "tap_max": int(regulators.tap_max[k]),
    }
    if ruled.pop("relay", "published" if network.is_three_phase else "plain") == "published":
        params.update(relay_settings(network, k))
    params["delay_s"] = 45.0 if follows else 30.0  # an attached network does not know what precedes it
    params.update(ruled)
    if "bandwidth_v" in params:
        params["bandwidth_pu"] = params.pop("bandwidth_v") / VOLTS
    return params


def _ruled(rules: Rules, name: str) -> dict[str, Any]:
    """Settings that rules give to a name; later rules win, key by key."""
    settings: dict[str, Any] = {}
    for rule in rules:
        if fnmatchcase(name, rule.match):
            settings.update(rule.model_dump(exclude={"match"}, exclude_none=True))
    return settings
