"""How the limits are observed: the promised figures, and what happens without their store."""

import ast
import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

from operalta.assurance.registry import Answer, ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Person, Stage, fresh_address, fresh_password, staged
from operalta.assurance.windows import impatient, let_window_pass, undisturbed
from operalta.guard.rules import CHAT
from operalta.terms.clauses import clause

_TOO_MANY, _UNAVAILABLE, _ACCEPTED, _OK, _INVALID = 429, 503, 202, 200, 422
_CLOSED_WITHIN_SECONDS = 0.25
_HANDSHAKE_SECONDS = 0.25
_COMPARISON = "guard/comparison.py"
_SECRET_WORDS = frozenset({"secret", "token", "password", "signature", "otp", "mac", "hmac", "hashed"})


@probe("3.1.2")
async def password_resets(context: ProbeContext) -> Observations:
    """Ask for one link more than is promised, for an address with an account and one without, from everywhere."""
    stage = staged(context)
    seen = Observations()
    figures = clause("3.1.2").figures
    if not seen.expect("the terms name the figures", figures is not None) or figures is None:
        return seen
    known = (await stage.new_person("Forgetting Person")).email
    refused: list[Answer] = []
    for name, email in (("with an account", known), ("without one", fresh_address())):
        spellings = [email, email.upper(), f" {email} "]
        answers = [
            await stage.browser().post(f"{API}/auth/password-reset", {"email": spellings[number % len(spellings)]})
            for number in range(figures.limit + 1)
        ]
        statuses = [answer.status for answer in answers]
        passed = statuses[:-1] == [_ACCEPTED] * figures.limit
        seen.expect(f"{figures.limit} requests for an address {name} are taken", passed, statuses)
        last = answers[-1]
        wait = last.header("retry-after")
        seen.expect("the next is refused", last.status == _TOO_MANY, last.status)
        fits = wait.isdecimal() and 0 < int(wait) <= figures.window_seconds
        near = fits and int(wait) > figures.window_seconds - 60
        seen.expect(f"for the rest of {figures.window_seconds} seconds", near, wait)
        refused.append(last)
    page = await stage.browser().post_form("/reset", {"email": known})
    seen.expect("the page counts with the API", page.status == _TOO_MANY, page.status)
    other = await stage.browser().post(f"{API}/auth/password-reset", {"email": fresh_address()})
    seen.expect("another address is not affected", other.status == _ACCEPTED, other.status)
    alike = refused[0].json() | {"request_id": ""} == refused[1].json() | {"request_id": ""}
    seen.expect("the refusal does not tell whether there is an account", alike)
    return seen


@probe("3.1.5")
async def chat_requests(context: ProbeContext) -> Observations:
    """Send more messages at once than a minute takes; empty ones, so that no agent has to answer them."""
    stage = staged(context)
    seen = Observations()
    figures = clause("3.1.5").figures
    if not seen.expect("the terms name the figures", figures is not None) or figures is None:
        return seen
    person = await stage.new_person("Talking Person")
    first = await stage.found(person, "Talking Company", "startup")
    second = await stage.found(person, "Second Talking Company", "startup")
    paths = [f"/c/{(first, second)[number % 2].slug}/chat" for number in range(figures.limit * 2)]
    answers = await undisturbed(lambda: _many_messages(stage, person, paths))
    refused = [answer for answer in answers if answer.status == _TOO_MANY]
    passed = sum(answer.status == _INVALID for answer in answers)
    exact = passed == figures.limit and passed + len(refused) == len(answers)
    seen.expect(f"exactly {figures.limit} of {len(paths)} pass, over all companies", exact, f"{passed} passed")
    waits = {answer.header("retry-after") for answer in refused}
    fits = bool(waits) and all(wait.isdecimal() and 0 < int(wait) <= figures.window_seconds for wait in waits)
    seen.expect(f"the others are told to wait, at most {figures.window_seconds} seconds", fits, sorted(waits))
    policy = refused[0].header("ratelimit-policy") if refused else ""
    written = f"q={figures.limit};w={figures.window_seconds}"
    seen.expect("the published policy has the same figures", written in policy, policy)
    other = await stage.outsider.browser.post_form(
        f"/c/{stage.other.slug}/chat", {"text": ""}, accept="application/json"
    )
    seen.expect("another person is not affected", other.status != _TOO_MANY, other.status)
    return seen


async def _many_messages(stage: Stage, person: Person, paths: list[str]) -> list[Answer]:
    """Send an empty message to each path, many at once, after a pause."""
    await let_window_pass(stage, CHAT, person.browser)
    once = impatient(person.browser)
    empty = {"text": ""}
    return await asyncio.gather(*(once.post_form(path, empty, accept="application/json") for path in paths))


@probe("3.2.1", harmless=True)
async def one_comparison(context: ProbeContext) -> Observations:
    """Read the code: which comparisons have a secret on a side, and where the constant-time one is called."""
    seen = Observations()
    source = context.root / "src" / "operalta"
    files = sorted(source.rglob("*.py"))
    trees = {path.relative_to(source).as_posix(): ast.parse(path.read_text("utf-8")) for path in files}
    seen.expect("the code is there to be read", len(trees) > 100, len(trees))  # noqa: PLR2004 - files of the product
    bare = [f"{name}:{line}" for name, tree in trees.items() for line in _bare_comparisons(tree)]
    seen.expect("no secret is compared with == or !=", not bare, "; ".join(bare) or len(trees))
    callers = sorted({name for name, tree in trees.items() if _calls(tree, "compare_digest")})
    seen.expect("the constant-time comparison stands in one place", callers == [_COMPARISON], "; ".join(callers))
    users = sorted({name for name, tree in trees.items() if _calls(tree, "is_same_secret")})
    seen.expect("which secrets' own code calls", bool(users), "; ".join(users))
    return seen


