"""The strict wrapper around JOSE signatures, and the public vectors of attacks."""

import base64
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey, OctKey

from operalta.sealing.errors import BadSignature, UnusableKey
from operalta.sealing.jws import (
    LONGEST_COMPACT,
    JoseKey,
    decode_base64url,
    encode_base64url,
    parse_object,
    verification_key,
    verification_key_set,
    verify_compact,
)

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "wycheproof"
FILES = ("json_web_signature_test.json", "json_web_crypto_test.json", "json_web_key_test.json")

# Valid by the standard, and refused here on purpose.
REFUSED_ON_PURPOSE = {
    ("json_web_signature_test.json", 346): "the key is for PS256, the token says PS384",
    ("json_web_signature_test.json", 347): "the key is for ES521, which is not an algorithm",
    ("json_web_signature_test.json", 350): "the key is for PS256, the token says PS384",
    ("json_web_signature_test.json", 351): "the key is for ES521, which is not an algorithm",
    **{("json_web_signature_test.json", number): "the secret is 32 zero bytes" for number in (357, 358, 359)},
    **{("json_web_signature_test.json", number): "as before, and a sign is not base64url" for number in (372, 373)},
    **{("json_web_signature_test.json", number): "the secret is 32 zero bytes" for number in (376, 377)},
    ("json_web_crypto_test.json", 50): "encrypted, not signed",
    ("json_web_crypto_test.json", 67): "encrypted, not signed",
}

Jwk = dict[str, Any]


def keys_of(group: dict[str, Any]) -> tuple[JoseKey, ...]:
    given = cast("Jwk", group.get("public", group["private"]))
    return verification_key_set(given) if "keys" in given else (verification_key(given),)


def vectors() -> Iterator[tuple[str, int, dict[str, Any], object, bool]]:
    for file in FILES:
        content = json.loads((VECTORS / file).read_text(encoding="utf-8"))
        for group in content["testGroups"]:
            for test in group["tests"]:
                compact = test["jws"] if "jws" in test else test["jwe"]
                yield file, test["tcId"], group, compact, test["result"] == "valid"


def is_accepted(group: dict[str, Any], compact: object) -> bool:
    if not isinstance(compact, str):
        return False  # JSON serialisation, or nothing: the wrapper takes text only
    try:
        verify_compact(compact, keys_of(group))
    except (BadSignature, UnusableKey):
        return False
    return True


@pytest.mark.external
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # the weak keys are the point
@pytest.mark.proves("3.3.3")
def test_public_vectors_give_no_false_accept() -> None:
    if not VECTORS.is_dir():
        pytest.skip("not run: the public JOSE vectors are not at hand")
    outcomes: Counter[str] = Counter()
    false_accepts: list[tuple[str, int]] = []
    refused: set[tuple[str, int]] = set()
    for file, number, group, compact, valid in vectors():
        accepted = is_accepted(group, compact)
        outcomes[f"valid={valid} accepted={accepted}"] += 1
        if accepted and not valid:
            false_accepts.append((file, number))
        if valid and not accepted:
            refused.add((file, number))
    print(dict(outcomes), REFUSED_ON_PURPOSE)  # noqa: T201 - the list is the test's output
    assert false_accepts == []
    assert refused == set(REFUSED_ON_PURPOSE)
    assert sum(outcomes.values()) == 510


# ── One key of ours, and every way to bend a token ───────────────────────────────────────────────────

PRIVATE = ECKey.generate_key("P-256")
JWK: Jwk = {**PRIVATE.as_dict(private=False), "kid": "k1", "alg": "ES256", "use": "sig"}
KEYS = (verification_key(JWK),)


def signed(header: dict[str, Any], payload: bytes = b'{"a":1}', key: ECKey = PRIVATE) -> str:
    """Sign with any header at all, past the library's checks."""
    first = encode_base64url(json.dumps(header).encode()) + "." + encode_base64url(payload)
    algorithm = joserfc_jws.JWSRegistry.algorithms["ES256"]
    return first + "." + encode_base64url(algorithm.sign(first.encode(), key))


GOOD = signed({"alg": "ES256", "kid": "k1", "typ": "at+jwt"})


def test_a_good_token_passes() -> None:
    verified = verify_compact(GOOD, KEYS)
    assert verified.payload == b'{"a":1}'
    assert verified.header == {"alg": "ES256", "kid": "k1", "typ": "at+jwt"}


