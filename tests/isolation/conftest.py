"""The served application, for walking its routes."""

from collections.abc import Generator

import pytest

from tests.conftest import Servers
from tests.web.site import Site, serving


@pytest.fixture(scope="session")
def site(servers: Servers) -> Generator[Site]:
    with serving(servers) as started:
        yield started
