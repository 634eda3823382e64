"""Which codes are made and sent at all, how long they hold, and where they are kept."""

import hashlib
import re
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from pydantic import SecretStr

from operalta.db.scope import Origin, open_person_scope
from operalta.delivery.outbox import list_outbox
from operalta.delivery.sender import Sender
from operalta.guard.codes import new_code
from operalta.operations.secrets import make_missing_secrets
from operalta.settings import Profile, Settings, SmsProvider
from tests.conftest import Pools, Servers, World
from tests.delivery.code_search import places_with
from tests.delivery.phone_owner import NUMBER, PhoneOwner, message_row, phone_owner, sms_settings
from tests.delivery.sms_server import Provider, Twilio, running
from tests.delivery.smtp_server import Relay
from tests.delivery.smtp_server import running as relay_running


@pytest.fixture
async def provider() -> AsyncGenerator[Provider]:
    async with running(Twilio()) as started:
        yield started


@pytest.fixture
def ada(servers: Servers) -> PhoneOwner:
    return phone_owner(servers)


@pytest.mark.proves("2.2.5", "3.2.2")
async def test_the_search_finds_a_code_that_is_kept_in_any_form(
    servers: Servers, pools: Pools, ada: PhoneOwner
) -> None:
    """Proofs rest on the search, so it must find what it looks for."""
    message, code = await ada.ask(pools), "047113"
    with servers.as_owner() as owner:
        for kept in (code.encode().rjust(32, b"\0"), hashlib.sha256(code.encode()).digest()):
            owner.execute(
                "UPDATE identity.codes SET digest = %s, expires_at = now() WHERE id = %s", (kept, ada.code["id"])
            )
            assert places_with(servers, code) == ["identity.codes.digest"]
        owner.execute("UPDATE identity.codes SET digest = sha256('x') WHERE id = %s", (ada.code["id"],))
        owner.execute('UPDATE delivery.messages SET facts = \'{"code": "047113"}\' WHERE id = %s', (message,))
        assert places_with(servers, code) == ["delivery.messages.facts"]
        owner.execute("UPDATE delivery.messages SET facts = '{}' WHERE id = %s", (message,))


@pytest.mark.proves("2.2.1")
async def test_a_code_that_was_replaced_or_comes_too_late_is_not_sent(
    servers: Servers, pools: Pools, ada: PhoneOwner, provider: Provider
) -> None:
    sender = Sender(pools.job, sms_settings(servers, provider))
    replaced, waiting = await ada.ask(pools), await ada.ask(pools)
    await sender.deliver(replaced)
    with servers.as_owner() as owner:
        owner.execute(
            "UPDATE identity.codes SET created_at = now() - interval '10 minutes 1 second' WHERE id = %s",
            (ada.code["id"],),
        )
    await sender.deliver(waiting)
    assert [message_row(servers, each)["status"] for each in (replaced, waiting)] == ["failed", "failed"]
    assert provider.asked == []
    assert ada.code["digest"] is None


@pytest.mark.proves("2.2.2")
async def test_a_code_works_for_ten_minutes_by_the_database_s_clock_and_no_longer(
    servers: Servers, pools: Pools
) -> None:
    for age, holds in (
        ("0", True),
        ("9 minutes 59 seconds", True),
        ("9 minutes 59.999999 seconds", True),
        ("10 minutes", False),
        ("10 minutes 1 second", False),
    ):
        ada = phone_owner(servers)
        message = await ada.ask(pools)
        await Sender(pools.job, servers.settings).deliver(message)
        sent = ada.row(
            "SELECT code.expires_at - kept.at AS life FROM identity.codes AS code"
            " JOIN delivery.messages AS sent ON sent.code_id = code.id"
            " JOIN delivery.outbox AS kept ON kept.message_id = sent.id WHERE code.person_id = %s"
        )
        assert sent["life"].total_seconds() == 600
        assert _holds_at(ada, age) is holds, age


def _holds_at(ada: PhoneOwner, age: str) -> bool:
    """Make the code `age` old and use it within one transaction, in which the database's clock stands still."""
    bearer = (ada.secret, ada.device)
    with closing(_as_superuser(ada.servers)) as superuser, superuser.transaction():
        superuser.execute(
            "UPDATE identity.codes SET expires_at = now() + interval '10 minutes' - %s::interval WHERE person_id = %s",
            (age, ada.person),
        )
        tried = superuser.execute("SELECT * FROM signin.try_code('ticket', %s, %s, 'prove')", bearer).fetchone()
        assert tried is not None
        # One that was tried in time is not accepted late either.
        superuser.execute("UPDATE identity.codes SET attempts = 1 WHERE person_id = %s", (ada.person,))
        accepted = superuser.execute(
            "SELECT signin.accept_code('ticket', %s, %s, %s, %s) AS done",
            (*bearer, ada.code["id"], tried["attempt_id"]),
        ).fetchone()
        assert accepted is not None
        assert (tried["outcome"] == "tried") is accepted["done"]
        return accepted["done"]