@pytest.mark.proves("3.3.3")
@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "kid": "k1"},
        {"alg": "HS256", "kid": "k1"},
        {"alg": "ES384", "kid": "k1"},
        {"alg": "es256", "kid": "k1"},
        {"alg": "ES256"},
        {"kid": "k1"},
        {"alg": "ES256", "kid": "k2"},
        {"alg": "ES256", "kid": ""},
        {"alg": "ES256", "kid": ["k1"]},
        {"alg": ["ES256"], "kid": "k1"},
        {"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": True},
        {"alg": "ES256", "kid": "k1", "b64": False},
        {"alg": "ES256", "kid": "k1", "jwk": JWK},
        {"alg": "ES256", "kid": "k1", "jku": "https://example.org/keys"},
        {"alg": "ES256", "kid": "k1", "x5c": ["AA=="]},
        {"alg": "ES256", "kid": "k1", "x5u": "https://example.org/chain"},
        {"alg": "ES256", "kid": "k1", "zip": "DEF"},
        {"alg": "ES256", "kid": "k1", "typ": None},
        {"alg": "ES256", "kid": "k1", "typ": "x" * 600},
        [],
        "ES256",
    ],
)
def test_a_token_whose_header_asks_for_something_is_refused(header: Any) -> None:  # noqa: ANN401 - any JSON
    with pytest.raises(BadSignature):
        verify_compact(signed(header), KEYS)


def test_a_header_with_a_member_twice_is_refused() -> None:
    first = encode_base64url(b'{"alg":"ES256","kid":"k1","kid":"k1"}') + "." + encode_base64url(b"{}")
    algorithm = joserfc_jws.JWSRegistry.algorithms["ES256"]
    compact = first + "." + encode_base64url(algorithm.sign(first.encode(), PRIVATE))
    with pytest.raises(BadSignature):
        verify_compact(compact, KEYS)


def bent() -> Iterator[str]:
    header, payload, signature = GOOD.split(".")
    yield ""
    yield ".."
    yield header
    yield f"{header}.{payload}"
    yield f"{header}.{payload}."
    yield f".{payload}.{signature}"
    yield f"{header}..{signature}"
    yield f"{GOOD}."
    yield f"{GOOD}.{signature}"
    yield f" {GOOD}"
    yield f"{GOOD}\n"
    yield f"{header}.{payload}.{signature}=="
    yield f"{header}.{payload}=.{signature}"
    yield f"{header}.{payload}.{signature[:-2]} {signature[-2:]}"
    yield f"{header}.{payload}.{signature.replace('_', '/').replace('-', '+')}/"
    yield f"{header}.{payload}.{signature}A"
    yield f"{header}.{payload}.{encode_base64url(bytes(64))}"
    yield f"{header}.{payload}.{encode_base64url(decode_base64url(signature) + b'x')}"
    yield GOOD + "A" * 20_000
    yield GOOD.replace(".", "\u3002")
    # The last sign of 64 bytes carries four unused bits: other spellings of the same signature.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    yield from (f"{header}.{payload}.{signature[:-1]}{sign}" for sign in alphabet if sign != signature[-1])


@pytest.mark.proves("3.3.3")
def test_a_token_has_one_spelling() -> None:
    for compact in bent():
        with pytest.raises(BadSignature):
            verify_compact(compact, KEYS)


