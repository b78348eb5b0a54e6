"""Grid files: from YAML to a list of jobs, or to all faults at once before anything is trained."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from powergrid.config import preset_names
from powergrid.config.document import Keys
from powergrid.config.findings import Findings, known_names, quoted
from powergrid.config.resolve import ResolvedConfig, resolve, with_overrides
from powergrid.config.sources import open_document
from powergrid.core.errors import ArgumentError, ConfigError, Issue, MissingExtraError, nearest
from powergrid.learn.sweep.job import Job
from powergrid.learn.sweep.schema import MOST_JOBS, Evaluated, Grid, Range
from powergrid.learn.train import train
from powergrid.plugins.algorithms import DEFAULT, setting_issues, settings_model
from powergrid.plugins.registries import ALGORITHMS

_OF_TRAINING = frozenset(signature(train).parameters) - {"num_envs", "hyper"}
_LONGEST_NAME = 160
"""Characters of a folder's name; file systems take 255 bytes."""


class _Choice(NamedTuple):
    """One combination of values: each name with the position of its value in the file."""

    values: dict[str, Any]
    places: dict[str, int]


class Space(NamedTuple):
    """A checked grid that is searched.

    Attributes
    ----------
    grid
        The file; its days of evaluation are those of the objective.
    base
        Name of the preset or file.
    resolved
        Its configuration.
    over, settings
        Values by name: a range, or a list of one or more.
    algorithms
        One or more.
    """

    grid: Grid
    base: str
    resolved: ResolvedConfig
    over: dict[str, Range | list[Any]]
    settings: dict[str, Range | list[Any]]
    algorithms: list[str]


def read_grid(file: str | Path) -> tuple[Job, ...]:
    """Read a grid file, and check each configuration and each hyperparameter of it.

    Parameters
    ----------
    file
        YAML file, see :class:`Grid`.

    Returns
    -------
    tuple of Job
        One for each configuration, algorithm, combination of values and seed.

    Raises
    ------
    ConfigError
        If there is no such file, or with every fault of it.
    MissingExtraError
        If JAX or Optax is not installed.
    """
    grid, findings = _opened(file)
    jobs: tuple[Job, ...] = ()
    if grid is not None:
        for place in _ranges(grid, findings):
            findings.add(place, "a range is sampled by --search alone", "list its values, or call with --search")
        if "search" in grid.model_fields_set:
            findings.add(("search",), "it is for --search", "leave it out, or call with --search")
        jobs = _Reader(grid, findings).jobs()
    if findings.issues or not jobs:
        raise ConfigError(findings.issues)
    return jobs


def read_space(file: str | Path) -> Space:
    """Read a grid file to search its values, and check the ends of each range and each value of it.

    Parameters
    ----------
    file
        YAML file, see :class:`Grid`.

    Returns
    -------
    Space
        What is sampled.

    Raises
    ------
    ConfigError
        If there is no such file, or with every fault of it.
    MissingExtraError
        If JAX or Optax is not installed.
    """
    grid, findings = _opened(file)
    space = None
    if grid is not None:
        if "evaluate" not in grid.model_fields_set or "days" not in grid.evaluate.model_fields_set:
            grid = grid.model_copy(update={"evaluate": Evaluated(days="validation")})
        space = _Reader(grid, findings).space(_ranges(grid, findings))
    if findings.issues or space is None:
        raise ConfigError(findings.issues)
    return space


def _opened(file: str | Path) -> tuple[Grid | None, Findings]:
    """What the schema accepts of a grid file, and its faults."""
    path = Path(file)
    if not path.is_file():
        raise ConfigError([Issue("", f'there is no grid file "{file}"', "powergrid sweep --help shows one")])
    document = open_document(path)
    findings = Findings(document)
    try:
        return Grid.model_validate(document.data), findings
    except ValidationError as error:
        findings.invalid((), document.data, Grid, error)
        return _without_faults(document.data, error), findings


