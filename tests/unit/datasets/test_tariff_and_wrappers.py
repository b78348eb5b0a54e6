"""Tariff, DatasetRegistry and TimeseriesAligner."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from powergrid.core.backend import jax_numpy
from powergrid.core.errors import DataError, UnknownNameError
from powergrid.datasets import load
from powergrid.datasets.loaders import DatasetRegistry
from powergrid.datasets.preprocessors import TimeseriesAligner
from powergrid.datasets.tariff import check_tariff, tariff


@given(st.lists(st.floats(-500, 9000), min_size=1, max_size=50), st.floats(0, 1), st.floats(0, 200))
def test_feed_in_never_exceeds_retail(prices, share, adder):
    feed_in, retail = tariff(np, np.array(prices), share, adder)
    assert (feed_in <= retail).all()
    assert (feed_in >= 0).all()
    check_tariff(np.array(prices), share, adder)


def test_tariff_of_known_prices():
    feed_in, retail = tariff(np, np.array([-30.0, 0.0, 100.0]))
    np.testing.assert_allclose(feed_in, [0, 0, 90])
    np.testing.assert_allclose(retail, [45, 45, 145])


def test_tariff_is_the_same_on_jax():
    jnp = jax_numpy()
    prices = np.linspace(-20, 300, 7, dtype=np.float32)
    for mine, theirs in zip(tariff(np, prices), tariff(jnp, jnp.asarray(prices)), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-6)


@pytest.mark.parametrize(("share", "adder", "tick"), [(1.2, 5.0, 2), (0.9, -10.0, 0), (float("nan"), 45.0, 0)])
def test_money_pumps_are_refused(share, adder, tick):
    with pytest.raises(DataError, match=f"the first is tick {tick};"):
        check_tariff(np.array([0.0, 20.0, 100.0]), share, adder)


def test_embedded_prices_pass_the_default_tariff():
    for name in ("embedded_2022", "ercot_2021"):
        check_tariff(load(name).table(900, ["price_per_mwh:lz_north"])[1])


def test_dataset_registry_gives_quarter_hours_and_short_names():
    arrays = DatasetRegistry.load("embedded_2022", cache_dir="~/.powergrid/data")
    assert set(load("embedded").columns) < set(arrays)
    assert all(len(values) == 35_040 for values in arrays.values())
    np.testing.assert_array_equal(arrays["price"], arrays["price_per_mwh:lz_north"])
    np.testing.assert_array_equal(arrays["load"], arrays["load_p_pu:res_1"])
    with pytest.raises(UnknownNameError, match="embedded_2022"):
        DatasetRegistry.load("caiso")


def frame(start: str, freq: str, column: str, values) -> pd.DataFrame:
    return pd.DataFrame(
        {column: np.asarray(values, dtype=float)}, index=pd.date_range(start, periods=len(values), freq=freq)
    )


def test_aligner_cuts_averages_holds_and_interpolates():
    aligned = TimeseriesAligner().align(
        {
            "load": frame("2024-01-01T00:05Z", "5min", "load_mw", np.arange(36)),
            "price": frame("2024-01-01T00:00Z", "1h", "price_per_mwh", [10, 20, 30]),
            "temperature": frame("2024-01-01T00:00Z", "1h", "ambient_temp_c", [0, 4, 8, 12]),
        }
    )
    # The load lasts from 00:05 to 03:05: eleven quarter hours from 00:15 to 03:00.
    assert {name: values.shape for name, values in aligned.items()} == dict.fromkeys(aligned, (11, 1))
    np.testing.assert_allclose(aligned["load"][:2, 0], [3, 6])
    np.testing.assert_allclose(aligned["price"][:, 0], [10] * 3 + [20] * 4 + [30] * 4)
    np.testing.assert_allclose(aligned["temperature"][:4, 0], [1.5, 2.5, 3.5, 4.5])


def test_aligner_keeps_energy_and_missing_values():
    loads = frame("2024-01-01", "5min", "load_mw", np.random.default_rng(0).random(288))
    hourly = TimeseriesAligner(3600).align({"load": loads})["load"]
    assert hourly.sum() * 12 == pytest.approx(loads["load_mw"].sum())
    loads.iloc[7] = np.nan
    assert np.flatnonzero(np.isnan(TimeseriesAligner().align({"load": loads})["load"][:, 0])).tolist() == [2]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (frame("2024-01-03T00:00Z", "1h", "a", [1, 2]), "share no"),
        (frame("2024-01-01", "1h", "a", [1, 2]), "time zone"),
        (frame("2024-01-01T00:00Z", "1h", "a", [1, 2, 3, 4]).drop(pd.Timestamp("2024-01-01T02:00Z")), "not regular"),
        (frame("2024-01-01T00:00Z", "1h", "a", [1]), "two rows"),
        (frame("2024-01-01T00:00Z", "1h", "a", [1, 2]).iloc[::-1], "not regular"),
    ],
)
def test_aligner_refuses_what_it_cannot_align(second, message):
    with pytest.raises(DataError, match=message):
        TimeseriesAligner().align({"first": frame("2024-01-01T00:00Z", "1h", "a", range(5)), "second": second})
