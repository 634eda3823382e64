"""Integrations, as browsers and API clients meet them: made off, switched by people, without a credential."""

from collections.abc import Generator

import pytest

from tests.conftest import Servers
from tests.vault.service_stand_in import Service, forms_of, serving_service
from tests.web.conftest import House
from tests.web.site import Client, Site, serving

KEY = "sk_live_0123456789abcdef+/="


@pytest.fixture(scope="module")
def service() -> Generator[Service]:
    with serving_service() as started:
        yield started


@pytest.fixture(scope="module")
def served(servers: Servers, service: Service) -> Generator[Site]:
    with serving(servers, egress_exemptions=(service.exemption,)) as started:
        yield started


def prove(site: Site, minutes_ago: int = 0) -> None:
    with site.servers.as_owner() as owner:
        owner.execute("UPDATE identity.sessions SET password_at = now() - make_interval(mins => %s)", (minutes_ago,))


def body(service: Service, **changes: object) -> dict[str, object]:
    wanted = {"slug": "acme-billing", "name": "Acme billing", "base_url": service.url, "credential": KEY}
    return {**wanted, **changes}


def made(client: Client, house: House, service: Service, **changes: object) -> str:
    answer = client.api("POST", f"/companies/{house.slug}/integrations", body(service, **changes))
    assert answer.status == 201, answer.text
    return answer.json["id"]


@pytest.mark.proves("5.5.3", "1.3.1", "1.3.2")
def test_the_whole_way_over_the_api(site: Site, house: House, service: Service) -> None:
    prove(site)
    at = f"/companies/{house.slug}/integrations"
    one = made(house.founder, house, service)
    shown = house.founder.api("GET", f"{at}/{one}")
    assert (shown.json["is_on"], shown.json["health"], shown.json["host"]) == (False, "off", service.exemption)
    assert house.founder.api("PUT", f"{at}/{one}/switch", {"on": True}).json["is_on"] is True
    checked = house.founder.api("POST", f"{at}/{one}/check")
    assert checked.json["told"] == "It answers (with the status 200)."
    assert service.carried() == f"Bearer {KEY}"
    changed = house.founder.api(
        "PUT", f"{at}/{one}", {"name": "Billing", "base_url": service.url, "allows_writes": True}
    )
    assert (changed.json["name"], changed.json["is_on"]) == ("Billing", True)
    prove(site, minutes_ago=60)
    assert house.founder.api("PUT", f"{at}/{one}/switch", {"on": False}).json["is_on"] is False
    refused = house.founder.api("POST", at, body(service, slug="another"))
    assert (refused.status, refused.json["code"]) == (403, "not_proved")
    for answer in (
        shown,
        checked,
        changed,
        house.founder.api("GET", at),
        house.founder.get(f"/c/{house.slug}/integrations"),
    ):
        for shape in forms_of(KEY):
            assert shape not in answer.text
            assert shape not in str(answer.headers)
    assert house.founder.api("DELETE", f"{at}/{one}").status == 204
    assert house.founder.api("GET", at).json["items"] == []


@pytest.mark.proves("5.5.3", "2.5.3", "1.3.1")
def test_only_who_manages_integrations_makes_and_switches_them(site: Site, house: House, service: Service) -> None:
    prove(site)
    one = made(house.founder, house, service)
    at = f"/companies/{house.slug}/integrations"
    for role in ("advisor", "investor", "observer"):
        client = house.clients[role]
        assert client.api("POST", at, body(service, slug="another")).status == 403
        assert client.api("PUT", f"{at}/{one}/switch", {"on": True}).status == 403
        assert client.api("POST", f"{at}/{one}/check").status == 403
        assert client.api("DELETE", f"{at}/{one}").status == 403
    assert house.outsider.api("GET", f"{at}/{one}").status == 404
    assert house.founder.api("GET", f"{at}/{one}").json["is_on"] is False


@pytest.mark.proves("5.5.3", "1.3.2")
def test_the_page_says_what_is_off_and_switches_without_script(site: Site, house: House, service: Service) -> None:
    prove(site)
    page = f"/c/{house.slug}/integrations"
    fields = {
        "slug": "acme-billing",
        "service_name": "Acme billing",
        "kind": "api_key_service",
        "base_url": service.url,
    }
    missing = house.founder.post(f"{page}/services", **fields)
    assert missing.status == 422
    assert "credential is one word" in missing.text
    back = house.founder.post(f"{page}/services", **fields, credential=KEY)
    assert back.location == f"{page}?notice=saved", back.text
    shown = house.founder.get(page).text
    assert "It is off: no agent can use it." in shown
    assert KEY not in shown
    (one,) = house.founder.api("GET", f"/companies/{house.slug}/integrations").json["items"]
    house.founder.post(f"{page}/services/{one['id']}/switch", on="yes")
    assert "Switch off Acme billing" in house.founder.get(page).text
    assert "It answers (with the status 200)." in house.founder.post(f"{page}/services/{one['id']}/check").text
    assert "Switch off" not in house.clients["investor"].get(page).text
    house.founder.post(f"{page}/services/{one['id']}/switch", on="no")
    assert "It is off: no agent can use it." in house.founder.get(page).text
    house.founder.post(f"{page}/services/{one['id']}/remove")
    assert "Acme billing" not in house.founder.get(page).text


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"base_url": "http://acme.example/v1"}, "base_url"),
        ({"base_url": "https://user:word@acme.example/"}, "base_url"),
        ({"base_url": "https://169.254.169.254/latest"}, "base_url"),
        ({"base_url": "https://localhost/"}, "base_url"),
        ({"base_url": "https://acme.example/?a=b"}, "base_url"),
        ({"credential": "two words here"}, "credential"),
        ({"credential": None}, "credential"),
        ({"form": "header", "header_name": "Cookie"}, "header"),
        ({"form": "basic", "user_name": "a:b"}, "user"),
        ({"kind": "oauth_api"}, "oauth_client"),
    ],
)
@pytest.mark.proves("5.4.3")
def test_what_cannot_be_used_is_said_and_never_repeated(
    site: Site, house: House, service: Service, changes: dict[str, object], field: str
) -> None:
    prove(site)
    answer = house.founder.api("POST", f"/companies/{house.slug}/integrations", body(service, **changes))
    assert answer.status == 422, answer.text
    assert [fault["field"] for fault in answer.json["errors"]] == [field]
    assert KEY not in answer.text
