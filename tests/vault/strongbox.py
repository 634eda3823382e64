"""What tests of sealed secrets share: companies' keys in a folder, those who keep and open, and scopes of members."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

from operalta.db.scope import Origin, Scope, open_company_scope
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.envelope import Envelope
from operalta.sealing.keys import RootKeys, new_root_key_text
from operalta.vault.opening import Opener
from operalta.vault.secrets import Secrets
from tests.conftest import Member, Pools, Servers

Opening = Callable[[Member], AbstractAsyncContextManager[Scope]]


@dataclass(frozen=True)
class Strongbox:
    """Keys, keeper and opener of one deployment, and its database to look at as the owner."""

    servers: Servers
    pools: Pools
    keys: CompanyKeys
    secrets: Secrets
    opener: Opener
    root_text: str = ""

    def scope(self, member: Member) -> AbstractAsyncContextManager[Scope]:
        return open_company_scope(self.pools.web, member.session_secret, member.company_slug, Origin(address="test"))

    def rows(self, query: LiteralString, *values: object) -> list[dict[str, Any]]:
        with self.servers.as_owner() as owner:
            return owner.execute(query, values).fetchall()

    def change(self, query: LiteralString, *values: object) -> None:
        with self.servers.as_owner() as owner:
            owner.execute(query, values)

    def sealed(self, secret: UUID) -> bytes:
        return self.rows("SELECT sealed FROM credentials.secrets WHERE id = %s", secret)[0]["sealed"]

    def events(self, secret: UUID) -> list[tuple[str, dict[str, Any]]]:
        rows = self.rows(
            "SELECT action, detail FROM audit.events WHERE target_id = %s ORDER BY occurred_at, id", str(secret)
        )
        return [(row["action"], row["detail"]) for row in rows]


def make_strongbox(servers: Servers, pools: Pools, folder: Path) -> Strongbox:
    root = new_root_key_text()
    keys = CompanyKeys(folder / "company-keys", RootKeys.from_text(root))
    envelope = Envelope(keys)
    return Strongbox(servers, pools, keys, Secrets(envelope), Opener(envelope), root.decode())
