"""Companies' keys: one file each, `{company}.json`, wrapped by the root key, outside the database.

A file holds every version of its company's key that may still be needed; the highest seals. A dropped key
leaves `{company}.gone` behind: where that stands, no key is used or made, not even one that came back with a
restored backup.
"""

import base64
import binascii
import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from operalta.kernel.ids import CompanyId
from operalta.sealing.errors import CompanyKeyGone, KeyFileDamaged, Tampered
from operalta.sealing.files import (
    create_private,
    locked,
    private_folder,
    read_private,
    remove,
    replace_private,
)
from operalta.sealing.keys import KEY_BYTES, RootKeys
from operalta.sealing.opened_keys import OpenedKeys

_PURPOSE = "company-key"


@dataclass(frozen=True, slots=True)
class CompanyKey:
    """One version of a company's key."""

    version: int
    secret: bytes = field(repr=False)


class _WrappedKey(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    root: str
    wrapped: str


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    company: UUID
    keys: tuple[_WrappedKey, ...]


class CompanyKeys:
    """The companies' keys in `folder`. A dropped or changed key is noticed by every process at its next call.

    Calls read or write a small file; those that write wait for the disk and belong off the event loop. Unwrapped keys
    are remembered for seconds, see `opened_keys`.
    """

    def __init__(self, folder: Path, roots: RootKeys) -> None:
        self._folder = folder
        self._roots = roots
        self._opened: OpenedKeys[tuple[CompanyKey, ...]] = OpenedKeys()
        private_folder(folder)

    def newest(self, company: CompanyId) -> CompanyKey:
        """Return the key that seals, made now if the company has none. Raise `CompanyKeyGone` once dropped."""
        self._refuse_gone(company)
        try:
            return self._read(company)[-1]
        except FileNotFoundError:
            self._create(company)
        # A drop may have come between the check and the creation: it wins.
        if self._tombstone(company).exists():
            remove(self._path(company))
            raise CompanyKeyGone
        return self._read(company)[-1]

    def version(self, company: CompanyId, version: int) -> CompanyKey:
        """Return one version. Raise `CompanyKeyGone` for a dropped or retired key, `Tampered` for one never made."""
        self._refuse_gone(company)
        try:
            keys = self._read(company)
        except FileNotFoundError:
            raise CompanyKeyGone from None
        for key in keys:
            if key.version == version:
                return key
        if 1 <= version < keys[-1].version:
            raise CompanyKeyGone
        raise Tampered

    def rotate(self, company: CompanyId) -> int:
        """Make the next version, which seals from now on, and return its number. Earlier ones still open."""
        self.newest(company)
        with locked(self._folder):
            self._refuse_gone(company)
            keys = self._read(company)
            fresh = CompanyKey(keys[-1].version + 1, secrets.token_bytes(KEY_BYTES))
            replace_private(self._path(company), self._encode(company, (*keys, fresh)))
        return fresh.version

    def retire(self, company: CompanyId) -> None:
        """Forget all versions but the newest. For when everything has been sealed anew."""
        with locked(self._folder):
            self._refuse_gone(company)
            keys = self._read(company)
            replace_private(self._path(company), self._encode(company, keys[-1:]))

    def versions(self, company: CompanyId) -> tuple[int, ...]:
        """Return the versions that still open, the oldest first; none where the company has no key, or none any more.

        More than one says that a rotation has begun and not ended.
        """
        try:
            self._refuse_gone(company)
            return tuple(key.version for key in self._load(company).keys)
        except (FileNotFoundError, CompanyKeyGone):
            return ()

    def roots(self) -> Counter[str]:
        """Return how many companies' keys each root key wraps, by its id."""
        found: Counter[str] = Counter()
        for company in self.companies():
            with suppress(FileNotFoundError):
                found.update({key.root for key in self._load(company).keys})
        return found

    def rewrap(self, advance: Callable[[], None] = lambda: None) -> int:
        """Wrap all companies' keys with the root key in use; return how many files changed. Readers go on.

        `advance` is called once a company.
        """
        changed = 0
        with locked(self._folder):
            for company in self.companies():
                advance()
                if any(key.root != self._roots.current.id for key in self._load(company).keys):
                    replace_private(self._path(company), self._encode(company, self._read(company)))
                    changed += 1
        return changed

    def drop(self, company: CompanyId) -> None:
        """End a company's key, and with it everything sealed under it, for good. Repeating it changes nothing."""
        with locked(self._folder):
            create_private(self._tombstone(company), b"")
            remove(self._path(company))
        self._opened.forget(self._path(company))

    def companies(self) -> tuple[CompanyId, ...]:
        """Return the companies that have a key, dropped ones excepted."""
        found = sorted(path.stem for path in self._folder.glob("[!.]*.json"))
        companies = tuple(CompanyId(UUID(name)) for name in found)
        return tuple(company for company in companies if not self._tombstone(company).exists())

    def _path(self, company: CompanyId) -> Path:
        return self._folder / f"{company}.json"

    def _tombstone(self, company: CompanyId) -> Path:
        return self._folder / f"{company}.gone"

    def _refuse_gone(self, company: CompanyId) -> None:
        if self._tombstone(company).exists():
            raise CompanyKeyGone

    def _create(self, company: CompanyId) -> None:
        key = CompanyKey(1, secrets.token_bytes(KEY_BYTES))
        create_private(self._path(company), self._encode(company, (key,)))

    def _encode(self, company: CompanyId, keys: tuple[CompanyKey, ...]) -> bytes:
        root = self._roots.current
        wrapped = tuple(
            _WrappedKey(
                version=key.version,
                root=root.id,
                wrapped=base64.b64encode(root.wrap(_PURPOSE, f"{company}/{key.version}", key.secret)).decode(),
            )
            for key in keys
        )
        return _KeyFile(company=company, keys=wrapped).model_dump_json(indent=1).encode()

    def _load(self, company: CompanyId) -> _KeyFile:
        try:
            file = _KeyFile.model_validate_json(read_private(self._path(company)))
        except ValidationError:
            raise KeyFileDamaged from None
        versions = [key.version for key in file.keys]
        if file.company != company or not versions or versions != sorted(set(versions)) or versions[0] < 1:
            raise KeyFileDamaged
        return file

    def _read(self, company: CompanyId) -> tuple[CompanyKey, ...]:
        path = self._path(company)
        opened = self._opened.find(path)
        if opened is None:
            # Taken before the file is read: a change in between makes the next look read again.
            mark = self._opened.mark(path)
            opened = self._unwrapped(company)
            self._opened.remember(path, mark, opened)
        return opened

    def _unwrapped(self, company: CompanyId) -> tuple[CompanyKey, ...]:
        keys: list[CompanyKey] = []
        for entry in self._load(company).keys:
            try:
                wrapped = base64.b64decode(entry.wrapped, validate=True)
                root = self._roots.named(entry.root)
                secret = root.unwrap(_PURPOSE, f"{company}/{entry.version}", wrapped)
            except (binascii.Error, Tampered):
                raise KeyFileDamaged from None
            if len(secret) != KEY_BYTES:
                raise KeyFileDamaged
            keys.append(CompanyKey(entry.version, secret))
        return tuple(keys)
