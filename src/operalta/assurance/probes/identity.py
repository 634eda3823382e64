"""How passwords are observed: what is stored, what is refused, and where one could be found."""

import asyncio
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from operalta.assurance.client import DEVICE, TICKET
from operalta.assurance.probes import store
from operalta.assurance.registry import Answer, ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Person, Stage, fresh_address, fresh_password, staged
from operalta.settings import MINIMUM_BCRYPT_COST, DatabaseRole

_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_LONG = 100
_NAME = "Rosalind Okonjo"
_REFUSED, _ACCEPTED, _NOT_SIGNED_IN, _INVALID = 401, 202, 401, 422


@probe("2.1.1")
async def bcrypt_in_the_database(context: ProbeContext) -> Observations:
    """Look at every stored hash, and sign in with long passwords that differ in one sign."""
    stage = staged(context)
    seen = Observations()
    long = fresh_password() + "x" * _LONG
    person = await stage.new_person("Long Password", long)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        rows = await store.password_hashes(connection)
    costs = [int(found[1]) if (found := _BCRYPT.fullmatch(row["hash"])) else None for row in rows]
    seen.expect("every stored password is a bcrypt hash", bool(rows) and None not in costs, f"{len(rows)} rows")
    lowest = min((cost for cost in costs if cost is not None), default=0)
    seen.expect(f"each has a cost of {MINIMUM_BCRYPT_COST} or more", lowest >= MINIMUM_BCRYPT_COST, lowest)
    for name, position in (("first sign", 0), ("sign behind bcrypt's limit", 90), ("last sign", len(long) - 1)):
        other = f"{long[:position]}{'y' if long[position] != 'y' else 'z'}{long[position + 1 :]}"
        answer = await stage.browser().post(f"{API}/auth/sign-in", {"email": person.email, "password": other})
        seen.expect(f"another {name} is another password", answer.status == _NOT_SIGNED_IN, answer.status)
    answer = await stage.browser().post(f"{API}/auth/sign-in", {"email": person.email, "password": long})
    seen.expect("the whole password signs in", answer.status == 200, answer.status)  # noqa: PLR2004 - OK
    return seen


@probe("2.1.2")
async def shortest_password(context: ProbeContext) -> Observations:
    """Sign up with passwords around the limit, in signs of one and of four bytes, and with well-known ones."""
    stage = staged(context)
    seen = Observations()
    for name, password, status in (
        ("7 characters are refused", "vq7#Kd2", _INVALID),
        ("8 characters are taken", "vq7#Kd2p", _ACCEPTED),
        ("7 characters of four bytes are refused", "🦊🐙🦉🐝🐢🦋🐬", _INVALID),
        ("8 characters of four bytes are taken", "🦊🐙🦉🐝🐢🦋🐬🐘", _ACCEPTED),
        ("a password that many people use is refused", "password1234", _INVALID),
        ("a keyboard's row is refused", "qwertyuiop", _INVALID),
        ("one's own name with a year is refused", f"{_NAME.rpartition(' ')[2]}2026", _INVALID),
    ):
        body = {"email": fresh_address(), "name": _NAME, "password": password}
        answer = await stage.browser().post(f"{API}/auth/sign-up", body)
        seen.expect(name, answer.status == status, answer.status)
    person = stage.regulars[1]
    change = {"current_password": person.password, "password": "vq7#Kd2"}
    answer = await person.browser.send("PUT", f"{API}/auth/password", json=change)
    seen.expect("7 characters are refused at a change too", answer.status == _INVALID, answer.status)
    return seen


@probe("2.1.3")
async def password_found_nowhere(context: ProbeContext) -> Observations:
    """Use canary passwords everywhere and search all that the deployment wrote, and its answers, for them."""
    stage = staged(context)
    seen = Observations()
    canaries = [f"Zq{number}-" + fresh_password().replace(" ", "-") for number in range(5)]
    answers = await _use(stage, canaries)
    telling = [number for number, each in enumerate(answers, 1) if any(one.encode() in each.body for one in canaries)]
    seen.expect("no answer repeats a password", not telling, f"{len(answers)} answers, {telling} of them do")
    written = {
        "the database's files": stage.deployment.var / "postgres",
        "the rate-limit store's files": stage.deployment.var / "valkey",
        "the logs": stage.deployment.var / "log",
        "the audit heads": stage.deployment.var / "audit-heads",
        "the companies' files": stage.settings.workspaces_path,
    }
    for name, folder in written.items():
        count, hits = await asyncio.to_thread(search_files, folder, [canary.encode() for canary in canaries])
        seen.expect(f"{name} hold no password", hits == 0, f"{count} files searched, {hits} hits")
    async with stage.connect(DatabaseRole.OWNER) as connection:
        rows, hits = await store.search_all_tables(connection, [re.escape(canary) for canary in canaries])
    seen.expect("no row of any table holds one", hits == 0 and rows > 0, f"{rows} rows searched, {hits} hits")
    plain = stage.base_url.startswith("https://")
    seen.expect("passwords are taken over TLS alone", plain, stage.base_url.partition(":")[0])
    return seen


