"""Root keys and folders for the tests of the sealing room."""

import base64
from pathlib import Path

import pytest

from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.envelope import Envelope
from operalta.sealing.keys import RootKeys

ROOT_TEXT = base64.b64encode(bytes(range(32)))


@pytest.fixture
def roots() -> RootKeys:
    return RootKeys.from_text(ROOT_TEXT)


@pytest.fixture
def company_keys(tmp_path: Path, roots: RootKeys) -> CompanyKeys:
    return CompanyKeys(tmp_path / "company-keys", roots)


@pytest.fixture
def envelope(company_keys: CompanyKeys) -> Envelope:
    return Envelope(company_keys)
