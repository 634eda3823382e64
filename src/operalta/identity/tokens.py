"""Access tokens, and the opaque secrets behind them.

An access token is a JWT (RFC 7519, profile of RFC 9068) that lives ten minutes. It says who presents it and
carries the secret that opens that session's scope; whether the session still lives and what the person may
do is asked of the database on every request, never of the token.
"""

import hashlib
import hmac
import json
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from uuid import UUID

from operalta.kernel import clock
from operalta.kernel.errors import NotSignedIn
from operalta.kernel.ids import PersonId, SessionId
from operalta.sealing.errors import BadSignature
from operalta.sealing.jws import (
    JoseKey,
    decode_base64url,
    encode_base64url,
    parse_object,
    sign_compact,
    verification_key,
    verify_compact,
)
from operalta.sealing.signing import SigningKey, SigningKeyRing, SigningPurpose
from operalta.terms.registry import upholds

ACCESS_SECONDS = 600
LONGEST_TOKEN = 2048
LARGEST_LEEWAY_SECONDS = 5
SECRET_BYTES = 32
_TYPE = "at+jwt"
_CLAIMS = frozenset({"iss", "aud", "sub", "sid", "sec", "iat", "exp"})
_OPTIONAL_CLAIMS = frozenset({"nbf"})


class InvalidToken(NotSignedIn):
    """Your sign-in has expired or is not valid here. Sign in again."""


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a valid access token says. `session_secret` opens the session's scope; times are Unix seconds."""

    person_id: PersonId
    session_id: SessionId
    session_secret: str = field(repr=False)
    issued_at: int
    expires_at: int
    not_before: int


@dataclass(frozen=True, slots=True)
class _Checked:
    """A token whose signature held under `key`."""

    claims: AccessClaims
    key: SigningKey


def issuer_name(base_url: str, profile: str) -> str:
    """Return the issuer of a deployment's tokens: other deployments and profiles refuse them."""
    return f"{base_url}#{profile}"