async def _use(stage: Stage, canaries: list[str]) -> list[Answer]:
    """Send canaries the right way and in every wrong way, and return all answers."""
    first, second, third, wrong, malformed = canaries
    person = Person(fresh_address(), "Canary", first, stage.browser())
    await stage.sign_up(person)
    await stage.sign_in(person)
    browser = person.browser
    sign_in = f"{API}/auth/sign-in"
    answers = await asyncio.gather(
        stage.browser().post(sign_in, {"email": person.email, "password": wrong}),
        browser.send("PUT", f"{API}/auth/password", json={"current_password": wrong, "password": second}),
        stage.browser().post(sign_in, {"email": person.email, "password": {"x": malformed}}),
        stage.browser().post(sign_in, {"email": person.email, "pass_word": malformed}),
        stage.browser().send(
            "POST",
            sign_in,
            content=f'{{"password": "{malformed}'.encode(),
            headers={"content-type": "application/json"},
        ),
        stage.browser().post_form("/sign-in", {"email": person.email, "password": wrong}),
        stage.browser().post_form("/sign-up", {"email": "no address", "name": "x", "password": malformed}),
        stage.browser().get(f"/sign-in?password={malformed}"),
    )
    changed = {"current_password": first, "password": second}
    answers.append(await browser.send("PUT", f"{API}/auth/password", json=changed))
    answers.append(await stage.browser().post(f"{API}/auth/password-reset", {"email": person.email}))
    token = await stage.deployment.mailbox.wait_for_link(person.email, "/password-reset/confirm")
    answers.append(
        await stage.browser().post(f"{API}/auth/password-reset/confirm", {"token": token, "password": third})
    )
    answers.append(await stage.browser().post(f"{API}/auth/sign-in", {"email": person.email, "password": third}))
    return answers


def search_files(folder: Path, wanted: list[bytes]) -> tuple[int, int]:
    """Return how many files below a folder were read, and in how many something wanted was found."""
    count = hits = 0
    for content in readable_files(folder):
        count += 1
        hits += any(each in content for each in wanted)
    return count, hits


def readable_files(folder: Path) -> Iterator[bytes]:
    """Yield the content of every file below a folder."""
    for path in folder.rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        try:
            yield path.read_bytes()
        except OSError:
            continue  # gone since the folder was listed, as the servers' own files come and go


@probe("7.3.2")
async def nobody_learns_who_has_an_account(context: ProbeContext) -> Observations:
    """Ask the same of an address with an account and of one without, on every door, and compare byte for byte."""
    stage = staged(context)
    seen = Observations()
    known, unknown = await stage.new_person("Known Person"), fresh_address()
    mails = len(stage.deployment.mailbox.to(known.email))
    wrong = fresh_password()
    doors: dict[str, tuple[str, dict[str, str]]] = {
        "signing in": ("/auth/sign-in", {"password": wrong}),
        "signing up": ("/auth/sign-up", {"name": "Somebody", "password": wrong}),
        "asking for a new password": ("/auth/password-reset", {}),
    }
    for name, (path, body) in doors.items():
        first, second = [
            await stage.browser().post(f"{API}{path}", body | {"email": email}) for email in (known.email, unknown)
        ]
        seen.expect(f"{name} over the API answers both alike", _same(first, second, stage), first.status)
        if path == "/auth/sign-in":
            other = await stage.browser().post(f"{API}{path}", body | {"email": stage.holder.email})
            alike = _same(first, other, stage)
            seen.expect(f"{name} over the API does not tell of a second factor", alike, other.status)
        if path == "/auth/sign-up":
            told = (await stage.deployment.mailbox.wait_for(known.email, after=mails)).get_content()
            seen.expect("whoever has an account is told so by mail, without a link to open it", "?token=" not in told)
    pages: dict[str, tuple[str, dict[str, str]]] = {
        "signing in": ("/sign-in", {"password": wrong}),
        "signing up": ("/sign-up", {"name": "Somebody", "password": wrong}),
        "asking for a new password": ("/reset", {}),
    }
    for name, (path, fields) in pages.items():
        first, second = [
            await stage.browser().post_form(path, {**fields, "email": email}) for email in (known.email, unknown)
        ]
        alike = _same(first, second, stage, hidden=(known.email, unknown))
        seen.expect(f"{name} on the page answers both alike", alike, first.status)
    await _code_routes(stage, seen)
    return seen


async def _code_routes(stage: Stage, seen: Observations) -> None:
    """Call what proves a second factor with made-up tickets and with none."""
    made_up = {TICKET: secrets.token_urlsafe(32), DEVICE: secrets.token_urlsafe(32)}
    bodies: dict[str, dict[str, str]] = {
        "/auth/ways": {},
        "/auth/otp/send": {"phone": stage.holder.phone.id},
        "/auth/otp/verify": {"code": "000000"},
        "/auth/totp/verify": {"code": "000000"},
        "/auth/recovery-code/verify": {"code": stage.holder.recovery_codes[0]},
        "/auth/passkey/options": {},
    }
    stranger = stage.browser()
    answers = [
        await stranger.send("POST", f"{API}{path}", cookies=cookies, json=body)
        for path, body in bodies.items()
        for cookies in ({}, made_up)
    ]
    refused = [answer.status for answer in answers]
    kinds = {answer.body.replace(answer.header("x-request-id").encode(), b"N") for answer in answers}
    alike = set(refused) == {_NOT_SIGNED_IN} and len(kinds) == 1
    seen.expect("without a ticket every route for codes answers alike", alike, refused)


def _same(first: Answer, second: Answer, stage: Stage, hidden: tuple[str, str] = ("", "")) -> bool:
    """Tell whether two answers are equal but for their own numbers and what was typed."""
    return _bare(first, hidden[0], stage) == _bare(second, hidden[1], stage)


def _bare(answer: Answer, typed: str, stage: Stage) -> tuple[object, ...]:
    number = answer.header("x-request-id")
    body = answer.body.decode().replace(number, "N")
    if typed:
        body = body.replace(typed, "T")
    names = {"date", "x-request-id", "content-length", "ratelimit", "set-cookie"}
    headers = tuple(sorted(each for each in answer.headers if each[0] not in names))
    return answer.status, body, headers, len(answer.every("set-cookie")), stage.base_url
