"""Access tokens: what they say, when they hold, and every way in which they do not."""

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from operalta.identity.tokens import (
    ACCESS_SECONDS,
    AccessTokens,
    InvalidToken,
    derive_secret,
    digest,
    issuer_name,
    new_secret,
)
from operalta.kernel import clock
from operalta.kernel.ids import PersonId, SessionId
from operalta.sealing.jws import decode_base64url, sign_compact
from operalta.sealing.keys import RootKeys, new_root_key_text
from operalta.sealing.signing import SigningKeyRing, SigningPurpose

PERSON = PersonId(UUID("01890a5d-ac96-774b-bcce-b302099a8057"))
SESSION = SessionId(UUID("01890a5d-ac96-774b-bcce-b302099a8058"))
SECRET = new_secret()
ISSUER = issuer_name("https://operalta.example", "production")
AUDIENCE = "operalta"
HOUR = timedelta(hours=1)

MoveTime = Callable[[float], None]


@pytest.fixture
def ring(tmp_path: Path) -> SigningKeyRing:
    return SigningKeyRing(tmp_path, RootKeys.from_text(new_root_key_text()), SigningPurpose.ACCESS_TOKEN)


@pytest.fixture
def tokens(ring: SigningKeyRing) -> AccessTokens:
    return AccessTokens(ring, issuer=ISSUER, audience=AUDIENCE)


@pytest.fixture
def move_time(monkeypatch: pytest.MonkeyPatch) -> MoveTime:
    """Stop the clock at a whole second, and move it by seconds from there."""
    start = clock.now().replace(microsecond=0)
    present: list[datetime] = [start]
    monkeypatch.setattr(clock, "now", lambda: present[0])

    def move(seconds: float) -> None:
        present[0] = start + timedelta(seconds=seconds)

    return move


def issue(tokens: AccessTokens) -> str:
    return tokens.issue_access(person=PERSON, session=SESSION, session_secret=SECRET)


def forge(ring: SigningKeyRing, *, typ: str = "at+jwt", **changes: Any) -> str:  # noqa: ANN401 - any JSON
    """Sign claims with the right key that differ from those of a good token; None removes one."""
    now = clock.unix_seconds()
    claims: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(PERSON),
        "sid": str(SESSION),
        "sec": SECRET,
        "iat": now,
        "exp": now + ACCESS_SECONDS,
    }
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    key = ring.current()
    return sign_compact(json.dumps(claims).encode(), key.private_pem(), algorithm="ES256", kid=key.kid, typ=typ)


@pytest.mark.proves("2.3.1")
def test_a_token_says_who_presents_it_and_for_how_long(tokens: AccessTokens, ring: SigningKeyRing) -> None:
    token = issue(tokens)
    claims = tokens.verify_access(token)
    assert (claims.person_id, claims.session_id, claims.session_secret) == (PERSON, SESSION, SECRET)
    assert claims.expires_at - claims.issued_at == 600
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header == {"alg": "ES256", "typ": "at+jwt", "kid": ring.current().kid}
    assert SECRET not in repr(claims)


def test_a_forged_token_without_changes_is_a_good_one(tokens: AccessTokens, ring: SigningKeyRing) -> None:
    """Or the refusals below would prove nothing."""
    assert tokens.verify_access(forge(ring)).person_id == PERSON
    assert tokens.verify_access(forge(ring, nbf=clock.unix_seconds())).person_id == PERSON


@pytest.mark.proves("3.3.3")
@pytest.mark.parametrize(
    "changes",
    [
        {"iss": issuer_name("https://operalta.example", "local")},
        {"iss": issuer_name("https://other.example", "production")},
        {"iss": None},
        {"aud": "another"},
        {"aud": [AUDIENCE]},
        {"aud": None},
        {"sub": None},
        {"sub": str(PERSON).upper()},
        {"sub": PERSON.hex},
        {"sub": "me"},
        {"sub": 7},
        {"sid": None},
        {"sid": "0"},
        {"sec": None},
        {"sec": ""},
        {"sec": SECRET + "="},
        {"sec": SECRET[:-1]},
        {"sec": 5},
        {"iat": None},
        {"iat": "0"},
        {"iat": True},
        {"iat": -1},
        {"iat": 1.5},
        {"exp": None},
        {"exp": 10**18},
        {"exp": 0},
        {"nbf": "now"},
        {"role": "founder"},
        {"jti": "x"},
        {"typ": "JWT"},
        {"typ": "refresh+jwt"},
    ],
)
def test_claims_that_are_not_exactly_ours_are_refused(
    changes: dict[str, Any], tokens: AccessTokens, ring: SigningKeyRing
) -> None:
    token = forge(ring, **changes)
    for _ in range(2):
        with pytest.raises(InvalidToken):
            tokens.verify_access(token)


