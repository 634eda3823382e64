"""Keeping secrets: sealed here, under their company's key and for their own row, before they reach the database."""

import asyncio
from uuid import UUID

from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.kernel.errors import NotAllowed, NotFound
from operalta.kernel.ids import CompanyId, new_id
from operalta.sealing.envelope import Envelope, Location
from operalta.terms.registry import upholds
from operalta.vault.kinds import LARGEST_PLAINTEXT_BYTES, RULES, SecretKind
from operalta.vault.sealed import store
from operalta.vault.sealed.errors import SecretReplacedMeanwhile, SecretTooLarge

FIRST_REVISION = 1


def location_of(secret: UUID, revision: int) -> Location:
    """Return the place that a secret's bytes are bound to. An earlier revision, put back, does not open there."""
    return Location("credentials.secrets", secret, "sealed", revision)


class Secrets:
    """Keeps, replaces and removes secrets. It opens none: that is `operalta.vault.opening` alone."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope

    @upholds("1.3.5")
    async def keep(self, scope: Scope, kind: SecretKind, belongs_to: UUID, plaintext: bytes) -> UUID:
        """Seal `plaintext` for the scope's company and return the secret's id. `belongs_to` is what it serves.

        Raise NotAllowed, SecretTooLarge, or what sealing raises (CompanyKeyGone). Leaves `secret.kept`.
        """
        require(scope, RULES[kind].kept_with)
        secret = new_id()
        sealed = await self._sealed(scope, secret, FIRST_REVISION, plaintext)
        if not await store.keep(scope, secret, kind.value, belongs_to, sealed):
            raise NotAllowed
        return secret

    @upholds("1.3.5")
    async def replace(self, scope: Scope, secret_id: UUID, plaintext: bytes) -> None:
        """Put a fresh secret in the place of one that is kept; the earlier bytes do not open any more.

        Raise NotFound for one that is absent or another company's, NotAllowed, SecretTooLarge,
        SecretReplacedMeanwhile, or what sealing raises. Leaves `secret.replaced`.
        """
        row = await store.described(scope, secret_id)
        if row is None:
            raise NotFound
        require(scope, RULES[SecretKind(row["kind"])].replaced_with)
        sealed = await self._sealed(scope, secret_id, row["revision"] + 1, plaintext)
        if not await store.replace(scope, secret_id, row["revision"], sealed):
            raise SecretReplacedMeanwhile

    async def remove(self, scope: Scope, secret_id: UUID) -> None:
        """Remove a secret for good. Raise NotFound, NotAllowed. Leaves `secret.removed`."""
        row = await store.described(scope, secret_id)
        if row is None:
            raise NotFound
        require(scope, RULES[SecretKind(row["kind"])].kept_with)
        if not await store.remove(scope, secret_id):
            raise NotFound

    async def seal(self, company: CompanyId, secret: UUID, revision: int, plaintext: bytes) -> bytes:
        """Return `plaintext` sealed for one revision of a secret's row; nothing is kept. Raise as `keep` does.

        The transaction that writes it has to hold the company's key before this is called (`hold_company_key`).
        """
        if not 0 < len(plaintext) <= LARGEST_PLAINTEXT_BYTES:
            raise SecretTooLarge
        # A company's first key is made here, which waits for the disk.
        return await asyncio.to_thread(self._envelope.seal, company, location_of(secret, revision), plaintext)

    async def _sealed(self, scope: Scope, secret: UUID, revision: int, plaintext: bytes) -> bytes:
        await store.hold_company_key(scope)
        return await self.seal(scope.company, secret, revision, plaintext)
