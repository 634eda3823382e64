"""Dumps and base backups of the database hold no key: none for signing or scopes, not the root key, no company's."""

import base64
import os
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from operalta.kernel.ids import CompanyId
from operalta.kernel.secret_texts import split_mark
from operalta.operations.root_keys import root_keys
from operalta.operations.servers import postgres_binaries
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.envelope import Envelope
from operalta.sealing.signing import SigningKeyRing, SigningPurpose
from operalta.vault.kinds import SecretKind
from operalta.vault.opening import Opener
from operalta.vault.secrets import Secrets
from tests.conftest import Member, Pools, Servers, World
from tests.vault.strongbox import Strongbox

PLAINTEXT = b"a credential of another service 7c1f"


@pytest.fixture
async def member(servers: Servers, pools: Pools, world: World) -> Member:
    """A company whose secret is sealed, in a database whose scopes are signed and whose root key has wrapped things."""
    founder = world.member(world.company())
    keys = CompanyKeys(servers.settings.var / "company-keys", root_keys(servers.settings))
    envelope = Envelope(keys)
    box = Strongbox(servers, pools, keys, Secrets(envelope), Opener(envelope))
    async with box.scope(founder) as scope:
        await box.secrets.keep(scope, SecretKind.SERVICE_API_KEY, uuid4(), PLAINTEXT)
    return founder


def keys_of(servers: Servers, member: Member) -> dict[str, bytes]:
    settings = servers.settings
    roots = root_keys(settings)
    ring = SigningKeyRing(settings.var / "signing-keys", roots, SigningPurpose.AUDIT)
    found = {
        name: split_mark(settings.secret(name))[1]
        for name in ("root-key", "pepper-1", "refresh-key", "limit-key", "code-key", "redis", "database-operalta_web")
    }
    company = CompanyKeys(settings.var / "company-keys", roots).newest(CompanyId(member.company_id))
    found |= {"root": roots.current.secret, "company": company.secret, "signing": ring.current().private_pem()[28:80]}
    found["plaintext"] = PLAINTEXT
    with servers.as_owner() as owner:
        (row,) = owner.execute("SELECT inner_pad, outer_pad FROM scope.key").fetchall()
    return found | {"scope, inner": row["inner_pad"], "scope, outer": row["outer_pad"]}


def taken(servers: Servers, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    password = servers.settings.secret("database-postgres").decode()
    return subprocess.run(
        [str(postgres_binaries() / program), "-h", str(servers.settings.socket_path), "-U", "postgres", *arguments],
        env=os.environ | {"PGPASSWORD": password},
        capture_output=True,
        check=False,
    )


def held(content: bytes, keys: dict[str, bytes]) -> list[str]:
    return [
        name
        for name, key in keys.items()
        if any(spelled in content for spelled in (key, key.hex().encode(), base64.b64encode(key)[:-4]))
    ]


@pytest.mark.proves("7.2.1", "1.3.3")
async def test_a_dump_holds_no_key(servers: Servers, member: Member) -> None:
    keys = keys_of(servers, member)
    dumped = taken(servers, "pg_dump", "--no-unlogged-table-data", "operalta")
    assert dumped.returncode == 0, dumped.stderr
    assert b"credentials.secrets" in dumped.stdout
    assert held(dumped.stdout, keys) == []
    # The search would find them: with the table of the scope's key, which a dump leaves out on purpose.
    everything = taken(servers, "pg_dump", "operalta")
    assert held(everything.stdout, keys) == ["scope, inner", "scope, outer"]


@pytest.mark.proves("7.2.1", "1.3.3")
async def test_a_base_backup_holds_no_key(servers: Servers, member: Member, tmp_path: Path) -> None:
    keys = keys_of(servers, member)
    folder = tmp_path / "copy"
    copied = taken(servers, "pg_basebackup", "-D", str(folder), "-X", "fetch", "--checkpoint=fast")
    assert copied.returncode == 0, copied.stderr
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 100
    found = {path: held(path.read_bytes(), keys) for path in files}
    assert {path: names for path, names in found.items() if names} == {}
