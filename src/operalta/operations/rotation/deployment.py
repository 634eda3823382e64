"""A deployment's keys, put together from its settings for the commands that look at them and rotate them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import DictRow, dict_row

from operalta.db.errors import DatabaseOutOfReach
from operalta.db.pools import Pool
from operalta.kernel.ids import CompanyId
from operalta.operations.root_keys import root_keys, root_source
from operalta.operations.rotation import store
from operalta.operations.rotation.companies import CompanyRotation
from operalta.operations.rotation.root import RootRotation
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.root_sources import EnvironmentRoots, FileRoots
from operalta.sealing.signing import SigningKeyRing, SigningPurpose
from operalta.settings import DatabaseRole, Settings

COMPANY_KEYS, SIGNING_KEYS = "company-keys", "signing-keys"
_POOL_SIZE = 2


@dataclass(frozen=True, slots=True)
class Rotations:
    """Both rotations of one deployment, with an open pool behind them."""

    root: RootRotation
    companies: CompanyRotation
    keys: CompanyKeys


@asynccontextmanager
async def rotations(settings: Settings) -> AsyncGenerator[Rotations]:
    """Open what rotations need. Raise SettingsError or RootKeyUnusable where a secret is not fit."""
    roots = root_keys(settings)
    keys = CompanyKeys(settings.var / COMPANY_KEYS, roots)
    rings = tuple(SigningKeyRing(settings.var / SIGNING_KEYS, roots, purpose) for purpose in SigningPurpose)
    pool = Pool(DatabaseRole.JOB, settings.database_dsn(DatabaseRole.JOB), _POOL_SIZE)
    await pool.open()
    try:
        yield Rotations(
            RootRotation(pool, root_source(settings), roots, keys, rings), CompanyRotation(pool, keys), keys
        )
    finally:
        await pool.close()


@dataclass(frozen=True, slots=True)
class RootState:
    """One root key: what it wraps, and since when it is superseded; None for the one in use."""

    id: str
    wraps: int
    superseded_at: datetime | None
    in_use: bool


@dataclass(frozen=True, slots=True)
class CompanyState:
    """One company's key: the versions that open, and how many secrets are sealed under each."""

    company: CompanyId
    versions: tuple[int, ...]
    secrets: dict[int, int]

    @property
    def unfinished(self) -> bool:
        """Whether a rotation has begun and not ended."""
        return len(self.versions) > 1

    @property
    def lost(self) -> int:
        """How many secrets are sealed under a version that is gone."""
        return sum(number for version, number in self.secrets.items() if version not in self.versions)


@dataclass(frozen=True, slots=True)
class KeyStates:
    """All keys of a deployment. `source` says where the root key comes from."""

    source: str
    roots: tuple[RootState, ...]
    companies: tuple[CompanyState, ...]


async def key_states(settings: Settings) -> KeyStates:
    """Look at all keys. Raise SettingsError, RootKeyUnusable or DatabaseOutOfReach."""
    source = root_source(settings)
    known = source.load()
    dsn = settings.database_dsn(DatabaseRole.OWNER)
    try:
        async with await psycopg.AsyncConnection[DictRow].connect(
            dsn, row_factory=dict_row, connect_timeout=10
        ) as owner:
            apps = {row["root"]: row["number"] for row in await store.authenticators_by_root(owner)}
            secrets = await store.secrets_by_version(owner)
    except psycopg.OperationalError as error:
        raise DatabaseOutOfReach(f"The database does not answer: {error}") from error
    async with rotations(settings) as opened:
        wrapped = await opened.root.in_use()
        keys = opened.keys
    roots = {key.id: key for key in (known.current, *known.previous)}
    counted = {company: dict[int, int]() for company in keys.companies()}
    for row in secrets:
        counted.setdefault(CompanyId(row["company_id"]), {})[row["key_version"]] = row["number"]
    kind = "environment" if isinstance(source, EnvironmentRoots) else "key service"
    return KeyStates(
        "file" if isinstance(source, FileRoots) else kind,
        tuple(
            RootState(root, wrapped[root] + apps.get(root, 0), source.since(root), root == known.current.id)
            for root in roots
        ),
        tuple(CompanyState(company, keys.versions(company), found) for company, found in sorted(counted.items())),
    )
