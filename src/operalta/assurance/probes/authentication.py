"""How the limits on everything that has to do with signing in are observed: each route has one, and it is exact."""

import asyncio
import itertools
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operalta.assurance.client import DEVICE, TICKET, Browser
from operalta.assurance.probes.entry import resolved
from operalta.assurance.registry import Answer, ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Holder, Stage, staged
from operalta.assurance.windows import impatient, undisturbed
from operalta.guard.rules import FACTOR_CHECK, VERIFY_EMAIL, Dimension, rules

_NOBODY = "00000000-0000-7000-8000-000000000000"
_FEWEST_ROUTES = 25
_BROWSERS = 5
_NOT_FOUND, _NOT_SIGNED_IN, _TOO_MANY = 404, 401, 429
_ALSO = (f"{API}/invitations/accept",)
_PAGES = (
    "/sign-in",
    "/sign-up",
    "/reset",
    "/reset/confirm",
    "/verify-email",
    "/trust-device",
    "/operator",
    "/sign-out",
)
_PAGES_OF_FACTORS = (
    "/second-factor/send",
    "/second-factor/code",
    "/second-factor/authenticator",
    "/second-factor/recovery-code",
    "/step-up",
    "/security/factors/phone",
)
# What renews or ends the session that the others are called with comes last.
_LAST = (f"POST {API}/auth/refresh", f"DELETE {API}/auth/sessions", f"POST {API}/auth/sign-out")


@dataclass(frozen=True, slots=True)
class _Route:
    """One way to call the API that has to do with signing in, with a body that fits its schema."""

    method: str
    path: str
    body: object

    @property
    def name(self) -> str:
        """How it is called in observations."""
        return f"{self.method} {self.path}"


@probe("3.1.1")
async def every_route_is_limited(context: ProbeContext) -> Observations:
    """Call every route that has to do with signing in and read its limit; call one far too often at once."""
    stage = staged(context)
    seen = Observations()
    holder = await stage.new_holder("Limited Person")
    routes = await _routes(stage, holder)
    seen.expect("the routes are described", len(routes) >= _FEWEST_ROUTES, len(routes))
    answers = await _of_pages(stage, holder) | await _of_routes(holder.browser, routes)
    bare = [f"{name}: {answer.status}" for name, answer in answers.items() if not _policies(answer)]
    seen.expect("every one of them has a limit", not bare, "; ".join(bare) or len(answers))
    table = {
        f'"{limit.name}";q={limit.limit};w={limit.window_seconds}' for rule in rules() for limit in rule.limits.values()
    }
    odd = sorted({each for answer in answers.values() for each in _policies(answer)} - table)
    seen.expect("each limit is one of the table's", not odd, "; ".join(odd) or len(table))
    await _exactly_as_many(stage, seen)
    await _made_up_tickets(stage, seen)
    return seen


async def _of_pages(stage: Stage, holder: Holder) -> dict[str, Answer]:
    """Send a form to each page that has to do with signing in: as a visitor, or in the holder's session."""
    form = {"purpose": "step_up", "way": holder.phone.id, "code": "000000", "phone": holder.phone.number}
    answers = await asyncio.gather(
        *(stage.browser().post_form(page, {}) for page in _PAGES),
        *(holder.browser.post_form(page, form) for page in _PAGES_OF_FACTORS),
    )
    names = (f"the page {page}" for page in (*_PAGES, *_PAGES_OF_FACTORS))
    return dict(zip(names, answers, strict=True))


async def _of_routes(browser: Browser, routes: list[_Route]) -> dict[str, Answer]:
    """Call each route once in a session, those of `_LAST` after all others."""

    async def ask(route: _Route) -> tuple[str, Answer]:
        return route.name, await browser.send(route.method, route.path, json=route.body)

    ends = [route for name in _LAST for route in routes if route.name == name]
    answers = dict(await asyncio.gather(*(ask(route) for route in routes if route not in ends)))
    for route in ends:
        answers[route.name] = (await ask(route))[1]
    return answers


async def _routes(stage: Stage, holder: Holder) -> list[_Route]:
    """Return every described route that has to do with signing in."""
    described = await stage.described()
    return [
        _Route(method.upper(), re.sub(r"\{[^}]+\}", _NOBODY, path), _body(described, operation, holder))
        for path, operations in described["paths"].items()
        if path.startswith(f"{API}/auth/") or path in _ALSO
        for method, operation in operations.items()
    ]


def _body(described: Mapping[str, Any], operation: Mapping[str, Any], holder: Holder) -> object:
    """Return the smallest body that an operation takes, in the holder's session; None where it takes none."""
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return None
    whole = dict(described)
    schema = resolved(whole, content["application/json"]["schema"])
    body = _smallest(whole, schema)
    if "purpose" in schema.get("properties", {}):
        body["purpose"] = "step_up"
    if "phone" in body and body["phone"] == _NOBODY:
        body["phone"] = holder.phone.id
    return body


def _smallest(described: dict[str, Any], schema: dict[str, Any]) -> Any:  # noqa: ANN401 - as the schema says
    """Return a small value that fits the schema of a body, or of a required part of one."""
    schema = resolved(described, schema)
    if "examples" in schema:
        return schema["examples"][0]
    if schema.get("type") == "object":
        return {name: _smallest(described, schema["properties"][name]) for name in schema.get("required", [])}
    if "const" in schema:
        return schema["const"]
    return _NOBODY if schema.get("format") == "uuid" else "x" * schema.get("minLength", 1)


def _policies(answer: Answer) -> list[str]:
    return [each.strip() for each in answer.header("ratelimit-policy").split(",") if each.strip()]


async def _exactly_as_many(stage: Stage, seen: Observations) -> None:
    """Send one mailed link's token twice as often as it may be sent, from several browsers at once."""
    limit = VERIFY_EMAIL.limits[Dimension.IDENTITY].limit

    async def burst() -> list[Answer]:
        body = {"token": secrets.token_urlsafe(32)}
        browsers = itertools.cycle([impatient(stage.browser()) for _ in range(_BROWSERS)])
        calls = [next(browsers).post(f"{API}/auth/verify-email", body) for _ in range(limit * 2)]
        return await asyncio.gather(*calls)

    answers = await undisturbed(burst)
    passed = sum(answer.status == _NOT_FOUND for answer in answers)
    refused = sum(answer.status == _TOO_MANY for answer in answers)
    exact = (passed, refused) == (limit, limit)
    seen.expect(f"of {limit * 2} calls at once exactly {limit} pass", exact, f"{passed} passed, {refused} were refused")


async def _made_up_tickets(stage: Stage, seen: Observations) -> None:
    """Call with tickets that nobody was given, from one address, once more than an address may."""
    limit = FACTOR_CHECK.limits[Dimension.ADDRESS].limit

    async def burst() -> list[Answer]:
        stranger = impatient(stage.browser())
        return await asyncio.gather(*(_with_made_up_ticket(stranger) for _ in range(limit + 1)))

    statuses = [answer.status for answer in await undisturbed(burst)]
    fits = statuses.count(_NOT_SIGNED_IN) == limit and statuses.count(_TOO_MANY) == 1
    told = ", ".join(f"{statuses.count(status)} times {status}" for status in sorted(set(statuses)))
    seen.expect(f"made-up tickets are taken {limit} times from one address", fits, told)


async def _with_made_up_ticket(stranger: Browser) -> Answer:
    made_up = {TICKET: secrets.token_urlsafe(32), DEVICE: secrets.token_urlsafe(32)}
    return await stranger.send("POST", f"{API}/auth/totp/verify", cookies=made_up, json={"code": "000000"})
