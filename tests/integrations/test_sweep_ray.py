"""Sweeps on Ray."""

from __future__ import annotations

import pytest

pytest.importorskip("ray", reason="needs ray: make test-integrations")

from sweeps import check_sweep_on


def test_a_sweep_repeats_what_is_killed_and_lists_what_fails(tmp_path):
    check_sweep_on("ray", tmp_path)
