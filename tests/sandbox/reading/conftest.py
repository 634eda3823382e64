from pathlib import Path

import pytest

from tests.sandbox.reading.running import RunUnderLimits


@pytest.fixture
def run(tmp_path: Path) -> RunUnderLimits:
    return RunUnderLimits(tmp_path)
