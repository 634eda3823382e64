"""What people type and what cookies hold is nowhere in the database, whatever was done with it."""

import secrets
from contextlib import suppress

import pytest

from operalta.identity.accounts import Accounts
from operalta.identity.passwords import PasswordHasher
from operalta.identity.sessions import Sessions, SignedIn
from operalta.kernel.errors import Refusal
from tests.identity.conftest import Identity


def _everything(identity: Identity) -> str:
    """Every row of every table of ours, as the owner reads it, as one text."""
    tables = identity.rows(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) AS name FROM pg_catalog.pg_tables"
        " WHERE schemaname IN ('identity', 'delivery', 'audit', 'jobs', 'tenancy', 'scope', 'agents', 'workspace')"
    )
    assert len(tables) > 15
    rows = [
        str(row["content"])
        for table in tables
        for row in identity.rows(f"SELECT content::text AS content FROM {table['name']} AS content")  # noqa: S608 - names from the catalogue
    ]
    return "\n".join(rows)


@pytest.mark.proves("2.1.1")
async def test_passwords_and_tokens_are_not_in_the_database(identity: Identity) -> None:
    # The cost of production, so that what is found is what production keeps.
    hasher = PasswordHasher({1: secrets.token_bytes(32)}, workers=1)
    sessions = Sessions(identity.pools.signin, hasher, identity.tokens, secrets.token_bytes(32))
    accounts = Accounts(identity.pools.signin, hasher, sessions)
    canaries = [f"canary {secrets.token_hex(8)}" for _ in range(6)]
    signed_up, reset, changed, wrong, unused, malformed = canaries
    email = f"{secrets.token_hex(6)}@people.example"
    try:
        await accounts.sign_up(email, "Ada", signed_up)
        confirm = identity.link("confirm_sign_up", email)
        await accounts.confirm_address(confirm)
        await accounts.sign_up(email, "Ada", unused)
        with suppress(Refusal):
            await accounts.sign_up("not an address", "Ada", malformed)
        await accounts.request_password_reset(email)
        link = identity.link("reset_password", email)
        about = {"user_agent": "x", "address": "192.0.2.7"}
        await accounts.reset_password(link, reset, device_secret=None, **about)
        with suppress(Refusal):
            await sessions.sign_in(email, wrong, device_secret=None, **about)
        first = await sessions.sign_in(email, reset, device_secret=None, **about)
        assert isinstance(first, SignedIn)
        second = await sessions.refresh(first.refresh_token, first.device_secret)
        await accounts.change_password(identity.secret_of(second), reset, changed)
    finally:
        await hasher.close()
    found = _everything(identity)
    assert email in found
    for secret in (*canaries, confirm, link):
        assert secret not in found
    for session in (first, second):
        for secret in (
            session.refresh_token,
            session.refresh_token.split(".")[2],
            session.access_token,
            session.access_token.split(".")[2],
            session.device_secret,
            identity.secret_of(session),
        ):
            assert secret not in found
            assert secret.encode().hex() not in found
        assert session.refresh_token not in repr(session)
        assert session.device_secret not in repr(session)
    stored = identity.rows(
        "SELECT hash FROM identity.passwords JOIN identity.people ON id = person_id WHERE email = %s", email
    )[0]["hash"]
    assert stored.startswith("$2b$12$")
    assert len(stored) == 60
