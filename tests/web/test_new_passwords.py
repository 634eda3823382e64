"""A new password ends every other session, their open streams too; by a change, and by a reset."""

import http.client
from collections.abc import Callable

import pytest

from tests.conftest import World
from tests.web.holders import PASSWORD, Holder, holder
from tests.web.site import Client, Site

NEW_PASSWORD = "seven quiet harbours sing"
PATIENCE_SECONDS = 30


@pytest.fixture
def ada(site: Site, world: World) -> Holder:
    return holder(site, world)


def changed(ada: Holder) -> None:
    body = {"current_password": PASSWORD, "password": NEW_PASSWORD}
    assert ada.home.api("PUT", "/auth/password", body).status == 204


def reset(ada: Holder) -> None:
    client = ada.site.visitor()
    assert client.api("POST", "/auth/password-reset", {"email": ada.email}).status == 202
    body = {"token": ada.link("reset_password"), "password": NEW_PASSWORD}
    assert client.api("POST", "/auth/password-reset/confirm", body).status == 204


def an_open_stream(ada: Holder, client: Client) -> http.client.HTTPResponse:
    """The events of a run that waits for a worker, which there is none of here: nothing but a refusal ends them."""
    slug = ada.member.company_slug
    posted = client.request(
        "POST",
        f"/c/{slug}/chat",
        b"text=/help",
        {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Origin": f"http://localhost:{client.port}",
        },
    )
    assert posted.status == 202, posted.text
    connection = http.client.HTTPConnection(client.host, client.port, timeout=PATIENCE_SECONDS)
    cookies = "; ".join(f"{name}={value}" for name, value in client.jar.items())
    path = f"/api/v1/companies/{slug}/runs/{posted.json['run_id']}/events"
    connection.request("GET", path, headers={"Host": f"localhost:{client.port}", "Cookie": cookies})
    response = connection.getresponse()
    assert response.status == 200
    assert response.readline().startswith(b"retry:")
    return response


@pytest.mark.proves("2.3.4")
@pytest.mark.parametrize("replace", [changed, reset], ids=["change", "reset"])
def test_a_new_password_ends_every_other_session_and_its_streams(
    ada: Holder, replace: Callable[[Holder], None]
) -> None:
    elsewhere = ada.site.member(ada.member)
    stream = an_open_stream(ada, elsewhere)
    replace(ada)
    assert elsewhere.api("GET", "/me").status == 401
    rest = stream.read()
    assert b"event: run_failed" in rest
    assert b"has ended" in rest
    assert ada.home.api("GET", "/me").status == (200 if replace is changed else 401)
    signing_in = {"email": ada.email, "password": PASSWORD}
    assert ada.site.visitor().api("POST", "/auth/sign-in", signing_in).status == 401
    assert ada.site.visitor().api("POST", "/auth/sign-in", {**signing_in, "password": NEW_PASSWORD}).status == 200