def _ranges(grid: Grid, findings: Findings) -> dict[tuple[str, str], Range]:
    """Ranges by their place: mappings with an end in place of a list; their ends become the values of the grid."""
    found = {}
    for key, listed in (("over", grid.over), ("settings", grid.settings)):
        for name in listed:
            written = findings.document.data[key][name]
            if isinstance(written, Mapping) and {"low", "high"} & set(written):
                try:
                    read = Range.model_validate(written)
                except ValidationError as error:
                    findings.invalid((key, name), written, Range, error)
                    listed[name] = []
                else:
                    found[key, name] = read
                    listed[name] = [read.low, read.high]
    return found


def _without_faults(data: Any, error: ValidationError) -> Grid | None:
    """The keys that the schema accepts, so that these are checked too; ``None`` if nothing can be."""
    wrong = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
    if not isinstance(data, dict) or "base" in wrong:
        return None
    return Grid.model_validate({key: value for key, value in data.items() if key not in wrong})


class _Reader:
    """Checks of one grid; `findings` collects what is wrong."""

    def __init__(self, grid: Grid, findings: Findings):
        self.grid, self.findings = grid, findings
        self.folder = findings.document.folder

    def jobs(self) -> tuple[Job, ...]:
        """All jobs of the grid."""
        grid = self.grid
        sizes = [len(values) for values in (*grid.over.values(), *grid.settings.values())]
        count = math.prod([*sizes, len(grid.base), len(grid.seeds), len(grid.algorithms) or 1])
        if count > MOST_JOBS:
            self.findings.add((), f"{count:,} jobs are more than {MOST_JOBS:,}", "divide them among several files")
            return ()
        self._repeated()
        self._names()
        configurations = [self._resolved(i, base) for i, base in enumerate(grid.base)]  # plugins may add algorithms
        algorithms = self._algorithms()
        found: list[Job] = []
        for base, own in zip(grid.base, configurations, strict=True):
            for choice, resolved in self._variants(base, own) if own is not None else ():
                self._check_days(base, resolved)
                own_algorithm = resolved.config.training.algorithm or DEFAULT
                for algorithm in algorithms if grid.algorithms else [own_algorithm]:
                    found += self._of_algorithm(base, resolved, choice, algorithm)
        return tuple(found)

    def space(self, ranges: Mapping[tuple[str, str], Range]) -> Space | None:
        """What a search samples; each value is checked with the first ones of all other names."""
        grid = self.grid
        self._repeated()
        self._names()
        if len(grid.base) > 1:
            self.findings.add(("base",), "J of several configurations does not compare", "search one of them")
        if grid.evaluate.days in ("test", "stress"):
            what = f"days of {grid.evaluate.days} that choose a trial cannot judge it as well"
            self.findings.add(
                ("evaluate", "days"), what, "choose validation, and evaluate the best trial on the others"
            )
        if grid.search.prune and len(grid.seeds) < 2:
            hint = "give two seeds or more, or leave prune out"
            self.findings.add(("search", "prune"), "a trial is pruned between seeds, and there is one", hint)
        own = self._resolved(0, grid.base[0])
        algorithms = self._algorithms()
        if own is None or self.findings.issues:
            return None
        algorithms = algorithms or [own.config.training.algorithm or DEFAULT]
        for choice in _one_by_one(grid.over):
            try:
                resolved = with_overrides(own, **choice.values) if choice.values else own
            except ConfigError as error:
                self._blame(grid.base[0], own, choice, error)
                continue
            self._check_days(grid.base[0], resolved)
            for algorithm, settings in product(algorithms, _one_by_one(grid.settings)):
                self._check_settings(grid.base[0], resolved, algorithm, settings)
        values = {(key, name): v for key in ("over", "settings") for name, v in getattr(grid, key).items()}
        if not ranges and len(algorithms) == 1 and all(len(listed) == 1 for listed in values.values()):
            hint = "give a range, such as learning_rate: {low: 0.0001, high: 0.01, log: true}, or several values"
            self.findings.add((), "there is nothing to search: each name has one value", hint)
        over = {name: ranges.get(("over", name), listed) for name, listed in grid.over.items()}
        settings_ = {name: ranges.get(("settings", name), listed) for name, listed in grid.settings.items()}
        return Space(grid, Path(grid.base[0]).stem, own, over, settings_, algorithms)

    def _repeated(self) -> None:
        """Refuse what stands twice."""
        grid = self.grid
        self._twice("seeds", values=grid.seeds)
        self._twice("algorithms", values=grid.algorithms)
        self._twice("base", values=[Path(base).stem for base in grid.base])
        for key, listed in (("over", grid.over), ("settings", grid.settings)):
            for name, values in listed.items():
                self._twice(key, name, values=values)

    def _of_algorithm(self, base: str, resolved: ResolvedConfig, choice: _Choice, algorithm: str) -> Iterator[Job]:
        """Jobs of one configuration and algorithm."""
        for settings in _choices(self.grid.settings):
            self._check_settings(base, resolved, algorithm, settings)
            named = {f"settings.{name}" if name in choice.values else name: v for name, v in settings.values.items()}
            varied = {**choice.values, **named}
            group = _name(Path(base).stem, algorithm, varied)
            for seed in self.grid.seeds:
                yield Job(
                    name=f"{group}-seed{seed}",
                    group=group,
                    base=Path(base).stem,
                    varied={name: quoted(value) for name, value in varied.items()},
                    resolved=resolved,
                    algorithm=algorithm,
                    steps=self.grid.steps,
                    seed=seed,
                    settings=settings.values,
                    days=self.grid.evaluate.days,
                )

    def _place(self, *path: str, i: int) -> Keys:
        """Where an item stands: in a list, or in place of one."""
        here = self.findings.document.data
        for key in path:
            here = here[key]
        return (*path, i) if isinstance(here, list) else path

    def _twice(self, *path: str, values: list[Any]) -> None:
        for i, value in enumerate(values):
            if value in values[:i]:
                self.findings.add(self._place(*path, i=i), f"{quoted(value)} stands twice", "leave one of them out")

    def _algorithms(self) -> list[str]:
        """Known ones among the algorithms."""
        try:
            known = known_names(ALGORITHMS)
        except ImportError as error:
            if isinstance(error, MissingExtraError):
                raise
            raise MissingExtraError(error.name or "JAX", "rl", "training") from error
        for i, name in enumerate(self.grid.algorithms):
            if name not in known:
                self.findings.unknown(self._place("algorithms", i=i), "algorithm", name, known)
        return [name for name in self.grid.algorithms if name in known]

    def _names(self) -> None:
        """Refuse names that belong elsewhere: arguments of training, and what the grid has a key for."""
        for name in self.grid.settings:
            if name in _OF_TRAINING:
                hint = f"vary training.{name} under over" if name in ("imitate", "residual") else "leave it out"
                self.findings.add(("settings", name), "it belongs to the run and is no hyperparameter", hint)
        for path in self.grid.over:
            last = path.removeprefix("training.")
            if last == "algorithm" or (last == "steps" and self.grid.steps is not None):
                key = "algorithms" if last == "algorithm" else "steps"
                self.findings.add(("over", path), f"the grid has the key {key} for it", f"give {key} alone")

    def _resolved(self, i: int, base: str) -> ResolvedConfig | None:
        """The configuration of one base; its own faults keep their places."""
        names, file = preset_names(), self.folder / Path(base).expanduser()
        place = self._place("base", i=i)
        if base not in names and not file.is_file():
            hint = "; ".join(part for part in (nearest(base, names), f"presets: {', '.join(names)}") if part)
            self.findings.add(place, f'there is no preset and no file "{base}"', hint)
            return None
        try:
            return resolve(base if base in names else file)
        except ConfigError as error:
            for issue in error.issues:
                where = f"{issue.file}:{issue.line}" if issue.line else issue.file
                parts = (where, issue.path, issue.message)
                self.findings.add(place, ": ".join(part for part in parts if part), issue.hint)
        return None

    def _variants(self, base: str, own: ResolvedConfig) -> list[tuple[_Choice, ResolvedConfig]]:
        """The configuration with each combination of values."""
        found = []
        for choice in _choices(self.grid.over):
            try:
                found.append((choice, with_overrides(own, **choice.values) if choice.values else own))
            except ConfigError as error:
                self._blame(base, own, choice, error)
        return found or [(_Choice({}, {}), own)]  # for the checks of what else the grid holds

    def _blame(self, base: str, own: ResolvedConfig, choice: _Choice, error: ConfigError) -> None:
        """Note the values that are wrong by themselves or, where none is, those that do not fit together."""
        alone = False
        for path, value in choice.values.items():
            try:
                with_overrides(own, **{path: value})
            except ConfigError as single:
                self._note(self._place("over", path, i=choice.places[path]), base, path, single)
                alone = True
        if not alone:
            written = ", ".join(f"{path} {quoted(value)}" for path, value in choice.values.items())
            self._note(("over",), f"{base} with {written}", "", error)

    def _note(self, place: Keys, what: str, path: str, error: ConfigError) -> None:
        for issue in error.issues:
            where = "" if issue.path == path else f"{issue.path}: "
            self.findings.add(place, f"{what}: {where}{issue.message}", issue.hint)

    def _check_days(self, base: str, resolved: ResolvedConfig) -> None:
        """Refuse days that the data of a configuration do not have."""
        days, count = self.grid.evaluate.days, resolved.dataset().days
        if not isinstance(days, str) and not all(0 <= day < count for day in days):
            message = f"{base}: {quoted(days)} are not all days from 0 to {count - 1}"
            self.findings.add(("evaluate", "days"), message, "choose days of the data")
        for split, place in (("train", ("base",)), (days, ("evaluate", "days"))):
            issue = resolved.empty_split(split) if isinstance(split, str) else None
            if issue is not None:
                self.findings.add(place, f"{base}: {issue.message}", issue.hint)

    def _check_settings(self, base: str, resolved: ResolvedConfig, algorithm: str, choice: _Choice) -> None:
        """Note hyperparameters that an algorithm does not take, from the grid and from the configuration."""
        try:
            model = settings_model(algorithm)
        except ArgumentError:
            return  # it examines what it is given when training begins
        training = resolved.config.training
        own = {name: value for name, value in choice.values.items() if name not in _OF_TRAINING}
        for issue in setting_issues(model, {**training.settings, **own}):
            name, _, rest = issue.path.partition(".")
            message = f"{algorithm}: {issue.message}"
            if name in choice.places:
                self.findings.add(self._place("settings", name, i=choice.places[name]), message, issue.hint)
            elif name in training.settings:
                source = f"training.settings.{issue.path} for {training.algorithm or DEFAULT}"
                message = f"{message}; {base} sets {source}"
                self.findings.add(("algorithms",), message, issue.hint)
            else:
                self.findings.add(("settings",), f"{message}{f' ({rest})' if rest else ''}", issue.hint)


