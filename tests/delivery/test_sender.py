"""Delivery with a real database and a relay that speaks SMTP."""

import hashlib
import logging
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from operalta.db.scope import Origin, open_person_scope
from operalta.delivery.errors import DeliveryDelayed
from operalta.delivery.outbox import list_outbox
from operalta.delivery.relay import Relay as RelayAddress
from operalta.delivery.rules import MOST_ATTEMPTS
from operalta.delivery.sender import Sender
from operalta.kernel.errors import NotFound
from operalta.settings import Profile, Settings, SettingsError
from tests.conftest import Pools, Servers, World
from tests.delivery.smtp_server import Relay, running

Enqueue = Callable[..., UUID]


@pytest.fixture
def enqueue(servers: Servers) -> Enqueue:
    def put(kind: str = "reset_password", *, recipient: str = "ada@people.example", name: str = "Ada") -> UUID:
        with servers.as_owner() as owner:
            person = owner.execute(
                "INSERT INTO identity.people (email, email_key, name) VALUES (%s, %s, 'Ada') RETURNING id",
                (recipient, str(uuid4())),
            ).fetchone()
            assert person is not None
            row = owner.execute(
                "INSERT INTO delivery.messages (kind, recipient, recipient_name, person_id) VALUES (%s, %s, %s, %s)"
                " RETURNING id",
                (kind, recipient, name, person["id"]),
            ).fetchone()
            assert row is not None
            return row["id"]

    return put


def through(servers: Servers, pools: Pools, relay: Relay) -> Sender:
    return Sender(pools.job, Settings(var_dir=servers.settings.var_dir, smtp_url=SecretStr(relay.url)))


def stored(servers: Servers, message: UUID) -> dict[str, Any]:
    with servers.as_owner() as owner:
        row = owner.execute("SELECT * FROM delivery.messages WHERE id = %s", (message,)).fetchone()
    assert row is not None
    return row


def digests(servers: Servers, message: UUID) -> list[bytes]:
    with servers.as_owner() as owner:
        rows = owner.execute(
            "SELECT digest FROM identity.links AS link JOIN delivery.messages AS message"
            " ON message.person_id = link.person_id WHERE message.id = %s ORDER BY link.expires_at",
            (message,),
        ).fetchall()
    return [bytes(row["digest"]) for row in rows]


def token_in(text: str) -> str:
    found = re.search(r"http://localhost:8080/password-reset/confirm\?token=([\w-]{43})\r?\n", text)
    assert found is not None
    return found[1]


async def test_a_message_leaves_through_the_relay_and_its_token_is_nowhere_else(
    servers: Servers, pools: Pools, enqueue: Enqueue, caplog: pytest.LogCaptureFixture
) -> None:
    message = enqueue()
    with caplog.at_level(logging.DEBUG):
        async with running(Relay()) as relay:
            await through(servers, pools, relay).deliver(message)
            await through(servers, pools, relay).deliver(message)
    (mail,) = relay.mails
    assert (mail["To"], mail["From"]) == ("ada@people.example", "Operalta <no-reply@localhost>")
    assert mail["Message-ID"] == f"<{message}@localhost>"
    assert relay.envelopes == ["RCPT TO:<ada@people.example>"]
    token = token_in(mail.get_content())
    assert digests(servers, message) == [hashlib.sha256(token.encode()).digest()]
    assert (stored(servers, message)["status"], stored(servers, message)["attempts"]) == ("sent", 1)
    assert token not in str(stored(servers, message))
    assert token not in caplog.text
    with servers.as_owner() as owner:
        for table in ("delivery.outbox", "audit.events", "jobs.procrastinate_jobs", "identity.links"):
            rows = owner.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  # pyright: ignore[reportArgumentType, reportCallIssue] - from the list above
            assert token not in str(rows)


async def test_a_relay_that_is_down_is_tried_again_with_a_fresh_link(
    servers: Servers, pools: Pools, enqueue: Enqueue
) -> None:
    message = enqueue()
    async with running(Relay()) as relay:
        pass
    with pytest.raises(DeliveryDelayed):
        await through(servers, pools, relay).deliver(message)
    assert stored(servers, message)["status"] == "queued"
    async with running(relay):
        await through(servers, pools, relay).deliver(message)
    assert (stored(servers, message)["status"], stored(servers, message)["attempts"]) == ("sent", 2)
    token = token_in(relay.mails[0].get_content())
    assert len(digests(servers, message)) == 2
    assert hashlib.sha256(token.encode()).digest() in digests(servers, message)


