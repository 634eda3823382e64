"""Where an integration's requests may go, whatever the path says."""

import pytest

from operalta.kernel.errors import InvalidInput
from operalta.vault.integrations.rules import address_of

BASE = "https://api.acme.example/v1/tenants/7"


@pytest.mark.parametrize(
    ("path", "href"),
    [
        ("/invoices", f"{BASE}/invoices"),
        ("/projects/group%2Fname", f"{BASE}/projects/group%2Fname"),
        ("/files/..hidden;v=1", f"{BASE}/files/..hidden;v=1"),
        ("/100%25", f"{BASE}/100%25"),
    ],
)
def test_a_path_leads_below_the_address(path: str, href: str) -> None:
    assert address_of(BASE, path, None) == href


@pytest.mark.parametrize(
    "path",
    [
        "/../8",
        "/%2e%2e/8",
        "/..%2f8",
        "/%2e%2e%2F8",
        "/..%5c8",
        "/..\\8",
        "/%252e%252e/8",
        "/..%25252f8",
        "/..;/8",
        "/..;x=1/8",
        "/..%3b/8",
        "/x/..%20/8",
        "//other.example/../../x",
    ],
)
def test_no_path_leads_up_however_often_a_server_decodes_it(path: str) -> None:
    with pytest.raises(InvalidInput):
        address_of(BASE, path, None)
