"""The first sections: the result, and the setting of the evaluation."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import numpy as np

from powergrid.core.statistics import mean_interval
from powergrid.networks.kinds import AnyNetwork
from powergrid.report import markup
from powergrid.report.files import RunMeta
from powergrid.report.findings import gap, rival, saving, split_name
from powergrid.report.plots.trade import trading_percent
from powergrid.report.plots.voltage import outside_percent
from powergrid.report.run import Run
from powergrid.report.style import policy_phrase, readable

COMPOSITE = (
    "The data are a composite of unrelated places: load and solar power of San Francisco, prices of North Texas, wind "
    "off California. Each series comes from a published source, but their coincidence is not real. This page therefore "
    "compares policies and describes no real system."
)
AGENTS_NAMED = 6
"""Largest number of agents that are listed by name."""


def title(run: Run) -> str:
    """Title: the trained or evaluated policy, and the configuration."""
    what = run.meta.algorithm.upper() if run.meta else policy_phrase(run.main.name).capitalize()
    return f"{what} on {run.world.resolved.config.name}"


def byline(run: Run) -> str:
    """The setting in one line; `setting` has the details."""
    network, trained = run.world.network, _steps(run.metrics)
    parts = [
        f"{trained} training steps, seed {run.meta.seed}" if trained and run.meta else "nothing trained",
        f"{network.name}, {len(network.buses.name)} buses",
        f"data {run.world.resolved.dataset().name}",
        f"{len(run.days)} {split_name(run)}days",
        f"trajectory {run.main.trajectory_hash[:12]}" if run.main.trajectory_hash else "no trajectory",
    ]
    return " \N{MIDDLE DOT} ".join(parts)


def result(run: Run) -> str:
    """The result as a sentence and as large numbers."""
    note = markup.paragraph(COMPOSITE, "note") if is_composite(run.world.resolved.dataset().source) else ""
    return markup.section("Result", markup.paragraph(headline(run), "lead"), _tiles(run), note)


def setting(run: Run) -> str:
    """The evaluated policies, network, data and software."""
    return markup.section("What was played", markup.facts(_facts(run)))


def is_composite(source: str) -> bool:
    """Whether a dataset's source is that of the embedded year, in whole or in part."""
    return "SMART-DS" in source and "ERCOT" in source


def headline(run: Run) -> str:
    """The result as a sentence, no stronger than the interval allows."""
    main, other = run.main, rival(run)
    name, cost = policy_phrase(main.name), markup.dollars(main.objective.mean())
    count = f"{len(run.days)} {split_name(run)}day{'s' if len(run.days) != 1 else ''}"
    start = f"Averaged over {count}, a day costs {cost} $ under {name}"
    if other is None:
        return f"{start}. No other policy was evaluated, so there is no comparison."
    saved, rule = saving(run, other), policy_phrase(other.name)
    start += f" and {markup.dollars(other.objective.mean())} $ under {rule}."
    if saved.verdict == 0:
        between = markup.interval(saved.low, saved.high, sign=True)
        return f"{start} The difference is not significant: {name} saves {between} $ a day (95 % interval)."
    better, amount = (name if saved.verdict > 0 else rule), markup.dollars(abs(saved.mean))
    low, high = sorted((abs(saved.low), abs(saved.high)))
    return f"{start} {better.capitalize()} is cheaper by {amount} $ a day (95 % interval {markup.interval(low, high)})."


