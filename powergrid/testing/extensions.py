"""Examiners of networks and datasets."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.datasets import Dataset
from powergrid.networks import Network, UnbalancedNetwork, network
from powergrid.plugins.registries import DATASETS


def check_network(name: str, *, v_min_pu: float = 0.8, v_max_pu: float = 1.2, **options: Any) -> None:
    """Examine a registered network: it can be built and solved, and its voltages lie in a band.

    Parameters
    ----------
    name
        Registered name.
    v_min_pu, v_max_pu
        Voltage band of all buses [pu].
    **options
        Options of the network.

    Raises
    ------
    AssertionError
        With a sentence that names the network and the fault.
    """
    try:
        built = network(name, **options)
        is_network = isinstance(built, (Network, UnbalancedNetwork))
        _claim(name, is_network, f"it returns {type(built).__name__}, not a Network")
        flow = built.power_flow()
    except AssertionError:
        raise
    except Exception as error:  # a function may raise anything
        raise AssertionError(f"{name}: it cannot be built and solved: {type(error).__name__}: {error}") from error
    _claim(name, flow.converged, "its power flow has no solution; `powergrid explain` says where")
    v_pu = flow.bus["v_pu"].to_numpy()
    worst = int(np.argmax(np.maximum(v_min_pu - v_pu, v_pu - v_max_pu)))
    inside = v_min_pu <= v_pu[worst] <= v_max_pu
    bus = flow.bus["bus"].iloc[worst]
    _claim(name, inside, f'bus "{bus}" is at {v_pu[worst]:.4f} pu, outside [{v_min_pu}, {v_max_pu}]')


def check_dataset(name: str) -> None:
    """Examine a registered dataset: whole days of finite numbers, a price, and days for training and test.

    Raises
    ------
    AssertionError
        With a sentence that names the dataset, the series and the fault.
    """
    try:
        dataset = DATASETS.get(name)(start=None, end=None, cache_dir=None, download=False)
        _claim(name, isinstance(dataset, Dataset), f"it returns {type(dataset).__name__}, not a Dataset")
        columns, table = dataset.table(900)
    except AssertionError:
        raise
    except Exception as error:  # a function may raise anything
        raise AssertionError(f"{name}: it cannot be read: {type(error).__name__}: {error}") from error
    for column, values in zip(columns, table.T, strict=True):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            day, tick = divmod(int(bad[0]), 96)
            raise AssertionError(f'{name}: series "{column}" is {values[bad[0]]} at day {day}, tick {tick}')
    _claim(name, dataset.sites("price_per_mwh"), f"it has no price_per_mwh; its series are {', '.join(columns)}")
    for split in ("train", "test"):
        _claim(name, len(dataset.split(split)), f'it has no day in the split "{split}"; it should cover whole weeks')


def _claim(name: str, holds: Any, sentence: str) -> None:
    if not holds:
        raise AssertionError(f"{name}: {sentence}")
