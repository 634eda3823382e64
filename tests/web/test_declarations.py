"""Every route says who may call it and how often; what it says is what happens."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.routing import Route as BareRoute

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.web import cookies, declarations
from operalta.web.application import add_routes
from operalta.web.declarations import OPEN, check_routes, find_gaps
from operalta.web.entry import Audience
from tests.web.conftest import House
from tests.web.site import Answer, Site

AN_ID = "00000000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Route(declarations.Route):
    """One way to call the application, and how tests call it."""

    def at(self, company: str) -> str:
        """The address of this route in a company, with an id or name that stands for nothing."""
        path = self.path.replace("{company}", company)
        for name in ("slug", "agent", "clause_id"):
            path = path.replace(f"{{{name}}}", "nothing")
        return "".join(part if not part.startswith("{") else AN_ID for part in _parts(path))


def routes(site: Site) -> list[Route]:
    """Every route that has to declare something: all but the open ones."""
    found = declarations.declared_routes(site.application)
    return [Route(each.method, each.path, each.declarations) for each in found]


def _parts(path: str) -> list[str]:
    return path.replace("{", "\0{").replace("}", "}\0").split("\0")


@pytest.mark.proves("2.4.1", "3.1.1")
def test_no_route_declares_too_little_and_the_check_sees_every_route_that_is_served(site: Site) -> None:
    served = declarations.routes(site.application)
    assert len(served) > 70
    assert find_gaps(served) == check_routes() == []
    assert len(routes(site)) == len(served) - len(OPEN)


def _changed(route: declarations.Route, **changes: object) -> declarations.Route:
    return replace(route, declarations=(replace(route.declarations[0], **changes),))


KEYS_ALONE = "it is for keys, and asks for no permission"
STRAY = replace(rules.READ, name="stray")
WEAKENINGS: dict[
    str, tuple[Callable[[declarations.Route], bool], Callable[[declarations.Route], declarations.Route], str]
] = {
    "the declaration is gone": (lambda _: True, lambda route: replace(route, declarations=()), "nothing is declared"),
    "it is declared twice": (
        lambda _: True,
        lambda route: replace(route, declarations=route.declarations * 2),
        "declared 2 times",
    ),
    "its limit is none of the table": (lambda _: True, lambda route: _changed(route, rule=STRAY), "none of the table"),
    "its permission is gone": (
        lambda route: "{company}" in route.path,
        lambda route: _changed(route, permission=None),
        "no permission is declared",
    ),
    "it is for any visitor": (
        lambda route: "{company}" in route.path,
        lambda route: _changed(route, audience=Audience.VISITOR, permission=None),
        "it lies in a company",
    ),
    "it is for anybody signed in": (
        lambda route: "{company}" in route.path,
        lambda route: _changed(route, audience=Audience.PERSON, permission=None),
        "it lies in a company",
    ),
    "it asks for a permission where there is no company": (
        lambda route: "{company}" not in route.path and route.declarations[0].audience is not Audience.KEY,
        lambda route: _changed(route, permission=Permission.MEMORY_READ),
        "out of place",
    ),
    KEYS_ALONE: (
        lambda route: route.declarations[0].audience is Audience.KEY,
        lambda route: _changed(route, permission=None),
        "no permission is declared",
    ),
    "it is for a company that its address does not name": (
        lambda route: "{company}" in route.path,
        lambda route: replace(route, path=route.path.replace("{company}", "here")),
        "its address names none",
    ),
}


@pytest.mark.proves("2.4.1", "3.1.1")
@pytest.mark.parametrize("weakening", WEAKENINGS)
def test_a_route_that_declares_less_is_found(site: Site, weakening: str) -> None:
    fits, weaken, fault = WEAKENINGS[weakening]
    walked = declarations.routes(site.application)
    tried = 0
    for route in walked:
        if route.name not in OPEN and fits(route):
            weak = weaken(route)
            found = find_gaps([weak])
            assert [gap for gap in found if gap.place == weak.name and fault in gap.fault], route.name
            tried += 1
    assert tried > (1 if weakening == KEYS_ALONE else 20)


def test_a_route_that_is_there_twice_and_an_open_one_that_is_gone_are_found(site: Site) -> None:
    walked = declarations.routes(site.application)
    assert [gap.fault for gap in find_gaps([*walked, walked[0]])] == ["it is there twice; the first one answers"]
    kept = [route for route in walked if route.path != "/healthz"]
    assert [gap.place for gap in find_gaps(kept)] == ["GET /healthz"]


async def _forgotten() -> None:
    """Answer nothing."""


async def _forgotten_socket(_: object) -> None:
    """Answer nothing."""


def _as_page(application: FastAPI) -> None:
    router = APIRouter()
    router.add_api_route("/forgotten", _forgotten)
    application.include_router(router, prefix="/c/{company}")


WAYS: dict[str, tuple[Callable[[FastAPI], None], str]] = {
    "a route": (lambda app: app.add_api_route("/forgotten", _forgotten), "GET /forgotten"),
    "a route of a router": (_as_page, "GET /c/{company}/forgotten"),
    "a bare route": (lambda app: app.router.routes.append(BareRoute("/forgotten", _forgotten)), "GET /forgotten"),
    "a folder": (lambda app: app.mount("/forgotten", StaticFiles(directory="/")), "ANY /forgotten"),
    "a socket": (lambda app: app.add_api_websocket_route("/forgotten", _forgotten_socket), "ANY /forgotten"),
}


@pytest.mark.proves("2.4.1", "3.1.1")
@pytest.mark.parametrize("way", WAYS)
def test_a_forgotten_route_of_any_kind_is_found(way: str) -> None:
    forget, name = WAYS[way]
    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    add_routes(application)
    forget(application)
    assert name in {gap.place for gap in find_gaps(declarations.routes(application))}


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
