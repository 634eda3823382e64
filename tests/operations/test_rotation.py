"""Keys are exchanged while everything runs: nothing fails to open, and what was killed in the middle goes on."""

import asyncio
import json
import os
import secrets as random
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from operalta.cli import application
from operalta.identity.factors.authenticators import AuthenticatorSecrets
from operalta.kernel import clock
from operalta.kernel.ids import CompanyId, new_id
from operalta.operations.root_keys import root_keys
from operalta.operations.rotation.deployment import Rotations, key_states, rotations
from operalta.operations.rotation.root import GRACE
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.envelope import Envelope
from operalta.sealing.errors import CompanyKeyGone, Tampered
from operalta.sealing.root_sources import FileRoots
from operalta.sealing.signing import SigningKeyRing, SigningPurpose
from operalta.vault.kinds import Caller, SecretKind
from operalta.vault.opening import Opener
from operalta.vault.secrets import Secrets, location_of
from tests.conftest import Member, Pools, Servers, World
from tests.vault.strongbox import Strongbox

ROWS = 500
MANY_ROWS = 100_000


@pytest.fixture
def founder(world: World) -> Member:
    return world.member(world.company())


@pytest.fixture
def box(servers: Servers, pools: Pools) -> Strongbox:
    """As a web process has it: the deployment's own keys, looked up where they lie."""
    keys = CompanyKeys(servers.settings.var / "company-keys", root_keys(servers.settings))
    envelope = Envelope(keys)
    return Strongbox(servers, pools, keys, Secrets(envelope), Opener(envelope))


@pytest.fixture
async def opened(servers: Servers) -> AsyncGenerator[Rotations]:
    async with rotations(servers.settings) as made:
        yield made


def fill(box: Strongbox, member: Member, number: int) -> dict[UUID, bytes]:
    """Keep secrets in one go, as the owner, sealed as `Secrets` does."""
    company, envelope = CompanyId(member.company_id), Envelope(box.keys)
    made = {new_id(): random.token_bytes(24) for _ in range(number)}
    with box.servers.as_owner() as owner, owner.transaction(), owner.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO credentials.secrets (company_id, id, kind, belongs_to, sealed) VALUES (%s, %s, %s, %s, %s)",
            (
                (company, secret, SecretKind.SERVICE_API_KEY.value, uuid4(),
                 envelope.seal(company, location_of(secret, 1), plaintext))
                for secret, plaintext in made.items()
            ),
        )  # fmt: skip
    return made


@dataclass
class Readers:
    """Opens secrets at random until it is told to stop; every one must open."""

    box: Strongbox
    member: Member
    kept: dict[UUID, bytes]
    read: int = 0
    failed: list[str] = field(default_factory=list[str])
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        ids = list(self.kept)
        while not self.stopping.is_set():
            secret = random.choice(ids)
            try:
                async with self.box.scope(self.member) as scope:
                    plaintext = await self.box.opener.open(scope, secret, Caller.EGRESS, "read under a rotation")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a failed read
                self.failed.append(repr(error))
            else:
                self.failed += [] if plaintext == self.kept[secret] else ["another secret"]
            self.read += 1


