from collections.abc import Generator
from pathlib import Path

import pytest

from tests.sandbox.reading.running import Nursery, RunInNursery, RunUnderLimits


@pytest.fixture(scope="session")
def nursery() -> Generator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def run(tmp_path: Path, nursery: Nursery) -> RunInNursery:
    return RunInNursery(tmp_path, nursery)


@pytest.fixture
def start(tmp_path: Path) -> RunUnderLimits:
    """Starts the program as the sandbox does: slower."""
    return RunUnderLimits(tmp_path)
