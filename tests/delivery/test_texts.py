"""The texts: each kind has one, and nothing that people write can make a link or a header of its own."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from operalta.delivery.errors import MailRefused
from operalta.delivery.relay import Relay, compose
from operalta.delivery.rules import LINK_PATHS, Kind, link
from operalta.delivery.texts import Text, plain, render
from operalta.settings import SettingsError

BASE = "https://operalta.example"
UNTIL = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
FACTS = {"company": "Acme", "role": "advisor", "inviter": "Grace", "device": "Firefox", "address": "203.0.113.9"}


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_has_a_text_with_its_link_and_until_when_it_works(kind: Kind) -> None:
    address = link(BASE, kind, "T0ken-_") if kind in LINK_PATHS else None
    text = render(kind, name="Ada", facts=FACTS, base_url=BASE, link=address, until=UNTIL if address else None)
    assert text.subject
    assert "\n" not in text.subject
    assert text.body.startswith("Hello Ada,\n\n")
    assert "None" not in text.body
    assert (address is None) or (f"\n{address}\n" in text.body and "14:30 UTC on 23 November 2026" in text.body)
    assert (
        "Hello,\n"
        in render(kind, name="", facts=FACTS, base_url=BASE, link=address, until=UNTIL if address else None).body
    )


HOSTILE = (
    "Ada\r\nBcc: all@victims.example",
    "Ada\x0b\x0c\x1c\x85\u2028\u2029Bcc: x",
    "Ada http://evil.example/login",
    "WWW.evil.example",
    "evil.example",
    "\u202egpj.exe \u2066x\u2069",
    "ada@evil.example",
    "x" * 5000,
    "{{ 7 * 7 }} {% for a in b %}",
)


@pytest.mark.proves("3.4.4")
@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_people_write_makes_neither_header_nor_link(hostile: str) -> None:
    text = render(
        Kind.INVITATION,
        name=hostile,
        facts={"company": hostile, "role": "advisor", "inviter": hostile},
        base_url=BASE,
        link=link(BASE, Kind.INVITATION, "token"),
        until=UNTIL,
    )
    assert "49" not in text.body
    assert "evil.example" not in text.body
    assert text.body.count("://") == 1
    mail = compose(uuid4(), "ada@people.example", text, "Operalta <no-reply@operalta.example>")
    head = mail.as_bytes().partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
    assert b"Bcc" not in names
    assert sorted(names) == sorted(set(names))
    assert len(plain(hostile)) <= 120


@pytest.mark.proves("3.4.4")
@pytest.mark.parametrize("subject", ["a\nBcc: x@y.example", "a\r\n\r\nbody", "a\rb"])
def test_a_subject_with_a_line_break_is_refused(subject: str) -> None:
    with pytest.raises(MailRefused):
        compose(uuid4(), "ada@people.example", Text(subject, "body\n"), "Operalta <no-reply@operalta.example>")


@pytest.mark.parametrize("recipient", ["a@b.example\r\nBcc: c@d.example", "a@b.example, c@d.example", "no address", ""])
def test_a_recipient_that_is_not_one_address_is_refused(recipient: str) -> None:
    with pytest.raises(MailRefused):
        compose(uuid4(), recipient, Text("subject", "body\n"), "Operalta <no-reply@operalta.example>")


def test_the_relay_is_read_from_its_address() -> None:
    relay = Relay.from_url("smtps://ada:p%40ss@mail.example")
    assert (relay.host, relay.port, relay.implicit_tls, relay.username, relay.password) == (
        "mail.example",
        465,
        True,
        "ada",
        "p@ss",
    )
    assert "p@ss" not in repr(relay)
    assert Relay.from_url("smtp://mail.example").port == 587
    assert Relay.from_url("smtp://[::1]:2525").is_local
    assert not Relay.from_url("smtp://mail.example").is_local
    for unusable in ("http://mail.example", "smtp://", "mail.example:25", "smtp://mail.example:99999", "smtp://[::1"):
        with pytest.raises(SettingsError):
            Relay.from_url(unusable)
