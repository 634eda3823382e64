"""A log of its own for each test: sealed events of other tests would count."""

import secrets
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from operalta.audit.deployment_check import verify_deployment
from operalta.audit.findings import FindingKind, LogReport
from operalta.audit.heads import HeadDirectory, VerifySignature
from operalta.audit.keys import verifier
from operalta.audit.sealer import Sealer
from operalta.sealing.signing import SigningKey, SigningPurpose
from operalta.settings import DatabaseRole
from tests.conftest import Pools, Servers


@dataclass(frozen=True)
class Log:
    """The deployment's log, emptied, with its sealer and the place for its heads."""

    servers: Servers
    heads: HeadDirectory
    folder: Path
    key: SigningKey

    def sealer(self, pools: Pools) -> Sealer:
        return Sealer(pools.job, lambda: self.key, self.heads)

    @property
    def verify(self) -> VerifySignature:
        return verifier({self.key.kid: self.key}.get)

    async def check(self, heads: HeadDirectory | None = None) -> LogReport:
        return await verify_deployment(
            self.servers.settings.database_dsn(DatabaseRole.OWNER), heads or self.heads, self.verify
        )

    async def kinds(self) -> set[FindingKind]:
        return set((await self.check()).totals)


@pytest.fixture
def new_key() -> Callable[[], SigningKey]:
    def make() -> SigningKey:
        private = Ed25519PrivateKey.generate()
        return SigningKey(SigningPurpose.AUDIT, 1, datetime.now(UTC), private.public_key(), private)

    return make


@pytest.fixture
def log(servers: Servers, tmp_path: Path, new_key: Callable[[], SigningKey]) -> Generator[Log]:
    def empty() -> None:
        with servers.as_owner() as owner:
            owner.execute("TRUNCATE audit.events, audit.leaves, audit.nodes, audit.heads")

    empty()
    folder = tmp_path / f"heads-{secrets.token_hex(4)}"
    yield Log(servers, HeadDirectory(folder), folder, new_key())
    empty()


@pytest.fixture
def owner(servers: Servers) -> Generator[psycopg.Connection[dict[str, object]]]:
    """The database's owner: what a superuser who tampers could do."""
    with servers.as_owner() as connection:
        yield connection