class AccessTokens:
    """Issues and checks the access tokens of one deployment.

    `ring` holds the keys, `issuer` comes from `issuer_name`, `audience` names what the tokens open.
    `leeway_seconds`, at most 5, forgives the clocks of several machines. `remembered` tokens keep the result
    of their signature's check, nothing else: times, and whether the key is still in the ring, are looked at
    each time.
    """

    def __init__(
        self,
        ring: SigningKeyRing,
        *,
        issuer: str,
        audience: str,
        leeway_seconds: int = 2,
        remembered: int = 4096,
    ) -> None:
        if ring.purpose is not SigningPurpose.ACCESS_TOKEN:
            raise ValueError("access tokens are signed by the ring that is for them")
        if not 0 <= leeway_seconds <= LARGEST_LEEWAY_SECONDS:
            raise ValueError(f"the leeway lies between 0 and {LARGEST_LEEWAY_SECONDS} seconds")
        self._ring = ring
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway_seconds
        self._remembered = remembered
        self._checked: OrderedDict[bytes, _Checked] = OrderedDict()
        self._lock = threading.Lock()

    @upholds("2.3.1")
    def issue_access(self, *, person: PersonId, session: SessionId, session_secret: str) -> str:
        """Return a token that is valid from now for ten minutes. `session_secret` is from `new_secret`."""
        _require_secret(session_secret)
        now = clock.unix_seconds()
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(person),
            "sid": str(session),
            "sec": session_secret,
            "iat": now,
            "exp": now + ACCESS_SECONDS,
        }
        key = self._ring.current()
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return sign_compact(payload, key.private_pem(), algorithm=key.algorithm, kid=key.kid, typ=_TYPE)

    @upholds("2.3.1", "3.3.3")
    def verify_access(self, token: str) -> AccessClaims:
        """Return what a token says if it is ours, whole, and of this time. Raise `InvalidToken` otherwise."""
        if not 0 < len(token) <= LONGEST_TOKEN or not token.isascii():
            raise InvalidToken
        name = hashlib.sha256(token.encode()).digest()
        with self._lock:
            checked = self._checked.get(name)
            if checked is not None:
                self._checked.move_to_end(name)
        if checked is None or self._ring.find(checked.key.kid) is None:
            checked = self._check(token)
            self._remember(name, checked)
        self._check_times(checked.claims)
        return checked.claims

    def _check(self, token: str) -> _Checked:
        """Check everything that does not change with time."""
        keys = {key.kid: key for key in self._ring.all_keys()}
        try:
            verified = verify_compact(token, [_verifying(key) for key in keys.values()])
            claims = parse_object(verified.payload)
        except BadSignature:
            raise InvalidToken from None
        if verified.header.get("typ") != _TYPE:
            raise InvalidToken
        return _Checked(self._read(claims), keys[verified.header["kid"]])

    def _read(self, claims: dict[str, object]) -> AccessClaims:
        if not _CLAIMS <= claims.keys() <= _CLAIMS | _OPTIONAL_CLAIMS:
            raise InvalidToken
        if claims["iss"] != self._issuer or claims["aud"] != self._audience:
            raise InvalidToken
        issued_at, expires_at = _seconds(claims["iat"]), _seconds(claims["exp"])
        if not 0 < expires_at - issued_at <= ACCESS_SECONDS:
            raise InvalidToken
        secret = claims["sec"]
        try:
            _require_secret(secret)
        except ValueError:
            raise InvalidToken from None
        return AccessClaims(
            person_id=PersonId(_uuid(claims["sub"])),
            session_id=SessionId(_uuid(claims["sid"])),
            session_secret=str(secret),
            issued_at=issued_at,
            expires_at=expires_at,
            not_before=_seconds(claims.get("nbf", issued_at)),
        )

    def _check_times(self, claims: AccessClaims) -> None:
        now = clock.unix_seconds()
        begins = max(claims.issued_at, claims.not_before)
        if now >= claims.expires_at + self._leeway or now < begins - self._leeway:
            raise InvalidToken

    def _remember(self, name: bytes, checked: _Checked) -> None:
        if not self._remembered:
            return
        with self._lock:
            self._checked[name] = checked
            while len(self._checked) > self._remembered:
                self._checked.popitem(last=False)


def new_secret() -> str:
    """Return a fresh opaque secret: 32 random bytes in base64url, 43 signs."""
    return encode_base64url(secrets.token_bytes(SECRET_BYTES))


def digest(secret: str) -> bytes:
    """Return the SHA-256 digest under which a secret is stored. Only for secrets that cannot be guessed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def derive_secret(key: bytes, label: str, session: SessionId, counter: int) -> str:
    """Return the secret that belongs to this step of a session: base64url of an HMAC-SHA-256.

    The same step always has the same secret, so parallel refreshes of one session get one successor without
    its being stored. `label` keeps uses of one key apart and holds no `|`.
    """
    if len(key) < SECRET_BYTES:
        raise ValueError("the key needs at least 32 bytes")
    if "|" in label or counter < 0:
        raise ValueError("a label holds no `|`, and a counter is not negative")
    step = f"{label}|{session}|{counter}".encode()
    return encode_base64url(hmac.new(key, step, hashlib.sha256).digest())


def _verifying(key: SigningKey) -> JoseKey:
    return verification_key(key.public_jwk())


def _require_secret(secret: object) -> None:
    try:
        fits = isinstance(secret, str) and len(decode_base64url(secret)) == SECRET_BYTES
    except BadSignature:
        fits = False
    if not fits:
        raise ValueError("a session secret is 32 bytes in base64url")


def _seconds(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidToken
    return value


def _uuid(value: object) -> UUID:
    try:
        parsed = UUID(str(value))
    except ValueError:
        raise InvalidToken from None
    if str(parsed) != value:
        raise InvalidToken
    return parsed
