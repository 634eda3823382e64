"""The keys of the audit log: which one signs a head, and how a signature on one is checked."""

from collections.abc import Callable
from typing import Protocol

from operalta.audit.heads import KeyUnknown, VerifySignature
from operalta.sealing.errors import BadSignature
from operalta.sealing.signing import SigningKey


class HeadKey(Protocol):
    """A key that signs heads."""

    @property
    def kid(self) -> str:
        """The key's name, which the head carries."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`."""
        ...


def verifier(find: Callable[[str], SigningKey | None]) -> VerifySignature:
    """Return the check of signatures with the public keys that `find` knows, such as a ring's own `find`."""

    def verify(key_id: str, message: bytes, signature: bytes) -> bool:
        key = find(key_id)
        if key is None:
            raise KeyUnknown(key_id)
        try:
            key.verify(message, signature)
        except BadSignature:
            return False
        return True

    return verify
