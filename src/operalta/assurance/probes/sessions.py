"""How sessions are observed: rotation, reuse, the end by time, and the end by a new password."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable
from typing import Any

from operalta.assurance.client import ACCESS, REFRESH, Browser
from operalta.assurance.forgery import forged_tokens
from operalta.assurance.probes import store
from operalta.assurance.registry import Answer, ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Stage, fresh_password, staged
from operalta.settings import DatabaseRole

_DAY = 24 * 3600
_WEEK = 7 * _DAY
_PARALLEL = 50
_OK, _NOT_SIGNED_IN = 200, 401
_JWT_PARTS = 3
_OPENS_WITHIN_SECONDS, _ENDS_WITHIN_SECONDS = 10.0, 8.0


@probe("2.3.1")
async def rotation(context: ProbeContext) -> Observations:
    """Renew one session many times at once; replay what was renewed long ago."""
    stage = staged(context)
    seen = Observations()
    person = await stage.new_person("Rotating Person")
    browser = person.browser
    parts = browser.cookies[ACCESS].split(".")
    header: dict[str, Any] = json.loads(_unpadded(parts[0])) if len(parts) == _JWT_PARTS else {}
    seen.expect(
        "the access token is a signed JWT", header.get("alg") in {"ES256", "EdDSA", "Ed25519"}, header.get("alg")
    )
    first = browser.cookies[REFRESH]
    copies = [browser.copy() for _ in range(_PARALLEL)]
    answers = await asyncio.gather(*(_renew(copy) for copy in copies))
    seen.expect(
        f"{_PARALLEL} refreshes at once log nobody out", all(a.status == _OK for a in answers), _statuses(answers)
    )
    successors = {copy.cookies[REFRESH] for copy in copies}
    seen.expect("they get one successor, which is another token", len(successors) == 1 and first not in successors)
    live = [(await copy.get(f"{API}/me")).status for copy in copies[:5]]
    seen.expect("the renewed session lives", set(live) == {_OK}, live)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        counters = [row["counter"] for row in await store.live_sessions(connection, person.email)]
        seen.expect("there is one session, one step further", counters == [1], counters)
        await store.age_sessions(connection, person.email, 60)
    thief = browser.copy()
    thief.cookies[REFRESH] = first
    replayed = await _renew(thief)
    seen.expect("a minute later the old token is refused", replayed.status == _NOT_SIGNED_IN, replayed.status)
    owner = await copies[0].get(f"{API}/me")
    seen.expect("and its replay has ended the whole session", owner.status == _NOT_SIGNED_IN, owner.status)
    return seen


@probe("2.3.3")
async def a_week_without_refresh(context: ProbeContext) -> Observations:
    """Move a session's times back to shortly before and shortly after seven days."""
    stage = staged(context)
    seen = Observations()
    person = await stage.new_person("Idle Person")
    async with stage.connect(DatabaseRole.OWNER) as connection:
        lasting = [row["seconds"] for row in await store.live_sessions(connection, person.email)]
        fits = len(lasting) == 1 and _WEEK - 60 < lasting[0] <= _WEEK
        seen.expect("a new session has seven days", fits, [round(seconds) for seconds in lasting])
        await store.age_sessions(connection, person.email, _WEEK - 120)
        renewed = await _renew(person.browser)
        seen.expect("two minutes before they are over it is renewed", renewed.status == _OK, renewed.status)
        lasting = [row["seconds"] for row in await store.live_sessions(connection, person.email)]
        again = len(lasting) == 1 and _WEEK - 60 < lasting[0] <= _WEEK
        seen.expect("and has seven days again", again, [round(seconds) for seconds in lasting])
        await store.age_sessions(connection, person.email, _WEEK + 60)
    used = await person.browser.get(f"{API}/me")
    seen.expect("a minute after they are over it opens nothing", used.status == _NOT_SIGNED_IN, used.status)
    renewed = await _renew(person.browser)
    seen.expect("and cannot be renewed", renewed.status == _NOT_SIGNED_IN, renewed.status)
    return seen


