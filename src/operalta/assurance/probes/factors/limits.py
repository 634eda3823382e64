"""How the limits on codes are observed: how many are sent to one number, and how often one may be tried."""

import asyncio

from operalta.assurance.carrier import fresh_number
from operalta.assurance.client import Browser
from operalta.assurance.forgery import session_secret
from operalta.assurance.probes.factors import store
from operalta.assurance.registry import Answer, ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Holder, Stage, staged
from operalta.assurance.windows import impatient, let_window_pass, undisturbed
from operalta.guard.rules import OTP_CHECK
from operalta.settings import DatabaseRole
from operalta.terms.clauses import Figures, clause

_ACCEPTED, _INVALID, _TOO_MANY = 202, 422, 429
_GUESSES_AT_ONCE = 100
_CONNECTIONS = 10
_VERIFY = f"{API}/auth/otp/verify"


@probe("3.1.3")
async def codes_to_one_number(context: ProbeContext) -> Observations:
    """Ask for one code more than is promised for one number, also as somebody else, and written differently."""
    stage = staged(context)
    seen = Observations()
    figures = clause("3.1.3").figures
    if not seen.expect("the terms name the figures", figures is not None) or figures is None:
        return seen
    # The first code confirmed the phone: all that goes to a number counts together.
    holder = await stage.new_holder("Sending Person")
    browser, number = holder.browser, holder.phone.number
    send, enrol = f"{API}/auth/otp/send", f"{API}/auth/factors/phone"
    body = {"phone": holder.phone.id, "purpose": "step_up"}
    statuses: list[int] = []
    for turn in range(1, figures.limit):
        statuses.append((await browser.post(send, body)).status)
        await stage.deployment.carrier.wait_for(number, after=turn)
    taken = statuses == [_ACCEPTED] * (figures.limit - 1)
    seen.expect(f"{figures.limit} codes are sent to one number", taken, statuses)
    _is_refused(seen, "the next is refused", await browser.post(send, body), figures)
    page = await browser.post_form("/second-factor/send", {"purpose": "step_up", "way": holder.phone.id})
    seen.expect("the page counts with the API", page.status == _TOO_MANY, page.status)
    colleague = stage.regulars[0].browser
    for spelling in _spellings(number):
        _is_refused(
            seen, f"so is whoever else asks for {spelling}", await colleague.post(enrol, {"phone": spelling}), figures
        )
    other = await browser.post(enrol, {"phone": fresh_number()})
    seen.expect("another number is not affected", other.status == _ACCEPTED, other.status)
    arrived = len(stage.deployment.carrier.to(number))
    seen.expect("no more than that reached the provider", arrived == figures.limit, arrived)
    return seen


def _spellings(number: str) -> tuple[str, ...]:
    """Return one number in ways that people write it."""
    rest = number.removeprefix("+41")
    wide = "".join(chr(ord(sign) + 0xFEE0) for sign in rest)
    return (
        f"+41 {rest[:2]} {rest[2:5]} {rest[5:7]} {rest[7:]}",
        f"0041{rest}",
        f"+41 ({rest[:2]}) {rest[2:5]}-{rest[5:]}",
        f"+41{wide}",
        number,
    )


@probe("3.1.4")
async def tries_of_codes(context: ProbeContext) -> Observations:
    """Try one code more often than it may be, many times at once, and then codes more often than a person may."""
    stage = staged(context)
    seen = Observations()
    figures = clause("3.1.4").figures
    if not seen.expect("the terms name the figures", figures is not None) or figures is None:
        return seen
    per_code = figures.per_code
    if not seen.expect("for a single code, too", per_code is not None, per_code) or per_code is None:
        return seen
    holder = await stage.new_holder("Guessing Person")
    browser = holder.browser
    code = await stage.fresh_code(browser, holder.phone, "step_up")
    wrong = [(await _try(browser, _other(code))).status for _ in range(per_code)]
    right = await _try(browser, code)
    seen.expect(f"a code can be tried {per_code} times", set(wrong) == {_INVALID}, wrong)
    seen.expect("once more is refused although it is right", right.status == _INVALID, right.status)
    await _past_the_limiter(stage, seen, holder, per_code)
    answers = await undisturbed(lambda: _many_tries(stage, browser, _other(code), figures.limit * 2))
    passed = sum(answer.status == _INVALID for answer in answers)
    refused = [answer for answer in answers if answer.status == _TOO_MANY]
    exact = passed == figures.limit and passed + len(refused) == len(answers)
    told = f"{passed} passed, {len(refused)} were refused"
    seen.expect(f"of {len(answers)} tries at once a person has {figures.limit}", exact, told)
    _is_refused(seen, "once more is refused", await _try(browser, code), figures)
    page = await browser.post_form("/second-factor/code", {"purpose": "step_up", "code": code})
    seen.expect("the page counts with the API", page.status == _TOO_MANY, page.status)
    return seen


async def _many_tries(stage: Stage, browser: Browser, code: str, count: int) -> list[Answer]:
    """Try a code many times at once, after a pause."""
    await let_window_pass(stage, OTP_CHECK, browser)
    once = impatient(browser)
    return await asyncio.gather(*(_try(once, code) for _ in range(count)))


async def _past_the_limiter(stage: Stage, seen: Observations, holder: Holder, per_code: int) -> None:
    """Guess at one instant by calling the database's own function, where no limiter stands before it."""
    secret, share = session_secret(holder.browser), _GUESSES_AT_ONCE // _CONNECTIONS
    async with stage.connect(DatabaseRole.SIGNIN) as connection:
        more = await store.try_code(connection, secret)
    seen.expect("the database itself refuses that try", more == "none", more)
    await stage.fresh_code(holder.browser, holder.phone, "step_up")

    async def guess() -> int:
        async with stage.connect(DatabaseRole.SIGNIN) as connection:
            return sum([await store.try_code(connection, secret) == "tried" for _ in range(share)])

    tried = sum(await asyncio.gather(*(guess() for _ in range(_CONNECTIONS))))
    async with stage.connect(DatabaseRole.OWNER) as connection:
        row = await store.newest_code(connection, holder.phone.number)
    counted = None if row is None else row["attempts"]
    exact = tried == per_code and counted == per_code
    told = f"{tried} of {share * _CONNECTIONS}; {counted} counted"
    seen.expect(f"of {_GUESSES_AT_ONCE} guesses at once {per_code} count, the others are none", exact, told)


async def _try(browser: Browser, code: str) -> Answer:
    return await browser.post(_VERIFY, {"code": code, "purpose": "step_up"})


def _other(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06d}"


def _is_refused(seen: Observations, claim: str, answer: Answer, figures: Figures) -> None:
    """Expect that an answer refuses and says for how long."""
    wait = answer.header("retry-after")
    fits = answer.status == _TOO_MANY and wait.isdecimal() and 0 < int(wait) <= figures.window_seconds
    seen.expect(claim, fits, f"{answer.status}, {wait or 'no'} s")
    written = f"q={figures.limit};w={figures.window_seconds}"
    policy = answer.header("ratelimit-policy")
    seen.expect("the published policy has the same figures", written in policy, policy)
