"""The figures of the clauses, the spelling of subjects, the headers."""

import tomllib
from importlib import resources
from uuid import uuid4

import pytest

from operalta.guard import rules
from operalta.guard.errors import PhoneNotInternational, UnknownAddress
from operalta.guard.rules import Count, Dimension, Limit, Rule, conclude, headers
from operalta.guard.subjects import (
    address_prefix,
    email_identity,
    key_identity,
    person_identity,
    phone_identity,
)

FIGURES = [
    pytest.param(rules.PASSWORD_RESET, 5, 900, id="password reset", marks=pytest.mark.proves("3.1.2")),
    pytest.param(rules.OTP_SEND, 3, 300, id="code sending", marks=pytest.mark.proves("3.1.3")),
    pytest.param(rules.OTP_CHECK, 10, 300, id="code checking", marks=pytest.mark.proves("3.1.4")),
    pytest.param(rules.CHAT, 40, 60, id="chat", marks=pytest.mark.proves("3.1.5")),
]


@pytest.mark.parametrize(("rule", "limit", "window"), FIGURES)
def test_the_table_has_the_figures_of_the_clauses(rule: Rule, limit: int, window: int) -> None:
    counted = rule.limits[Dimension.IDENTITY]
    assert (counted.limit, counted.window_seconds) == (limit, window)
    assert rule.critical


def test_the_clause_texts_have_the_same_figures() -> None:
    text = resources.files("operalta.terms").joinpath("clauses.toml")
    if not text.is_file():
        pytest.skip("not run: the clauses are not part of this checkout")
    figures = {
        clause["id"]: clause["figures"]
        for clause in tomllib.loads(text.read_text(encoding="utf-8"))["clause"]
        if "figures" in clause
    }
    for clause, rule in [
        ("3.1.2", rules.PASSWORD_RESET),
        ("3.1.3", rules.OTP_SEND),
        ("3.1.4", rules.OTP_CHECK),
        ("3.1.5", rules.CHAT),
    ]:
        counted = rule.limits[Dimension.IDENTITY]
        assert figures[clause]["limit"] == counted.limit
        assert figures[clause]["window_seconds"] == counted.window_seconds


def test_names_of_rules_and_limits_are_unique() -> None:
    table = rules.rules()
    assert len({rule.name for rule in table}) == len(table)
    names = [limit.name for rule in table for limit in rule.limits.values()]
    assert len(set(names)) == len(names)


def test_only_reading_and_leaving_stay_open_without_the_store() -> None:
    assert {rule.name for rule in rules.rules() if not rule.critical} == {"read", "page", "sign-out"}


@pytest.mark.parametrize(("name", "limit", "window"), [('a"b', 1, 1), ("a", 0, 1), ("a", 20_001, 1), ("a", 1, 0)])
def test_limits_that_cannot_be_kept_are_refused(name: str, limit: int, window: int) -> None:
    with pytest.raises(ValueError, match=r"limit|window"):
        Limit(name, limit, window)


@pytest.mark.proves("3.1.3")
@pytest.mark.parametrize(
    "spelling",
    [
        "+41 44 668 18 00",
        "0041446681800",
        "+41 (44) 668-18-00",
        "\u200e+41446681800",
        "\uff0b\uff14\uff11446681800",
    ],
)
def test_a_number_counts_the_same_however_it_is_typed(spelling: str) -> None:
    assert phone_identity(spelling) == "phone:+41446681800"


@pytest.mark.parametrize("number", ["044 668 18 00", "", "+", "+0123456789", "+41446681800x", "+1234567890123456"])
def test_a_number_without_its_country_is_not_counted_as_another(number: str) -> None:
    with pytest.raises(PhoneNotInternational):
        phone_identity(number)


@pytest.mark.proves("3.1.2")
def test_an_email_counts_the_same_however_it_is_typed() -> None:
    assert email_identity(" Ada@Example.ORG ") == email_identity("ada@example.org")
    assert email_identity("ada@example.org") != email_identity("ada2@example.org")


def test_people_and_keys_are_told_apart() -> None:
    number = uuid4()
    assert person_identity(number) != key_identity(str(number))


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::2", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_addresses_are_counted_by_what_one_customer_holds(address: str, counted: str) -> None:
    assert address_prefix(address) == counted


@pytest.mark.parametrize("address", ["", "unknown", "203.0.113.7, 198.51.100.1", "203.0.113.7:80"])
def test_a_caller_without_an_address_is_not_let_into_a_shared_bucket(address: str) -> None:
    with pytest.raises(UnknownAddress):
        address_prefix(address)


def test_headers_of_an_admitted_request() -> None:
    tight, wide = Limit("chat-identity", 40, 60), Limit("chat-company", 2000, 60)
    decision = conclude(allowed=True, counts=(Count(wide, 1500, 60_000_000), Count(tight, 39, 59_000_001)))
    assert headers(decision) == {
        "RateLimit-Policy": '"chat-company";q=2000;w=60, "chat-identity";q=40;w=60',
        "RateLimit": '"chat-identity";r=39;t=60',
    }
    assert decision.retry_after is None


def test_headers_of_a_refused_request_name_the_longest_wait() -> None:
    short, long = Limit("a", 1, 10), Limit("b", 1, 100)
    decision = conclude(allowed=False, counts=(Count(short, 0, 5_000_000), Count(long, 0, 60_500_000)))
    assert headers(decision) == {
        "RateLimit-Policy": '"a";q=1;w=10, "b";q=1;w=100',
        "RateLimit": '"b";r=0;t=61',
        "Retry-After": "61",
    }
