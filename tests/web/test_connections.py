"""Connections, as browsers and API clients meet them: the whole way through the served application."""

import http.client
from collections.abc import Generator
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from tests.conftest import Servers, World
from tests.vault.authorization_server import CLIENT_ID, CLIENT_SECRET, AuthorizationServer, Fault
from tests.vault.authorization_server import serving as serving_provider
from tests.web.conftest import House
from tests.web.site import Answer, Client, Site, serving


@pytest.fixture(scope="module")
def provider() -> Generator[AuthorizationServer]:
    with serving_provider() as started:
        yield started


@pytest.fixture(scope="module")
def served(servers: Servers, provider: AuthorizationServer) -> Generator[Site]:
    with serving(servers, egress_exemptions=(provider.exemption,)) as started:
        provider.redirect_uris.add(f"{started.services.settings.base_url}/connections/callback")
        yield started


@pytest.fixture
def site(served: Site, provider: AuthorizationServer) -> Site:
    provider.fault, provider.metadata_changes = None, {}
    provider.grants.clear()
    store: Any = redis.Redis.from_url(served.services.settings.redis_address)  # pyright: ignore[reportUnknownMemberType] - the package leaves its arguments untyped
    store.flushall()
    store.close()
    return served


@dataclass(frozen=True)
class Counter:
    """A company that is registered at the provider."""

    site: Site
    house: House
    provider: AuthorizationServer
    client_id: str

    @property
    def inside(self) -> str:
        return f"/companies/{self.house.slug}"

    @property
    def page(self) -> str:
        return f"/c/{self.house.slug}/integrations"

    def agree(self, url: str) -> str:
        """Agree at the provider, as a browser does; return the path on our site that it leads to."""
        parts = urlsplit(url)
        asked = http.client.HTTPConnection("127.0.0.1", self.provider.port, timeout=30)
        asked.request("GET", f"{parts.path}?{parts.query}")
        where = urlsplit(asked.getresponse().getheader("location") or "")
        asked.close()
        return f"{where.path}?{where.query}"

    def begin(self, client: Client, **changes: object) -> str:
        answer = client.api("POST", f"{self.inside}/connections", {"oauth_client": self.client_id, **changes})
        assert answer.status == 201, answer.text
        return answer.json["authorization_url"]

    def connect(self, client: Client) -> str:
        back = client.get(self.agree(self.begin(client, scopes=["read", "write"])))
        assert back.location == f"{self.page}?notice=connected", back.text
        (made,) = client.api("GET", f"{self.inside}/connections").json["items"]
        return made["id"]


@pytest.fixture
def counter(site: Site, house: House, provider: AuthorizationServer) -> Counter:
    body = {
        "provider": "generic",
        "issuer": provider.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }
    made = house.founder.api("POST", f"/companies/{house.slug}/oauth-clients", body)
    assert made.status == 201, made.text
    assert made.json["redirect_uri"] in provider.redirect_uris
    return Counter(site, house, provider, made.json["id"])


@pytest.mark.proves("1.3.1", "1.3.4")
def test_an_account_is_connected_looked_at_and_revoked_over_the_api(counter: Counter) -> None:
    founder = counter.house.founder
    connection = counter.connect(founder)
    path = f"{counter.inside}/connections/{connection}"
    shown = founder.api("GET", path).json
    assert (shown["status"], shown["health"], shown["last_used_at"]) == ("active", "healthy", None)
    assert [each["name"] for each in shown["granted_scopes"]] == ["read", "write"]
    assert founder.api("DELETE", path).status == 204
    assert founder.api("GET", path).json["status"] == "revoked"
    assert founder.api("DELETE", path).status == 404


@pytest.mark.proves("1.3.2", "7.2.2")
def test_no_answer_of_any_kind_holds_a_token_or_a_secret(counter: Counter) -> None:
    founder, answers = counter.house.founder, list[Answer]()
    url = counter.begin(founder, scopes=["read"])
    answers.append(founder.get(counter.agree(url)))
    answers += [
        founder.get(counter.page),
        founder.api("GET", f"{counter.inside}/oauth-clients"),
        founder.api("GET", f"{counter.inside}/oauth-providers"),
        founder.api("GET", f"{counter.inside}/connections"),
        founder.api("GET", f"{counter.inside}/audit?limit=100"),
        founder.get(f"/c/{counter.house.slug}/audit"),
    ]
    body = {"provider": "generic", "issuer": counter.provider.issuer, "client_id": "", "client_secret": CLIENT_SECRET}
    answers += [
        founder.api("POST", f"{counter.inside}/oauth-clients", body),
        founder.post(f"{counter.page}/clients", **body),
    ]
    (grant,) = counter.provider.grants
    assert grant.access
    for answer in answers:
        everything = answer.text + repr(answer.headers)
        for secret in (CLIENT_SECRET, grant.refresh, *grant.access):
            assert secret not in everything, (answer.status, secret)
    assert all(answer.header("cache-control") == "no-store" for answer in answers[:2])


@pytest.mark.proves("1.3.1")
def test_a_callback_in_another_browser_is_refused_and_the_right_one_still_works(counter: Counter, world: World) -> None:
    founder = counter.house.founder
    back = counter.agree(counter.begin(founder))
    again = counter.site.member(counter.house.members["founder"])  # the same person, in another session
    stranger = counter.site.member(world.member(world.company()))
    for client in (again, stranger, counter.house.clients["advisor"]):
        assert client.get(back).status == 403
    assert counter.site.visitor().get(back).location.startswith("/sign-in?next=")
    assert founder.api("GET", f"{counter.inside}/connections").json["items"] == []
    assert founder.get(back).location == f"{counter.page}?notice=connected"
    assert founder.get(back).status == 403  # once


