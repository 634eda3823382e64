"""How codes are observed: their form, their ten minutes, and that nothing but a keyed digest is kept of them."""

import asyncio
import hashlib
import hmac
import re
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from operalta.assurance.carrier import codes_of
from operalta.assurance.probes.factors import store
from operalta.assurance.probes.identity import readable_files
from operalta.assurance.probes.store import Probed, search_all_tables
from operalta.assurance.registry import Answer, ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Holder, Stage, staged
from operalta.db.scope import Row
from operalta.guard.comparison import is_same_secret
from operalta.settings import DatabaseRole

_LIFETIME_SECONDS = 600.0
_ONE_SECOND = 1.0
_TRIALS = 4
_DIGEST_BYTES = 32
_DONE, _INVALID = 204, 422
_AS_A_COLUMN = b"\x0f"
_CODE = re.compile(r"[0-9]{6}", re.ASCII)


@probe("2.2.2")
async def ten_minutes(context: ProbeContext) -> Observations:
    """Move codes to one second before their end and to one second after it, and use them."""
    stage = staged(context)
    seen = Observations()
    holder = await stage.new_holder("Timely Person")
    number = holder.phone.number
    async with stage.connect(DatabaseRole.OWNER) as connection:
        began = time.monotonic()
        code = await stage.fresh_code(holder.browser, holder.phone, "step_up")
        left = (await _newest(connection, number))["seconds_left"]
        waited = time.monotonic() - began
        fits = _LIFETIME_SECONDS - waited - 0.1 <= left <= _LIFETIME_SECONDS
        seen.expect("a fresh code has ten minutes", fits, f"{left:.1f} s, asked for {waited:.1f} s ago")
        status, left = await _used_with_one_second_left(connection, holder, code)
        seen.expect("one second before they are over it works", status == _DONE, f"{status} with {left:.1f} s left")
        code = await stage.fresh_code(holder.browser, holder.phone, "step_up")
        left = (await _newest(connection, number))["seconds_left"]
        await store.age_codes(connection, number, left + _ONE_SECOND)
        late = await _check(holder, code)
        seen.expect("one second after they are over it does not", late.status == _INVALID, late.status)
        await store.age_codes(connection, number, -_LIFETIME_SECONDS / 2)
        in_time = await _check(holder, code)
        seen.expect("and nothing but the time was wrong with it", in_time.status == _DONE, in_time.status)
    codes = codes_of(stage.deployment.carrier.taken())
    formed = [code for code in codes if _CODE.fullmatch(code)]
    seen.expect("every code that was sent has six digits", len(formed) == len(codes), f"{len(formed)} of {len(codes)}")
    return seen


async def _used_with_one_second_left(connection: Probed, holder: Holder, code: str) -> tuple[int, float]:
    """Use a code that has one second left; return the status and what was left afterwards.

    Where the machine was too slow for that second, time is turned back and the code tried again.
    """
    number = holder.phone.number
    status, left = 0, 0.0
    for _ in range(_TRIALS):
        left = (await _newest(connection, number))["seconds_left"]
        await store.age_codes(connection, number, left - _ONE_SECOND)
        status = (await _check(holder, code)).status
        left = (await _newest(connection, number))["seconds_left"]
        if status == _DONE or left > 0:
            break
    return status, left


