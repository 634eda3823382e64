"""How the binding of codes is observed: the right code in every wrong place, many uses at once, tickets carried off."""

import asyncio
import secrets
from collections.abc import Sequence

from operalta.assurance.client import DEVICE, REFRESH, Browser
from operalta.assurance.forgery import session_secret
from operalta.assurance.probes.factors import store
from operalta.assurance.registry import Answer, ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Holder, Stage, staged
from operalta.assurance.windows import let_window_pass
from operalta.db.scope import Row
from operalta.guard.rules import OTP_CHECK
from operalta.settings import DatabaseRole

_AT_ONCE = 8
_AT_ONCE_IN_THE_DATABASE = 50
_CONNECTIONS = 10
_OK, _DONE, _NOT_SIGNED_IN, _INVALID = 200, 204, 401, 422
_VERIFY = f"{API}/auth/otp/verify"


@probe("2.2.4")
async def codes_belong_to_one_session(context: ProbeContext) -> Observations:
    """Use right codes in other sessions, for other purposes, as other people, twice, and many times at once."""
    stage = staged(context)
    seen = Observations()
    holder = await stage.new_holder("Bound Person")
    second = await _second_session(stage, seen, holder)
    if second is None:
        return seen
    await _wrong_places(stage, seen, holder, second)
    await _at_once(stage, seen, holder, second)
    await _carried_away(seen, second)
    return seen


async def _second_session(stage: Stage, seen: Observations, holder: Holder) -> Browser | None:
    """Sign in on another device, its ticket tried on a third one and a code of the first session here before that."""
    browser = stage.browser()
    await stage.knock(holder, browser)
    recovery = {"code": holder.recovery_codes[0]}
    path = f"{API}/auth/recovery-code/verify"
    carried = await _on_another_device(browser).post(path, recovery)
    seen.expect("a ticket taken to another device opens nothing", carried.status == _NOT_SIGNED_IN, carried.status)
    code = await stage.fresh_code(holder.browser, holder.phone, "step_up")
    answer = await browser.post(_VERIFY, {"code": code})
    seen.expect("the code of a session signs nobody in", answer.status == _INVALID, answer.status)
    signed_in = await browser.post(path, recovery)
    holds = seen.expect("on its own device the ticket holds", signed_in.status == _OK, signed_in.status)
    return browser if holds else None


async def _wrong_places(stage: Stage, seen: Observations, holder: Holder, second: Browser) -> None:
    """Use the code that was sent for the first session elsewhere, then there, then there once more."""
    code = stage.deployment.carrier.to(holder.phone.number)[-1].code
    body = {"code": code, "purpose": "step_up"}
    other = stage.regulars[0].browser
    wrong = {"code": f"{(int(code) + 1) % 10**6:06d}", "purpose": "step_up"}
    await holder.browser.post(_VERIFY, wrong)
    for name, answer in (
        ("in another session of the same person", await second.post(_VERIFY, body)),
        ("by another person", await other.post(_VERIFY, body)),
        ("for another purpose", await holder.browser.post(f"{API}/auth/factors/phone/confirm", {"code": code})),
    ):
        seen.expect(f"the right code {name} is refused", answer.status == _INVALID, answer.status)
    row = await _newest(stage, holder)
    async with stage.connect(DatabaseRole.SIGNIN) as connection:
        taken = [await store.accept_code(connection, session_secret(each), row["id"]) for each in (second, other)]
    seen.expect("the database gives it to no other session either", not any(taken), taken)
    right = await holder.browser.post(_VERIFY, body)
    seen.expect("where it belongs it is accepted", right.status == _DONE, right.status)
    again = await holder.browser.post(_VERIFY, body)
    seen.expect("and not a second time", again.status == _INVALID, again.status)


async def _at_once(stage: Stage, seen: Observations, holder: Holder, second: Browser) -> None:
    """Use one right code many times at once, over the API and past it."""
    body = {"code": await stage.fresh_code(second, holder.phone, "step_up"), "purpose": "step_up"}
    await let_window_pass(stage, OTP_CHECK, second)
    answers = await asyncio.gather(*(second.post(_VERIFY, body) for _ in range(_AT_ONCE)))
    accepted = sum(answer.status == _DONE for answer in answers)
    seen.expect(f"of {_AT_ONCE} uses at once one is accepted", accepted == 1, _statuses(answers))
    await let_window_pass(stage, OTP_CHECK, holder.browser)
    phone, _ = await stage.add_phone(holder.browser)
    code = await stage.fresh_code(holder.browser, phone, "step_up")
    wrong = {"code": f"{(int(code) + 1) % 10**6:06d}", "purpose": "step_up"}
    await holder.browser.post(_VERIFY, wrong)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        row = await store.newest_code(connection, phone.number)
    if not seen.expect("the code is there", row is not None) or row is None:
        return
    secret = session_secret(holder.browser)
    share = _AT_ONCE_IN_THE_DATABASE // _CONNECTIONS

    async def accept() -> int:
        async with stage.connect(DatabaseRole.SIGNIN) as connection:
            return sum([await store.accept_code(connection, secret, row["id"]) for _ in range(share)])

    taken = sum(await asyncio.gather(*(accept() for _ in range(_CONNECTIONS))))
    told = f"{taken} of {share * _CONNECTIONS}"
    seen.expect("of many at once in the database itself, too", taken == 1, told)


async def _carried_away(seen: Observations, browser: Browser) -> None:
    """Take a session's tokens to another device once they were renewed."""
    thief = _on_another_device(browser)
    renewed = await browser.post(f"{API}/auth/refresh", None)
    thief.cookies[REFRESH] = browser.cookies[REFRESH]
    seen.expect("a session is renewed where it began", renewed.status == _OK, renewed.status)
    carried = await thief.post(f"{API}/auth/refresh", None)
    seen.expect("its tokens are refused on another device", carried.status == _NOT_SIGNED_IN, carried.status)
    owner = await browser.get(f"{API}/me")
    seen.expect("and the session has ended by that", owner.status == _NOT_SIGNED_IN, owner.status)


def _on_another_device(browser: Browser) -> Browser:
    """Return a browser with the same cookies but for the device's own secret."""
    other = browser.copy()
    other.cookies[DEVICE] = secrets.token_urlsafe(32)
    return other


async def _newest(stage: Stage, holder: Holder) -> Row:
    async with stage.connect(DatabaseRole.OWNER) as connection:
        row = await store.newest_code(connection, holder.phone.number)
    if row is None:
        raise LookupError("no code was sent to this number")
    return row


def _statuses(answers: Sequence[Answer]) -> str:
    return ", ".join(str(answer.status) for answer in answers)
