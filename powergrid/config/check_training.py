"""Check of the training section: a known algorithm with hyperparameters that it has, and a policy to imitate."""

from __future__ import annotations

from typing import Any

from powergrid.config.findings import Findings, known_names, section, text
from powergrid.core.errors import ArgumentError
from powergrid.plugins.algorithms import DEFAULT, setting_issues, settings_model
from powergrid.plugins.registries import ALGORITHMS, POLICIES

NONE = "none"
"""No policy is imitated or corrected in a run, whatever the configuration says."""


def check_training(findings: Findings, data: dict[str, Any]) -> None:
    """Note an unknown algorithm, settings that it does not take, and an unknown policy to imitate.

    Where JAX is not installed no algorithm is checked: they cannot be loaded, and training refuses to begin.
    """
    training = section(data, "training")
    imitated, policies = text(training.get("imitate")), (NONE, *known_names(POLICIES))
    if imitated is not None and imitated not in policies:
        findings.unknown(("training", "imitate"), "policy", imitated, policies)
    name, settings = text(training.get("algorithm")), section(training, "settings")
    if name is None and not settings:
        return
    name = name or DEFAULT
    try:
        known = known_names(ALGORITHMS)
    except ImportError:
        return
    if name not in known:
        findings.unknown(("training", "algorithm"), "algorithm", name, known)
        return
    try:
        model = settings_model(name)
    except ArgumentError:
        return  # it examines what it is given when training begins
    for issue in setting_issues(model, settings):
        keys = tuple(issue.path.split(".")) if issue.path else ()
        findings.add(("training", "settings", *keys), issue.message, issue.hint)
