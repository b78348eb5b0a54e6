"""The list of slow tests names tests that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SLOW = (TESTS / "slow.txt").read_text().splitlines()


@pytest.mark.parametrize("file", sorted({name.split("::")[0] for name in SLOW}))
def test_every_name_is_that_of_a_test(file):
    text = (TESTS.parent / file).read_text()
    names = {name.split("::")[1].split("[")[0] for name in SLOW if name.startswith(f"{file}::")}
    assert [name for name in names if f"def {name}(" not in text] == []
    assert len(set(SLOW)) == len(SLOW)