def test_a_token_has_a_greatest_length() -> None:
    header = {"alg": "ES256", "kid": "k1"}
    spent = len(signed(header, b""))
    assert verify_compact(signed(header, bytes((LONGEST_COMPACT - spent) * 3 // 4)), KEYS)
    with pytest.raises(BadSignature):
        verify_compact(signed(header, bytes((LONGEST_COMPACT - spent) * 3 // 4 + 2)), KEYS)


@pytest.mark.proves("3.3.3")
def test_every_altered_sign_is_noticed() -> None:
    for position, sign in enumerate(GOOD):
        altered = GOOD[:position] + ("A" if sign != "A" else "B") + GOOD[position + 1 :]
        with pytest.raises(BadSignature):
            verify_compact(altered, KEYS)


@pytest.mark.proves("3.3.3")
def test_form_and_algorithm_are_decided_before_the_library_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a release of it that forgives more changes nothing."""

    def accept(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr(joserfc_jws, "deserialize_compact", accept)
    good = {"alg": "ES256", "kid": "k1"}
    signature = encode_base64url(bytes(64))
    verify_compact(f"{signed(good).rpartition('.')[0]}.{signature}", KEYS)
    for header in ({**good, "alg": "ES384"}, {**good, "typ": None}, {**good, "typ": "x" * 600}, {**good, "b64": "x"}):
        with pytest.raises(BadSignature):
            verify_compact(signed(header), KEYS)
    for bad in (f"{signature}==", f"{signature[:-1]}B", f"{signature}.", f"{signature}+"):
        with pytest.raises(BadSignature):
            verify_compact(f"{signed(good).rpartition('.')[0]}.{bad}", KEYS)


@pytest.mark.proves("3.3.3")
def test_a_token_of_a_foreign_key_is_refused() -> None:
    with pytest.raises(BadSignature):
        verify_compact(signed({"alg": "ES256", "kid": "k1"}, key=ECKey.generate_key("P-256")), KEYS)


@pytest.mark.proves("3.3.3")
def test_a_public_key_does_not_serve_as_a_secret() -> None:
    pem = PRIVATE.as_pem(private=False)
    first = ".".join(encode_base64url(part) for part in (b'{"alg":"HS256","kid":"k1"}', b"{}"))
    for secret in (pem, json.dumps(JWK).encode()):
        algorithm = joserfc_jws.JWSRegistry.algorithms["HS256"]
        signature = algorithm.sign(first.encode(), OctKey.import_key(base64.urlsafe_b64encode(secret)))
        with pytest.raises(BadSignature):
            verify_compact(f"{first}.{encode_base64url(signature)}", KEYS)


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": ["verify", "encrypt"]},
        {"key_ops": "verify"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": "none"},
        {"alg": None},
        {"kid": None},
        {"kid": ""},
        {"kty": "oct"},
        {"crv": "P-384"},
        {"x": "AAAA"},
        {"y": JWK["x"]},
        {"d": "AAAA"},
        {"d": PRIVATE.as_dict(private=True)["d"]},
    ],
)
def test_a_key_that_is_not_exactly_for_this_is_refused(change: Jwk) -> None:
    with pytest.raises(UnusableKey):
        verification_key({**JWK, **change})


def secret_jwk(size: int, secret: bytes) -> Jwk:
    return {"kty": "oct", "alg": f"HS{size}", "kid": "s", "k": encode_base64url(secret)}


@pytest.mark.parametrize("size", [256, 384, 512])
def test_a_secret_key_is_as_long_as_its_hash_and_not_one_byte_repeated(size: int) -> None:
    secret = bytes(range(size // 8))
    assert verification_key(secret_jwk(size, secret)).algorithm == f"HS{size}"
    for weak in (secret[:-1], bytes(size // 8), b"\xff" * 64, b""):
        with pytest.raises(UnusableKey):
            verification_key(secret_jwk(size, weak))


def rsa_jwk(modulus: int, exponent: int = 65_537) -> Jwk:
    n, e = (encode_base64url(number.to_bytes((number.bit_length() + 7) // 8)) for number in (modulus, exponent))
    return {"kty": "RSA", "alg": "RS256", "kid": "r", "n": n, "e": e}


def guessable_modulus(bits: int) -> int:
    """A number with the mark of CVE-2017-15361, of some 2,048 bits."""
    primes = [number for number in range(3, 168) if all(number % divisor for divisor in range(2, number))]
    product = math.prod(primes)
    found = pow(65_537, 7, product) + product * (1 << (bits - product.bit_length()))
    return found if found % 2 else found + product


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # the weak keys are the point
def test_an_rsa_key_has_a_fitting_size_and_exponent_and_no_known_flaw() -> None:
    modulus = rsa.generate_private_key(65_537, 2048).public_key().public_numbers().n
    assert verification_key(rsa_jwk(modulus)).algorithm == "RS256"
    assert guessable_modulus(2048).bit_length() in range(2048, 8193)
    for weak in (
        rsa_jwk(modulus, 3),
        rsa_jwk(modulus, 65_535),
        rsa_jwk(modulus, 65_538),
        rsa_jwk(modulus >> 8 | 1),
        rsa_jwk(modulus << 7000 | 1),
        rsa_jwk(guessable_modulus(2048)),
    ):
        with pytest.raises(UnusableKey):
            verification_key(weak)


def test_sets_with_one_name_twice_or_of_mixed_kinds_are_refused() -> None:
    secret = secret_jwk(256, bytes(range(32)))
    assert len(verification_key_set({"keys": [JWK, {**JWK, "kid": "k2"}]})) == 2
    for keys in ([JWK, JWK], [JWK, secret], [], ["x"], None, [{**JWK, "use": "enc"}]):
        with pytest.raises(UnusableKey):
            verification_key_set({"keys": keys})


@pytest.mark.parametrize("text", ["AB", "AA=", "AA==", "A A", "AA\n", "A", "AA+/", "\u0410\u0410"])
def test_only_the_canonical_spelling_of_bytes_is_read(text: str) -> None:
    assert decode_base64url("AA") == b"\x00"
    with pytest.raises(BadSignature):
        decode_base64url(text)


@pytest.mark.parametrize(
    "text", [b"[]", b"1", b'{"a":{}}', b'{"a":[]}', b'{"a":1,"a":1}', b'{"a":NaN}', b"\xff", b"", b"{" * 9000]
)
def test_only_flat_unambiguous_objects_are_read(text: bytes) -> None:
    with pytest.raises(BadSignature):
        parse_object(text)
