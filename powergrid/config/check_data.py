"""Checks of the data: they exist, they have the columns that the configuration names, and time step and tariff fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from powergrid.agents.device_agent import MEASURED
from powergrid.config.agent_entries import AgentEntry
from powergrid.config.check_protocols import DAY_S
from powergrid.config.document import Keys
from powergrid.config.findings import Findings, choices, entries, known_names, quoted, section, text, whole
from powergrid.config.schema import DEFAULT_DATASET, TariffConfig
from powergrid.core.errors import ConfigError, PowerGridError
from powergrid.core.files import path_fault
from powergrid.core.types import CONSTANT_SERIES
from powergrid.datasets.series_file import SeriesFile
from powergrid.plugins.registries import DATASETS

if TYPE_CHECKING:
    from powergrid.datasets import Dataset, Series
    from powergrid.datasets.tariff_file import TariffFile

_DERIVED = ("retail_per_mwh", "feed_in_per_mwh", "hour", CONSTANT_SERIES)
"""Series that the environment computes."""
_ALWAYS = ("price_per_mwh", "load_p_pu", "load_q_pu")
"""Series that environments read where nothing else is written."""


def build_dataset(datasets: str | Mapping[str, SeriesFile], folder: Path, tariff: TariffFile | None = None) -> Dataset:
    """The dataset that a configuration names; single series replace those of the embedded year.

    The price series of a tariff in a file stand beside it.

    Raises
    ------
    UnknownNameError, DataError
        If a dataset is unknown or a file cannot be used.
    """
    from powergrid.datasets import from_series, load
    from powergrid.datasets.dataset_columns import completed
    from powergrid.datasets.loaders import is_file

    if not isinstance(datasets, str):
        found = from_series(datasets, DEFAULT_DATASET, folder=folder)
    else:
        found = load(str(folder / Path(datasets).expanduser()) if is_file(datasets) else datasets)
        if datasets not in DATASETS and not is_file(datasets):  # a market, which has no households
            found = completed(found, DEFAULT_DATASET)
    return found if tariff is None else tariff.added_to(found)


def read_tariff(config: TariffConfig, folder: Path) -> TariffFile | None:
    """The tariff in a file; ``None`` for one without a file.

    Raises
    ------
    ConfigError
        If the file has faults.
    """
    from powergrid.datasets.tariff_file import read

    return None if config.file is None else read(folder / Path(config.file).expanduser())


def check_data(findings: Findings, data: dict[str, Any], folder: Path, agents: list[AgentEntry]) -> Dataset | None:
    """Note every fault of data, time and tariff beyond the schema; return the dataset, if it can be read."""
    _check_time(findings, section(data, "simulation"))
    dataset = _dataset(findings, data.get("datasets", DEFAULT_DATASET), folder)
    _check_tariff(findings, section(data, "tariff"), dataset)
    dataset = _with_tariff(findings, data, folder, dataset)
    for path, name in _wanted(data, agents):
        if dataset is None:
            if {"load_series", "sgen_series", "series"} & set(path):  # a default is no fault of the user
                findings.unchecked(path, name, "the data have a fault")
        elif name not in dataset.columns and not dataset.sites(name):
            quantities = {column.split(":")[0] for column in dataset.columns}
            hint = choices(name, [*dataset.columns, *quantities])
            findings.add(path, f'dataset "{dataset.name}" has no series "{name}"', hint)
        else:
            _check_gaps(findings, path, name, dataset)
    if dataset is not None:
        for name in _ALWAYS:
            _check_gaps(findings, ("datasets",), name, dataset)
    return dataset


def _with_tariff(findings: Findings, data: dict[str, Any], folder: Path, dataset: Dataset | None) -> Dataset | None:
    """The dataset with the prices of a tariff in a file; notes every fault of the file."""
    try:
        config = TariffConfig.model_validate(section(data, "tariff"))
        tariff = read_tariff(config, folder)
    except ValidationError:
        return dataset
    except ConfigError as error:
        for issue in error.issues:
            findings.add(("tariff", "file"), f"{issue.file}: {issue.path}: {issue.message}", issue.hint)
        return dataset
    if tariff is None:
        return dataset
    if tariff.demand is not None and not any(item.get("sub_agents") or item.get("area") for _, item in _agents(data)):
        message = f"tariff {tariff.name} has a demand charge, which coordinators pay, and there is none"
        findings.add(
            ("tariff", "file"), message, "put the devices below a coordinator (sub_agents), or leave demand out"
        )
    if dataset is None:
        return None
    try:
        return tariff.added_to(dataset)
    except PowerGridError as error:
        message, _, hint = str(error).partition("; ")
        findings.add(("tariff", "file"), message, hint)
        return dataset


def _agents(data: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    return list(entries(data.get("agents")))


def _check_gaps(findings: Findings, path: Keys, name: str, dataset: Dataset) -> None:
    """Note that a series has no value at some times; a quantity stands for its first column."""
    import numpy as np

    for column in (name,) if name in dataset.columns else dataset.sites(name)[:1]:
        missing = int(np.isnan(dataset.series(column).values).sum())
        if missing:
            hint = "add the step {gaps: interpolate} to its cleaning, with longest_h, or choose another source"
            findings.add(path, f"series {column}: {missing:,} values missing", hint)


def _dataset(findings: Findings, written: Any, folder: Path) -> Dataset | None:
    """Return the dataset; note each series that cannot be read."""
    from powergrid.datasets import load
    from powergrid.datasets.cells import read_once
    from powergrid.datasets.combine import as_text, combined

    if isinstance(written, str):
        return _named(findings, written, folder)
    if not isinstance(written, dict):
        return None
    forms = {key: form for key, place in written.items() if (form := _form(place)) is not None}
    ground = load(DEFAULT_DATASET)
    with read_once():
        series = {key: _single(findings, key, form, ground, folder) for key, form in forms.items()}
    read = {key: one for key, one in series.items() if one is not None}
    if len(read) < len(written):
        return None
    try:
        return combined(read, {key: as_text(form) for key, form in forms.items()}, ground)
    except PowerGridError as error:
        message, _, hint = str(error).partition("; ")
        findings.add(("datasets",), message, hint)
        return None


def _named(findings: Findings, name: str, folder: Path) -> Dataset | None:
    from powergrid.datasets.fetching.source import examples, source_of
    from powergrid.datasets.loaders import is_file

    if fault := path_fault(name):
        findings.add(("datasets",), f"{quoted(name)} is no path: {fault}")
        return None
    if name not in DATASETS and not is_file(name) and source_of(name) is None:
        findings.unknown(("datasets",), "dataset", name, [*known_names(DATASETS), *examples(name)])
        return None
    try:
        return build_dataset(name, folder)
    except ConfigError as error:
        for issue in error.issues:
            findings.add(("datasets",), f"{issue.file}: {issue.path}: {issue.message}", issue.hint)
        return None
    except (PowerGridError, OSError) as error:
        findings.add(("datasets",), str(error))
        return None


def _form(place: Any) -> SeriesFile | None:
    """A series as the schema reads it; ``None`` for one with which it finds fault."""
    try:
        return SeriesFile.model_validate({"path": place} if isinstance(place, str) else place)
    except ValidationError:
        return None


def _single(findings: Findings, key: str, form: SeriesFile, ground: Dataset, folder: Path) -> Series | None:
    """One series; notes what is wrong with it."""
    from powergrid.datasets.combine import series_at

    try:
        return series_at(key, form, ground, folder)
    except (PowerGridError, OSError) as error:
        message, _, hint = str(error).partition("; ")
        findings.add(("datasets", key), f"{quoted(form.path)}: {message}", hint)
        return None


def _wanted(data: dict[str, Any], agents: list[AgentEntry]) -> list[tuple[Keys, str]]:
    """Series that network and devices name, each with its path."""
    asked = _network_series(("network",), section(data, "network"))
    for i, item in entries(section(data, "network").get("modifications")):
        asked += _network_series(("network", "modifications", i, "attach"), section(item, "attach"))
    capacitors = section(data, "network").get("capacitors")
    single = isinstance(capacitors, dict)
    for i, rule in entries([capacitors] if single else capacitors):
        asked.append((("network", "capacitors", *(() if single else (i,)), "series"), rule.get("series")))
    for agent in agents:
        asked += [
            (agent.path("params", "series") if "series" in agent.raw.get("params", {}) else agent.path(), name)
            for name in _device_series(agent)
        ]
    written = data.get("carbon")
    carbon = written if isinstance(written, str) else section(data, "carbon").get("series")
    asked.append((("carbon",) if isinstance(written, str) else ("carbon", "series"), carbon))
    for quantity in section(data, "forecast", "noise"):
        asked.append((("forecast", "noise", quantity), quantity))
    named = [(path, text(name)) for path, name in asked]
    return [(path, name) for path, name in named if name is not None and name != CONSTANT_SERIES]


def _network_series(path: Keys, written: dict[str, Any]) -> list[tuple[Keys, Any]]:
    """Series that the loads, and the generation and storage, of a network follow."""
    rule = written.get("sgen_series")
    rules = (
        [((*path, "sgen_series", pattern), name) for pattern, name in rule.items()] if isinstance(rule, dict) else []
    )
    return [((*path, "load_series"), written.get("load_series")), *(rules or [((*path, "sgen_series"), rule)])]


def _device_series(agent: AgentEntry) -> list[str]:
    """Series that a device reads; none where the device cannot be made."""
    params = agent.raw.get("params", {})
    if agent.kind is None or not isinstance(params, dict) or not agent.kind.Exogenous._fields:
        return []
    try:
        device = agent.kind(id=agent.id or "unnamed", **params)
    except (ValidationError, TypeError, ValueError):
        return [params["series"]] if "series" in params else []  # the rest is noted with its parameters
    names = [name for field, name in device.series().items() if field not in MEASURED]
    return [name for name in names if name.split(":")[0] not in _DERIVED and not name.startswith("clock_")]


def _check_time(findings: Findings, simulation: dict[str, Any]) -> None:
    tick = whole(simulation.get("time_step"))
    if tick is not None and tick > 0 and DAY_S % tick:
        divisors = [d for d in range(1, DAY_S + 1) if DAY_S % d == 0]
        below = max(d for d in divisors if d < tick)
        above = min((d for d in divisors if d > tick), default=DAY_S)
        near = " and ".join(str(d) for d in dict.fromkeys((below, above)))
        hint = f"nearest: {near} s; usual are 60, 300, 900 and 3600 s"
        findings.add(("simulation", "time_step"), f"a time step of {tick} s does not divide a day", hint)


def _check_tariff(findings: Findings, written: dict[str, Any], dataset: Dataset | None) -> None:
    """Note a feed-in price above the retail price in any tick: energy could then be bought and sold at a profit."""
    import numpy as np

    from powergrid.datasets.tariff import check_tariff

    try:
        tariff = TariffConfig.model_validate(written)
    except ValidationError:
        return
    if tariff.feed_in_share <= 1 and tariff.retail_adder >= 0:
        return
    key = "retail_adder" if tariff.retail_adder < 0 else "feed_in_share"
    sites = dataset.sites("price_per_mwh") if dataset is not None else ()
    if dataset is None or not sites:
        findings.unchecked(("tariff", key), written[key], "the prices are unknown")
        return
    price = dataset.series(sites[0]).values
    try:
        check_tariff(price[np.isfinite(price)], tariff.feed_in_share, tariff.retail_adder)
    except PowerGridError as error:
        message, _, hint = str(error).partition("; ")
        findings.add(("tariff", key), message, hint)
