"""What this room is handed at wiring: the opener of secrets, which it must not import, and a way out."""

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from operalta.db.scope import Scope
from operalta.kernel.ids import CompanyId
from operalta.sandbox.egress import EgressDoor, Record
from operalta.vault.kinds import Caller, SecretKind

MakeDoor = Callable[[Record], EgressDoor]
"""Makes a door that leaves its lines with the callable given."""


class OpensSecrets(Protocol):
    """The part of `operalta.vault.opening.Opener` that is used here."""

    async def open(self, scope: Scope, secret_id: UUID, caller: Caller, purpose: str) -> bytes:
        """Return a secret of the scope's company."""
        ...

    def open_taken(
        self, company: CompanyId, secret_id: UUID, kind: SecretKind, revision: int, sealed: bytes, caller: Caller
    ) -> bytes:
        """Return a secret whose bytes an elevated function handed out."""
        ...
