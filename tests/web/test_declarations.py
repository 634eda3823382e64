"""Every route says who may call it and how often; what it says is what happens."""

from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from operalta.guard.rules import rules
from operalta.web import cookies
from operalta.web.entry import Audience, Declaration
from tests.web.conftest import House
from tests.web.site import Answer, Site

# Whether the process lives, what browsers report, where others look for policies, files that never change, and the
# description of the API: for everybody, without a session, and cheap.
OPEN = ("/healthz", "/readyz", "/csp-reports", "/.well-known/", "/static", "/api/docs", "/api/openapi.json")
AN_ID = "00000000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Route:
    """One way to call the application."""

    method: str
    path: str
    declarations: tuple[Declaration, ...]

    def at(self, company: str) -> str:
        """The address of this route in a company, with an id or name that stands for nothing."""
        path = self.path.replace("{company}", company)
        for name in ("slug", "agent", "clause_id"):
            path = path.replace(f"{{{name}}}", "nothing")
        return "".join(part if not part.startswith("{") else AN_ID for part in _parts(path))


def _parts(path: str) -> list[str]:
    return path.replace("{", "\0{").replace("}", "}\0").split("\0")


def _declarations(dependant: Dependant) -> list[Declaration]:
    own = getattr(dependant.call, "declaration", None)
    found = [own] if isinstance(own, Declaration) else []
    return found + [each for inner in dependant.dependencies for each in _declarations(inner)]


def routes(site: Site) -> list[Route]:
    """Every route and method of the application, those outside the framework's own among them."""
    found: list[Route] = []
    for context in iter_route_contexts(site.application.routes):
        original: Any = context.original_route
        path = context.path or getattr(original, "path", "")
        if path.startswith(OPEN):
            continue
        declared = tuple(_declarations(original.dependant)) if isinstance(original, APIRoute) else ()
        methods: set[str] = getattr(original, "methods", None) or {"ANY"}
        found += [Route(method, path, declared) for method in sorted(methods)]
    return found


@pytest.mark.proves("2.4.1", "3.1.1")
def test_every_route_declares_once_who_may_call_it_and_how_often(site: Site) -> None:
    walked = routes(site)
    assert len(walked) > 70
    assert [(each.method, each.path) for each in walked if len(each.declarations) != 1] == []
    known = {id(rule) for rule in rules()}
    assert [each.path for each in walked if id(each.declarations[0].rule) not in known] == []


@pytest.mark.proves("2.4.1")
def test_what_lies_in_a_company_is_declared_with_a_permission(site: Site) -> None:
    for route in routes(site):
        declaration = route.declarations[0]
        in_company = "{company}" in route.path
        assert (declaration.audience is Audience.COMPANY) == in_company, route
        assert (declaration.permission is not None) == in_company, route


@pytest.mark.proves("3.3.3")
def test_without_a_token_of_ours_every_route_sends_to_sign_in(site: Site, house: House) -> None:
    ours = house.founder.jar[cookies.ACCESS]
    head, payload, signature = ours.split(".")
    unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0"
    edited = (f"{head}.{payload}.{signature[::-1]}", f"{head}.{payload[:-2]}AA.{signature}", f"{unsigned}.{payload}.")
    for token in (None, *edited):
        stranger = site.visitor()
        if token is not None:
            stranger.jar[cookies.ACCESS] = token
        for route in _for_the_signed_in(site):
            _assert_sent_to_sign_in(route, stranger.request(route.method, route.at(house.slug)))


@pytest.mark.proves("3.3.3")
def test_a_session_that_has_ended_opens_nothing_though_its_token_is_good(site: Site, house: House) -> None:
    founder = house.founder
    kept = dict(founder.jar)
    assert founder.api("POST", "/auth/sign-out").status == 204
    for route in _for_the_signed_in(site):
        founder.jar = dict(kept)
        if route.method == "GET":
            answer = founder.get(route.at(house.slug))
            # What stands in the address is looked at first where it cannot be an address at all.
            if answer.status != 422:
                _assert_sent_to_sign_in(route, answer)


@pytest.mark.proves("3.3.2")
def test_another_site_can_change_nothing_and_read_nothing(site: Site, house: House) -> None:
    for route in routes(site):
        address = route.at(house.slug)
        if route.method not in {"GET", "HEAD"}:
            for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                assert house.founder.request(route.method, address, headers=headers).status == 403, route
        answer = house.founder.request("GET", address, headers={"Origin": "https://evil.example"})
        assert answer.header("access-control-allow-origin") == "", route
        assert answer.header("x-frame-options") == "DENY", route
        assert "frame-ancestors 'none'" in answer.header("content-security-policy"), route


def _for_the_signed_in(site: Site) -> list[Route]:
    return [each for each in routes(site) if each.declarations[0].audience is not Audience.VISITOR]


def _assert_sent_to_sign_in(route: Route, answer: Answer) -> None:
    expected = 401 if route.path.startswith("/api/") else 303
    assert answer.status == expected, (route.method, route.path, answer.status)
    if expected == 303:
        assert answer.location.startswith("/sign-in")


@pytest.mark.proves("2.4.1")
def test_an_outsider_finds_nothing_in_a_company_on_any_page_that_reads(site: Site, house: House) -> None:
    """An outsider's every reading route answers as if the company did not exist, down to the same bytes."""
    for route in routes(site):
        if route.declarations[0].audience is not Audience.COMPANY or route.method != "GET":
            continue
        theirs, nobodys = (house.outsider.get(route.at(company)) for company in (house.slug, "no-such-company"))
        assert theirs.status == nobodys.status, route.path
        assert theirs.status in {404, 422}, (route.path, theirs.status)
        assert house.slug not in theirs.text, route.path
