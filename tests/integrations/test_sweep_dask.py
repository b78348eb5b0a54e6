"""Sweeps on Dask."""

from __future__ import annotations

import pytest

pytest.importorskip("distributed", reason="needs distributed: make test-integrations")

from sweeps import check_sweep_on


def test_a_sweep_repeats_what_is_killed_and_lists_what_fails(tmp_path):
    check_sweep_on("dask", tmp_path)
