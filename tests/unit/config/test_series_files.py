"""Files of series in a YAML: what is said about them is checked, exported and obeyed."""

import pickle

import jsonschema
import numpy as np
import pandas as pd
import pytest

import powergrid
from powergrid.core.errors import ConfigError

HOURS = pd.date_range("2023-01-01", "2024-01-01", freq="1h", inclusive="left")
KW = np.round(900 + 600 * np.sin(np.arange(8760) / 24 * 2 * np.pi), 1)


@pytest.fixture
def folder(tmp_path):
    frame = pd.DataFrame({"Zeit": HOURS.strftime("%d.%m.%Y %H:%M"), "Last": KW, "Preis": KW / 10})
    frame.to_csv(tmp_path / "netz.csv", index=False, sep=";", decimal=",")
    return tmp_path


def config(folder, datasets: str, more: str = ""):
    file = folder / "case.yaml"
    file.write_text(f"network: ieee13\ndatasets: {datasets}\n{more}", encoding="utf-8")
    return file


def issues(folder, datasets: str, more: str = ""):
    with pytest.raises(ConfigError) as caught:
        powergrid.load_config(config(folder, datasets, more))
    return caught.value.issues


def test_a_file_and_how_it_is_written(folder):
    file = config(folder, "{load: {path: netz.csv, column: Last, unit: kW, rating: 3000}, price: 'netz.csv:Preis'}")
    resolved = powergrid.load_config(file)
    np.testing.assert_allclose(resolved.dataset().series("load_p_pu:user").values, KW / 3000)
    np.testing.assert_allclose(resolved.dataset().series("price_per_mwh:user").values, KW / 10)
    jsonschema.validate(
        {"network": "ieee13", "datasets": {"load": {"path": "x.csv", "sep": ";"}}}, powergrid.json_schema()
    )
    moved = folder / "deeper" / "copy.yaml"
    moved.parent.mkdir()
    moved.write_text(resolved.to_yaml(moved.parent))
    text = moved.read_text()
    assert "price: ../netz.csv:Preis" in text
    assert "path: ../netz.csv" in text
    assert "max_mb" not in text
    again = powergrid.load_config(moved)
    np.testing.assert_array_equal(again.dataset().series("load_p_pu:user").values, KW / 3000)


def test_a_configuration_that_travelled_to_another_process(folder):
    file = config(folder, "{load: {path: netz.csv, column: Last, unit: kW}, price: 'ercot_2021:price'}")
    resolved = powergrid.load_config(file)
    again = pickle.loads(pickle.dumps(resolved))
    assert again == resolved
    assert again.to_yaml() == resolved.to_yaml()
    for column in ("load_p_pu:user", "price_per_mwh:user"):
        np.testing.assert_array_equal(again.dataset().series(column).values, resolved.dataset().series(column).values)


def test_all_faults_come_at_once_with_the_line_to_write(folder):
    found = issues(
        folder, "\n  load: netz.csv:Last\n  price: {path: netz.csv}\n  wind: {path: netz.csv, seperator: ';'}"
    )
    told = {issue.path: issue for issue in found}
    assert set(told) == {"datasets.load", "datasets.price", "datasets.wind.seperator"}
    assert "looks like kW" in told["datasets.load"].message
    assert "`load: {path: netz.csv, column: Last, unit: kW}`" in told["datasets.load"].hint
    assert 'separator ";"' in told["datasets.price"].message
    assert "`price: {path: netz.csv, column: Last}`" in told["datasets.price"].hint
    assert "allowed: check, cleaning, column, date_format, decimal" in told["datasets.wind.seperator"].hint
    assert [issue.line for issue in found] == [3, 4, 5]


@pytest.mark.parametrize(
    ("form", "path", "told"),
    [
        ("{path: netz.csv, decimal: ':'}", "datasets.load.decimal", '":" must be'),
        ("{path: netz.csv, time: middle}", "datasets.load.time", '"middle"'),
        ("{path: netz.csv, rating: 3}", "datasets.load", "rating is given in `unit`, which is missing"),
        ("{path: netz.csv, unit: kW, rating: true}", "datasets.load.rating", "true"),
        ("{path: netz.csv, max_mb: 0.001}", "datasets.load", "more than max_mb: 0.001"),
        ("{column: Last}", "datasets.load", '"path" is missing'),
        ("7", "datasets.load", "must be a mapping"),
    ],
)
def test_what_is_said_is_checked(folder, form, path, told):
    (issue,) = issues(folder, f"{{load: {form}}}")
    assert issue.path == path
    assert told in issue.message


def test_a_stress_price(folder):
    file = config(folder, "embedded_2022", "training: {stress_price: 300}\n")
    dataset = powergrid.load_config(file).dataset()
    highest = dataset.series("price_per_mwh:lz_north").values.reshape(365, 24).max(axis=1)
    np.testing.assert_array_equal(dataset.split("stress"), np.flatnonzero(highest > 300))
    (issue,) = issues(folder, "embedded_2022", "training: {stress_price: -3}\n")
    assert issue.path == "training.stress_price"
