"""Access tokens that must open nothing: altered, resigned, expired, or of another deployment."""

import base64
import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from operalta.assurance.client import ACCESS, Browser
from operalta.kernel import clock
from operalta.operations.root_keys import root_keys
from operalta.sealing.jws import sign_compact
from operalta.sealing.signing import SigningKey, SigningKeyRing, SigningPurpose
from operalta.settings import Settings

_TYPE = "at+jwt"
_HOUR = 3600


def forged_tokens(settings: Settings, good: str) -> dict[str, str]:
    """Return bad tokens by what is wrong with them, all made of a good one of this deployment."""
    head, body, signature = good.split(".")
    claims: dict[str, Any] = json.loads(_decoded(body))
    header: dict[str, Any] = json.loads(_decoded(head))
    key = _signing_key(settings)
    past = clock.unix_seconds() - _HOUR
    local = str(claims["iss"]).partition("#")[0] + "#local"
    foreign = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    payload = json.dumps(claims).encode()
    return {
        "with another person's id": f"{head}.{_encoded({**claims, 'sub': str(claims['sid'])})}.{signature}",
        "without a signature": f"{_encoded({**header, 'alg': 'none'})}.{body}.",
        "signed with the public key as a shared secret": _with_shared_secret(header, body, key),
        "signed by a key of somebody else": sign_compact(
            payload, foreign, algorithm="ES256", kid=str(header["kid"]), typ=_TYPE
        ),
        "that has expired": _signed(key, {**claims, "iat": past, "exp": past + 600}),
        "that lives longer than tokens do": _signed(key, {**claims, "exp": clock.unix_seconds() + _HOUR}),
        "of a deployment in another profile": _signed(key, {**claims, "iss": local}),
        "for another audience": _signed(key, {**claims, "aud": "somebody-else"}),
        "of another type": sign_compact(payload, key.private_pem(), algorithm="ES256", kid=key.kid, typ="JWT"),
        "that is no token": "nonsense",
    }


def _signing_key(settings: Settings) -> SigningKey:
    roots = root_keys(settings)
    return SigningKeyRing(settings.var / "signing-keys", roots, SigningPurpose.ACCESS_TOKEN).current()


def _signed(key: SigningKey, claims: dict[str, Any]) -> str:
    return sign_compact(json.dumps(claims).encode(), key.private_pem(), algorithm="ES256", kid=key.kid, typ=_TYPE)


def _with_shared_secret(header: dict[str, Any], body: str, key: SigningKey) -> str:
    signed = f"{_encoded({**header, 'alg': 'HS256'})}.{body}"
    code = hmac.new(key.public_pem().encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(code).rstrip(b'=').decode()}"


def _encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def session_secret(browser: Browser) -> str:
    """Return the secret that opens the scope of the session that a browser holds."""
    claims: dict[str, Any] = json.loads(_decoded(browser.cookies[ACCESS].split(".")[1]))
    return str(claims["sec"])