@probe("3.5.1", "4.3.3", alone=True)
async def closed_without_the_store(context: ProbeContext) -> Observations:
    """Stop the store with SIGSTOP, then end it, and call critical routes and reading ones."""
    stage = staged(context)
    seen = Observations()
    person = await stage.new_person("Unlucky Person")
    body = {"email": person.email, "password": person.password}
    own, holders = person.browser.cookies, stage.holder.browser.cookies
    phone = {"phone": stage.holder.phone.id, "purpose": "step_up"}
    before = len(stage.deployment.mailbox.to(person.email))
    for name, away in (("hangs", _hanging), ("is gone", _ended)):
        async with away(stage):
            for text, cookies, path, sent in (
                ("signing in", own, "/auth/sign-in", body),
                ("signing up", own, "/auth/sign-up", body | {"email": fresh_address(), "name": "Somebody"}),
                ("asking for a new password", own, "/auth/password-reset", {"email": person.email}),
                ("renewing a session", own, "/auth/refresh", None),
                ("having a code sent", holders, "/auth/otp/send", phone),
                ("trying a code", holders, "/auth/otp/verify", {"code": "000000", "purpose": "step_up"}),
            ):
                answer, seconds = await _timed(stage, cookies, path, sent)
                seen.expect(f"while it {name}, {text} answers 503", answer.status == _UNAVAILABLE, answer.status)
                seen.expect(f"while it {name}, {text} waits for no more than the promise", *seconds)
            changed = {"current_password": person.password, "password": fresh_password()}
            hasty = person.browser.copy()
            hasty.patient = False
            answer = await hasty.send("PUT", f"{API}/auth/password", json=changed)
            seen.expect(f"while it {name}, no password changes", answer.status == _UNAVAILABLE, answer.status)
            for text, answer in (
                ("reading goes on", await stage.founder.browser.get(f"{API}/me")),
                ("pages go on", await stage.founder.browser.get(f"/c/{stage.company.slug}/memory")),
                ("the process says that it lives", await stage.browser().get("/healthz")),
            ):
                seen.expect(f"while it {name}, {text}", answer.status == _OK, answer.status)
            ready = await stage.browser().get("/readyz")
            seen.expect(f"while it {name}, readiness says so", ready.status == _UNAVAILABLE, ready.status)
        back = await _until_ready(stage)
        seen.expect(f"after it {name}, all is well again", back)
    after = len(stage.deployment.mailbox.to(person.email))
    seen.expect("nothing was let through: no mail was sent", before == after, after - before)
    return seen


async def _timed(stage: Stage, cookies: dict[str, str], path: str, body: object) -> tuple[Answer, tuple[bool, str]]:
    """Call a route up to three times; return its answer, and whether the fastest kept to the promise."""
    best = float("inf")
    answer = None
    for _ in range(3):
        browser = stage.browser()
        browser.patient = False
        browser.cookies = dict(cookies)
        began = time.perf_counter()
        answer = await browser.post(f"{API}{path}", body)
        best = min(best, time.perf_counter() - began)
        if best < _CLOSED_WITHIN_SECONDS + _HANDSHAKE_SECONDS:
            break
    if answer is None:
        raise AssertionError("the loop ran")
    return answer, (best < _CLOSED_WITHIN_SECONDS + _HANDSHAKE_SECONDS, f"{best * 1000:.0f} ms, TLS included")


@asynccontextmanager
async def _hanging(stage: Stage) -> AsyncGenerator[None]:
    process = stage.deployment.valkey.process
    if process is None:
        raise ProcessLookupError("the store is not running")
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


@asynccontextmanager
async def _ended(stage: Stage) -> AsyncGenerator[None]:
    await asyncio.to_thread(stage.deployment.valkey.stop)
    try:
        yield
    finally:
        # Not in another thread: the kernel ends the store together with the thread that started it.
        stage.deployment.valkey.start()


async def _until_ready(stage: Stage) -> bool:
    for _ in range(100):
        if (await stage.browser().get("/readyz")).status == _OK:
            return True
        await asyncio.sleep(0.05)
    return False


def _bare_comparisons(tree: ast.AST) -> Iterator[int]:
    """Yield the lines on which something named as a secret is compared by value."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare) or not all(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            continue
        sides = [node.left, *node.comparators]
        if any(isinstance(side, ast.Constant) for side in sides):
            continue
        if any(_is_secret(side) for side in sides):
            yield node.lineno


def _is_secret(side: ast.expr) -> bool:
    name = side.attr if isinstance(side, ast.Attribute) else side.id if isinstance(side, ast.Name) else ""
    return bool(_SECRET_WORDS & set(name.lower().split("_"))) and not name.isupper()


def _calls(tree: ast.AST, name: str) -> bool:
    return any(
        isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Attribute) and node.func.attr == name)
            or (isinstance(node.func, ast.Name) and node.func.id == name)
        )
        for node in ast.walk(tree)
    )
