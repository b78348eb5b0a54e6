"""Check of the policies that actions correct: those of the environment and of training."""

from __future__ import annotations

from typing import Any

from powergrid.agents.policy import LocalPolicy
from powergrid.config.check_training import NONE
from powergrid.config.findings import Findings, known_names, quoted, section, text
from powergrid.core.errors import UnknownNameError
from powergrid.plugins.registries import POLICIES


def check_residual(findings: Findings, data: dict[str, Any]) -> None:
    """Note policies that actions cannot correct."""
    for path, written in ((("residual",), data), (("training", "residual"), section(data, "training"))):
        name = text(written.get("residual"))
        if name is None or (name == NONE and len(path) > 1):
            continue
        if name not in POLICIES:
            findings.unknown(path, "policy", name, known_names(POLICIES))
        elif reason := why_not(name):
            findings.add(path, f"policy {quoted(name)} cannot be corrected: {reason}", "such as rule_based")


def why_not(name: str) -> str:
    """Why actions cannot correct a registered policy; empty where they can."""
    try:
        policy = POLICIES.get(name)
    except UnknownNameError as error:
        return str(error)
    if not (isinstance(policy, type) and issubclass(policy, LocalPolicy)):
        return "it decides in Python, outside the step"
    if policy.act is not None or policy.State._fields:
        return "it has a kernel or a memory of its own"
    if policy.volt_var is not None or policy.volt_watt:
        return "its inverters follow their voltage within the power flow, where no action reaches them"
    return "it draws random numbers" if "random" in (policy.usual, policy.orders) else ""
