"""The one opener of secrets (clause 1.3.3). Import contracts name who may reach it, and that nobody else unseals.

Each opening asks the database's one function for the bytes, which looks at the scope's company and at the caller, and
leaves `secret.opened` with caller and purpose in the same transaction. A line of the log tells it as well, since the
event is gone where that transaction is rolled back: commit it before what was opened is used.
"""

from contextlib import suppress
from datetime import datetime
from uuid import UUID

import psycopg
import structlog

from operalta.db.pools import Connection
from operalta.db.scope import Origin, Row, Scope
from operalta.kernel import clock
from operalta.kernel.errors import InvalidInput, NotFound
from operalta.kernel.ids import CompanyId
from operalta.sealing.envelope import Envelope
from operalta.sealing.errors import CompanyKeyGone
from operalta.terms.registry import upholds
from operalta.vault.kinds import Caller, SecretKind, is_too_old, may_open
from operalta.vault.sealed.errors import NotForThisCaller, SecretTooOld
from operalta.vault.secrets import location_of
from operalta.vault.unsealing import store
from operalta.vault.webhooks.inbound.rules import OpenedHook
from operalta.vault.webhooks.signatures import Scheme

LONGEST_PURPOSE = 200
_REFUSED = "OP006"

log = structlog.get_logger(__name__)


class Opener:
    """Opens single secrets for the callers that their kind names."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope

    @upholds("1.3.3", "1.3.5")
    async def open(self, scope: Scope, secret_id: UUID, caller: Caller, purpose: str) -> bytes:
        """Return the secret. `purpose` is a phrase for the audit log, up to 200 characters and never content.

        Raise NotFound for one that is absent or another company's, NotForThisCaller, SecretTooOld past the longest age
        of its kind, and what unsealing raises: Tampered, WrongPlace, CompanyKeyGone.
        """
        if not 0 < len(purpose.strip()) <= LONGEST_PURPOSE or "\x00" in purpose:
            raise InvalidInput("Say in up to 200 characters what the secret is opened for.", field="purpose")
        row = await self._asked(scope, secret_id, caller, purpose)
        try:
            plaintext = self._unsealed(scope, secret_id, row)
        except CompanyKeyGone:
            # Between the two looks, at the bytes and at the key, a rotation may have ended: the bytes are others now.
            again = await self._asked(scope, secret_id, caller, purpose)
            if again["sealed"] == row["sealed"]:
                raise
            plaintext = self._unsealed(scope, secret_id, again)
        log.info("opened", company=str(scope.company), kind=row["kind"], caller=caller.value, purpose=purpose)
        return plaintext

    async def _asked(self, scope: Scope, secret_id: UUID, caller: Caller, purpose: str) -> Row:
        try:
            row = await store.sealed_bytes(scope, secret_id, caller.value, purpose)
        except psycopg.Error as error:
            if error.sqlstate == _REFUSED:
                raise NotForThisCaller from error
            raise
        if row is None:
            raise NotFound
        kind = SecretKind(row["kind"])
        if not may_open(caller, kind):
            raise NotForThisCaller
        if is_too_old(kind, clock.now() - row["written_at"]):
            raise SecretTooOld
        return row

    def _unsealed(self, scope: Scope, secret_id: UUID, row: Row) -> bytes:
        return self._envelope.open(scope.company, location_of(secret_id, row["revision"]), row["sealed"])

    @upholds("1.3.3", "1.3.5")
    def open_taken(
        self,
        company: CompanyId,
        secret_id: UUID,
        kind: SecretKind,
        revision: int,
        sealed: bytes,
        caller: Caller,
        *,
        written_at: datetime | None = None,
    ) -> bytes:
        """Return a secret whose bytes an elevated function handed out, which has left the event itself.

        For scheduled work. Age counts where `written_at` is given; it does not for what is opened to be revoked. Raise
        NotForThisCaller, SecretTooOld, Tampered, WrongPlace, CompanyKeyGone.
        """
        if not may_open(caller, kind):
            raise NotForThisCaller
        if written_at is not None and is_too_old(kind, clock.now() - written_at):
            raise SecretTooOld
        log.info("opened", company=str(company), kind=kind.value, caller=caller.value, purpose="scheduled work")
        return self._envelope.open(company, location_of(secret_id, revision), sealed)

    @upholds("1.3.3", "1.3.5")
    async def open_for_hook(self, connection: Connection, token: str, origin: Origin) -> OpenedHook | None:
        """Return the secrets that a message to the address `token` may be signed with, for WEBHOOK_RECEIVER alone.

        There is no scope: the address is what lets in. None where there is no such hook, or it is off; a secret that is
        too old is left out. Raise Tampered, WrongPlace, CompanyKeyGone.
        """
        rows = await store.sealed_bytes_of_hook(connection, token, origin)
        if not rows:
            return None
        try:
            return self._opened_hook(rows)
        except CompanyKeyGone:
            # As in `open`: a rotation may have ended in between.
            again = await store.sealed_bytes_of_hook(connection, token, origin)
            if not again or [row["sealed"] for row in again] == [row["sealed"] for row in rows]:
                raise
            return self._opened_hook(again)

    def _opened_hook(self, rows: list[Row]) -> OpenedHook:
        company, kind, caller = (
            CompanyId(rows[0]["company"]),
            SecretKind.INBOUND_WEBHOOK_SECRET,
            Caller.WEBHOOK_RECEIVER,
        )
        opened: list[bytes] = []
        for row in rows:
            # One that is too old is not used any more; then nothing that was signed with it is believed.
            with suppress(SecretTooOld):
                place = (company, row["secret"], kind, row["revision"], row["sealed"])
                opened.append(self.open_taken(*place, caller, written_at=row["written_at"]))
        return OpenedHook(company, Scheme(rows[0]["scheme"]), tuple(opened))
