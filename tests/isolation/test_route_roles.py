"""Every route of a company as a member and as staff of each role, in both kinds of company.

One gets past a route exactly if the role holds its permission.
"""

import pytest

from operalta.access.rules import CompanyKind, Permission, Role, StaffRole, permissions_of
from operalta.web.entry import Audience
from tests.isolation.calling import READING, Plots, call, nothing, routes_for
from tests.web.site import Site

# Removing others needs more than the route declares, since it is the way to leave as well.
REMOVING = ("/members/{person_id}", "/end")


@pytest.mark.proves("2.5.0", "2.5.1", "2.5.3")
@pytest.mark.parametrize("kind", CompanyKind)
@pytest.mark.parametrize("role", [*Role, *StaffRole])
def test_one_gets_past_a_route_exactly_if_the_role_holds_its_permission(
    site: Site, plots: Plots, kind: CompanyKind, role: Role | StaffRole
) -> None:
    plot = plots.startup if kind is CompanyKind.STARTUP else plots.investor
    held = permissions_of(kind, role)
    for route in routes_for(site, Audience.COMPANY):
        permission = route.declarations[0].permission
        place = (kind.value, role.value, route.method, route.path)
        if permission not in held:
            answer = call(plot.clients[role], route, plot.slug, plot.ids)
            assert answer.status == 403, (place, answer.status)
            assert plot.canary not in answer.text, place
        elif route.method in READING:
            answer = call(plot.clients[role], route, plot.slug, plot.ids)
            assert answer.status in {200, 303}, (place, answer.status)
        else:
            # Changes are tried on rows that are not there, so that the plot stays as it is for the next role.
            answer = call(plot.clients[role], route, plot.slug, nothing(plot))
            refusable = {403} if route.path.endswith(REMOVING) and Permission.MEMBERS_MANAGE not in held else set[int]()
            fine = {200, 201, 202, 204, 303, 404, 409} | refusable
            assert answer.status in fine, (place, answer.status, answer.text[:300])


@pytest.mark.proves("2.5.4")
@pytest.mark.parametrize("kind", CompanyKind)
def test_no_route_lets_anybody_raise_themselves(plots: Plots, kind: CompanyKind) -> None:
    plot = plots.startup if kind is CompanyKind.STARTUP else plots.investor
    for role in (Role.OBSERVER, Role.INVESTOR, Role.ADVISOR):
        client, person = plot.clients[role], plot.people[role]
        for wanted in Role:
            body = {"role": wanted.value}
            assert client.api("PUT", f"/companies/{plot.slug}/members/{person}/role", body).status == 403
            assert client.post(f"/c/{plot.slug}/members/{person}/role", role=wanted.value).status == 403
        members = plot.founder.api("GET", f"/companies/{plot.slug}/members?limit=100").json["items"]
        assert {each["role"] for each in members if each["person_id"] == str(person)} == {role.value}
