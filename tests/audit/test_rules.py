import dataclasses
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.audit.canonical import NotCanonical, canonical_json
from operalta.audit.rules import (
    MAXIMUM_EVENT_BYTES,
    SALT_BYTES,
    Action,
    AuditEvent,
    EventActor,
    Outcome,
    StoredLeaf,
    canonical,
    commitment,
    new_salt,
)
from operalta.kernel.actor import ActorKind
from operalta.kernel.ids import CompanyId, PersonId, RequestId, RunId

EVENT = AuditEvent(
    id=UUID(int=1),
    company_id=CompanyId(UUID(int=2)),
    company_number=7,
    occurred_at=datetime(2026, 3, 16, 9, 30, tzinfo=UTC),
    actor_kind=EventActor.PERSON,
    actor_person_id=PersonId(UUID(int=3)),
    actor_run_id=None,
    action=Action.MEMBER_INVITED,
    target_kind="invitation",
    target_id="4",
    outcome=Outcome.SUCCEEDED,
    request_id=RequestId(UUID(int=5)),
    origin="192.0.2.0/24",
    detail={"role": "advisor", "again": False},
)
SALT = bytes(range(SALT_BYTES))

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


def test_the_canonical_form_is_spelled_out() -> None:
    assert canonical(EVENT).decode() == (
        '{"action":"member.invited","actor_kind":"person",'
        '"actor_person_id":"00000000-0000-0000-0000-000000000003","actor_run_id":null,'
        '"company_id":"00000000-0000-0000-0000-000000000002","company_number":7,'
        '"detail":{"again":false,"role":"advisor"},"id":"00000000-0000-0000-0000-000000000001",'
        '"occurred_at":"2026-03-16T09:30:00.000000Z","origin":"192.0.2.0/24","outcome":"succeeded",'
        '"request_id":"00000000-0000-0000-0000-000000000005","target_id":"4","target_kind":"invitation"}'
    )


def test_a_commitment_is_the_digest_of_domain_salt_and_canonical_bytes() -> None:
    expected = hashlib.sha256(b"operalta-audit-v1\0" + SALT + canonical(EVENT)).digest()
    assert commitment(EVENT, SALT) == expected


def test_the_same_moment_in_another_zone_is_the_same_event() -> None:
    there = EVENT.occurred_at.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert canonical(dataclasses.replace(EVENT, occurred_at=there)) == canonical(EVENT)


def test_a_time_without_a_zone_is_refused() -> None:
    naive = EVENT.occurred_at.replace(tzinfo=None)
    with pytest.raises(NotCanonical, match="aware"):
        canonical(dataclasses.replace(EVENT, occurred_at=naive))


OTHER: dict[str, Any] = {
    "id": UUID(int=9),
    "company_id": None,
    "company_number": 8,
    "occurred_at": EVENT.occurred_at + timedelta(microseconds=1),
    "actor_kind": EventActor.STAFF,
    "actor_person_id": PersonId(UUID(int=9)),
    "actor_run_id": RunId(UUID(int=9)),
    "action": Action.MEMBER_REMOVED,
    "target_kind": "member",
    "target_id": None,
    "outcome": Outcome.REFUSED,
    "request_id": None,
    "origin": None,
    "detail": {"role": "advisor", "again": True},
}


@pytest.mark.proves("2.5.5")
@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(AuditEvent)])
def test_every_field_is_committed_to(name: str) -> None:
    changed = dataclasses.replace(EVENT, **{name: OTHER[name]})
    assert commitment(changed, SALT) != commitment(EVENT, SALT)


@pytest.mark.parametrize(
    "changed",
    [
        {"commitment": bytes(32)},
        {"company_id": UUID(int=9)},
        {"company_number": 8},
        {"event_id": UUID(int=9)},
    ],
)
def test_a_leaf_covers_whose_event_it_stands_for(changed: dict[str, Any]) -> None:
    leaf = StoredLeaf(0, commitment(EVENT, SALT), EVENT.company_id, EVENT.company_number, EVENT.id)
    assert dataclasses.replace(leaf, **changed).hash != leaf.hash
    assert dataclasses.replace(leaf, index=5).hash == leaf.hash


def test_a_leaf_without_a_whole_commitment_has_no_hash() -> None:
    with pytest.raises(NotCanonical):
        StoredLeaf(0, b"short", None, None, EVENT.id).entry()


def test_salts_are_fresh_and_of_one_length() -> None:
    assert len({new_salt() for _ in range(100)}) == 100
    assert {len(new_salt()) for _ in range(10)} == {SALT_BYTES}
    for length in (0, SALT_BYTES - 1, SALT_BYTES + 1):
        with pytest.raises(NotCanonical, match="salt"):
            commitment(EVENT, bytes(length))


@given(values)
def test_canonical_json_is_stable_and_says_the_same(value: object) -> None:
    encoded = canonical_json(value)
    assert json.loads(encoded) == value
    assert canonical_json(json.loads(encoded)) == encoded


@given(st.dictionaries(texts, st.integers(0, 5), max_size=6), st.randoms())
def test_the_order_of_names_does_not_matter(members: dict[str, int], random: Any) -> None:  # noqa: ANN401 - hypothesis gives no type
    names = list(members)
    random.shuffle(names)
    assert canonical_json({name: members[name] for name in names}) == canonical_json(members)


def test_canonical_json_follows_rfc_8785() -> None:
    # Names are sorted by UTF-16 code units: a character beyond the first plane comes before U+FB33.
    names = {"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "\r": 4, "1": 5, "\x80": 6, "\u00f6": 7}
    assert canonical_json(names) == (
        '{"\\r":4,"1":5,"\x80":6,"\u00f6":7,"\u20ac":3,"\U0001f600":2,"\ufb33":1}'.encode()
    )
    assert canonical_json('\b\t\n\f\r"\\/\x0f\x7f<é') == '"\\b\\t\\n\\f\\r\\"\\\\/\\u000f\x7f<é"'.encode()
    assert canonical_json((True, None, -5)) == b"[true,null,-5]"


def _nested(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), 2**53, -(2**53), "a\0b", "\ud800", {1: 2}, {"a\0": 1}, b"x", {1}, _nested(20)],
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(NotCanonical):
        canonical_json({"detail": [value]})


def test_an_event_has_a_largest_size() -> None:
    with pytest.raises(NotCanonical, match="digest"):
        canonical(dataclasses.replace(EVENT, detail={"content": "x" * MAXIMUM_EVENT_BYTES}))


def test_a_stored_row_gives_the_event_again_even_with_words_unknown_to_this_version() -> None:
    row = dataclasses.asdict(EVENT)
    assert AuditEvent.from_stored(row) == EVENT
    later = AuditEvent.from_stored({**row, "action": "moon.landed"})
    assert b'"moon.landed"' in canonical(later)


def test_actions_are_nouns_with_verbs_and_each_is_named_after_its_value() -> None:
    for action in Action:
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", action)
        assert action.name == action.replace(".", "_").upper()
    assert len(set(Action)) == len(list(Action))


def test_the_kernels_actors_are_actors_of_events() -> None:
    assert {kind.value for kind in ActorKind} <= {kind.value for kind in EventActor}
