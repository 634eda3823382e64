"""Every route of the API with a key of every scope: one gets in exactly where the key has the permission.

Routes that are for people, in a session of their own, take no key whatever its scopes.
"""

import pytest

from operalta.access.rules import KEY_SCOPES, SCOPES_INCLUDE, CompanyKind, Permission, Role, permissions_of
from operalta.web.entry import Audience
from tests.isolation.calling import READING, Plot, Plots, call, nothing, routes_for
from tests.web.site import Client, Site

# Leaving and removing are for people, though every member may ask; and what begins by itself is theirs to vouch for.
_SCHEDULES = "/api/v1/companies/{company}/schedules"
PEOPLE_ONLY = frozenset(
    {
        "DELETE /api/v1/companies/{company}/members/{person_id}",
        f"POST {_SCHEDULES}",
        f"PUT {_SCHEDULES}/{{schedule_id}}",
        f"DELETE {_SCHEDULES}/{{schedule_id}}",
        *(f"POST {_SCHEDULES}/{{schedule_id}}/{verb}" for verb in ("pause", "resume", "run")),
    }
)


def program(site: Site, plot: Plot, role: Role, *scopes: Permission) -> Client:
    """Return a program with a fresh key of a member, with these scopes."""
    body = {"name": "Matrix", "scopes": [scope.value for scope in scopes]}
    made = plot.clients[role].api("POST", f"/companies/{plot.slug}/api-keys", body)
    assert made.status == 201, made.text
    return site.program(made.json["api_key"])


@pytest.mark.proves("1.3.1", "1.3.4", "2.5.0", "2.5.3")
@pytest.mark.parametrize("scope", sorted(KEY_SCOPES))
def test_a_key_gets_past_a_route_exactly_if_it_has_the_scope(site: Site, plots: Plots, scope: Permission) -> None:
    plot = plots.startup
    client = program(site, plot, Role.FOUNDER, scope)
    given = {scope, *SCOPES_INCLUDE.get(scope, ())}
    passed = 0
    for route in routes_for(site, Audience.COMPANY):
        name = f"{route.method} {route.path}"
        if not route.path.startswith("/api/"):
            continue
        if route.declarations[0].permission not in given or name in PEOPLE_ONLY:
            answer = call(client, route, plot.slug, plot.ids)
            assert answer.status == 403, (name, answer.status)
            assert plot.canary not in answer.text, name
        elif route.method in READING:
            answer = call(client, route, plot.slug, plot.ids)
            assert answer.status in {200, 303}, (name, answer.status)
            passed += 1
        else:
            answer = call(client, route, plot.slug, nothing(plot))
            assert answer.status in {200, 201, 202, 204, 404, 409}, (name, answer.status, answer.text[:300])
            passed += 1
    # Nothing on the API asks for these by themselves: they are what agents' tools and coming pages need.
    assert passed or scope in {Permission.WEB_FETCH, Permission.INTEGRATIONS_READ}


@pytest.mark.proves("1.3.1", "2.4.1", "2.5.0")
def test_a_key_of_another_company_meets_what_outsiders_meet(site: Site, plots: Plots) -> None:
    client = program(site, plots.investor, Role.FOUNDER, *KEY_SCOPES)
    plot = plots.startup
    for route in routes_for(site, Audience.COMPANY):
        if route.path.startswith("/api/"):
            answer = call(client, route, plot.slug, plot.ids)
            assert answer.status in {403, 404}, (route.method, route.path, answer.status)
            assert plot.canary not in answer.text


@pytest.mark.proves("1.3.1", "2.5.0")
@pytest.mark.parametrize("role", [Role.OBSERVER, Role.INVESTOR, Role.ADVISOR])
def test_a_key_that_was_made_in_a_higher_role_is_held_to_the_present_one(site: Site, plots: Plots, role: Role) -> None:
    plot = plots.startup
    client = program(site, plot, Role.FOUNDER, *KEY_SCOPES)
    with site.servers.as_owner() as owner:
        change = (
            "UPDATE credentials.api_keys SET holder_id = %s WHERE company_id = %s AND revoked_at IS NULL"
            " AND digest = sha256(convert_to(%s, 'UTF8')) RETURNING id"
        )
        held_by = (plot.people[role], plot.company_id, client.api_key)
        assert owner.execute(change, held_by).fetchone() is not None
    held = permissions_of(CompanyKind.STARTUP, role) & KEY_SCOPES
    for route in routes_for(site, Audience.COMPANY):
        permission, name = route.declarations[0].permission, f"{route.method} {route.path}"
        if route.path.startswith("/api/") and (permission not in held or name in PEOPLE_ONLY):
            assert call(client, route, plot.slug, plot.ids).status == 403, name
        elif route.path.startswith("/api/") and route.method in READING:
            assert call(client, route, plot.slug, plot.ids).status in {200, 303}, name


@pytest.mark.proves("1.3.1")
def test_no_key_opens_a_page_or_a_persons_account(site: Site, plots: Plots) -> None:
    client = program(site, plots.startup, Role.FOUNDER, *KEY_SCOPES)
    for route in routes_for(site, Audience.COMPANY, Audience.PERSON):
        if route.path.startswith("/api/") and route.declarations[0].audience is Audience.COMPANY:
            continue
        answer = call(client, route, plots.startup.slug, plots.startup.ids)
        assert answer.status in {401, 303}, (route.method, route.path, answer.status)
        assert answer.status == 401 or answer.location.startswith("/sign-in"), (route.path, answer.location)