@pytest.mark.proves("3.3.3")
def test_a_token_holds_from_its_issue_until_ten_minutes_later(tokens: AccessTokens, move_time: MoveTime) -> None:
    move_time(0)
    token = issue(tokens)
    for seconds in (-2, 0, 599, 601):
        move_time(seconds)
        tokens.verify_access(token)
    for seconds in (-3, 602, 10_000):
        move_time(seconds)
        with pytest.raises(InvalidToken):
            tokens.verify_access(token)


@pytest.mark.proves("3.3.3")
def test_a_token_from_the_future_is_refused(tokens: AccessTokens, ring: SigningKeyRing, move_time: MoveTime) -> None:
    move_time(0)
    now = clock.unix_seconds()
    early: list[dict[str, Any]] = [{"iat": now + 3, "exp": now + 60}, {"nbf": now + 3}]
    for changes in early:
        with pytest.raises(InvalidToken):
            tokens.verify_access(forge(ring, **changes))


@pytest.mark.parametrize("leeway", [-1, 6])
def test_the_leeway_is_bounded(leeway: int, ring: SigningKeyRing) -> None:
    with pytest.raises(ValueError, match="leeway"):
        AccessTokens(ring, issuer=ISSUER, audience=AUDIENCE, leeway_seconds=leeway)


@pytest.mark.proves("3.3.3")
def test_deployments_and_profiles_refuse_each_others_tokens(tokens: AccessTokens, ring: SigningKeyRing) -> None:
    """Even with the same keys."""
    for issuer, audience in [
        (issuer_name("https://operalta.example", "local"), AUDIENCE),
        (issuer_name("https://other.example", "production"), AUDIENCE),
        (ISSUER, "another"),
    ]:
        other = AccessTokens(ring, issuer=issuer, audience=audience)
        with pytest.raises(InvalidToken):
            tokens.verify_access(issue(other))
        with pytest.raises(InvalidToken):
            other.verify_access(issue(tokens))


@pytest.mark.proves("3.3.3")
def test_a_token_of_a_foreign_key_is_refused(tokens: AccessTokens, tmp_path: Path) -> None:
    roots = RootKeys.from_text(new_root_key_text())
    foreign = SigningKeyRing(tmp_path / "foreign", roots, SigningPurpose.ACCESS_TOKEN)
    with pytest.raises(InvalidToken):
        tokens.verify_access(issue(AccessTokens(foreign, issuer=ISSUER, audience=AUDIENCE)))


@pytest.mark.proves("3.3.3")
def test_every_altered_sign_is_noticed_also_after_the_token_was_seen(tokens: AccessTokens) -> None:
    token = issue(tokens)
    tokens.verify_access(token)
    for position, sign in enumerate(token):
        altered = token[:position] + ("A" if sign != "A" else "B") + token[position + 1 :]
        with pytest.raises(InvalidToken):
            tokens.verify_access(altered)


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "\ud800", "é.é.é", "A" * 3000, "." * 2048])
def test_what_is_no_token_is_refused(token: str, tokens: AccessTokens) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify_access(token)


def test_a_token_that_is_too_long_is_refused(tokens: AccessTokens, ring: SigningKeyRing) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify_access(forge(ring, iss=ISSUER + "x" * 3000))


