"""Secrets at rest: kept by those who may, opened by one module for named callers, each opening in the audit log."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from operalta.db.scope import Scope
from operalta.kernel.errors import InvalidInput, NotAllowed, NotFound
from operalta.sealing.errors import CompanyKeyGone, Tampered, WrongPlace
from operalta.settings import DatabaseRole
from operalta.vault.kinds import LARGEST_PLAINTEXT_BYTES, RULES, Caller, SecretKind, may_open
from operalta.vault.sealed import store
from operalta.vault.sealed.errors import NotForThisCaller, SecretReplacedMeanwhile, SecretTooLarge, SecretTooOld
from operalta.vault.unsealing import store as unsealing_store
from tests.conftest import Member, Pools, Servers, World
from tests.vault.strongbox import Strongbox, make_strongbox

KEY = SecretKind.SERVICE_API_KEY
PURPOSE = "send a report"


@pytest.fixture
def box(servers: Servers, pools: Pools, tmp_path: Path) -> Strongbox:
    return make_strongbox(servers, pools, tmp_path)


@pytest.fixture
def founder(world: World) -> Member:
    return world.member(world.company())


async def kept(box: Strongbox, member: Member, kind: SecretKind = KEY, plaintext: bytes = b"token") -> UUID:
    async with box.scope(member) as scope:
        return await box.secrets.keep(scope, kind, uuid4(), plaintext)


async def opened(box: Strongbox, member: Member, secret: UUID, caller: Caller = Caller.EGRESS) -> bytes:
    async with box.scope(member) as scope:
        return await box.opener.open(scope, secret, caller, PURPOSE)


@pytest.mark.proves("1.3.3", "1.3.5")
async def test_a_kept_secret_opens_for_its_callers_and_every_opening_says_what_for(
    box: Strongbox, founder: Member
) -> None:
    secret = await kept(box, founder)
    assert await opened(box, founder, secret) == b"token"
    assert b"token" not in box.sealed(secret)
    (kept_event, opened_event) = box.events(secret)
    assert kept_event[0] == "secret.kept"
    assert opened_event == (
        "secret.opened",
        {"caller": "egress", "purpose": PURPOSE, "kind": KEY.value, "revision": 1},
    )
    (event,) = box.rows(
        "SELECT company_id, actor_kind, actor_person_id, target_kind, origin FROM audit.events"
        " WHERE target_id = %s AND action = 'secret.opened'",
        str(secret),
    )
    assert event == {
        "company_id": founder.company_id,
        "actor_kind": "person",
        "actor_person_id": founder.person_id,
        "target_kind": "secret",
        "origin": "test",
    }


@pytest.mark.proves("1.3.3", "1.3.5")
@pytest.mark.parametrize("kind", SecretKind)
async def test_only_the_callers_of_its_kind_open_a_secret(box: Strongbox, founder: Member, kind: SecretKind) -> None:
    secret = await kept(box, founder, kind)
    for caller in Caller:
        if may_open(caller, kind):
            assert await opened(box, founder, secret, caller) == b"token"
        else:
            with pytest.raises(NotForThisCaller):
                await opened(box, founder, secret, caller)
    assert len(box.events(secret)) == 1 + len(RULES[kind].openers)


@pytest.mark.proves("1.3.3")
async def test_the_database_itself_hands_nothing_to_another_caller_or_without_a_purpose(
    box: Strongbox, founder: Member
) -> None:
    secret = await kept(box, founder)
    for caller, purpose in (("webhook_sender", PURPOSE), ("anybody", PURPOSE), ("egress", " "), ("egress", "x" * 201)):
        with pytest.raises(psycopg.Error) as refused:
            async with box.scope(founder) as scope:
                await unsealing_store.sealed_bytes(scope, secret, caller, purpose)
        assert refused.value.sqlstate == "OP006"
    assert [action for action, _ in box.events(secret)] == ["secret.kept"]


@pytest.mark.proves("1.3.5")
def test_the_database_holds_the_same_table_of_kinds(servers: Servers) -> None:
    with servers.as_owner() as owner:
        owner.execute("SET ROLE operalta_definer")
        rows = owner.execute(
            "SELECT kind, credentials.kind_kept_with(kind) AS kept_with, credentials.kind_opened_by(kind) AS opened_by,"
            " credentials.kind_replaced_with(kind) AS replaced_with FROM unnest(%s::text[]) AS kind",
            ([*SecretKind, "unknown"],),
        ).fetchall()
    assert RULES.keys() == set(SecretKind)
    copy = {row["kind"]: (row["kept_with"], row["replaced_with"], set(row["opened_by"] or ())) for row in rows}
    assert copy.pop("unknown") == (None, None, set())
    assert copy == {
        kind.value: (rules.kept_with.value, rules.replaced_with.value, {caller.value for caller in rules.openers})
        for kind, rules in RULES.items()
    }


@pytest.mark.proves("1.3.5")
async def test_the_database_refuses_a_kind_that_it_does_not_know(box: Strongbox, founder: Member) -> None:
    async with box.scope(founder) as scope:
        assert not await store.keep(scope, uuid4(), "bank_card", uuid4(), bytes(80))
    with pytest.raises(psycopg.errors.CheckViolation):
        box.change(
            "INSERT INTO credentials.secrets (company_id, id, kind, belongs_to, sealed)"
            " VALUES (%s, gen_random_uuid(), 'bank_card', gen_random_uuid(), decode(repeat('01', 80), 'hex'))",
            founder.company_id,
        )


@pytest.mark.proves("1.3.3")
@pytest.mark.parametrize("role", [DatabaseRole.WEB, DatabaseRole.WORKER, DatabaseRole.JOB, DatabaseRole.SIGNIN])
async def test_no_serving_role_reads_or_writes_the_sealed_bytes(
    box: Strongbox, founder: Member, servers: Servers, role: DatabaseRole
) -> None:
    await kept(box, founder)
    for query in (
        "SELECT sealed FROM credentials.secrets",
        "SELECT * FROM credentials.secrets",
        "SELECT length(sealed) FROM credentials.secrets",
        "UPDATE credentials.secrets SET sealed = sealed",
        "UPDATE credentials.secrets SET revision = 1",
        "DELETE FROM credentials.secrets",
        "INSERT INTO credentials.secrets (company_id, id, kind, belongs_to, sealed) VALUES (NULL, NULL, '', NULL, '')",
        "COPY credentials.secrets TO STDOUT",
    ):
        with psycopg.connect(servers.settings.database_dsn(role)) as connection:
            with pytest.raises(InsufficientPrivilege):
                connection.execute(query)
            connection.rollback()


@pytest.mark.proves("1.3.3")
def test_without_a_scope_nothing_is_handed_out(servers: Servers) -> None:
    for role in (DatabaseRole.WEB, DatabaseRole.WORKER):
        with psycopg.connect(servers.settings.database_dsn(role)) as connection:
            rows = connection.execute(
                "SELECT * FROM credentials.open_secret(gen_random_uuid(), 'egress', 'looking', NULL, NULL)"
            ).fetchall()
            assert rows == []


@pytest.mark.proves("1.3.3")
async def test_another_companys_secret_looks_like_none(box: Strongbox, world: World, founder: Member) -> None:
    secret, stranger = await kept(box, founder), world.member(world.company())
    for member, asked in ((stranger, secret), (founder, uuid4())):
        with pytest.raises(NotFound):
            await opened(box, member, asked)
        async with box.scope(member) as scope:
            with pytest.raises(NotFound):
                await box.secrets.remove(scope, asked)
            with pytest.raises(NotFound):
                await box.secrets.replace(scope, asked, b"mine")
    assert await opened(box, founder, secret) == b"token"


async def test_who_only_observes_neither_keeps_nor_opens(box: Strongbox, world: World) -> None:
    company = world.company()
    founder, observer, investor = (world.member(company, role) for role in ("founder", "observer", "investor"))
    secret = await kept(box, founder, SecretKind.OAUTH_ACCESS_TOKEN)
    for member in (observer, investor):
        with pytest.raises(NotAllowed):
            await kept(box, member)
    with pytest.raises(NotFound):
        await opened(box, observer, secret)
    # A run for an investor renews the token that it uses, and changes nothing else.
    async with box.scope(investor) as scope:
        await box.secrets.replace(scope, secret, b"renewed")
        with pytest.raises(NotAllowed):
            await box.secrets.remove(scope, secret)
        # The database decides alike where the code forgot to.
        assert not await store.remove(scope, secret)
        assert not await store.keep(scope, uuid4(), KEY.value, uuid4(), box.sealed(secret))
    assert await opened(box, investor, secret) == b"renewed"


@pytest.mark.proves("1.3.5")
@pytest.mark.parametrize("kind", SecretKind)
async def test_what_is_too_old_for_its_kind_is_not_used(box: Strongbox, founder: Member, kind: SecretKind) -> None:
    secret = await kept(box, founder, kind)
    caller = next(iter(RULES[kind].openers))
    for days, refused in ((-1, False), (1, True)):
        age = RULES[kind].longest_age + timedelta(days=days, minutes=-1)
        box.change("UPDATE credentials.secrets SET created_at = now() - %s WHERE id = %s", age, secret)
        if refused:
            with pytest.raises(SecretTooOld):
                await opened(box, founder, secret, caller)
        else:
            assert await opened(box, founder, secret, caller) == b"token"
    async with box.scope(founder) as scope:
        await box.secrets.replace(scope, secret, b"fresh")
    assert await opened(box, founder, secret, caller) == b"fresh"


async def test_size_and_purpose_have_bounds(box: Strongbox, founder: Member) -> None:
    for plaintext in (b"", bytes(LARGEST_PLAINTEXT_BYTES + 1)):
        with pytest.raises(SecretTooLarge):
            await kept(box, founder, plaintext=plaintext)
    largest = bytes(LARGEST_PLAINTEXT_BYTES)
    secret = await kept(box, founder, plaintext=largest)
    assert await opened(box, founder, secret) == largest
    async with box.scope(founder) as scope:
        for purpose in ("", "  ", "x" * 201, "a\x00b"):
            with pytest.raises(InvalidInput):
                await box.opener.open(scope, secret, Caller.EGRESS, purpose)


async def test_a_removed_secret_is_gone(box: Strongbox, founder: Member) -> None:
    secret = await kept(box, founder)
    async with box.scope(founder) as scope:
        await box.secrets.remove(scope, secret)
    with pytest.raises(NotFound):
        await opened(box, founder, secret)
    assert [action for action, _ in box.events(secret)] == ["secret.kept", "secret.removed"]


async def test_of_two_who_replace_at_once_one_is_told(box: Strongbox, founder: Member) -> None:
    secret = await kept(box, founder)
    async with box.scope(founder) as scope:
        await box.secrets.replace(scope, secret, b"first")
        assert not await store.replace(scope, secret, 1, box.sealed(secret))
    async with box.scope(founder) as scope:
        late = LateSecrets(box, scope, secret)
        with pytest.raises(SecretReplacedMeanwhile):
            await late.replace(b"second")
    assert await opened(box, founder, secret) == b"in between"


class LateSecrets:
    """Replaces a secret while somebody else does so between its look and its write."""

    def __init__(self, box: Strongbox, scope: Scope, secret: UUID) -> None:
        self._box, self._scope, self._secret = box, scope, secret

    async def replace(self, plaintext: bytes) -> None:
        row = await store.described(self._scope, self._secret)
        assert row is not None
        with pytest.MonkeyPatch.context() as patched:

            async def stale(_scope: Scope, _secret: UUID) -> dict[str, object]:
                return {"kind": row["kind"], "revision": row["revision"]}

            await self._box.secrets.replace(self._scope, self._secret, b"in between")
            patched.setattr(store, "described", stale)
            await self._box.secrets.replace(self._scope, self._secret, plaintext)


@pytest.mark.proves("1.3.3")
async def test_ciphertexts_that_were_moved_rolled_back_or_cut_do_not_open(
    box: Strongbox, world: World, founder: Member
) -> None:
    secret, neighbour = await kept(box, founder), await kept(box, founder, plaintext=b"other")
    stranger = world.member(world.company())
    foreign = await kept(box, stranger)
    first = box.sealed(secret)
    async with box.scope(founder) as scope:
        await box.secrets.replace(scope, secret, b"second")
    present = box.sealed(secret)
    wrong: dict[str, bytes] = {
        "rolled back": first,
        "of another row": box.sealed(neighbour),
        "of another company": box.sealed(foreign),
        "truncated": present[:-1],
        "extended": present + b"\x00",
        "altered": present[:-1] + bytes([present[-1] ^ 1]),
        "of a version never made": present[:1] + (7).to_bytes(4) + present[5:],
    }
    for name, value in wrong.items():
        box.change("UPDATE credentials.secrets SET sealed = %s WHERE id = %s", value, secret)
        with pytest.raises((Tampered, WrongPlace)):
            await opened(box, founder, secret)
        assert name
    box.change("UPDATE credentials.secrets SET sealed = %s WHERE id = %s", present, secret)
    assert await opened(box, founder, secret) == b"second"
    with pytest.raises(psycopg.errors.GeneratedAlways):
        box.change("UPDATE credentials.secrets SET key_version = 2 WHERE id = %s", secret)


async def test_a_dropped_company_key_ends_its_secrets_at_once(box: Strongbox, founder: Member) -> None:
    secret = await kept(box, founder)
    assert await opened(box, founder, secret) == b"token"
    box.keys.drop(box.keys.companies()[0])
    with pytest.raises(CompanyKeyGone):
        await opened(box, founder, secret)
