"""Limits and time: windows that pass because their counts are taken away, and bursts that no slow store disturbed."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from redis.asyncio import Redis

from operalta.assurance.client import DEVICE, Browser
from operalta.assurance.registry import Answer
from operalta.assurance.stage import API, Stage
from operalta.guard.keys import counted_keys
from operalta.guard.rules import Dimension, Rule, Subjects, only

_ANY_ADDRESS = "127.0.0.1"
_UNAVAILABLE = 503
_TRIALS = 3


async def let_window_pass(stage: Stage, rule: Rule, browser: Browser, company: str | None = None) -> None:
    """Let a rule's window pass for whoever is signed in in `browser`, on any device; and for a company, by its id."""
    person = (await browser.get(f"{API}/me")).json()["id"]
    device = hashlib.sha256(browser.cookies[DEVICE].encode()).hexdigest()
    secret = stage.settings.secret("limit-key")
    # A route in a company counts that one by itself, once it is known that the caller belongs there.
    parts = [rule, only(rule, frozenset(Dimension) - {Dimension.COMPANY})]
    parts += [only(rule, frozenset({Dimension.COMPANY}))] if company else []
    keys = [
        key
        for identity in (f"person:{person}", f"person:{person} on {device}")
        for part in parts
        if part is not None
        for limit, key in counted_keys(part, Subjects(identity, _ANY_ADDRESS, company), secret)
        if limit in {rule.limits[Dimension.IDENTITY], rule.limits.get(Dimension.COMPANY)}
    ]
    async with cast("Any", Redis).from_url(stage.settings.redis_address) as store:
        await store.delete(*keys)


async def undisturbed(burst: Callable[[], Awaitable[Sequence[Answer]]]) -> Sequence[Answer]:
    """Return the answers of a burst of calls, made again where the limiter's store was late for one of them.

    On a busy machine it may be. What it then refuses may have been counted, so nothing exact can be said. Calls of a
    burst come from browsers that are not patient.
    """
    answers: Sequence[Answer] = ()
    for _ in range(_TRIALS):
        answers = await burst()
        if all(answer.status != _UNAVAILABLE for answer in answers):
            break
    return answers


def impatient(browser: Browser) -> Browser:
    """Return a browser with the same cookies that asks once, whatever it is told."""
    other = browser.copy()
    other.patient = False
    return other
