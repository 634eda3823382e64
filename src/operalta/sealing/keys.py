"""The root key, and how it wraps other keys."""

import base64
import binascii
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from operalta.sealing.errors import RootKeyUnusable, Tampered

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_ID_BYTES = 8


def derive_key(secret: bytes, *context: str) -> bytes:
    """Return 32 bytes derived from `secret` for one use only (HKDF-SHA256, RFC 5869), which `context` names."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=encode_context(*context)).derive(secret)


def encode_context(*parts: str) -> bytes:
    """Return `parts` with their lengths, so that no two lists of parts have one encoding."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4) + part for part in encoded)


def new_root_key_text() -> bytes:
    """Return a fresh root key as it is kept in its file: 32 random bytes in base64."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES))


@dataclass(frozen=True, slots=True)
class RootKey:
    """The key above all others. `id` names it, and tells nothing about it."""

    id: str
    secret: bytes = field(repr=False)

    @classmethod
    def from_text(cls, text: bytes) -> "RootKey":
        """Read 32 bytes in base64. Raise `RootKeyUnusable` for anything else, and for constant bytes."""
        try:
            secret = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise RootKeyUnusable from None
        if len(secret) != KEY_BYTES or len(set(secret)) == 1:
            raise RootKeyUnusable
        return cls(derive_key(secret, "operalta root key id")[:_ID_BYTES].hex(), secret)

    def wrap(self, purpose: str, name: str, key: bytes) -> bytes:
        """Return `key` encrypted and bound to its purpose and name: nonce, ciphertext and tag."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher(purpose).encrypt(nonce, key, self._bound(purpose, name))

    def unwrap(self, purpose: str, name: str, wrapped: bytes) -> bytes:
        """Return what was wrapped under this purpose and name; raise `Tampered` for anything else."""
        nonce, ciphertext = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        if len(ciphertext) < TAG_BYTES:
            raise Tampered
        try:
            return self._cipher(purpose).decrypt(nonce, ciphertext, self._bound(purpose, name))
        except InvalidTag:
            raise Tampered from None

    def _cipher(self, purpose: str) -> AESGCM:
        return AESGCM(derive_key(self.secret, "operalta wrapping key", purpose))

    def _bound(self, purpose: str, name: str) -> bytes:
        return encode_context("operalta wrapped key", purpose, name, self.id)


@dataclass(frozen=True, slots=True)
class RootKeys:
    """The root key in use, and earlier ones that still open what has not been wrapped anew."""

    current: RootKey
    previous: tuple[RootKey, ...] = ()

    @classmethod
    def from_text(cls, text: bytes, *previous: bytes) -> "RootKeys":
        """Read the root key in use and earlier ones, each as in `RootKey.from_text`."""
        return cls(RootKey.from_text(text), tuple(RootKey.from_text(earlier) for earlier in previous))

    def named(self, root_id: str) -> RootKey:
        """Return the root key with this id; raise `RootKeyUnusable` where it is not at hand."""
        for key in (self.current, *self.previous):
            if key.id == root_id:
                return key
        raise RootKeyUnusable("the root key that this was sealed with is not configured")