def _as_superuser(servers: Servers) -> psycopg.Connection[DictRow]:
    password = servers.settings.secret("database-postgres").decode()
    address = make_conninfo(
        host=str(servers.settings.socket_path), user="postgres", password=password, dbname="operalta"
    )
    return psycopg.Connection[DictRow].connect(address, row_factory=dict_row)


DRAWS = 300_000


@pytest.mark.proves("2.2.2")
def test_codes_are_spread_evenly_over_all_million_values() -> None:
    """Chi-square over halves, digits and pairs of digits; each bound lies eight deviations above what chance brings."""
    drawn = [new_code() for _ in range(DRAWS)]
    assert all(re.fullmatch(r"[0-9]{6}", code) for code in drawn)
    views: list[tuple[str, int, Counter[str]]] = [
        ("first half", 1_000, Counter(code[:3] for code in drawn)),
        ("second half", 1_000, Counter(code[3:] for code in drawn)),
        *((f"digit {place}", 10, Counter(code[place] for code in drawn)) for place in range(6)),
        *((f"ends {place}", 100, Counter(code[place] + code[-1 - place] for code in drawn)) for place in range(3)),
    ]
    for name, values, found in views:
        expected = DRAWS / values
        chi_square = sum((found[value] - expected) ** 2 / expected for value in _all(values))
        freedom = values - 1
        assert chi_square < freedom + 8 * (2 * freedom) ** 0.5 + 32, (name, chi_square)
    # A generator that runs through few values would pass the above; the birthday paradox finds it.
    repeated = DRAWS - len(set(drawn))
    by_chance = DRAWS - 10**6 * (1 - (1 - 1e-6) ** DRAWS)
    assert abs(repeated - by_chance) < 10 * by_chance**0.5, repeated


def _all(values: int) -> list[str]:
    width = len(str(values - 1))
    return [f"{value:0{width}d}" for value in range(values)]


# ── The outbox, and deployments without a way to send SMS ────────────────────────────────────────────────


@pytest.mark.proves("2.2.5")
async def test_without_a_provider_the_local_profile_keeps_the_code_in_its_outbox_and_nowhere_else(
    servers: Servers, pools: Pools, world: World, ada: PhoneOwner
) -> None:
    message = await ada.ask(pools)
    async with relay_running(Relay()) as relay:
        settings = Settings(var_dir=servers.settings.var_dir, smtp_url=SecretStr(relay.url))
        assert (settings.uses_outbox, settings.sms_uses_outbox) == (False, True)
        await Sender(pools.job, settings).deliver(message)
    assert relay.mails == []
    kept = _outbox(servers, message)
    assert [(each["channel"], each["recipient"]) for each in kept] == [("sms", NUMBER)]
    code = kept[0]["body"][:6]
    assert places_with(servers, code) == ["delivery.outbox.body"]
    assert message_row(servers, message)["status"] == "sent"
    operator = world.member(world.company())
    with servers.as_owner() as owner:
        owner.execute("UPDATE identity.people SET is_operator = true WHERE id = %s", (operator.person_id,))
    async with open_person_scope(pools.web, operator.session_secret, Origin()) as scope:
        shown = [each for each in await list_outbox(scope) if each.id == kept[0]["id"]]
    assert [(each.channel, each.body) for each in shown] == [("sms", kept[0]["body"])]
    assert await ada.tries(pools, code)


@pytest.mark.proves("2.2.5")
async def test_production_without_a_provider_keeps_no_code_anywhere(
    servers: Servers, pools: Pools, ada: PhoneOwner, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    settings = servers.settings.model_copy(
        update={
            "profile": Profile.PRODUCTION,
            "smtp_url": SecretStr("smtp://127.0.0.1:9"),
            "secrets_dir": tmp_path / "secrets",
        }
    )
    make_missing_secrets(settings)
    assert (settings.offers_sms, settings.sms_provider) == (False, SmsProvider.NONE)
    message = await ada.ask(pools)
    await Sender(pools.job, settings).deliver(message)
    assert message_row(servers, message)["status"] == "failed"
    assert _outbox(servers, message) == []
    assert "no way to send it" in caplog.text


def _outbox(servers: Servers, message: UUID) -> list[dict[str, Any]]:
    with servers.as_owner() as owner:
        return owner.execute("SELECT * FROM delivery.outbox WHERE message_id = %s", (message,)).fetchall()
