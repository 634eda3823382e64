"""Sealing single values: each opens in its own place only, under its company's key.

A sealed value is, in this order: format (1 byte, the number 1), version of the company's key (4 bytes, big
end first), a mark of the place (16), nonce (12), ciphertext and tag (AES-256-GCM). The record key comes by
HKDF-SHA256 from the company's key and the place; the place and everything before the nonce are the
associated data.
"""

import secrets
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from operalta.kernel.ids import CompanyId
from operalta.sealing.company_keys import CompanyKey, CompanyKeys
from operalta.sealing.errors import Tampered, WrongPlace
from operalta.sealing.keys import NONCE_BYTES, TAG_BYTES, derive_key, encode_context

LARGEST_SECRET_BYTES = 1024 * 1024
_FORMAT = b"\x01"
_VERSION_BYTES = 4
_PLACE_BYTES = 16
_HEADER_BYTES = len(_FORMAT) + _VERSION_BYTES + _PLACE_BYTES


@dataclass(frozen=True, slots=True)
class Location:
    """Where a sealed value stands: the table with its schema, the row, the column, and which writing of it this is.

    A place that is written again and again counts its `revision`, so that an earlier value, put back, does not open.
    """

    table: str
    row: UUID
    column: str
    revision: int = 0


class Envelope:
    """Seals and opens values with the companies' keys."""

    def __init__(self, keys: CompanyKeys) -> None:
        self._keys = keys

    def seal(self, company: CompanyId, location: Location, plaintext: bytes) -> bytes:
        """Return `plaintext` sealed for this company and place. The company's key is made if it has none.

        Raise `CompanyKeyGone` where the key was dropped, `ValueError` above a mebibyte.
        """
        if len(plaintext) > LARGEST_SECRET_BYTES:
            raise ValueError(f"a sealed value has at most {LARGEST_SECRET_BYTES} bytes")
        key = self._keys.newest(company)
        context = _context(company, location, key)
        header = _FORMAT + key.version.to_bytes(_VERSION_BYTES) + _mark(key, context)
        nonce = secrets.token_bytes(NONCE_BYTES)
        return header + nonce + _cipher(key, context).encrypt(nonce, plaintext, _bound(header, context))

    def open(self, company: CompanyId, location: Location, sealed: bytes) -> bytes:
        """Return the plaintext.

        Raise `WrongPlace` for a value sealed for another place or company, `Tampered` for an altered one,
        `CompanyKeyGone` where its key was dropped or retired.
        """
        key = self._keys.version(company, key_version(sealed))
        context = _context(company, location, key)
        header, nonce = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES : _HEADER_BYTES + NONCE_BYTES]
        if header[-_PLACE_BYTES:] != _mark(key, context):
            raise WrongPlace
        try:
            ciphertext = sealed[_HEADER_BYTES + NONCE_BYTES :]
            return _cipher(key, context).decrypt(nonce, ciphertext, _bound(header, context))
        except InvalidTag:
            raise Tampered from None

    def is_current(self, company: CompanyId, sealed: bytes) -> bool:
        """Tell whether a value was sealed under the newest version of its company's key."""
        return key_version(sealed) == self._keys.newest(company).version

    def reseal(self, company: CompanyId, location: Location, sealed: bytes) -> bytes:
        """Return the same value sealed under the newest version of the company's key."""
        return self.seal(company, location, self.open(company, location, sealed))

    def drop_company_key(self, company: CompanyId) -> None:
        """End everything that was sealed for a company, for good."""
        self._keys.drop(company)


def key_version(sealed: bytes) -> int:
    """Return the version of the company's key that a sealed value names; raise `Tampered` if it is none."""
    if len(sealed) < _HEADER_BYTES + NONCE_BYTES + TAG_BYTES or not sealed.startswith(_FORMAT):
        raise Tampered
    return int.from_bytes(sealed[len(_FORMAT) : len(_FORMAT) + _VERSION_BYTES])


def _context(company: CompanyId, location: Location, key: CompanyKey) -> tuple[str, ...]:
    return (str(company), location.table, str(location.row), location.column, str(location.revision), str(key.version))


def _cipher(key: CompanyKey, context: tuple[str, ...]) -> AESGCM:
    return AESGCM(derive_key(key.secret, "operalta record key", *context))


def _mark(key: CompanyKey, context: tuple[str, ...]) -> bytes:
    """Return what tells a moved value from an altered one; it adds nothing to the cipher's own binding."""
    return derive_key(key.secret, "operalta place", *context)[:_PLACE_BYTES]


def _bound(header: bytes, context: tuple[str, ...]) -> bytes:
    return header + encode_context("operalta record", *context)