@probe("2.3.4")
async def a_new_password_ends_sessions(context: ProbeContext) -> Observations:
    """Change and reset a password while other sessions and a stream of events are open."""
    stage = staged(context)
    seen = Observations()
    person = await stage.new_person("Changing Person")
    company = await stage.found(person, "Changing Company", "startup")
    other = await stage.sign_in(person, stage.browser())
    waiting = await stage.say(person, company, "Please record a decision that we keep this stream open")
    opened = asyncio.Event()
    stream = asyncio.create_task(_follow(other, f"/c/{company.slug}/runs/{waiting.id}/events", opened))
    live = await _within(_OPENS_WITHIN_SECONDS, opened.wait())
    seen.expect("its stream of events is open", live)
    new = fresh_password()
    body = {"current_password": person.password, "password": new}
    changed = await person.browser.send("PUT", f"{API}/auth/password", json=body)
    began = time.monotonic()
    seen.expect("the password is changed", changed.status == 204, changed.status)  # noqa: PLR2004 - no content
    refused = await other.get(f"{API}/me")
    seen.expect("the other session is refused at once", refused.status == _NOT_SIGNED_IN, refused.status)
    renewed = await _renew(other)
    seen.expect("and cannot be renewed", renewed.status == _NOT_SIGNED_IN, renewed.status)
    ended = await _within(_ENDS_WITHIN_SECONDS, stream)
    seen.expect("its open stream ends", ended, f"{time.monotonic() - began:.1f} s")
    kept = await person.browser.get(f"{API}/me")
    seen.expect("the session that changed it goes on", kept.status == _OK, kept.status)
    await stage.browser().post(f"{API}/auth/password-reset", {"email": person.email})
    token = await stage.deployment.mailbox.wait_for_link(person.email, "/password-reset/confirm")
    reset = {"token": token, "password": fresh_password()}
    await stage.browser().post(f"{API}/auth/password-reset/confirm", reset)
    refused = await person.browser.get(f"{API}/me")
    seen.expect("a reset by mail ends every session", refused.status == _NOT_SIGNED_IN, refused.status)
    return seen


@probe("3.3.3")
async def tokens_are_checked_each_time(context: ProbeContext) -> Observations:
    """Try altered, foreign, expired and revoked tokens on every route that reads something."""
    stage = staged(context)
    seen = Observations()
    person = await stage.new_person("Token Person")
    company = await stage.found(person, "Token Company", "startup")
    paths = await _reading_routes(stage, company.slug)
    good = person.browser.cookies[ACCESS]
    statuses = [(await person.browser.get(path)).status for path in paths]
    opened = sum(status == _OK for status in statuses)
    seen.expect("the true token opens routes", opened > len(paths) // 2, f"{opened} of {len(paths)}")
    for name, token in forged_tokens(stage.settings, good).items():
        stranger = stage.browser()
        stranger.cookies[ACCESS] = token
        answers = await asyncio.gather(*(stranger.get(path) for path in paths))
        refused = sum(answer.status == _NOT_SIGNED_IN for answer in answers)
        seen.expect(f"a token {name} is refused everywhere", refused == len(paths), f"{refused} of {len(paths)}")
    revoked = stage.browser()
    revoked.cookies[ACCESS] = good
    await person.browser.post(f"{API}/auth/sign-out", None)
    answers = await asyncio.gather(*(revoked.get(path) for path in paths))
    refused = sum(answer.status == _NOT_SIGNED_IN for answer in answers)
    seen.expect(
        "the token of an ended session is refused everywhere", refused == len(paths), f"{refused} of {len(paths)}"
    )
    return seen


async def _reading_routes(stage: Stage, company: str) -> list[str]:
    """Return every reading route that needs a session and no more than a company's name."""
    described = await stage.described()
    return [
        path.replace("{company}", company)
        for path, operations in described["paths"].items()
        if "get" in operations and "{" not in path.replace("{company}", "") and "/trust" not in path
    ]


async def _renew(browser: Browser) -> Answer:
    return await browser.post(f"{API}/auth/refresh", None)


async def _follow(browser: Browser, path: str, opened: asyncio.Event) -> None:
    """Follow a stream until it is closed by the other side; set `opened` once an event has come."""
    async with browser.stream(path) as (_, lines):
        async for line in lines:
            if line.startswith("data: "):
                opened.set()


async def _within(seconds: float, waiting: Awaitable[object]) -> bool:
    """Tell whether something happens within some seconds."""
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return False
    return True


def _statuses(answers: list[Answer]) -> str:
    return ", ".join(str(status) for status in sorted({answer.status for answer in answers}))


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