def command(servers: Servers, *arguments: str) -> subprocess.Popen[bytes]:
    environment = dict(os.environ) | {"OPERALTA_VAR_DIR": str(servers.settings.var)}
    return subprocess.Popen(
        [sys.executable, "-m", "operalta", "keys", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def finished(process: subprocess.Popen[bytes]) -> str:
    output, errors = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def rotate_under_load(box: Strongbox, member: Member, number: int) -> None:
    kept = fill(box, member, number)
    company = CompanyId(member.company_id)
    readers = Readers(box, member, kept)
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(readers.run())
        killed = command(box.servers, "rotate", "--company", str(company))
        while not resealed(box, company):
            assert killed.poll() is None, "it ended before it could be killed"
            await asyncio.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
        await asyncio.to_thread(killed.communicate)
        assert 0 < resealed(box, company) < number, "it was killed in the middle"
        assert box.keys.versions(company) == (1, 2)
        (report,) = json.loads(await finished(command(box.servers, "rotate", "--company", str(company), "--json")))
        await asyncio.sleep(0.2)
        readers.stopping.set()
    assert readers.failed == []
    assert readers.read > 20
    assert report["resumed"]
    assert report["retired"]
    assert (report["version"], report["damaged"]) == (2, [])
    assert resealed(box, company) == number
    assert box.keys.versions(company) == (2,)
    everything = Readers(box, member, kept)
    sample = random.SystemRandom().sample(list(kept), min(number, 300))
    for secret in sample:
        async with box.scope(member) as scope:
            assert await everything.box.opener.open(scope, secret, Caller.EGRESS, "look after") == kept[secret]


def resealed(box: Strongbox, company: CompanyId) -> int:
    return box.rows(
        "SELECT count(*) AS number FROM credentials.secrets WHERE company_id = %s AND key_version = 2", company
    )[0]["number"]


@pytest.mark.soak
@pytest.mark.proves("1.3.4")
async def test_a_companys_key_is_rotated_under_load_and_after_a_kill(box: Strongbox, founder: Member) -> None:
    await rotate_under_load(box, founder, ROWS * 8)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.proves("1.3.4")
async def test_a_hundred_thousand_secrets_are_sealed_anew_with_no_failed_read(box: Strongbox, founder: Member) -> None:
    await rotate_under_load(box, founder, MANY_ROWS)


@pytest.mark.proves("1.3.4")
async def test_old_ciphertexts_do_not_open_after_a_rotation(box: Strongbox, opened: Rotations, founder: Member) -> None:
    ((secret, plaintext),) = fill(box, founder, 1).items()
    before = box.sealed(secret)
    rotated = await opened.companies.rotate(CompanyId(founder.company_id))
    assert (rotated.resealed, rotated.resumed, rotated.retired) == (1, False, True)
    assert box.sealed(secret) != before
    box.change("UPDATE credentials.secrets SET sealed = %s WHERE id = %s", before, secret)
    async with box.scope(founder) as scope:
        with pytest.raises(CompanyKeyGone):
            await box.opener.open(scope, secret, Caller.EGRESS, "look")
    assert plaintext
    actions = box.rows(
        "SELECT action, detail ->> 'what' AS what FROM audit.events WHERE company_id = %s AND action = 'key.rotated'"
        " ORDER BY occurred_at",
        founder.company_id,
    )
    assert [row["what"] for row in actions] == ["secrets", "company key"]


@pytest.mark.proves("1.3.4")
async def test_bytes_that_changed_meanwhile_are_not_overwritten(
    box: Strongbox, opened: Rotations, founder: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((secret, _),) = fill(box, founder, 1).items()
    write = opened.companies._write  # pyright: ignore[reportPrivateUsage]

    async def late(*given: object) -> int:
        monkeypatch.undo()
        async with box.scope(founder) as scope:
            await box.secrets.replace(scope, secret, b"replaced in between")
        return await write(*given)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(opened.companies, "_write", late)
    rotated = await opened.companies.rotate(CompanyId(founder.company_id))
    assert rotated.resealed == 0
    async with box.scope(founder) as scope:
        found = await box.opener.open(scope, secret, Caller.EGRESS, "look")
    assert found == b"replaced in between"


@pytest.mark.proves("1.3.4")
async def test_the_version_before_stays_while_somebody_writes_under_it(
    box: Strongbox, opened: Rotations, founder: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has sealed under version 1 and not committed when the rotation looks for the last time."""
    monkeypatch.setattr("operalta.operations.rotation.companies.LONGEST_WAIT_SECONDS", 0.5)
    company = CompanyId(founder.company_id)
    fill(box, founder, 1)
    async with box.scope(founder) as scope:
        secret = await box.secrets.keep(scope, SecretKind.SERVICE_API_KEY, uuid4(), b"in the making")
        rotated = await opened.companies.rotate(company)
        assert not rotated.retired
    assert box.keys.versions(company) == (1, 2)
    ended = await opened.companies.rotate(company)
    assert (ended.resumed, ended.retired, ended.version, ended.resealed) == (True, True, 2, 1)
    async with box.scope(founder) as scope:
        assert await box.opener.open(scope, secret, Caller.EGRESS, "look") == b"in the making"


async def test_a_damaged_secret_is_named_and_stops_nothing(box: Strongbox, opened: Rotations, founder: Member) -> None:
    first, second, third = sorted(fill(box, founder, 3))
    sealed = box.sealed(second)
    box.change("UPDATE credentials.secrets SET sealed = %s WHERE id = %s", sealed[:-1] + b"?", second)
    rotated = await opened.companies.rotate(CompanyId(founder.company_id))
    assert (rotated.damaged, rotated.resealed, rotated.retired) == ((second,), 2, True)
    assert first != third


async def test_a_company_without_a_key_has_nothing_to_rotate(opened: Rotations) -> None:
    with pytest.raises(CompanyKeyGone):
        await opened.companies.rotate(CompanyId(new_id()))


# ── The root key ─────────────────────────────────────────────────────────────────────────────────────


def enrolled(box: Strongbox, member: Member, apps: AuthenticatorSecrets, number: int) -> dict[UUID, str]:
    made = {uuid4(): random.token_hex(16) for _ in range(number)}
    for app, secret in made.items():
        box.change(
            "INSERT INTO identity.authenticators (id, person_id, name, sealed) VALUES (%s, %s, 'App', %s)",
            app, member.person_id, apps.seal(app, secret),
        )  # fmt: skip
    return made


def sealed_app(box: Strongbox, app: UUID) -> bytes:
    return box.rows("SELECT sealed FROM identity.authenticators WHERE id = %s", app)[0]["sealed"]


@pytest.fixture
def no_apps(box: Strongbox) -> None:
    """Apps of other tests are sealed under keys that nobody has any more."""
    box.change("DELETE FROM identity.authenticators")


@pytest.mark.usefixtures("no_apps")
@pytest.mark.proves("1.3.4")
async def test_the_root_key_is_rotated_under_processes_that_run_and_after_kills(
    box: Strongbox, founder: Member, world: World, servers: Servers
) -> None:
    settings = servers.settings
    apps = AuthenticatorSecrets(root_keys(settings))
    shared = enrolled(box, founder, apps, 30)
    ring = SigningKeyRing(settings.var / "signing-keys", root_keys(settings), SigningPurpose.ACCESS_TOKEN)
    kid = ring.current().kid
    kept = fill(box, founder, 20)
    for _ in range(30):
        box.keys.newest(CompanyId(world.company()[0]))
    first = root_keys(settings).current
    readers = Readers(box, founder, kept)
    async with asyncio.TaskGroup() as group:
        group.create_task(readers.run())
        for milliseconds in (0, 2, 5, 10, 20, 40):
            killed = command(servers, "rotate", "--root")
            while root_keys(settings).current == first and killed.poll() is None:  # noqa: ASYNC110 - it is a process
                await asyncio.sleep(0.002)
            await asyncio.sleep(milliseconds / 1000)
            killed.send_signal(signal.SIGKILL)
            await asyncio.to_thread(killed.communicate)
            # Whatever was done, everything opens, for who has run all along and for who starts now.
            for secrets in (apps, AuthenticatorSecrets(root_keys(settings))):
                assert {app: secrets.open(app, sealed_app(box, app)) for app in shared} == shared
            assert ring.find(kid) is not None
        report = json.loads(await finished(command(servers, "rotate", "--root", "--json")))
        readers.stopping.set()
    assert readers.failed == []
    assert readers.read > 5
    states = await key_states(settings)
    assert report["root"] == root_keys(settings).current.id != first.id
    assert {root.id: root.wraps > 0 for root in states.roots}[report["root"]]
    assert all(root.wraps == 0 for root in states.roots if not root.in_use)
    assert {app: apps.open(app, sealed_app(box, app)) for app in shared} == shared
    # What runs on wraps with the fresh key, without having been started anew.
    assert apps.seal(uuid4(), "x").startswith(report["root"].encode())
    assert first.id in {root.id for root in states.roots}, "it is kept for a while"


@pytest.mark.usefixtures("no_apps")
async def test_an_earlier_root_key_is_forgotten_when_nothing_names_it_and_its_time_is_over(
    servers: Servers, box: Strongbox, founder: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = servers.settings
    late = AuthenticatorSecrets(root_keys(settings))
    enrolled(box, founder, late, 1)
    async with rotations(settings) as opened:
        before = root_keys(settings).current
        rotated = await opened.root.rotate()
        assert before.id in rotated.kept
        now = clock.now()
        monkeypatch.setattr(clock, "now", lambda: now + GRACE)
        # Somebody was wrapping with it all the while; it is wrapped anew before the key is forgotten.
        app = uuid4()
        sealed = before.id.encode() + before.wrap("authenticator secret", str(app), b"late")
        box.change(
            "INSERT INTO identity.authenticators (id, person_id, name, sealed) VALUES (%s, %s, 'App', %s)",
            app, founder.person_id, sealed,
        )  # fmt: skip
        rewrapped = await opened.root.rewrap()
    assert rewrapped.authenticators == 1
    assert before.id in rewrapped.retired
    assert rewrapped.kept == ()
    assert FileRoots(settings.secrets_path).load().previous == ()
    assert AuthenticatorSecrets(root_keys(settings)).open(app, sealed_app(box, app)) == "late"


@pytest.mark.usefixtures("no_apps")
async def test_an_app_that_does_not_open_is_named_and_stops_nothing(
    servers: Servers, box: Strongbox, founder: Member
) -> None:
    (app,) = enrolled(box, founder, AuthenticatorSecrets(root_keys(servers.settings)), 1)
    box.change("UPDATE identity.authenticators SET sealed = sealed || 'x' WHERE id = %s", app)
    async with rotations(servers.settings) as opened:
        rotated = await opened.root.rotate()
        assert rotated.damaged_authenticators == (app,)
        await opened.root.rewrap()
    with pytest.raises(Tampered):
        AuthenticatorSecrets(root_keys(servers.settings)).open(app, sealed_app(box, app))


# ── The commands ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("no_apps")
async def test_the_commands_tell_where_the_keys_stand(
    servers: Servers, box: Strongbox, founder: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPERALTA_VAR_DIR", str(servers.settings.var))
    company = CompanyId(founder.company_id)
    fill(box, founder, 2)
    assert await run("rotate") == (2, "")
    assert await run("rotate", "--root", "--all") == (2, "")
    assert (await run("rotate", "--company", str(uuid4())))[0] == 1
    box.keys.rotate(company)
    code, text = await run("status")
    assert code == 3
    assert f"{company}  a rotation was not ended" in text
    code, text = await run("rotate", "--company", str(company))
    assert code == 0
    assert "version 2, 2 secrets sealed anew" in text
    code, text = await run("status", "--json")
    (found,) = [each for each in json.loads(text)["companies"] if each["company"] == str(company)]
    assert (found["versions"], found["secrets"]) == ([2], {"2": 2})
    for name in ("status", "rotate", "rewrap"):
        assert "Example: operalta keys" in (await run(name, "--help"))[1]


async def run(*arguments: str) -> tuple[int, str]:
    """Run a command in a thread, since it starts an event loop of its own."""
    result = await asyncio.to_thread(CliRunner().invoke, application, ["keys", *arguments])
    return result.exit_code, result.stdout


def test_nothing_of_this_folder_is_open(servers: Servers) -> None:
    for path in Path(servers.settings.var / "company-keys").iterdir():
        assert path.stat().st_mode & 0o077 == 0
