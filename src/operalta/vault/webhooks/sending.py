"""Sending webhooks: work of the job role, through the one door, tried for a day and more, then kept as dead letters.

Each delivery is taken with a claim of three minutes, in a transaction of its own. A worker that dies takes nothing
along: what it had is due again when the claim is over, under the same id. So a delivery arrives at least once, and in
no particular order.
"""

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import anyio
import psycopg
import structlog

from operalta.db.elevated import Purpose, open_elevated
from operalta.db.errors import DatabaseOutOfReach
from operalta.db.pools import Pool
from operalta.db.scope import Row
from operalta.kernel import clock
from operalta.kernel.errors import Refusal
from operalta.kernel.ids import CompanyId
from operalta.sandbox.destinations import parse_destination
from operalta.sandbox.egress import ALLOW_LISTED, EgressLine, EgressPolicy, Errand, sendable_fields
from operalta.sandbox.errors import DestinationRefused, FetchLimitReached, FetchNotCounted, FetchTimedOut
from operalta.sandbox.exchange import Outgoing
from operalta.sealing.errors import CannotOpen, CompanyKeyGone
from operalta.terms.registry import upholds
from operalta.vault.kinds import Caller, SecretKind
from operalta.vault.oauth.client import Asked
from operalta.vault.oauth.ports import MakeDoor
from operalta.vault.sealed.errors import SecretTooOld
from operalta.vault.webhooks import store
from operalta.vault.webhooks.ports import OpensSigningSecrets
from operalta.vault.webhooks.rules import (
    Verdict,
    body_of,
    message_id_of,
    verdict_of_answer,
    verdict_of_failure,
)
from operalta.vault.webhooks.signatures import signed_headers

WEBHOOKS = replace(
    ALLOW_LISTED,
    name="webhooks",
    methods=frozenset({"POST"}),
    content_types=frozenset(),
    request_bytes=16 * 1024,
    response_bytes=0,
    seconds=20.0,
    redirects=0,
)
"""What may be sent, to an endpoint's own host: no redirect is followed, and of an answer the head alone is read."""

PAUSE_SECONDS = 2.0
SENDERS = 8
"""How many are sent at once; of one company four, to one endpoint two."""

_PURPOSE = "send a webhook"
_POSTPONED_SECONDS = 60.0
_OUR_FAULT = "It could not be sent, and the receiver is not at fault. Tell the operator."

log = structlog.get_logger(__name__)


def surface_to(url: str) -> EgressPolicy:
    """Return the policy under which an endpoint is written to. Raise DestinationRefused for what is no address."""
    return WEBHOOKS.for_hosts(parse_destination(url).authority)


class Destinations:
    """Looks where an address leads, by the rules that hold when something is sent there."""

    def __init__(self, make_door: MakeDoor) -> None:
        self._make_door = make_door

    async def check(self, url: str) -> str:
        """Return the address as it is kept. Raise DestinationRefused for one that nothing would be sent to."""
        return await self._make_door(_nothing_was_sent).check(url, surface=surface_to(url), method="POST")


