"""Limits and time: windows that pass because their counts are taken away, and bursts that no slow store disturbed."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from redis.asyncio import Redis

from operalta.assurance.client import DEVICE, Browser
from operalta.assurance.registry import Answer
from operalta.assurance.stage import API, Stage
from operalta.guard.keys import counted_keys
from operalta.guard.rules import Dimension, Rule, Subjects

_ANY_ADDRESS = "127.0.0.1"
_UNAVAILABLE = 503
_TRIALS = 3


async def let_window_pass(stage: Stage, rule: Rule, browser: Browser) -> None:
    """Let a rule's window pass for the person who is signed in in `browser`, on this device and on others."""
    person = (await browser.get(f"{API}/me")).json()["id"]
    device = hashlib.sha256(browser.cookies[DEVICE].encode()).hexdigest()
    secret = stage.settings.secret("limit-key")
    keys = [
        key
        for identity in (f"person:{person}", f"person:{person} on {device}")
        for limit, key in counted_keys(rule, Subjects(identity, _ANY_ADDRESS), secret)
        if limit is rule.limits[Dimension.IDENTITY]
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
