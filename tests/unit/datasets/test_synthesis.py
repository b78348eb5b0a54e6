"""Made years: from training days only, the same for the same seed, and like the training days."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import powergrid
from powergrid import datasets
from powergrid.core.errors import DataError
from powergrid.datasets import Dataset, Series, save, synthesise
from powergrid.datasets.synthesis import METHODS, blocks, compare
from powergrid.datasets.synthesis.training_days import SEASON_DAYS, TrainingDays, season, weekday


@cache
def made(method: str, years: int = 5) -> Dataset:
    return synthesise(datasets.load("embedded_2022"), years, method, seed=1)


@pytest.mark.parametrize("method", METHODS)
def test_real_days_keep_index_split_and_bits_and_made_days_are_for_training(method: str) -> None:
    year, more = datasets.load("embedded_2022"), made(method)
    assert more.days == 6 * 365
    for split in ("validation", "test", "stress"):
        assert np.array_equal(more.split(split), year.split(split))
    assert np.array_equal(more.split("train"), np.concatenate([year.split("train"), np.arange(365, 6 * 365)]))
    for name in year.columns:
        values = more.series(name).values
        assert np.array_equal(values[: len(year.series(name).values)], year.series(name).values)
        assert not np.isnan(values).any()


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_bits_and_another_others(method: str) -> None:
    year = datasets.load("embedded_2022")
    one, again, other = (synthesise(year, 1, method, seed) for seed in (3, 3, 4))
    name = "price_per_mwh:lz_north"
    assert np.array_equal(one.series(name).values, again.series(name).values)
    assert not np.array_equal(one.series(name).values, other.series(name).values)


@settings(max_examples=6)
@given(
    st.sampled_from(list(METHODS)),
    st.integers(0, 2**31),
    st.floats(0.0, 50.0),
    st.sampled_from(["validation", "test", "stress"]),
)
def test_no_other_split_is_read(method: str, seed: int, value: float, split: str) -> None:
    """Whatever validation, test and stress days contain, made days have the same bits."""
    year = datasets.load("embedded_2022")
    changed = {}
    for name in year.columns:
        own = year.series(name)
        by_day = own.values.reshape(year.days, -1).copy()
        by_day[year.split(split)] = value
        changed[name] = Series(by_day.ravel(), own.interval_s, own.curve)
    other = Dataset.from_columns(
        "other", changed, start=year.start, utc_offset_h=year.utc_offset_h, stress=year.stress_days()
    )
    first, second = (synthesise(one, 1, method, seed) for one in (year, other))
    for name in year.columns:
        count = len(year.series(name).values)
        assert np.array_equal(first.series(name).values[count:], second.series(name).values[count:])


def test_blocks_are_runs_of_training_days_by_season_and_weekday() -> None:
    year = datasets.load("embedded_2022")
    days, new = TrainingDays(year), 365 + np.arange(10 * 365)
    when, which = season(year, new), weekday(year, new)
    chosen = blocks.sources(days, when, which, np.random.default_rng(0))
    assert np.isin(days.index[chosen], year.split("train")).all()
    assert np.array_equal(days.weekday[chosen], which)
    begins = np.append(True, np.diff(days.index[chosen]) != 1)
    apart = np.abs(days.season[chosen] - when)[begins]
    assert np.minimum(apart, 365 - apart).max() <= SEASON_DAYS
    assert 3.0 < len(new) / begins.sum() < 5.0  # blocks of five days, cut where training weeks end
    assert len(set(chosen.tolist())) > 0.95 * len(days.index)


@pytest.mark.parametrize(("method", "apart"), [("blocks", 0.1), ("copula", 0.15)])
def test_made_days_are_like_training_days(method: str, apart: float) -> None:
    columns = (
        "load_p_pu:res_1",
        "pv_pu:south",
        "wind_pu:turbine",
        "price_per_mwh:lz_north",
        "ambient_temp_c:greensboro",
    )
    found = compare(made(method), columns)
    assert found.mean[1] == pytest.approx(found.mean[0], rel=0.06)
    assert found.deviation[1] == pytest.approx(found.deviation[0], rel=0.25)
    assert found.autocorrelation[1, :2] == pytest.approx(found.autocorrelation[0, :2], abs=0.12)
    assert found.correlation[1] == pytest.approx(found.correlation[0], abs=apart)


def test_the_copula_makes_days_that_no_training_day_is_and_keeps_their_bounds() -> None:
    year, more = datasets.load("embedded_2022"), made("copula")
    train = year.split("train")
    for name in ("load_p_pu:com_1", "pv_pu:south", "price_per_mwh:lz_north"):
        real = year.series(name).values.reshape(365, -1)[train]
        new = more.series(name).values.reshape(more.days, -1)[365:]
        assert real.min() <= new.min() <= new.max() <= real.max()
        assert len(np.unique(new.mean(axis=1).round(9))) > 1500
    sun = more.series("pv_pu:south").values.reshape(more.days, 96)[365:]
    assert sun[:, :16].max() == 0.0  # the night stays dark
    p, q = (more.series(f"load_{kind}_pu:res_1").values.reshape(more.days, 96) for kind in "pq")
    assert np.corrcoef(p.mean(axis=1), q.mean(axis=1))[0, 1] > 0.95


def test_a_made_dataset_runs_from_yaml_by_path(tmp_path: Path) -> None:
    save(made("blocks"), tmp_path / "more.npz")
    env = powergrid.make(
        {
            "network": "ieee13",
            "datasets": str(tmp_path / "more.npz"),
            "agents": [{"id": "b", "type": "ESS", "bus": 671, "params": {"capacity_mwh": 1, "max_p_mw": 0.5}}],
        }
    )
    env.reset(seed=0, options={"day": 1500})
    clock = [name for name in env.world.layout.columns.series if name.startswith("clock_year")]
    assert clock
    table = env.world.table
    column = env.world.layout.columns.series.index("clock_year_sin")
    rows = np.array([10 * 96, (10 + 365) * 96, (10 + 4 * 365) * 96])
    assert table.series([column], rows).ravel() == pytest.approx([np.sin(2 * np.pi * 10 / 365)] * 3)


def test_what_cannot_be_made_is_refused() -> None:
    year = datasets.load("embedded_2022")
    for arguments, sentence in (
        ((year, 1, "block"), 'did you mean "blocks"'),
        ((year, 0), "0 years cannot be made"),
        ((year, 1, "blocks", -1), "seed -1"),
        ((year.clip("2022-01-01", "2022-01-20"),), "fewer than 28"),
        ((made("blocks"),), "1825 days are made"),
    ):
        with pytest.raises(DataError, match=sentence):
            synthesise(*arguments)
    with pytest.raises(DataError, match="use a whole year"):
        synthesise(year.clip("2022-01-01", "2022-03-31"), 1, "copula")
    values = year.series("price_per_mwh:lz_north").values.copy()
    values[5] = np.nan
    columns = {name: year.series(name) for name in year.columns} | {"price_per_mwh:lz_north": Series(values, 3600)}
    gap = Dataset.from_columns("gap", columns, start=year.start, utc_offset_h=-6.0)
    with pytest.raises(DataError, match="1 values of training days are missing"):
        synthesise(gap, 1)
    with pytest.raises(DataError, match="no made days"):
        compare(year)
