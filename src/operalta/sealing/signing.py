"""Signing keys: a ring for each purpose, in files that the root key wraps, made at first use, rotated.

Access tokens are signed with ES256 (RFC 7518 section 3.4), audit heads and evidence with Ed25519 (RFC 8037).
A key is named by its `kid`, the thumbprint of its public half (RFC 7638). Both halves are under the wrapping,
so a public key cannot be exchanged in its file.
"""

import base64
import hashlib
import json
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)
from pydantic import Base64Bytes, BaseModel, ConfigDict, ValidationError

from operalta.kernel import clock
from operalta.sealing.errors import BadSignature, KeyFileDamaged, Tampered, UnusableKey
from operalta.sealing.files import (
    create_private,
    locked,
    private_folder,
    read_private,
    remove,
    replace_private,
)
from operalta.sealing.keys import RootKeys

_COORDINATE_BYTES = 32
_SETTLED_NANOSECONDS = 1_000_000_000
_PURPOSE = "signing-key"

PrivateKey = ec.EllipticCurvePrivateKey | Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | Ed25519PublicKey


class SigningPurpose(StrEnum):
    """What a ring's keys sign; one never verifies for another."""

    ACCESS_TOKEN = "access-token"  # noqa: S105 - a name
    AUDIT = "audit"
    EVIDENCE = "evidence"

    @property
    def algorithm(self) -> Literal["ES256", "Ed25519"]:
        """The signature algorithm of the purpose."""
        return "ES256" if self is SigningPurpose.ACCESS_TOKEN else "Ed25519"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key of a ring. `private` is None once the key only verifies."""

    purpose: SigningPurpose
    sequence: int
    created_at: datetime
    public: PublicKey
    private: PrivateKey | None = field(repr=False)

    @property
    def algorithm(self) -> str:
        """The name of the algorithm in JOSE (RFC 9864 for Ed25519)."""
        return self.purpose.algorithm

    @property
    def kid(self) -> str:
        """The SHA-256 thumbprint of the public key, in base64url (RFC 7638)."""
        required = json.dumps(_public_members(self.public), sort_keys=True, separators=(",", ":"))
        return _base64url(hashlib.sha256(required.encode()).digest())

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of a signature; raise `UnusableKey` where the private half is gone."""
        match self.private:
            case Ed25519PrivateKey():
                return self.private.sign(message)
            case ec.EllipticCurvePrivateKey():
                r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(SHA256())))
                return r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)
            case _:
                raise UnusableKey("this key was superseded and only verifies")

    def verify(self, message: bytes, signature: bytes) -> None:
        """Return if `signature` is this key's over `message`; raise `BadSignature` otherwise."""
        if len(signature) != 2 * _COORDINATE_BYTES:
            raise BadSignature
        try:
            if isinstance(self.public, Ed25519PublicKey):
                self.public.verify(signature, message)
            else:
                halves = signature[:_COORDINATE_BYTES], signature[_COORDINATE_BYTES:]
                encoded = encode_dss_signature(*(int.from_bytes(half) for half in halves))
                self.public.verify(encoded, message, ec.ECDSA(SHA256()))
        except InvalidSignature:
            raise BadSignature from None

    def public_pem(self) -> str:
        """Return the public key as PEM (SubjectPublicKeyInfo)."""
        return self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def public_jwk(self) -> dict[str, str]:
        """Return the public key as a JWK (RFC 7517)."""
        return {**_public_members(self.public), "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def private_pem(self) -> bytes:
        """Return the private key as PEM (PKCS 8), for a library that signs; raise `UnusableKey` where it is gone."""
        if self.private is None:
            raise UnusableKey("this key was superseded and only verifies")
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class _Halves(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    created_at: datetime
    public: Base64Bytes
    private: Base64Bytes | None


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    root: str
    wrapped: Base64Bytes


class SigningKeyRing:
    """The keys of one `purpose`, in a folder of its name below `folder`. The newest signs; all verify.

    Processes that start or rotate at once end with the same keys. A key that another process made or removed
    is noticed at the next call.
    """

    def __init__(self, folder: Path, roots: RootKeys, purpose: SigningPurpose) -> None:
        self._folder = folder / purpose.value
        self._roots = roots
        self.purpose = purpose
        self._lock = threading.Lock()
        self._keys: dict[str, SigningKey] = {}
        self._seen = -1
        private_folder(self._folder)

    def current(self) -> SigningKey:
        """Return the key that signs, made now if there is none."""
        keys = self.all_keys()
        if not keys:
            self._create(1)
            keys = self.all_keys()
        return keys[-1]

    def find(self, kid: str) -> SigningKey | None:
        """Return the key of this name, or None."""
        return self._refreshed().get(kid)

    def all_keys(self) -> tuple[SigningKey, ...]:
        """Return all keys, the oldest first."""
        return tuple(self._refreshed().values())

    def public_jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return all public keys as a JWK set (RFC 7517 section 5)."""
        return {"keys": [key.public_jwk() for key in self.all_keys()]}

    def rotate(self, overlap: timedelta) -> SigningKey:
        """Make a new key, which signs from now on, then `retire(overlap)`; return the key that signs."""
        self._create(self.current().sequence + 1)
        self.retire(overlap)
        return self.current()

    def retire(self, overlap: timedelta) -> None:
        """Take superseded keys out of use.

        Keys of access tokens are removed `overlap` after their successor was made. Of the others the private
        half goes at once; the public one stays, since what they signed must verify for good.
        """
        with locked(self._folder):
            keys = self.all_keys()
            for key, successor in pairwise(keys):
                if self.purpose is not SigningPurpose.ACCESS_TOKEN:
                    if key.private is not None:
                        replace_private(self._path(key.sequence), self._encode(key, private=False))
                elif successor.created_at + overlap <= clock.now():
                    remove(self._path(key.sequence))
        self._forget()

    def roots(self) -> Counter[str]:
        """Return how many keys each root key wraps, by its id."""
        found: Counter[str] = Counter()
        for path in self._folder.glob("[0-9]*.json"):
            with suppress(FileNotFoundError):
                found[self._load(path).root] += 1
        return found

    def rewrap(self) -> int:
        """Wrap all keys with the root key in use; return how many files changed."""
        changed = 0
        with locked(self._folder):
            for key in self.all_keys():
                path = self._path(key.sequence)
                if self._load(path).root != self._roots.current.id:
                    replace_private(path, self._encode(key, private=True))
                    changed += 1
        self._forget()
        return changed

    def _refreshed(self) -> dict[str, SigningKey]:
        """Return the keys by name, read again where the folder has changed since they were read."""
        modified = self._folder.stat().st_mtime_ns
        with self._lock:
            if modified != self._seen:
                self._keys = self._read_all()
                # A change within the clock's tick would leave the same time: look again until it has settled.
                settled = time.time_ns() - modified > _SETTLED_NANOSECONDS
                self._seen = modified if settled else -1
            return self._keys

    def _forget(self) -> None:
        with self._lock:
            self._seen = -1

    def _path(self, sequence: int) -> Path:
        return self._folder / f"{sequence:06d}.json"

    def _create(self, sequence: int) -> None:
        private = (
            ec.generate_private_key(ec.SECP256R1())
            if self.purpose.algorithm == "ES256"
            else Ed25519PrivateKey.generate()
        )
        key = SigningKey(self.purpose, sequence, clock.now(), private.public_key(), private)
        create_private(self._path(sequence), self._encode(key, private=True))
        self._forget()

    def _encode(self, key: SigningKey, *, private: bool) -> bytes:
        halves = {
            "created_at": key.created_at.isoformat(),
            "public": _base64(key.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
            "private": _base64(key.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
            if private and key.private is not None
            else None,
        }
        root = self._roots.current
        wrapped = root.wrap(_PURPOSE, self._name(key.sequence), json.dumps(halves).encode())
        return json.dumps({"root": root.id, "wrapped": _base64(wrapped)}, indent=1).encode()

    def _name(self, sequence: int) -> str:
        return f"{self.purpose.value}/{sequence}"

    def _read_all(self) -> dict[str, SigningKey]:
        keys: dict[str, SigningKey] = {}
        for path in sorted(self._folder.glob("[0-9]*.json")):
            try:
                key = self._read(path)
            except FileNotFoundError:
                continue  # removed since the folder was listed
            if key.kid in keys:
                raise KeyFileDamaged("two key files hold the same key")
            keys[key.kid] = key
        return keys

    def _load(self, path: Path) -> _KeyFile:
        try:
            return _KeyFile.model_validate_json(read_private(path))
        except ValidationError:
            raise KeyFileDamaged from None

    def _read(self, path: Path) -> SigningKey:
        file = self._load(path)
        try:
            sequence = int(path.stem)
            content = self._roots.named(file.root).unwrap(_PURPOSE, self._name(sequence), file.wrapped)
            halves = _Halves.model_validate_json(content)
            public = load_der_public_key(halves.public)
            private = None if halves.private is None else load_der_private_key(halves.private, None)
        except (ValueError, Tampered):
            raise KeyFileDamaged from None
        if not isinstance(public, PublicKey) or not isinstance(private, PrivateKey | None):
            raise KeyFileDamaged
        return SigningKey(self.purpose, sequence, halves.created_at, public, private)


def _public_members(public: PublicKey) -> dict[str, str]:
    """Return the members of a JWK that make up its thumbprint."""
    if isinstance(public, Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": _base64url(public.public_bytes_raw())}
    numbers = public.public_numbers()
    x, y = (_base64url(number.to_bytes(_COORDINATE_BYTES)) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
