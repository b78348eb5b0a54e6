"""Ids of the presets in the registries of Gymnasium and PettingZoo, which get them when they are imported.

``gymnasium.make("powergrid/ieee13_single-v0")`` makes a preset with one learning agent, ``gymnasium.make_vec`` many of
it; ``pettingzoo.make("parallel", "powergrid/ieee34_multi-v0")`` makes any preset, as does ``"aec"``. Keyword arguments
are those of :func:`powergrid.make` and :func:`powergrid.make_vec`.

Neither library reads entry points of packages, so that ``powergrid`` must be imported first, which
``gymnasium.make("powergrid:powergrid/ieee13_single-v0")`` does by itself.
"""

from __future__ import annotations

from pathlib import Path

from powergrid.core.when_imported import when_imported

SINGLE = ("ieee13_single", "ieee34_microgrid", "ieee34_microgrid_light")
"""Presets with one learning agent."""

_PRESETS = Path(__file__).parents[1] / "config" / "presets"
"""Listed here, since the package of configurations takes long to import."""


def id_of(preset: str) -> str:
    """Id of a preset in the registries."""
    return f"powergrid/{preset}-v0"


def install() -> None:
    """Register the presets with each of the two libraries that is imported, and with the other when it is."""
    when_imported("gymnasium.envs", _register_in_gymnasium)
    when_imported("pettingzoo.env_registry.registration", _register_in_pettingzoo)


def _register_in_gymnasium() -> None:
    from gymnasium.envs.registration import register, registry

    for preset in SINGLE:
        if id_of(preset) not in registry:
            register(
                id_of(preset),
                entry_point="powergrid.envs.factory:make",
                vector_entry_point="powergrid.envs.factory:make_vec",
                kwargs={"source": preset, "api": "gymnasium"},
            )


def _register_in_pettingzoo() -> None:
    from pettingzoo.env_registry import registration  # PettingZoo 1.27 and later

    known = {"parallel": registration.parallel_registry, "aec": registration.aec_registry}
    for preset in sorted(path.stem for path in _PRESETS.glob("*.yaml")):
        for api, registry in known.items():
            if id_of(preset) not in registry:
                kwargs = {"source": preset, "api": api}
                registration.register(api, id_of(preset), entry_point="powergrid.envs.factory:make", kwargs=kwargs)
