"""Known or unknown, right at the beginning or wrong from the start: the same bytes, after the same time."""

import http.client
import json
import random
import re
import secrets
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest

from operalta.app import build
from operalta.guard.comparison import is_same_secret
from operalta.identity.tokens import digest, new_secret
from operalta.kernel.ids import new_id
from operalta.sealing.jws import encode_base64url
from operalta.web import cookies
from tests.conftest import Servers, World
from tests.identity.timing import Case, measure, separation
from tests.web.crowd import Caller, Request, make_crowd, request_of, routes_of_signing_in
from tests.web.processes import UNLIMITED, WebProcess, web_processes
from tests.web.site import Site
from tests.web.test_declarations import Route

pytestmark = pytest.mark.xdist_group("timing")

PAIRS = 1_000
WARM_UP = 40
MOST_SEPARATION = 0.55
SIGN_IN, SIGN_IN_PAGE = ("POST", "/api/v1/auth/sign-in"), ("POST", "/sign-in")
CHANGING = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16}(@|%40)people.example|\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)"
    r"|(?<=__Host-operalta-device=)[\w-]{43}"
)
UNTOLD = frozenset({"date", "x-request-id"})
LINKS = {
    ("POST", "/api/v1/auth/verify-email"): "verify_address",
    ("POST", "/verify-email"): "verify_address",
    ("POST", "/api/v1/auth/password-reset/confirm"): "reset_password",
    ("POST", "/reset/confirm"): "reset_password",
    ("POST", "/api/v1/auth/trust-device"): "trust_device",
    ("POST", "/trust-device"): "trust_device",
    ("POST", "/api/v1/invitations/accept"): "invitation",
    ("POST", "/invitations/accept"): "invitation",
}
ADDRESSES = (
    SIGN_IN,
    SIGN_IN_PAGE,
    ("POST", "/api/v1/auth/sign-up"),
    ("POST", "/sign-up"),
    ("POST", "/api/v1/auth/password-reset"),
    ("POST", "/reset"),
)
TICKETS = (
    ("POST", "/api/v1/auth/ways"),
    ("POST", "/api/v1/auth/otp/send"),
    ("POST", "/second-factor/send"),
    ("POST", "/api/v1/auth/otp/verify"),
    ("POST", "/second-factor/code"),
    ("POST", "/api/v1/auth/totp/verify"),
    ("POST", "/second-factor/authenticator"),
    ("POST", "/api/v1/auth/recovery-code/verify"),
    ("POST", "/second-factor/recovery-code"),
    ("POST", "/api/v1/auth/passkey/options"),
    ("POST", "/api/v1/auth/passkey/verify"),
)


@dataclass(frozen=True)
class Told:
    """An answer without what differs from request to request: its number, the date, and what was typed."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


class Asker:
    """A connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, request: Request) -> Told:
        self._connection.request(request.method, request.path, request.body, dict(request.headers))
        response = self._connection.getresponse()
        body = response.read().decode()
        headers = [(name.lower(), value) for name, value in response.getheaders()]
        kept = tuple((name, CHANGING.sub("-", value)) for name, value in headers if name not in UNTOLD)
        return Told(response.status, kept, CHANGING.sub("-", body))

    def case(self, request: Request) -> Case:
        return lambda: self.ask(request)


