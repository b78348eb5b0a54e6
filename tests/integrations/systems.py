"""Small power systems that the tests of all learning libraries play."""

from __future__ import annotations

from typing import Any

FORMS = {"normalize": True, "agent_id": True}

UNEQUAL = {
    "network": "ieee34",
    "agents": [
        {"id": "ess_1", "type": "ESS", "bus": "830", "params": {"capacity_mwh": 1.0}},
        {"id": "dg_1", "type": "DG", "bus": "848", "params": {"p_max_mw": 0.2}},
        {"id": "ess_2", "type": "ESS", "bus": "890", "params": {"capacity_mwh": 0.5}},
    ],
}
"""Agents of two roles, whose spaces differ."""


def leaves_after(time_s: float) -> dict[str, Any]:
    """Two equal agents, of which the second one leaves."""
    battery = {"type": "ESS", "policy": "learned", "params": {"capacity_mwh": 1.0}}
    stays = {"id": "ess_1", "bus": "671", **battery}
    return {
        "network": "ieee13",
        "agents": [stays, {"id": "ess_2", "bus": "675", **battery, "presence": {"leaves": time_s}}],
    }