def _choices(values: Mapping[str, list[Any]]) -> Iterator[_Choice]:
    """All combinations of one value of each name."""
    for places in product(*(range(len(listed)) for listed in values.values())):
        chosen = dict(zip(values, places, strict=True))
        yield _Choice({name: values[name][i] for name, i in chosen.items()}, chosen)


def _one_by_one(values: Mapping[str, list[Any]]) -> Iterator[_Choice]:
    """Each value of each name, with the first ones of the others."""
    first = dict.fromkeys(values, 0)
    varied = [{**first, name: i} for name, listed in values.items() for i in range(1, len(listed))]
    for places in [first, *varied]:
        yield _Choice({name: values[name][i] for name, i in places.items()}, places)


def _name(base: str, algorithm: str, varied: Mapping[str, Any]) -> str:
    """Name of a folder that states what a run is; a digest tells names apart that a file system cannot hold."""
    values = {name: re.sub(r'[][" ]', "", json.dumps(value)) for name, value in varied.items()}
    written = "-".join([base, algorithm, *(f"{name}={value}" for name, value in values.items())])
    plain = re.sub(r"[^\w.,=+-]+", "_", written)
    if plain == written and len(plain) <= _LONGEST_NAME:
        return plain
    content = json.dumps([base, algorithm, dict(varied)])
    return f"{plain[:_LONGEST_NAME]}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
