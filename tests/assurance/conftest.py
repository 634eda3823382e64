import pytest

from operalta.assurance.stage import Stage
from tests.saboteurs.throw_away import shared_stage


@pytest.fixture(scope="session")
def stage(request: pytest.FixtureRequest) -> Stage:
    return shared_stage(request.config)