class WebhookSender:
    """Sends what is due. `pool` is the job role's."""

    def __init__(self, pool: Pool, opener: OpensSigningSecrets, make_door: MakeDoor) -> None:
        self._pool = pool
        self._opener = opener
        self._make_door = make_door

    async def run(self, stop: asyncio.Event) -> None:
        """Send whatever is due until `stop` is set, several at once."""
        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self._keep_sending(stop))

    async def _keep_sending(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                while not stop.is_set() and await self.send_one():
                    pass
            except (DatabaseOutOfReach, psycopg.Error) as failure:
                log.warning("webhooks are sent later", error=type(failure).__name__)
            except Exception as failure:
                # Nothing that trips us up ends the worker: a claim runs out, and what was taken is tried again.
                log.exception("webhooks are sent later", error=type(failure).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PAUSE_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - no secret

    @upholds("5.5.3")
    async def send_one(self) -> bool:
        """Send one delivery, if any is due to an endpoint that is on; return whether there was one."""
        async with open_elevated(self._pool, Purpose.SEND_WEBHOOKS) as elevated:
            taken = await store.take(elevated.connection)
        if taken is None:
            return False
        asked = Asked()
        try:
            verdict = await self._send(taken, asked)
        except Exception as failure:
            # One that trips us up is tried again and then given up like any other, and its lines are kept.
            log.exception("a webhook could not be sent", error=type(failure).__name__)
            verdict = verdict_of_failure(_OUR_FAULT, taken["attempt"], random.random())  # noqa: S311 - as below
        fields = {
            "ended": verdict.ended,
            "status": verdict.status,
            "why": verdict.why,
            "pause": verdict.pause_seconds,
        }
        async with open_elevated(self._pool, Purpose.SEND_WEBHOOKS) as elevated:
            await store.finish(elevated.connection, taken, fields, asked.lines)
        return True

    @upholds("7.2.2")
    async def _send(self, taken: Row, asked: Asked) -> Verdict:
        company, attempt = CompanyId(taken["company"]), taken["attempt"]
        chance = random.random()  # noqa: S311 - it spreads attempts, and protects nothing
        try:
            secrets = self._signing(company, taken)
        except SecretTooOld:
            return Verdict("dead", None, "The signing secret is too old to be used. Give the webhook another one.")
        except (CannotOpen, CompanyKeyGone) as failure:
            log.warning("a signing secret does not open", error=type(failure).__name__)
            why = "The signing secret cannot be opened. Give the webhook another one."
            return verdict_of_failure(why, attempt, chance)
        body = body_of(taken["event"], company, taken["subject_kind"], taken["subject_id"], taken["occurred_at"])
        signed = signed_headers(secrets, message_id_of(taken["delivery"]), clock.unix_seconds(), body)
        try:
            status, retry_after = await self._post(taken["url"], signed, body, company, asked)
        except (FetchLimitReached, FetchNotCounted) as refusal:
            # The company's own budget, or ours: nothing was sent, and the receiver is not at fault.
            return Verdict("postponed", None, None, float(refusal.retry_after or _POSTPONED_SECONDS))
        except Refusal as refusal:
            return verdict_of_failure(_words_of(refusal), attempt, chance)
        return verdict_of_answer(status, retry_after, attempt, chance, clock.now())

    async def _post(
        self, url: str, signed: dict[str, str], body: bytes, company: CompanyId, asked: Asked
    ) -> tuple[int, str]:
        """Return status and Retry-After. The body of the answer is not read: nobody needs what a receiver writes."""
        headers = {**signed, "content-type": "application/json", "user-agent": "Operalta-Webhooks"}
        answer, _ = await self._make_door(asked.keep).open(
            url,
            Outgoing("POST", sendable_fields(headers.items()), body),
            surface_to(url),
            Errand(_PURPOSE, company),
            deadline=anyio.current_time() + WEBHOOKS.seconds,
        )
        await answer.aclose()
        return answer.status, answer.header("retry-after")

    def _signing(self, company: CompanyId, taken: Row) -> list[bytes]:
        """Return the secret, and while it takes over from one before, that as well, where it still opens."""
        secrets = [self._opened(company, taken, "")]
        if taken["previous_secret"] is not None:
            with suppress(SecretTooOld, CannotOpen, CompanyKeyGone):
                secrets.append(self._opened(company, taken, "previous_"))
        return secrets

    def _opened(self, company: CompanyId, taken: Row, which: str) -> bytes:
        identifier: UUID | None = taken[f"{which}secret"]
        if identifier is None:
            raise SecretTooOld
        return self._opener.open_taken(
            company,
            identifier,
            SecretKind.WEBHOOK_SIGNING_SECRET,
            taken[f"{which}revision"],
            taken[f"{which}sealed"],
            Caller.WEBHOOK_SENDER,
            written_at=taken[f"{which}written_at"],
        )


async def _nothing_was_sent(line: EgressLine) -> None:
    """Keep no line: looking where an address leads sends nothing there."""


def _words_of(refusal: Refusal) -> str:
    match refusal:
        case DestinationRefused():
            return f"Nothing was sent. {refusal.public_text}"
        case FetchTimedOut():
            return "The receiver took longer than twenty seconds. Have it answer first, and work afterwards."
        case _:
            return "The receiver did not answer. Check that it runs and can be reached."
