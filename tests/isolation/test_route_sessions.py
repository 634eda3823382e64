"""Every route without a session, or with one that is over: 401, 404 or the way to sign in, and never data."""

import pytest

from operalta.access.rules import Role
from operalta.identity.tokens import new_secret
from operalta.kernel import clock
from operalta.kernel.ids import PersonId, SessionId, new_id
from operalta.web import cookies
from operalta.web.entry import Audience
from tests.conftest import Member, World
from tests.isolation.calling import Plot, Plots, call, routes_for
from tests.isolation.digest import changed, snapshot
from tests.isolation.estate import Owner
from tests.web.site import Answer, Client, Site

ENDINGS = {
    "idle for too long": "UPDATE identity.sessions SET idle_expires_at = now() WHERE person_id = %s",
    "too old": "UPDATE identity.sessions SET absolute_expires_at = now() WHERE person_id = %s",
    "ended": "UPDATE identity.sessions SET ended_at = now(), ended_reason = 'test' WHERE person_id = %s",
    "of a disabled account": "UPDATE identity.people SET disabled_at = now() WHERE id = %s",
    "with a token that has run out": "",
    "that never was": "",
}


@pytest.mark.proves("1.2.3")
def test_without_a_session_there_is_no_way_to_any_data(site: Site, plots: Plots, owner: Owner) -> None:
    for plot, _ in plots.both():
        needles = (plot.company_id, plot.canary, *plot.people.values())
        before = snapshot(owner, *needles)
        for route in routes_for(site, Audience.PERSON, Audience.COMPANY):
            _assert_shut_out(call(site.visitor(), route, plot.slug, plot.ids), plot, f"{route.method} {route.path}")
        assert changed(before, snapshot(owner, *needles)) == {}


@pytest.mark.proves("1.2.3")
@pytest.mark.parametrize("ending", ENDINGS)
def test_with_a_session_that_is_over_there_is_no_way_to_any_data(
    site: Site, plots: Plots, owner: Owner, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    plot = plots.startup
    member = World(owner).member((plot.company_id, plot.slug), Role.FOUNDER)
    assert plot.canary in site.member(member).api("GET", f"/companies/{plot.slug}").text, (
        "the session that ends could read"
    )
    client = _outlived(site, owner, member, ending, monkeypatch)
    for route in routes_for(site, Audience.PERSON, Audience.COMPANY):
        kept = Client(client.host, client.port, dict(client.jar))
        answer = call(kept, route, plot.slug, plot.ids)
        _assert_shut_out(answer, plot, f"{ending}: {route.method} {route.path}")


@pytest.mark.proves("1.2.3")
def test_what_is_for_everybody_shows_nothing_of_any_company(site: Site, plots: Plots) -> None:
    for route in routes_for(site, Audience.VISITOR):
        answer = call(site.visitor(), route, plots.startup.slug, plots.startup.ids)
        place = (route.method, route.path, answer.status)
        assert answer.status < 500, place
        for plot, _ in plots.both():
            assert plot.canary not in answer.text, place
            assert str(plot.company_id) not in answer.text, place


@pytest.mark.proves("1.2.3")
def test_paths_that_are_no_route_of_ours_give_nothing(site: Site, plots: Plots) -> None:
    """Neither the files' own folders, nor the database, nor the description of another server are served."""
    plot = plots.startup
    guesses = (
        f"/workspaces/{plot.company_id}/canary.md",
        f"/files/{plot.ids['file_id']}",
        f"/static/../workspaces/{plot.company_id}/canary.md",
        f"/static/%2e%2e/%2e%2e/var/workspaces/{plot.company_id}/canary.md",
        f"/c/{plot.slug}/canary.md",
        "/rest/v1/records",
        "/graphql",
        "/api/v2/companies",
        "/openapi.json",
        "/.env",
        "/metrics",
    )
    for client in (site.visitor(), plots.investor.founder):
        for path in guesses:
            answer = client.get(path)
            assert answer.status == 404, (path, answer.status)
            assert plot.canary not in answer.text, path


def _outlived(site: Site, owner: Owner, member: Member, ending: str, monkeypatch: pytest.MonkeyPatch) -> Client:
    client = site.visitor()
    if ending == "with a token that has run out":
        with monkeypatch.context() as patched:
            patched.setattr(clock, "unix_seconds", lambda: int(clock.now().timestamp()) - 3600)
            client.jar[cookies.ACCESS] = site.access_token(PersonId(member.person_id))
        return client
    if ending == "that never was":
        client.jar[cookies.ACCESS] = site.services.tokens.issue_access(
            person=PersonId(member.person_id), session=SessionId(new_id()), session_secret=new_secret()
        )
        return client
    client.jar[cookies.ACCESS] = site.access_token(PersonId(member.person_id))
    owner.execute(ENDINGS[ending].encode(), (member.person_id,))
    return client


def _assert_shut_out(answer: Answer, plot: Plot, place: str) -> None:
    assert plot.canary not in answer.text, place
    if " /api/" in place:
        assert answer.status == 401, (place, answer.status)
    else:
        assert answer.status == 303, (place, answer.status)
        assert answer.location.startswith("/sign-in"), (place, answer.location)
