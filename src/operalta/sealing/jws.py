"""Signatures in JOSE's compact form (RFC 7515 section 7.1), with everything optional refused.

joserfc does the arithmetic; this wrapper decides what reaches it. A key says which single algorithm it is
for, the token only which key it wants: nothing in a token chooses an algorithm, brings a key, or asks for an
extension. Each accepted token has one spelling.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey, import_key
from joserfc.registry import Header

from operalta.sealing.errors import BadSignature, UnusableKey
from operalta.terms.registry import upholds

LONGEST_COMPACT = 16 * 1024
LONGEST_HEADER = 512
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_HEADER_MEMBERS = frozenset({"alg", "kid", "typ"})
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
_RSA_BITS = range(2048, 8193)
_SMALLEST_RSA_EXPONENT = 65_537
_HASH_BYTES = {"256": 32, "384": 48, "512": 64}
_KEY_TYPES = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "Ed25519": ("OKP", "Ed25519"),
    **{f"{family}{size}": ("RSA", None) for family in ("RS", "PS") for size in _HASH_BYTES},
    **{f"HS{size}": ("oct", None) for size in _HASH_BYTES},
}

_Key = ECKey | OKPKey | RSAKey | OctKey


@dataclass(frozen=True, slots=True)
class JoseKey:
    """A key, its name and the one algorithm that it is for."""

    kid: str
    algorithm: str
    key: _Key


@dataclass(frozen=True, slots=True)
class Verified:
    """What a signature was found to cover."""

    header: Mapping[str, str]
    payload: bytes


def verification_key(jwk: Mapping[str, object]) -> JoseKey:
    """Read a key that verifies, from a JWK (RFC 7517). Raise `UnusableKey` with the reason.

    It must have `kid` and `alg`; `alg` must fit its type, curve and size; `use` and `key_ops`, where given,
    must be for signatures; an asymmetric key must be public.
    """
    algorithm, kid = jwk.get("alg"), jwk.get("kid")
    if not isinstance(algorithm, str) or algorithm not in _KEY_TYPES:
        raise UnusableKey("the key's `alg` is missing or not a signature algorithm in use")
    if not isinstance(kid, str) or not kid:
        raise UnusableKey("the key has no `kid`")
    if (jwk.get("kty"), jwk.get("crv")) != _KEY_TYPES[algorithm]:
        raise UnusableKey("the key's `alg` does not fit its type and curve")
    if jwk.get("use", "sig") != "sig" or jwk.get("key_ops", ["verify"]) not in (["verify"], ["sign", "verify"]):
        raise UnusableKey("the key is not for verifying signatures")
    if _PRIVATE_MEMBERS & jwk.keys():
        raise UnusableKey("a private key is not given to those who verify")
    try:
        key = import_key(cast("dict[str, str | list[str]]", dict(jwk)))
    except (JoseError, ValueError, TypeError, KeyError):
        raise UnusableKey("the key's members are not valid") from None
    _check_strength(key, algorithm)
    return JoseKey(kid, algorithm, key)


def verification_key_set(jwks: Mapping[str, object]) -> tuple[JoseKey, ...]:
    """Read a set of keys (RFC 7517 section 5); one unusable key makes the set unusable.

    Names must be unique, and secret and public keys do not stand in one set: a set that is partly secret is
    published, or partly public is trusted, by mistake.
    """
    members = jwks.get("keys")
    if not isinstance(members, list) or not members:
        raise UnusableKey("a key set has a list of keys")
    keys: list[JoseKey] = []
    for member in cast("list[object]", members):
        if not isinstance(member, dict):
            raise UnusableKey("a key is an object")
        keys.append(verification_key(cast("dict[str, object]", member)))
    if len({key.kid for key in keys}) != len(keys):
        raise UnusableKey("two keys of the set have the same `kid`")
    if len({isinstance(key.key, OctKey) for key in keys}) > 1:
        raise UnusableKey("the set mixes secret and public keys")
    return tuple(keys)


@upholds("3.3.3")
def verify_compact(compact: str, keys: Iterable[JoseKey]) -> Verified:
    """Return header and payload if one of `keys`, the one that the header names, has signed them.

    Raise `BadSignature` for everything else; why is not told.
    """
    header_part, payload_part, signature_part = _segments(compact)
    header = _header(header_part)
    payload = decode_base64url(payload_part)
    decode_base64url(signature_part)
    key = next((key for key in keys if key.kid == header["kid"]), None)
    if key is None or header["alg"] != key.algorithm:
        raise BadSignature
    try:
        jws.deserialize_compact(compact, key.key, algorithms=[key.algorithm])
    except (JoseError, ValueError, TypeError):
        raise BadSignature from None
    return Verified(header, payload)


def sign_compact(payload: bytes, private_pem: bytes, *, algorithm: str, kid: str, typ: str) -> str:
    """Return `payload` signed by an elliptic-curve key, in compact form."""
    header: Header = {"alg": algorithm, "kid": kid, "typ": typ}
    return jws.serialize_compact(header, payload, ECKey.import_key(private_pem), algorithms=[algorithm])


def decode_base64url(text: str) -> bytes:
    """Decode the one canonical spelling: no padding, no foreign signs, unused bits zero. Else `BadSignature`."""
    if not _BASE64URL.fullmatch(text):
        raise BadSignature
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise BadSignature from None
    if encode_base64url(decoded) != text:
        raise BadSignature
    return decoded


def encode_base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parse_object(text: bytes) -> dict[str, object]:
    """Read a flat JSON object strictly: UTF-8, no member twice, no NaN, nothing nested. Else `BadSignature`."""
    try:
        value: object = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadSignature from None
    if not isinstance(value, dict):
        raise BadSignature
    members = cast("dict[str, object]", value)
    if any(isinstance(member, dict | list) for member in members.values()):
        raise BadSignature
    return members


def _segments(compact: str) -> tuple[str, str, str]:
    if len(compact) > LONGEST_COMPACT:
        raise BadSignature
    segments = compact.split(".", maxsplit=3)
    match segments:
        case [header, payload, signature] if header and signature and len(header) <= LONGEST_HEADER:
            return header, payload, signature
        case _:
            raise BadSignature


def _header(segment: str) -> dict[str, str]:
    members = parse_object(decode_base64url(segment))
    header = {name: value for name, value in members.items() if isinstance(value, str)}
    if len(header) != len(members) or not {"alg", "kid"} <= header.keys() <= _HEADER_MEMBERS:
        raise BadSignature
    return header


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _check_strength(key: _Key, algorithm: str) -> None:
    """Refuse keys that are too small for their algorithm, or of a kind that is known to be guessable."""
    if isinstance(key, OctKey):
        if len(key.raw_value) < _HASH_BYTES[algorithm[2:]]:
            raise UnusableKey("a secret key has at least the length of its hash (RFC 7518 section 3.2)")
        if len(set(key.raw_value)) == 1:
            raise UnusableKey("a secret key whose bytes are all the same is no secret")
    if isinstance(key, RSAKey):
        public = key.public_key
        numbers = public.public_numbers()
        if public.key_size not in _RSA_BITS or numbers.e < _SMALLEST_RSA_EXPONENT:
            raise UnusableKey("an RSA key has 2,048 to 8,192 bits and an exponent from 65,537")
        if _is_roca(numbers.n):
            raise UnusableKey("the RSA key was made by a library whose keys can be factored (CVE-2017-15361)")


def _is_roca(modulus: int) -> bool:
    """Tell whether a modulus has the mark of CVE-2017-15361: modulo small primes, a power of 65,537."""
    primes = [number for number in range(3, 168) if all(number % divisor for divisor in range(2, number))]
    return all(modulus % prime in {pow(65_537, power, prime) for power in range(prime)} for prime in primes)
