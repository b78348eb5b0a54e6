"""Datasets in files: stored whole, and described in YAML; both load by path, from YAML too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import powergrid
from powergrid import datasets
from powergrid.core.errors import ConfigError, DataError
from powergrid.datasets import stored

NETWORK = {
    "network": "ieee13",
    "agents": [{"id": "b", "type": "ESS", "bus": 671, "params": {"capacity_mwh": 1, "max_p_mw": 0.5}}],
}


def write_year(path: Path, scale: float = 1.0) -> None:
    hours = np.arange(8760)
    values = scale * (0.6 + 0.3 * np.sin(hours / 24 * 2 * np.pi))
    path.write_text("hour,load\n" + "".join(f"{hour},{value:.4f}\n" for hour, value in zip(hours, values, strict=True)))


def test_a_stored_dataset_has_the_same_bits_splits_and_calendar(tmp_path: Path) -> None:
    year = datasets.load("embedded_2022")
    datasets.save(year, tmp_path / "year.npz")
    again = datasets.load(str(tmp_path / "year.npz"))
    assert again.columns == year.columns
    assert all(np.array_equal(again.at(name, 300), year.at(name, 300)) for name in year.columns)
    assert again.local_date(17) == year.local_date(17)
    for split in ("train", "validation", "test", "stress"):
        assert np.array_equal(again.split(split), year.split(split))


def test_a_stored_dataset_is_named_in_yaml_relative_to_the_file(tmp_path: Path) -> None:
    datasets.save(datasets.load("ercot_2021"), tmp_path / "mine.npz")
    (tmp_path / "grid.yaml").write_text(
        "network: ieee13\ndatasets: mine.npz\nagents:\n"
        "  - {id: b, type: ESS, bus: 671, params: {capacity_mwh: 1, max_p_mw: 0.5}}\n"
    )
    resolved = powergrid.load_config(tmp_path / "grid.yaml")
    assert resolved.dataset().name == "ercot_2021"
    (tmp_path / "other").mkdir()
    assert "datasets: ../mine.npz" in resolved.to_yaml(tmp_path / "other")


def test_damaged_and_absent_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "year.npz"
    with pytest.raises(DataError, match="no such file"):
        datasets.load(str(file))
    datasets.save(datasets.load("embedded_2022"), file)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(DataError, match="is damaged"):
        datasets.load(str(file))
    np.savez(file, a=np.arange(3))
    with pytest.raises(DataError, match="no stored dataset"):
        datasets.load(str(file))
    with pytest.raises(DataError, match=r"ending \.npz"):
        stored.save(datasets.load("embedded_2022"), tmp_path / "year.csv")
    with pytest.raises(ConfigError, match="there is no such file"):
        powergrid.load_config({**NETWORK, "datasets": "absent.npz"})


def test_a_description_reads_series_beside_it_over_a_base(tmp_path: Path) -> None:
    write_year(tmp_path / "load.csv")
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nsource: my meter\nlicence: mine alone\nbase: ercot_2021\nseries:\n  load: load.csv\n"
    )
    mine = datasets.load(str(tmp_path / "mine.yaml"))
    assert mine.series("load_p_pu:user").values[6] == 0.9
    assert mine.source.startswith("my meter; base ercot_2021")
    assert mine.licence.startswith("mine alone")
    assert powergrid.load_config({**NETWORK, "datasets": str(tmp_path / "mine.yaml")}).dataset().name == "mine"


def test_all_faults_of_a_description_come_at_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    write_year(tmp_path / "kw.csv", 900.0)
    file.write_text("name: mine\nseries:\n  load: kw.csv\n  price: absent.csv\n")
    with pytest.raises(ConfigError) as caught:
        datasets.load(str(file))
    assert [issue.path for issue in caught.value.issues] == ["series.load", "series.price"]
    assert "looks like kW" in str(caught.value)
    with pytest.raises(ConfigError, match=r"absent\.csv does not exist"):
        powergrid.load_config({**NETWORK, "datasets": str(file)})
    for text, sentence in (
        ("name: a\nnmae: b\nseries: {}\n", "nmae"),
        ("name: a\nbase: other.yaml\nseries: {}\n", "not another description"),
        ("a: &x [1]\nb: *x\n", "alias"),
        ("a: [1\n", "not valid YAML"),
        ("name: a\nname: b\n", "not valid YAML"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=sentence):
            datasets.load(str(file))
