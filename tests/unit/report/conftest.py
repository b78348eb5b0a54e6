"""One small evaluated folder without any training, shared by the tests of reports."""

import pytest

from powergrid.learn.evaluate import evaluate

DAYS = (138, 24, 276)


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory):
    """Folder of an evaluation of two rules on three days of the peer-to-peer preset."""
    folder = tmp_path_factory.mktemp("runs") / "rules"
    evaluate("p2p_microgrids", policy=["rule_based", "random"], days=DAYS, seed=3, out=folder, show=False)
    return folder
