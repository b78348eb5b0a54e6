"""Places the dataset tests read from."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def samples() -> Path:
    folder = ROOT.parent / "shared" / "data-samples"
    if not folder.is_dir():
        pytest.skip(f"the samples of the public sources are not at {folder}")
    return folder
