"""What this room is handed at wiring: the opener of secrets, which it must not import."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from operalta.db.pools import Connection
from operalta.db.scope import Origin
from operalta.kernel.ids import CompanyId
from operalta.vault.kinds import Caller, SecretKind
from operalta.vault.webhooks.inbound.rules import OpenedHook


class OpensSigningSecrets(Protocol):
    """The part of `operalta.vault.opening.Opener` that signs with."""

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
        """Return a secret whose bytes an elevated function handed out."""
        ...


class OpensHooks(Protocol):
    """The part of `operalta.vault.opening.Opener` that checks with."""

    async def open_for_hook(self, connection: Connection, token: str, origin: Origin) -> OpenedHook | None:
        """Return the secrets of the hook with this address, where it is on."""
        ...
