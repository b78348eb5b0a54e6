"""Policies in plain Python as a configuration names them: a class beside the file, or a registered one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from powergrid.agents.base import PYTHON
from powergrid.agents.policy import is_policy
from powergrid.agents.python_policy import PolicyMaker
from powergrid.config.agent_entries import AgentEntry, in_python
from powergrid.config.findings import Findings, quoted, text
from powergrid.config.schema_agents import PolicyConfig
from powergrid.plugins.load import PluginError, load_object, module_file
from powergrid.plugins.registries import POLICIES

_FORM = "write policy: {python: module:Class}, the module beside this file or on Python's path"


def check_policy_mapping(findings: Findings, agent: AgentEntry) -> None:
    """Note faults of a policy that is written as a mapping, or names a registered policy in plain Python."""
    written = agent.raw.get("policy")
    if not isinstance(written, Mapping):
        if (name := text(written)) is not None and in_python(name):
            _try(findings, agent, POLICIES.get(name), {}, name)
        return
    params = written.get("params") or {}
    if not isinstance(params, Mapping):
        return  # noted by the schema
    if "python" in written:
        target = text(written.get("python"))
        if target is not None:
            _check_target(findings, agent, target, params)
        return
    name = text(written.get("type"))
    if name is None or name not in POLICIES:
        return  # noted by the schema or as an unknown policy
    if not in_python(name):
        if params:
            message = f"params {quoted(dict(params))}: the local policy {quoted(name)} takes none here"
            findings.add(agent.path("policy", "params"), message, "leave them out")
        return
    _try(findings, agent, POLICIES.get(name), params, name)


def _check_target(findings: Findings, agent: AgentEntry, target: str, params: Mapping[str, Any]) -> None:
    path, folder = agent.path("policy", "python"), findings.document.folder
    module, _, name = target.rpartition(":")
    if not module or not name:
        findings.add(path, f"{quoted(target)} names no class", _FORM)
        return
    if not findings.execute:
        file = module_file(module, folder)
        if file is not None and not file.is_file():
            findings.add(path, f"{quoted(target)}: there is no file {file}", _FORM)
        else:
            findings.pending_module(path, target)
        return
    try:
        kind = load_object(target, folder)
    except PluginError as error:
        findings.add(path, "; ".join(error.broken.values()), _FORM)
        return
    if isinstance(kind, type) and is_policy(kind):
        message = f"{quoted(target)} is a local policy, which decides inside the step"
        findings.add(path, message, "register it with @register_policy under a name, and write policy: NAME")
    elif not callable(kind):
        findings.add(path, f"{quoted(target)} is no class: {kind!r}"[:200], _FORM)
    else:
        _try(findings, agent, kind, params, target)


def _try(findings: Findings, agent: AgentEntry, kind: Any, params: Mapping[str, Any], name: str) -> None:
    """Note parameters that the class does not take."""
    place = agent.path("policy", "params") if isinstance(agent.raw.get("policy"), Mapping) else agent.path("policy")
    try:
        PolicyMaker(kind, dict(params), name, agent.id or "unnamed")()
    except ValidationError as error:
        findings.invalid(place, dict(params), kind.Settings, error)
    except TypeError as error:
        findings.add(place, f"{name}: {error}", "params are the keywords of its constructor")
    except Exception as error:  # a stranger's constructor may fail in any way, and that is one fault among others
        findings.add(place, f"{name} cannot be made: {type(error).__name__}: {error}")


def policy_maker(policy: str | PolicyConfig | None, folder: Path, agent: str) -> PolicyMaker | None:
    """What makes the object that decides for an agent; ``None`` where its policy is not in plain Python.

    Raises
    ------
    PluginError
        If the module or class cannot be found, which `resolve` notes first.
    """
    if policy is None or policy == PYTHON:
        return None
    if isinstance(policy, str):
        return PolicyMaker(POLICIES.get(policy), {}, policy, agent) if in_python(policy) else None
    if policy.python is not None:
        return PolicyMaker(load_object(policy.python, folder), policy.params, policy.python, agent)
    name = str(policy.type)
    return PolicyMaker(POLICIES.get(name), policy.params, name, agent) if in_python(name) else None