@pytest.mark.parametrize("answer", ["recipient_answer", "data_answer"])
async def test_what_the_relay_defers_is_tried_a_fixed_number_of_times(
    servers: Servers, pools: Pools, enqueue: Enqueue, answer: str
) -> None:
    message = enqueue()
    relay = Relay()
    setattr(relay, answer, "451 later")
    async with running(relay):
        for _ in range(MOST_ATTEMPTS - 1):
            with pytest.raises(DeliveryDelayed):
                await through(servers, pools, relay).deliver(message)
        await through(servers, pools, relay).deliver(message)
        assert (stored(servers, message)["status"], relay.mails) == ("failed", [])
        await through(servers, pools, relay).deliver(message)
    assert relay.conversations == MOST_ATTEMPTS


@pytest.mark.parametrize("answer", ["recipient_answer", "data_answer"])
async def test_what_the_relay_refuses_for_good_has_failed_at_once(
    servers: Servers, pools: Pools, enqueue: Enqueue, answer: str
) -> None:
    message = enqueue()
    relay = Relay()
    setattr(relay, answer, "550 no")
    async with running(relay):
        await through(servers, pools, relay).deliver(message)
    assert stored(servers, message)["status"] == "failed"


@pytest.mark.proves("3.4.4")
async def test_line_breaks_in_a_name_or_address_add_no_header_and_no_recipient(
    servers: Servers, pools: Pools, enqueue: Enqueue
) -> None:
    async with running(Relay()) as relay:
        await through(servers, pools, relay).deliver(enqueue(name="Ada\r\nBcc: c@d.example\r\n\r\nRead this"))
        bad = enqueue(recipient="ada@people.example\r\nBcc: c@d.example")
        await through(servers, pools, relay).deliver(bad)
    (mail,) = relay.mails
    assert mail["Bcc"] is None
    assert relay.envelopes == ["RCPT TO:<ada@people.example>"]
    assert stored(servers, bad)["status"] == "failed"


async def test_a_relay_elsewhere_that_offers_no_tls_gets_nothing(
    servers: Servers, pools: Pools, enqueue: Enqueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = enqueue()
    monkeypatch.setattr(RelayAddress, "is_local", False)
    async with running(Relay()) as relay:
        with pytest.raises(DeliveryDelayed):
            await through(servers, pools, relay).deliver(message)
    assert (relay.mails, relay.envelopes) == ([], [])


async def test_the_outbox_is_for_the_operator_of_the_local_profile_alone(
    servers: Servers, pools: Pools, world: World, enqueue: Enqueue
) -> None:
    message = enqueue(recipient="outbox@people.example")
    sender = Sender(pools.job, servers.settings)
    await sender.deliver(message)
    await sender.deliver(message)
    person = world.member(world.company())
    async with open_person_scope(pools.web, person.session_secret, Origin()) as scope:
        with pytest.raises(NotFound):
            await list_outbox(scope)
        assert await scope.all("SELECT * FROM delivery.outbox") == []
    with servers.as_owner() as owner:
        owner.execute("UPDATE identity.people SET is_operator = true WHERE id = %s", (person.person_id,))
    async with open_person_scope(pools.web, person.session_secret, Origin()) as scope:
        kept = [mail for mail in await list_outbox(scope) if mail.recipient == "outbox@people.example"]
    assert len(kept) == 1
    assert digests(servers, message) == [hashlib.sha256(token_in(kept[0].body).encode()).digest()]
    assert stored(servers, message)["status"] == "sent"
    production = servers.settings.model_copy(update={"profile": Profile.PRODUCTION})
    with pytest.raises(SettingsError, match="OPERALTA_SMTP_URL"):
        Sender(pools.job, production)


async def test_a_message_that_is_gone_is_no_error(servers: Servers, pools: Pools) -> None:
    await Sender(pools.job, servers.settings).deliver(uuid4())


@pytest.mark.parametrize("kind", ["already_registered", "password_changed"])
async def test_a_message_without_a_link_makes_none(servers: Servers, pools: Pools, enqueue: Enqueue, kind: str) -> None:
    message = enqueue(kind)
    async with running(Relay()) as relay:
        await through(servers, pools, relay).deliver(message)
    assert digests(servers, message) == []
    assert "token" not in relay.mails[0].get_content()
