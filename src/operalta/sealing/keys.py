"""The root key, and how it wraps other keys."""

import base64
import binascii
import secrets
import threading
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from operalta.kernel.secret_texts import split_mark
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
        """Read 32 bytes in base64, after the mark of a profile where there is one.

        Raise `RootKeyUnusable` for anything else, and for constant bytes.
        """
        try:
            secret = base64.b64decode(split_mark(text.strip())[1], validate=True)
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
class KnownRoots:
    """The root key in use, and earlier ones that still open what has not been wrapped anew."""

    current: RootKey
    previous: tuple[RootKey, ...] = ()


class RootKeySource(Protocol):
    """Where root keys come from; `mark` changes, cheaply told, when the key in use does."""

    def load(self) -> KnownRoots:
        """Return the keys as they are now. Raise RootKeyUnusable where they cannot be had."""
        ...

    def mark(self) -> object:
        """Return what differs once the key in use was replaced."""
        ...


class RootKeys:
    """The root keys of a process.

    Those of a `source` are looked up again when the one in use was replaced, and when something names a root key that
    is not at hand: so a rotation reaches every process while it runs.
    """

    def __init__(
        self,
        current: RootKey,
        previous: tuple[RootKey, ...] = (),
        source: RootKeySource | None = None,
        mark: object = None,
    ) -> None:
        self._known = KnownRoots(current, previous)
        self._source = source
        self._mark = mark
        self._lock = threading.Lock()

    @classmethod
    def from_text(cls, text: bytes, *previous: bytes) -> "RootKeys":
        """Read the root key in use and earlier ones, each as in `RootKey.from_text`."""
        return cls(RootKey.from_text(text), tuple(RootKey.from_text(earlier) for earlier in previous))

    @classmethod
    def from_source(cls, source: RootKeySource) -> "RootKeys":
        """Load the keys of `source`. Raise RootKeyUnusable where they cannot be had."""
        mark = source.mark()
        known = source.load()
        return cls(known.current, known.previous, source, mark)

    @property
    def current(self) -> RootKey:
        """The root key that wraps now."""
        if self._source is not None and self._source.mark() != self._mark:
            self._look_again()
        return self._known.current

    @property
    def previous(self) -> tuple[RootKey, ...]:
        """Earlier root keys, which still open what names them."""
        return self._known.previous

    def named(self, root_id: str) -> RootKey:
        """Return the root key with this id; raise `RootKeyUnusable` where it is not at hand."""
        found = self._find(root_id)
        if found is None and self._source is not None:
            self._look_again()
            found = self._find(root_id)
        if found is None:
            raise RootKeyUnusable(
                "The root key that this was sealed with is not at hand. The operator must provide it as an earlier one."
            )
        return found

    def _find(self, root_id: str) -> RootKey | None:
        known = self._known
        return next((key for key in (known.current, *known.previous) if key.id == root_id), None)

    def _look_again(self) -> None:
        if self._source is None:
            return
        with self._lock:
            # Taken first: a replacement in between is noticed the next time.
            mark = self._source.mark()
            known = self._source.load()
            # What this process once had at hand stays so: it may be opening something that was wrapped just before.
            kept = {key.id: key for key in (*self._known.previous, self._known.current, *known.previous)}
            kept.pop(known.current.id, None)
            self._known = KnownRoots(known.current, tuple(kept.values()))
            self._mark = mark
