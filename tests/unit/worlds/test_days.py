"""A configuration whose usual split has no day still plays on the days that it has."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import powergrid
from powergrid.cli.app import app
from powergrid.core.errors import ConfigError
from powergrid.worlds.build import build
from powergrid.worlds.days import chosen_days


@pytest.fixture
def all_days_dear(tmp_path):
    """A file whose stress price lies below every day's prices: each day is in the split ``stress``."""

    def write(train: bool) -> str:
        path = tmp_path / "dear.yaml"
        path.write_text(f"network: ieee13\ntraining: {{stress_price: 1.0e-9, train: {str(train).lower()}}}\n")
        return str(path)

    return write


@pytest.mark.parametrize(("train", "split"), [(True, "train"), (False, "test")])
def test_the_usual_split_is_refused_where_the_file_decides_it(all_days_dear, train, split):
    world = build(all_days_dear(train))
    with pytest.raises(ConfigError) as refused:
        chosen_days(world, None)
    (issue,) = refused.value.issues
    assert (issue.path, issue.line) == ("training.stress_price", 2)
    assert f'no day in the split "{split}"' in issue.message
    with pytest.raises(ConfigError, match=r"days: .*no day in the split"):
        chosen_days(world, split)


def test_the_days_that_it_has_can_be_played(all_days_dear):
    world = build(all_days_dear(True))
    stress = chosen_days(world, "stress")
    assert len(stress) == len(world.table) // world.ticks_per_day
    assert np.array_equal(chosen_days(world, [3, 5]), [3, 5])
    env = powergrid.make(all_days_dear(True), days="stress")
    env.reset(seed=0)


def test_validate_names_the_empty_split(all_days_dear):
    result = CliRunner().invoke(app, ["validate", all_days_dear(True)])
    assert result.exit_code == 1
    assert 'no day in the split "train"' in result.output
