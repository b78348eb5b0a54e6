"""Datasets of sources on this machine: raw files with their checksums, and what was read from them.

A dataset has a folder in the cache with its raw files and, in ``manifest.json``, the checksums of what was downloaded;
beside it is ``<name>.npz`` with the parsed series. Files that a person puts into the folder are read like
downloaded ones.
"""

from __future__ import annotations

import os
import re
from datetime import date
from pathlib import Path
from typing import Any

from powergrid.core.errors import DataError, PowerGridError, nearest
from powergrid.core.files import make_folder, read_json, write_json
from powergrid.datasets import stored
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.fetching.http import Client, Progress, digest
from powergrid.datasets.fetching.source import SOURCES, Source, source_of
from powergrid.datasets.per_unit import with_per_unit

FORMAT = 1
"""Version of the cache; what another version has read is read again from the raw files."""
CACHE = "POWERGRID_DATA"
"""Environment variable with the folder of the cache."""
_MANIFEST, _PARSED = "manifest.json", ".parsed.json"


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Folder of the cache: the one that is given, that of ``POWERGRID_DATA``, or the user's cache folder."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    if os.environ.get(CACHE):
        return Path(os.environ[CACHE]).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("powergrid") / "data"


def folder_of(name: str, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Folder of the raw files of a dataset."""
    return cache_folder(cache_dir) / re.sub(r"[^\w.,=+-]", "_", name)


def named(name: str) -> Source:
    """The source of a name that it has data for.

    Raises
    ------
    DataError
        If no source has it.
    """
    source = source_of(name)
    if source is None:
        close = nearest(name, [SOURCES.get(key).example for key in SOURCES.names()])
        raise DataError(f'"{name}" is no dataset of a source; {close or "`powergrid data fetch` lists the sources"}')
    source.check(name)
    return source


def fetch(
    name: str,
    cache_dir: str | os.PathLike[str] | None = None,
    *,
    offline: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Download the files of a dataset that are not in the cache yet.

    Parameters
    ----------
    name
        Such as ``caiso_2024``.
    cache_dir
        Folder of the cache.
    offline
        True refuses downloads.
    progress
        Called as files grow.

    Returns
    -------
    Path
        Folder with the files.

    Raises
    ------
    DataError
        If the source does not have them, or does not answer; files that are whole are kept.
    RunError
        If the cache cannot be written.
    """
    source = named(name)
    folder = folder_of(name, cache_dir)
    manifest = _manifest(folder)
    if manifest.get("complete"):
        _check(folder, manifest)
        return folder
    client = Client(source.manners, offline)
    remotes = source.remotes(name, client)
    make_folder(folder)
    files: dict[str, Any] = manifest.get("files", {})
    for remote in remotes:
        if remote.name in files and not (folder / remote.name).exists():
            del files[remote.name]
        file = client.file(remote, folder, progress)
        if remote.name not in files:
            files[remote.name] = {"sha256": digest(file), "bytes": file.stat().st_size}
            write_json(folder / _MANIFEST, {**_state(name, source), "files": files, "complete": False})
    write_json(folder / _MANIFEST, {**_state(name, source), "files": files, "complete": True})
    return folder


def load_named(
    name: str,
    cache_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    offline: bool = False,
) -> Dataset:
    """A dataset of a source, from the cache, or downloaded where that is allowed.

    Parameters
    ----------
    name
        Such as ``caiso_2024``.
    cache_dir
        Folder of the cache.
    download
        True downloads what is not there.
    offline
        True refuses to.

    Raises
    ------
    DataError
        If it is not there and may not be downloaded, with the command that does; or a file is damaged.
    """
    source = named(name)
    folder = folder_of(name, cache_dir)
    manifest = _manifest(folder)
    files = _raw(folder)
    if (not files or not manifest.get("complete", True)) and download:
        fetch(name, cache_dir, offline=offline)
        files, manifest = _raw(folder), _manifest(folder)
    if not files:
        raise DataError(
            f"{name} is not on this machine; {_how(source, name)}, or put files from {source.where} into {folder}"
        )
    if not manifest.get("complete", True):
        raise DataError(f"{name} is downloaded in part, {len(files)} files; {_how(source, name)} and continues there")
    parsed = folder.with_name(f"{folder.name}{stored.ENDING}")
    state = {"format": FORMAT, "files": {file.name: [file.stat().st_size, file.stat().st_mtime_ns] for file in files}}
    if parsed.exists() and _state_of(folder) == state:
        try:
            return stored.read(parsed)
        except DataError:
            pass  # damaged, or of another version: the raw files are there
    _check(folder, manifest)
    dataset = with_per_unit(source.read(files, name), source.first)
    try:
        stored.save(dataset, parsed)
        write_json(folder / _PARSED, state)
    except PowerGridError:
        pass  # a cache that cannot be written makes the next load slower, not this one wrong
    return dataset


def described(name: str) -> str:
    """Size, source and licence of a dataset, in one sentence."""
    source = named(name)
    size = source.size(name)
    files = "1 file" if size.files == 1 else f"{size.files} files"
    return f"{files}, about {size.megabytes:,.0f} MB, from {source.where}; licence: {source.licence}"


def _how(source: Source, name: str) -> str:
    size = source.size(name)
    return f"`powergrid data fetch {name}` downloads it (about {size.megabytes:,.0f} MB)"


def _state(name: str, source: Source) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": name,
        "source": source.where,
        "licence": source.licence,
        "date": f"{date.today()}",
    }


def _manifest(folder: Path) -> dict[str, Any]:
    """What is noted of downloads; empty where nothing was."""
    try:
        found = read_json(folder / _MANIFEST)
    except FileNotFoundError:
        return {}
    except PowerGridError as error:
        raise DataError(f"{error}; remove the folder {folder} and fetch again") from error
    if found.get("format") != FORMAT or not isinstance(found.get("files"), dict):
        raise DataError(
            f"{folder / _MANIFEST}: was written by another version (format {found.get('format')}, this one has "
            f"{FORMAT}); remove the folder and fetch again"
        )
    return found


def _state_of(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / _PARSED)
    except (FileNotFoundError, PowerGridError):
        return {}


def _raw(folder: Path) -> list[Path]:
    """Raw files of a dataset."""
    if not folder.is_dir():
        return []
    return sorted(
        file for file in folder.iterdir() if file.is_file() and file.name[0] != "." and file.name != _MANIFEST
    )


def _check(folder: Path, manifest: dict[str, Any]) -> None:
    """Refuse files that differ from what was downloaded."""
    for name, noted in manifest.get("files", {}).items():
        file = folder / name
        if not file.is_file():
            raise DataError(f"{file}: is missing from the cache; remove the folder {folder} and fetch again")
        if file.stat().st_size != noted.get("bytes") or digest(file) != noted.get("sha256"):
            raise DataError(f"{file}: is not as it was downloaded; remove it and {_MANIFEST}, and fetch again")
