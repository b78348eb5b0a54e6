"""A dataset as a YAML file describes it: files of series with their format and cleaning, over a base for all others."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, field_validator

from powergrid.core.errors import ConfigError, DataError, Issue, PowerGridError
from powergrid.core.files import size_of
from powergrid.core.settings import NumberSettings
from powergrid.datasets import stored
from powergrid.datasets.bases import SHORT_NAMES, load_base
from powergrid.datasets.cells import read_once
from powergrid.datasets.combine import as_text, combined, series_at, with_column
from powergrid.datasets.series_file import SeriesFile

if TYPE_CHECKING:
    from powergrid.datasets.cleaning import Report
    from powergrid.datasets.dataset import Dataset

ENDINGS = (".yaml", ".yml")
MAX_BYTES = 1_000_000
"""Size of the largest description [byte]; one of a thousand series has 100,000."""


class DatasetFile(NumberSettings):
    """Keys of the file."""

    name: str = Field(min_length=1, description="name of the dataset")
    source: str = Field("", description="who measured or published the data")
    licence: str = Field("", description="terms under which they may be used")
    base: str = Field("embedded_2022", description="dataset for series that are not named, or a file with one")
    series: Mapping[str, SeriesFile] = Field(description="file of each series, as in `datasets` of a configuration")

    @field_validator("base")
    @classmethod
    def _no_chain(cls, base: str) -> str:
        if base.endswith(ENDINGS):
            raise ValueError("a base is a registered dataset or a stored one (.npz), not another description")
        return base


def read(path: str | os.PathLike[str]) -> Dataset:
    """Read the dataset that a YAML file describes.

    Parameters
    ----------
    path
        File with the keys of `DatasetFile`; paths in it are relative to it.

    Raises
    ------
    ConfigError
        If the description or a series has a fault; lists all of them.
    """
    file = Path(path)
    return built(description(file), file.parent, str(file))


def built(described: DatasetFile, folder: Path, label: str = "") -> Dataset:
    """The dataset of a description.

    Parameters
    ----------
    described
        Its keys.
    folder
        Folder that paths start from.
    label
        Name of the file, for messages.

    Raises
    ------
    ConfigError
        If a series has a fault; lists all of them.
    """
    ground = load_base(str(folder / described.base) if described.base.endswith(stored.ENDING) else described.base)
    issues, found = [], {}
    with read_once():
        for key, form in described.series.items():
            try:
                found[key] = series_at(key, form, ground, folder)
            except PowerGridError as error:
                message, _, hint = str(error).partition("; ")
                issues.append(Issue(f"series.{key}", message, hint, label))
    if issues:
        raise ConfigError(issues)
    origins = {key: as_text(form) for key, form in described.series.items()}
    try:
        dataset = combined(found, origins, ground, described.name)
    except PowerGridError as error:
        raise ConfigError([Issue("series", str(error), "", label)]) from error
    if described.source:
        dataset.source = f"{described.source}; {dataset.source}"
    if described.licence:
        dataset.licence = f"{described.licence}; base {ground.name}: {ground.licence}"
    return dataset


def as_yaml(described: DatasetFile, heading: str) -> str:
    """A description as YAML, without what has its default.

    Parameters
    ----------
    described
        Its keys.
    heading
        Comment in the first line.
    """
    from ruamel.yaml import YAML

    series = {key: form.changed_fields() for key, form in described.series.items()}
    data = {**described.model_dump(mode="json", exclude={"series"}), "series": series}
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 120
    stream = io.StringIO()
    yaml.dump({key: value for key, value in data.items() if value != ""}, stream)
    return f"# {heading}\n{stream.getvalue()}"


def cleaning_reports(described: DatasetFile, folder: Path) -> dict[str, Report]:
    """What the steps of cleaning do with each series of a description that has any.

    Raises
    ------
    DataError
        If a series has a fault.
    """
    from powergrid.datasets.user_file import read_cleaned

    found = {}
    with read_once():
        for key, form in described.series.items():
            if form.cleaning:
                form = with_column(form, folder)
                quantity = SHORT_NAMES.get(key, key).partition(":")[0]
                found[key] = read_cleaned(form, quantity, key, folder)[1]
    return found


def description(file: Path) -> DatasetFile:
    """The checked keys of a description.

    Raises
    ------
    ConfigError
        If it cannot be read or has faults; lists all of them.
    """
    data = plain_yaml(file)
    if isinstance(data, dict) and isinstance(data.get("series"), dict):
        places = {key: {"path": form} if isinstance(form, str) else form for key, form in data["series"].items()}
        data = {**data, "series": places}
    try:
        return DatasetFile.model_validate(data)
    except ValidationError as error:
        hint = f"keys: {', '.join(DatasetFile.model_fields)}; of a series: {', '.join(SeriesFile.model_fields)}"
        raise ConfigError(
            [Issue(".".join(map(str, fault["loc"])), fault["msg"], hint, str(file)) for fault in error.errors()]
        ) from error


def plain_yaml(file: Path) -> object:
    """Content of a YAML file of plain values; aliases, with which a short text could fill the memory, are refused."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.events import AliasEvent

    try:
        if size_of(file) > MAX_BYTES:
            raise DataError(f"{file}: has more than {MAX_BYTES:,} bytes; series of data go into files of their own")
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Issue("", f"cannot be read ({error})", "give a YAML file in UTF-8", str(file))]) from error
    yaml = YAML(typ="safe", pure=True)
    try:
        if any(isinstance(event, AliasEvent) for event in yaml.parse(text)):
            raise ConfigError([Issue("", "contains an alias (*name)", "write the values out", str(file))])
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        message = " ".join(str(error).split())
        issue = Issue("", f"not valid YAML: {message:.300}", "check quotes and indentation", str(file))
        raise ConfigError([issue]) from error