@dataclass(frozen=True)
class Scene:
    """The web process, people it knows (with a second factor, without one, shut out), and a founder who invites."""

    web: WebProcess
    routes: dict[tuple[str, str], Route]
    known: Sequence[Caller]
    plain: Sequence[Caller]
    shut_out: Sequence[Caller]
    founder: Caller
    slugs: Sequence[str]

    def request(self, route: tuple[str, str], caller: Caller) -> Request:
        return request_of(self.routes[route], caller, self.web.base_url)

    def visit(self, route: tuple[str, str], caller: Caller) -> Request:
        """What somebody sends whose browser keeps nothing, with a password that is not right."""
        return self.request(route, replace(caller, cookies={}, password="not the right one"))

    def invite(self, number: int, email: str) -> Request:
        """An invitation by the founder, to the company whose turn it is."""
        slug = self.slugs[number * len(self.slugs) // (PAIRS + WARM_UP)]
        like = self.request(SIGN_IN, self.founder)
        body = json.dumps({"email": email, "role": "observer"}).encode()
        return replace(like, path=f"/api/v1/companies/{slug}/invitations", body=body)


Cases = Callable[[Scene, int], Request]


def stranger() -> Caller:
    """Somebody of whom nothing is known, and who has the same things to show."""
    kept = {cookies.DEVICE: new_secret(), cookies.TICKET: new_secret()}
    return Caller(f"{secrets.token_hex(8)}@people.example", new_id(), new_id(), "", new_secret(), kept)


def of_address(route: tuple[str, str]) -> tuple[Cases, Cases]:
    return (
        lambda scene, number: scene.visit(route, scene.known[number]),
        lambda scene, _: scene.visit(route, stranger()),
    )


def of_link(route: tuple[str, str]) -> tuple[Cases, Cases]:
    """A link that was somebody's and is spent, and one that never was."""
    return (
        lambda scene, number: scene.visit(route, replace(scene.known[number], link=spent_link(route, number))),
        lambda scene, _: scene.visit(route, stranger()),
    )


def of_ticket(route: tuple[str, str]) -> tuple[Cases, Cases]:
    """A ticket that is somebody's, on another device, and one that is nobody's."""

    def theirs(scene: Scene, number: int) -> Request:
        kept = {cookies.TICKET: scene.known[number].cookies[cookies.TICKET], cookies.DEVICE: new_secret()}
        return scene.request(route, replace(scene.known[number], cookies=kept))

    return theirs, lambda scene, _: scene.request(route, stranger())


QUESTIONS: dict[str, tuple[Cases, Cases]] = {
    **{f"{path} by address": of_address((method, path)) for method, path in ADDRESSES},
    **{f"{path} by link": of_link((method, path)) for method, path in LINKS},
    **{f"{path} by ticket": of_ticket((method, path)) for method, path in TICKETS},
    "sign-in with and without a second factor": (
        lambda scene, number: scene.visit(SIGN_IN, scene.known[number]),
        lambda scene, number: scene.visit(SIGN_IN, scene.plain[number]),
    ),
    "sign-in of somebody who is shut out": (
        lambda scene, number: scene.visit(SIGN_IN, scene.shut_out[number]),
        lambda scene, _: scene.visit(SIGN_IN, stranger()),
    ),
    "an invitation": (
        lambda scene, number: scene.invite(number, scene.known[number].email),
        lambda scene, number: scene.invite(number, stranger().email),
    ),
}


# ── The people ────────────────────────────────────────────────────────────────────────────────────────


def _made(servers: Servers, people: int) -> Generator[Scene]:
    with web_processes(servers, 1, UNLIMITED) as (web,), servers.as_owner() as owner:
        # It is not served: its table of routes is what is read.
        walked = routes_of_signing_in(Site(build(servers.settings), servers, web.port))
        known, plain, shut_out = (make_crowd(servers, web.base_url, people) for _ in range(3))
        (founder,) = make_crowd(servers, web.base_url, 1)
        owner.execute("DELETE FROM identity.phones WHERE person_id = ANY (%s)", ([each.person for each in plain],))
        owner.execute(
            "UPDATE identity.people SET disabled_at = now() WHERE id = ANY (%s)", ([each.person for each in shut_out],)
        )
        companies = [World(owner).company() for _ in range(8)]
        for company, _ in companies:
            owner.execute(
                "INSERT INTO tenancy.memberships (company_id, person_id, role) VALUES (%s, %s, 'founder')",
                (company, founder.person),
            )
        spend_links(owner, known)
        routes = {(each.method, each.path): each for each in walked}
        yield Scene(web, routes, known, plain, shut_out, founder, [slug for _, slug in companies])


@pytest.fixture(scope="module")
def small_scene(servers: Servers) -> Generator[Scene]:
    yield from _made(servers, 2)


@pytest.fixture(scope="module")
def scene(servers: Servers) -> Generator[Scene]:
    yield from _made(servers, PAIRS + WARM_UP)


def spent_link(route: tuple[str, str], number: int) -> str:
    """The token of a link that has been used, of so many people's."""
    return encode_base64url(digest(f"{route} {number} spent"))


def spend_links(owner: psycopg.Connection[dict[str, Any]], people: Sequence[Caller]) -> None:
    with owner.cursor() as cursor:
        for route, purpose in LINKS.items():
            cursor.executemany(
                "INSERT INTO identity.links (purpose, digest, person_id, expires_at, used_at)"
                " VALUES (%s, %s, %s, now() + interval '1 day', now())"
                " ON CONFLICT (digest) DO UPDATE SET person_id = excluded.person_id",
                [(purpose, digest(spent_link(route, number)), each.person) for number, each in enumerate(people)],
            )


# ── What is promised ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("7.3.2")
@pytest.mark.parametrize("question", QUESTIONS)
def test_known_and_unknown_are_answered_with_the_same_bytes(small_scene: Scene, question: str) -> None:
    asker = Asker(small_scene.web.port)
    known, unknown = (asker.ask(cases(small_scene, 0)) for cases in QUESTIONS[question])
    assert known == unknown
    assert known.status < 500


@pytest.mark.soak
@pytest.mark.proves("7.3.2")
@pytest.mark.parametrize("question", QUESTIONS)
def test_known_and_unknown_are_answered_after_the_same_time(scene: Scene, question: str) -> None:
    asker = Asker(scene.web.port)
    known, unknown = QUESTIONS[question]
    found = measure(
        lambda number: asker.case(known(scene, number)),
        lambda number: asker.case(unknown(scene, number)),
        pairs=PAIRS,
        warm_up=WARM_UP,
    )
    print(f"{question}: {found:.3f}")  # noqa: T201 - shown with -rP
    assert found <= MOST_SEPARATION


# ── Comparing a code ──────────────────────────────────────────────────────────────────────────────────

COMPARISONS = 400
SECRETS = {"a code": "0123456789", "a digest": "0123456789abcdef"}
LENGTHS = {"a code": 6, "a digest": 64}


def _compare_often(compare: Callable[[str, str], bool], presented: str, expected: str) -> Case:
    def compare_often() -> None:
        for _ in range(COMPARISONS):
            compare(presented, expected)

    return compare_often


def _separates(compare: Callable[[str, str], bool], kind: str, pairs: int) -> float:
    """Tell guesses that are right up to their last sign from others that are wrong at once."""
    chance = random.Random(pairs)  # noqa: S311 - what is compared opens nothing
    signs = SECRETS[kind]

    def right_at_the_beginning(_: int) -> Case:
        expected = "".join(chance.choices(signs, k=LENGTHS[kind]))
        return _compare_often(compare, expected[:-1] + _another(expected[-1], signs), expected)

    def wrong_from_the_start(_: int) -> Case:
        expected = "".join(chance.choices(signs, k=LENGTHS[kind]))
        return _compare_often(compare, "".join(_another(sign, signs) for sign in expected), expected)

    return measure(right_at_the_beginning, wrong_from_the_start, pairs)


def _another(sign: str, signs: str) -> str:
    return signs[(signs.index(sign) + 1) % len(signs)]


def _stops_at_the_first_difference(presented: str, expected: str) -> bool:
    return all(one == other for one, other in zip(presented, expected, strict=True))


@pytest.mark.soak
@pytest.mark.proves("3.2.1")
@pytest.mark.parametrize("kind", SECRETS)
def test_a_guess_that_begins_right_takes_no_longer_than_one_that_is_wrong_at_once(kind: str) -> None:
    found = _separates(is_same_secret, kind, pairs=2_000)
    print(f"comparing {kind}: {found:.3f}")  # noqa: T201 - shown with -rP
    assert found <= MOST_SEPARATION


def test_the_measure_sees_a_comparison_that_stops_early_and_no_difference_where_there_is_none() -> None:
    assert _separates(_stops_at_the_first_difference, "a digest", pairs=60) > 0.9
    assert separation([1.0, 2.0, 2.0], [1.0, 2.0, 2.0]) == 0.5
    assert separation([1.0, 2.0], [3.0, 4.0]) == separation([3.0, 4.0], [1.0, 2.0]) == 1.0