@pytest.mark.proves("1.3.1", "5.5.3")
def test_pages_register_connect_and_revoke_without_script(
    site: Site, house: House, provider: AuthorizationServer
) -> None:
    page, founder = f"/c/{house.slug}/integrations", house.founder
    assert "nothing is switched on" in founder.get(page).text
    form = {"provider": "generic", "issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    refused = founder.post(f"{page}/clients", **(form | {"issuer": "http://127.0.0.1:1"}))
    assert refused.status in {422, 503}
    assert CLIENT_ID in refused.text
    assert founder.post(f"{page}/clients", **form).location == f"{page}?notice=saved"
    taken = founder.post(f"{page}/clients", **form)
    assert taken.status == 409
    listed = founder.get(page).text
    action = listed.partition("/integrations/clients/")[2].partition('"')[0]
    way = founder.post(f"{page}/clients/{action}", scope="read")
    assert way.status == 200
    url = unescape(way.text.partition(f'href="{provider.issuer}')[2].partition('"')[0])
    counter = Counter(site, house, provider, "")
    assert founder.get(counter.agree(provider.issuer + url)).location == f"{page}?notice=connected"
    shown = founder.get(f"{page}?notice=connected").text
    for words in ("Connected.", "It works.", "What it may do", "used <span"):
        assert words in shown, words
    connection = shown.partition("/integrations/connections/")[2].partition("/")[0]
    anew = founder.post(f"{page}/connections/{connection}/again")
    assert anew.status == 200
    assert founder.post(f"{page}/connections/{connection}/revoke").location == f"{page}?notice=revoked"
    assert "It is revoked here. The provider is being told." in founder.get(page).text
    removing = action.replace("/connect", "/remove")
    assert founder.post(f"{page}/clients/{removing}").location == f"{page}?notice=deleted"
    assert "nothing is switched on" in founder.get(page).text


@pytest.mark.proves("7.2.2")
@pytest.mark.parametrize("fault", [Fault.LEAKING, Fault.HTML, Fault.BROKEN, Fault.NO_TYPE, Fault.REDIRECT])
def test_a_provider_that_misbehaves_is_told_of_on_the_page_and_nothing_is_kept(counter: Counter, fault: Fault) -> None:
    founder = counter.house.founder
    back = counter.agree(counter.begin(founder))
    counter.provider.fault = fault
    answer = founder.get(back)
    assert answer.status in {403, 503}
    assert "needs your attention" in answer.text
    assert CLIENT_SECRET not in answer.text
    assert founder.api("GET", f"{counter.inside}/connections").json["items"] == []


@pytest.mark.proves("1.3.1")
def test_a_consent_that_is_refused_or_comes_from_elsewhere_is_told_of(counter: Counter) -> None:
    founder = counter.house.founder
    for change in ("&error=access_denied&error_description=%3Cb%3Ehostile", "&iss=https%3A%2F%2Fother.example"):
        state = urlsplit(counter.agree(counter.begin(founder))).query.partition("state=")[2].partition("&")[0]
        answer = founder.get(f"/connections/callback?code=x&state={state}{change}")
        assert answer.status == 403
        assert "hostile" not in answer.text
    assert founder.get("/connections/callback").status == 403
    assert founder.get("/connections/callback?state=%00&code=%ff").status in {400, 403, 422}


@pytest.mark.proves("1.3.1", "2.2.3")
def test_registering_and_connecting_ask_for_a_recent_proof_and_revoking_does_not(counter: Counter) -> None:
    founder, member = counter.house.founder, counter.house.members["founder"]
    connection = counter.connect(founder)
    with counter.site.servers.as_owner() as owner:
        owner.execute(
            "UPDATE identity.sessions SET password_at = now() - interval '11 minutes' WHERE person_id = %s",
            (member.person_id,),
        )
    body = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    clients = f"{counter.inside}/oauth-clients"
    refused = [
        founder.api("POST", clients, body | {"provider": "github"}),
        founder.api("PUT", f"{clients}/{counter.client_id}", body),
        founder.api("DELETE", f"{clients}/{counter.client_id}"),
        founder.api("POST", f"{counter.inside}/connections", {"oauth_client": counter.client_id}),
    ]
    assert [(each.status, each.json["code"]) for each in refused] == [(403, "not_proved")] * 4
    assert founder.post(f"{counter.page}/clients/{counter.client_id}/connect").location.startswith("/step-up")
    assert founder.api("DELETE", f"{counter.inside}/connections/{connection}").status == 204


@pytest.mark.proves("1.3.1")
def test_each_role_does_what_its_permissions_say(counter: Counter) -> None:
    founder, advisor = counter.house.founder, counter.house.clients["advisor"]
    connection = counter.connect(founder)
    path = f"{counter.inside}/connections/{connection}"
    assert advisor.api("GET", path).json["owner_name"]
    assert advisor.api("DELETE", path).status == 404
    body = {"provider": "github", "client_id": "a", "client_secret": "b"}
    assert advisor.api("POST", f"{counter.inside}/oauth-clients", body).status == 403
    assert counter.house.observer.api("GET", f"{counter.inside}/connections").status == 403
    assert counter.house.clients["investor"].api("GET", path).status == 200
    begun = counter.house.clients["investor"].api(
        "POST", f"{counter.inside}/connections", {"oauth_client": counter.client_id}
    )
    assert begun.status == 403
    assert counter.house.outsider.api("GET", path).status == 404
