"""The texts: each kind has one, and nothing that people write can make a link or a header of its own."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from operalta.delivery.errors import DeliveryRefused
from operalta.delivery.relay import Relay, compose
from operalta.delivery.rules import FACTOR_CHANGES, LINK_PATHS, SENT_BY_SMS, Kind, host_for_codes, link
from operalta.delivery.texts import ONE_SMS, Text, plain, render, render_code
from operalta.settings import SettingsError

BASE = "https://operalta.example"
UNTIL = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
FACTS = {
    "company": "Acme",
    "slug": "acme",
    "role": "advisor",
    "inviter": "Grace",
    "device": "Firefox",
    "address": "203.0.113.9",
    "who": "Nia",
    "by": "Grace",
    "heir": "Linus",
    "reason": "Ada asked",
    "until": "2026-11-23 14:30",
    "agent": "Analyst",
    "requester": "Grace",
    "tools": "files_write, web_fetch",
    "card": "01a2276d-c8c5-7189-a01a-38e22bb46f90",
}


MAIL = tuple(kind for kind in Kind if kind not in SENT_BY_SMS)
GSM = frozenset("@$_!#%&()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'\" \n")


@pytest.mark.parametrize("kind", MAIL)
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


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        *(({"change": change}, sentence) for change, sentence in FACTOR_CHANGES.items()),
        ({"change": "a change of a later release"}, "were changed"),
        ({}, "were changed"),
    ],
)
def test_what_changed_is_told_in_words_of_ours(facts: dict[str, str], words: str) -> None:
    text = render(Kind.FACTOR_CHANGED, name="Ada", facts=facts, base_url=BASE)
    assert words in text.body
    assert "later release" not in text.body


@pytest.mark.parametrize(
    ("facts", "words"),
    [({"way": "phone"}, "codes by SMS are"), ({"way": "authenticator"}, "an authenticator app are"), ({}, "codes are")],
)
def test_a_pause_names_what_is_paused(facts: dict[str, str], words: str) -> None:
    address = link(BASE, Kind.TRUST_DEVICE, "token")
    text = render(Kind.TRUST_DEVICE, name="Ada", facts=facts, base_url=BASE, link=address, until=UNTIL)
    assert words in " ".join(text.body.split())
    assert address == f"{BASE}/trust-device?token=token"


def test_a_code_fits_into_one_sms_and_is_bound_to_the_host_where_that_fits_too() -> None:
    bare, bound = render_code("047113", None).body, render_code("047113", "operalta.example").body
    assert bare.startswith("047113 is your Operalta code")
    assert bare.count("\n") == 1
    assert bound == f"{bare}\n@operalta.example #047113\n"
    assert len(bound.strip()) <= ONE_SMS
    assert set(bound) <= GSM
    assert render_code("047113", f"{'long.' * 20}example").body == bare


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://operalta.example", "operalta.example"),
        ("https://operalta.example:8443", "operalta.example"),
        ("http://operalta.example", None),
        ("http://localhost:8080", None),
        ("https://localhost:8443", None),
        ("https://192.0.2.7", None),
        ("https://[2001:db8::7]:8443", None),
    ],
)
def test_only_a_secure_page_under_a_name_is_one_for_codes(address: str, host: str | None) -> None:
    assert host_for_codes(address) == host


def test_texts_are_in_no_repr() -> None:
    assert "047113" not in repr(render_code("047113", "operalta.example"))


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
    with pytest.raises(DeliveryRefused):
        compose(uuid4(), "ada@people.example", Text(subject, "body\n"), "Operalta <no-reply@operalta.example>")


@pytest.mark.parametrize("recipient", ["a@b.example\r\nBcc: c@d.example", "a@b.example, c@d.example", "no address", ""])
def test_a_recipient_that_is_not_one_address_is_refused(recipient: str) -> None:
    with pytest.raises(DeliveryRefused):
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