def _tiles(run: Run) -> str:
    main, other = run.main, rival(run)
    mean, low, high = mean_interval(main.objective)
    below = f"median {markup.dollars(float(np.median(main.objective)))} $, 95 % interval {markup.interval(low, high)}"
    entries = [(f"Cost of a day, {readable(main.name)}", f"{markup.dollars(mean)} $", below)]
    if other is not None:
        saved = saving(run, other)
        number = f"{markup.dollars(saved.mean, sign=True)} $/day"
        below = f"saved; 95 % interval {markup.interval(saved.low, saved.high, sign=True)}"
        entries.append((f"Against {readable(other.name)}", number, below))
    above = gap(run, main)
    if run.bound is not None and above is not None:
        bound = markup.dollars(float(run.bound.mean()))
        below = f"95 % interval {markup.interval(above.low, above.high)}; no policy costs less than {bound} $/day"
        entries.append(("Above the lower bound", f"{markup.dollars(above.mean)} $/day", below))
    settings, record = run.world.layout.settings, main.record
    if record is not None:
        outside = outside_percent(record, settings.v_min_pu, settings.v_max_pu)
        below = f"of all buses and ticks outside {settings.v_min_pu:g} to {settings.v_max_pu:g} pu"
        entries.append(("Voltage outside its band", f"{outside:.2f} %", below))
        trading = trading_percent(record)
        if trading is not None:
            entries.append(("Trade between peers", f"{trading:.0f} %", "of all ticks"))
    return markup.tiles(entries)


def _facts(run: Run) -> list[tuple[str, str]]:
    world = run.world
    settings, dataset = world.layout.settings, world.resolved.dataset()
    episode = f"{settings.episode_length} ticks of {60.0 * settings.dt_h:g} minutes each"
    return [
        ("Configuration", f"{world.resolved.config.name}, in full in config.yaml beside this page"),
        ("Agents", _agents(run)),
        ("Training", _training(run.meta, run.metrics)),
        ("Evaluation", f"{len(run.days)} {split_name(run)}days, {episode}, seed {run.seed}, without exploration"),
        ("Network", _network(world.network)),
        ("Data", f"{dataset.name}: {dataset.source}"),
        ("Licence of the data", dataset.licence or "not stated"),
        ("Software", _software(run.meta)),
        ("Machine", f"evaluated on {run.machine or 'an unknown machine'} with NumPy in float64"),
        ("Trajectory hash", f"{run.main.trajectory_hash or 'none'} (valid for one backend and processor)"),
    ]


def _agents(run: Run) -> str:
    layout = run.world.layout
    seen, acts = layout.view.sizes, [len(entries) for entries in layout.action_entries]
    shown = [f"{readable(name)} ({seen[i]} inputs, {acts[i]} actions)" for i, name in enumerate(layout.actors)]
    rest = len(shown) - AGENTS_NAMED
    return ", ".join(shown[:AGENTS_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _steps(metrics: list[dict[str, Any]]) -> str:
    return f"{metrics[-1]['step']:,}" if metrics else ""


def _training(meta: RunMeta | None, metrics: list[dict[str, Any]]) -> str:
    if meta is None or not metrics:
        return "none; all evaluated policies are fixed rules"
    minutes = metrics[-1].get("time_s", 0.0) / 60.0
    return (
        f"{meta.algorithm.upper()}, {_steps(metrics)} environment steps, seed {meta.seed}, on "
        f"{len(meta.days)} training days, {minutes:.1f} minutes on {meta.backend}"
    )


def _network(network: AnyNetwork) -> str:
    guests = list(dict.fromkeys(area for area in network.buses.area if area))
    guest = f" with {', '.join(guests)} attached" if guests else ""
    size = f"{len(network.buses.name)} buses, {len(network.branches.name)} branches"
    return f"{network.name}{guest}: {size}. {network.source_note}"


def _software(meta: RunMeta | None) -> str:
    try:
        version = metadata.version("powergrid-marl")
    except metadata.PackageNotFoundError:
        version = "not installed as a package"
    here = {"powergrid": version, "python": platform.python_version(), "numpy": np.__version__}
    groups = {"this page": here, "training": meta.versions if meta else {}}
    texts = (
        f"{what}: {', '.join(f'{name} {v}' for name, v in found.items())}" for what, found in groups.items() if found
    )
    return "; ".join(texts)