@pytest.mark.proves("3.3.3")
def test_a_remembered_token_still_expires_and_ends_with_its_key(
    tokens: AccessTokens, ring: SigningKeyRing, move_time: MoveTime
) -> None:
    move_time(0)
    token = issue(tokens)
    tokens.verify_access(token)
    ring.rotate(HOUR)
    assert tokens.verify_access(token).person_id == PERSON
    ring.retire(timedelta(0))
    with pytest.raises(InvalidToken):
        tokens.verify_access(token)
    fresh = issue(tokens)
    tokens.verify_access(fresh)
    move_time(700)
    with pytest.raises(InvalidToken):
        tokens.verify_access(fresh)


@pytest.mark.proves("3.3.3")
def test_a_token_of_the_key_before_holds_for_the_overlap_in_every_process(tmp_path: Path, move_time: MoveTime) -> None:
    roots = RootKeys.from_text(new_root_key_text())
    rings = [SigningKeyRing(tmp_path, roots, SigningPurpose.ACCESS_TOKEN) for _ in range(2)]
    here, elsewhere = (AccessTokens(ring, issuer=ISSUER, audience=AUDIENCE) for ring in rings)
    move_time(0)
    rings[0].current()
    move_time(HOUR.total_seconds() - 60)
    token, unseen = issue(here), issue(here)
    rings[0].rotate(HOUR)
    move_time(HOUR.total_seconds())
    rings[0].retire(HOUR)
    assert elsewhere.verify_access(token).person_id == PERSON
    assert elsewhere.verify_access(issue(here)).person_id == PERSON
    rings[0].retire(timedelta(seconds=60))
    for late in (token, unseen):
        with pytest.raises(InvalidToken):
            elsewhere.verify_access(late)


def test_memory_is_bounded(ring: SigningKeyRing) -> None:
    tokens = AccessTokens(ring, issuer=ISSUER, audience=AUDIENCE, remembered=3)
    issued = [
        tokens.issue_access(person=PERSON, session=SessionId(uuid4()), session_secret=new_secret()) for _ in range(6)
    ]
    for token in issued + issued:
        tokens.verify_access(token)
    assert len(tokens._checked) == 3  # pyright: ignore[reportPrivateUsage] - the bound is not to be seen otherwise


def test_only_the_ring_for_access_tokens_is_taken(tmp_path: Path) -> None:
    audit = SigningKeyRing(tmp_path, RootKeys.from_text(new_root_key_text()), SigningPurpose.AUDIT)
    with pytest.raises(ValueError, match="ring"):
        AccessTokens(audit, issuer=ISSUER, audience=AUDIENCE)


def test_only_secrets_of_ours_go_into_a_token(tokens: AccessTokens) -> None:
    for secret in ("", "short", SECRET + "A", SECRET[:-1] + "="):
        with pytest.raises(ValueError, match="32 bytes"):
            tokens.issue_access(person=PERSON, session=SESSION, session_secret=secret)


# ── Opaque secrets ───────────────────────────────────────────────────────────────────────────────────


def test_new_secrets_are_thirty_two_random_bytes() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(decode_base64url(secret)) for secret in made} == {32}


def test_the_digest_is_sha_256() -> None:
    assert digest("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len(digest("\ud800")) == 32


def test_a_step_of_a_session_has_one_secret_and_no_other_step_has_it() -> None:
    key = b"k" * 32
    first = derive_secret(key, "refresh", SESSION, 1)
    assert first == derive_secret(key, "refresh", SESSION, 1)
    assert len(decode_base64url(first)) == 32
    others = {
        derive_secret(b"l" * 32, "refresh", SESSION, 1),
        derive_secret(key, "session", SESSION, 1),
        derive_secret(key, "refresh", SessionId(uuid4()), 1),
        derive_secret(key, "refresh", SESSION, 2),
        derive_secret(key, "refresh", SESSION, 11),
    }
    assert len(others | {first}) == 6


@pytest.mark.parametrize(("key", "label", "counter"), [(b"k", "a", 1), (b"k" * 32, "a|b", 1), (b"k" * 32, "a", -1)])
def test_steps_that_could_be_mistaken_are_refused(key: bytes, label: str, counter: int) -> None:
    with pytest.raises(ValueError, match=r"key|label"):
        derive_secret(key, label, SESSION, counter)