@probe("2.2.5", "3.2.2")
async def digests_alone(context: ProbeContext) -> Observations:
    """Compare the rows with what was sent, then search everything that the deployment wrote for the codes."""
    stage = staged(context)
    seen = Observations()
    holder = await stage.new_holder("Secretive Person")
    codes, answers = await _use(stage, holder)
    telling = sum(any(_holds(answer.body, code) for code in codes) for answer in answers)
    seen.expect("no answer holds a code", telling == 0, f"{len(answers)} answers, {telling} of them do")
    key = stage.settings.secret("code-key")
    async with stage.connect(DatabaseRole.OWNER) as connection:
        rows = await store.codes_of_number(connection, holder.phone.number)
        seen.expect("each code has a row", len(rows) == len(codes), f"{len(rows)} rows")
        kept = [(row["id"], bytes(row["digest"]), code) for row, code in zip(rows, codes, strict=False)]
        whole = all(len(digest) == _DIGEST_BYTES for _, digest, _ in kept)
        seen.expect(f"which holds {_DIGEST_BYTES} bytes in the code's place", whole, len(kept))
        keyed = all(is_same_secret(digest, _keyed(key, row, code)) for row, digest, code in kept)
        seen.expect("they are HMAC-SHA-256 of row and code under the key of codes", keyed, len(kept))
        plain = sum(digest in _unkeyed(row, code) for row, digest, code in kept)
        seen.expect("and no digest that could be searched for without that key", plain == 0, plain)
        patterns = [each for code in codes for each in (_by_itself(code), code.encode().hex())]
        searched, hits = await search_all_tables(connection, patterns)
        seen.expect("no row of any table holds a code", hits == 0, f"{searched} rows searched, {hits} hits")
    for name, folder in _written(stage).items():
        count, found = await asyncio.to_thread(_search, folder, codes, key)
        seen.expect(f"{name} hold no code, nor the key", found == 0, f"{count} files searched, {found} hits")
    return seen


async def _use(stage: Stage, holder: Holder) -> tuple[list[str], list[Answer]]:
    """Have codes sent, and send them in the right and in wrong ways; return them all, the oldest first."""
    browser = holder.browser
    used, spare = [await stage.fresh_code(browser, holder.phone, "step_up") for _ in range(2)]
    path = f"{API}/auth/otp/verify"
    answers = [
        await browser.post(path, {"code": {"x": spare}, "purpose": "step_up"}),
        await browser.post(path, {"code": spare, "purpose": "step_up", "odd": spare}),
        await browser.post(path, {"code": spare, "purpose": spare}),
        await browser.send(
            "POST", path, content=f'{{"code": "{spare}'.encode(), headers={"content-type": "application/json"}
        ),
        await browser.get(f"/sign-in?code={spare}&next={spare}"),
        await browser.post_form("/second-factor/code", {"purpose": "sign_in", "code": spare}),
        await browser.post(path, {"code": used, "purpose": "step_up"}),
        await browser.post(path, {"code": spare, "purpose": "step_up"}),
        await browser.get("/security"),
    ]
    return list(codes_of(stage.deployment.carrier.to(holder.phone.number))), answers


def _written(stage: Stage) -> dict[str, Path]:
    return {
        "the database's files": stage.deployment.var / "postgres",
        "the rate-limit store's files": stage.deployment.var / "valkey",
        "the logs": stage.deployment.var / "log",
        "the audit heads": stage.deployment.var / "audit-heads",
        "the companies' files": stage.settings.workspaces_path,
    }


def _search(folder: Path, codes: Sequence[str], key: bytes) -> tuple[int, int]:
    """Return how many files below a folder were read, and how many hold a code or the key."""
    count = hits = 0
    for content in readable_files(folder):
        count += 1
        hits += key in content or any(_holds(content, code) for code in codes)
    return count, hits


def _holds(content: bytes, code: str) -> bool:
    """Tell whether a code stands in there: by itself, or as the database writes a text of six characters."""
    if code.encode() not in content:
        return False
    return _AS_A_COLUMN + code.encode() in content or re.search(_by_itself(code).encode(), content) is not None


def _by_itself(code: str) -> str:
    """Return the expression for a code that is not part of a longer number, of an id, or of a time's fraction.

    Those are everywhere, and six digits of them are the code's now and then.
    """
    return rf"(^|[^0-9A-Za-z.]){code}([^0-9A-Za-z]|$)"


def _keyed(key: bytes, row: UUID, code: str) -> bytes:
    return hmac.new(key, row.bytes + code.encode(), hashlib.sha256).digest()


def _unkeyed(row: UUID, code: str) -> set[bytes]:
    """Return the digests of a code that need no key."""
    plain = code.encode()
    return {hashlib.sha256(each).digest() for each in (plain, row.bytes + plain, plain + row.bytes)}


async def _newest(connection: Probed, number: str) -> Row:
    row = await store.newest_code(connection, number)
    if row is None:
        raise LookupError("no code was sent to this number")
    return row


async def _check(holder: Holder, code: str) -> Answer:
    return await holder.browser.post(f"{API}/auth/otp/verify", {"code": code, "purpose": "step_up"})
