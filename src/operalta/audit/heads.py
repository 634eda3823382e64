"""Signed heads: what the log's tree was at a moment, signed, chained, and kept outside the database.

A superuser of the database can rewrite any row, and any head that is kept beside the rows. What stands
elsewhere with a signature is out of reach: a tree that no longer leads to it has been changed.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeAlias, cast

from operalta.audit.canonical import canonical_json
from operalta.audit.findings import Finding, FindingKind
from operalta.audit.rules import utc_text
from operalta.audit.tree import HASH_BYTES, MAXIMUM_SIZE
from operalta.terms.registry import upholds

NO_PREVIOUS = bytes(HASH_BYTES)
"""The previous digest of the first head."""

Sign: TypeAlias = Callable[[bytes], bytes]
VerifySignature: TypeAlias = Callable[[str, bytes, bytes], bool]
"""Takes key id, message and signature. Raises `KeyUnknown` where the key's public half is not at hand."""

_SIGNATURE_DOMAIN = b"operalta-audit-head-v1\0"
_LONGEST_TAIL = 64 * 1024
_JSON_NAMES = frozenset({"key_id", "previous", "root", "sealed_at", "signature", "size"})


class KeyUnknown(LookupError):  # noqa: N818 - says what is wrong with the key
    """No public key with this id is at hand, so the signature can be neither confirmed nor refuted."""


class UnreadableHead(ValueError):  # noqa: N818 - says what is wrong with the head
    """The bytes are not a head in its canonical form."""


class HeadConflict(RuntimeError):  # noqa: N818 - says what happened
    """Another head of the same size was published before. Find out what sealed it; never overwrite."""


@dataclass(frozen=True, slots=True)
class SignedHead:
    """The tree's `root` over `size` leaves at `sealed_at`, after the head with digest `previous_digest`."""

    size: int
    root: bytes
    sealed_at: datetime
    previous_digest: bytes
    key_id: str
    signature: bytes

    def signed_bytes(self) -> bytes:
        """Return what the signature covers: a domain, then canonical JSON."""
        return _SIGNATURE_DOMAIN + canonical_json(self._statement())

    @property
    def digest(self) -> bytes:
        """What the next head refers to. The signature is left out: signing twice says nothing new."""
        return hashlib.sha256(self.signed_bytes()).digest()

    def to_json(self) -> bytes:
        """Return the head as it is published: one line of canonical JSON."""
        return canonical_json({**self._statement(), "signature": self.signature.hex()})

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Return the head that `to_json` wrote; `UnreadableHead` for anything else, down to a blank."""
        try:
            decoded: Any = json.loads(text)
            if not isinstance(decoded, dict) or cast("dict[str, Any]", decoded).keys() != _JSON_NAMES:
                raise UnreadableHead("A head has exactly the fields " + ", ".join(sorted(_JSON_NAMES)) + ".")
            fields = cast("dict[str, Any]", decoded)
            head = cls(
                size=fields["size"],
                root=bytes.fromhex(fields["root"]),
                sealed_at=datetime.fromisoformat(fields["sealed_at"]),
                previous_digest=bytes.fromhex(fields["previous"]),
                key_id=fields["key_id"],
                signature=bytes.fromhex(fields["signature"]),
            )
            canonical = head.to_json()
        except (ValueError, TypeError, RecursionError) as error:
            raise UnreadableHead("This is not a head.") from error
        if canonical != text or not head._is_well_formed():
            raise UnreadableHead("This is not the canonical form of a head.")
        return head

    def _is_well_formed(self) -> bool:
        sized = type(self.size) is int and 0 <= self.size <= MAXIMUM_SIZE
        hashed = len(self.root) == len(self.previous_digest) == HASH_BYTES
        return sized and hashed and type(self.key_id) is str

    def _statement(self) -> dict[str, object]:
        return {
            "key_id": self.key_id,
            "previous": self.previous_digest.hex(),
            "root": self.root.hex(),
            "sealed_at": utc_text(self.sealed_at),
            "size": self.size,
        }


@upholds("2.5.5")
def sign_head(
    *, size: int, root: bytes, sealed_at: datetime, previous: SignedHead | None, key_id: str, sign: Sign
) -> SignedHead:
    """Return the head over `size` leaves, chained to `previous` and signed with the key named `key_id`."""
    before = previous.digest if previous else NO_PREVIOUS
    unsigned = SignedHead(size, root, sealed_at, before, key_id, signature=b"")
    return SignedHead(size, root, sealed_at, before, key_id, sign(unsigned.signed_bytes()))


def verify_head(head: SignedHead, verify: VerifySignature) -> Finding | None:
    """Return what is wrong with the head's signature, or None."""
    try:
        holds = verify(head.key_id, head.signed_bytes(), head.signature)
    except KeyUnknown:
        return _finding(FindingKind.UNKNOWN_KEY, head, f"No public key named {head.key_id} is at hand.")
    if holds:
        return None
    return _finding(FindingKind.BAD_SIGNATURE, head, "The signature does not fit what the head says.")


@upholds("2.5.5")
def check_heads(
    heads: Iterable[SignedHead], tree_root_at: Callable[[int], bytes | None], verify: VerifySignature
) -> list[Finding]:
    """Compare heads from outside with the tree that is stored now.

    `tree_root_at` returns the root over the first `size` leaves, None where the tree has fewer. Each head
    must be signed, follow the one before it, and be led to by the tree.
    """
    ordered = sorted({head.digest: head for head in heads}.values(), key=lambda head: head.size)
    findings = _check_chain(ordered)
    for head in ordered:
        wrong = verify_head(head, verify)
        if wrong:
            findings.append(wrong)
        if wrong and wrong.tampered:
            continue  # what an unsigned head says about the tree is nobody's word
        root = tree_root_at(head.size)
        if root is None:
            findings.append(_finding(FindingKind.CUT_TAIL, head, "The tree now has fewer leaves than this."))
        elif root != head.root:
            findings.append(_finding(FindingKind.WRONG_ROOT, head, "The tree now has another root here."))
    return findings


def _check_chain(ordered: list[SignedHead]) -> list[Finding]:
    """Return forks and gaps in the chain of heads, which are distinct and sorted by size."""
    findings: list[Finding] = []
    seen: set[bytes] = set()
    expected = NO_PREVIOUS
    size = -1
    for head in ordered:
        if head.size == size:
            findings.append(_finding(FindingKind.FORKED_HEAD, head, "Two heads of this size disagree."))
        elif head.previous_digest != expected:
            fork = head.previous_digest in seen or head.previous_digest == NO_PREVIOUS
            kind = FindingKind.FORKED_HEAD if fork else FindingKind.MISSING_HEAD
            text = "It follows an older head than the last." if fork else "The head that it follows is gone."
            findings.append(_finding(kind, head, text))
        seen.add(expected)
        expected, size = head.digest, head.size
    return findings


def _finding(kind: FindingKind, head: SignedHead, text: str) -> Finding:
    return Finding(kind, f"head {head.size}", text)


@dataclass(frozen=True, slots=True)
class PublishedHeads:
    """What a place outside the database holds: the heads, and what is wrong with the place itself."""

    heads: tuple[SignedHead, ...]
    findings: tuple[Finding, ...]


class HeadDirectory:
    """Heads in a directory: one file each below `heads/`, and all of them as lines of `heads.log`.

    Each keeps the other honest: a head that is in one of them only has been removed from the other. Publish
    the newest head once more at start: that completes what a crash cut short, and changes nothing otherwise.
    """

    def __init__(self, path: Path) -> None:
        self._folder = path / "heads"
        self._log = path / "heads.log"

    async def publish(self, head: SignedHead) -> None:
        """Write the head so that it outlasts a power cut. The same head again changes nothing.

        `HeadConflict` where another head of this size is there, `UnreadableHead` where something else is;
        `OSError` where the disk refuses.
        """
        await asyncio.to_thread(self._publish, head)

    async def read(self) -> PublishedHeads:
        """Return every head found, and what is missing or unreadable; never raises for what it finds."""
        return await asyncio.to_thread(self._read)

    def _publish(self, head: SignedHead) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"{head.size:020d}.json"
        if file.exists():
            published = SignedHead.from_json(file.read_bytes())
            if published.digest != head.digest:
                raise HeadConflict(f"A head of size {head.size} was published before, and it says otherwise.")
        else:
            _write_durably(file, head.to_json())
        line = head.to_json() + b"\n"
        _append_durably(self._log, line)

    def _read(self) -> PublishedHeads:
        try:
            # A head may be published meanwhile, its file first: whatever was logged before has a file by now, and
            # whatever has a file, but the newest, is logged afterwards.
            before = _read_log(self._log)
            contents = read_folder(self._folder)
            log = _read_log(self._log)
        except OSError as error:
            text = f"The heads cannot be read ({error.strerror}). Check the directory's owner and disk."
            return PublishedHeads((), (Finding(FindingKind.HEADS_UNAVAILABLE, "heads", text),))
        findings: list[Finding] = []
        filed = _parsed(contents.items(), findings)
        for name, head in filed:
            if name != f"{head.size:020d}.json":
                findings.append(Finding(FindingKind.UNREADABLE_HEAD, name, "The file's name is another size."))
        logged = _parsed(_lines(log), findings)
        settled = _parsed(_lines(before), [])
        findings += _compared(*([head for _, head in found] for found in (filed, settled, logged)))
        heads = {head.digest: head for _, head in [*logged, *filed]}
        return PublishedHeads(tuple(sorted(heads.values(), key=lambda head: head.size)), tuple(findings))


def _lines(log: bytes) -> Iterable[tuple[str, bytes]]:
    """Yield the lines with their places. What stands behind the last line break is one that a crash cut short."""
    for number, line in enumerate(log.split(b"\n")[:-1], 1):
        yield f"heads.log:{number}", line


def _parsed(named: Iterable[tuple[str, bytes]], findings: list[Finding]) -> list[tuple[str, SignedHead]]:
    parsed: list[tuple[str, SignedHead]] = []
    for name, text in named:
        try:
            parsed.append((name, SignedHead.from_json(text)))
        except UnreadableHead as error:
            findings.append(Finding(FindingKind.UNREADABLE_HEAD, name, str(error)))
    return parsed


def _compared(filed: list[SignedHead], settled: list[SignedHead], logged: list[SignedHead]) -> Iterable[Finding]:
    """Yield what one of the two records lacks. Only the newest head may be in its file alone: a crash.

    `settled` was logged before the files were read, `logged` afterwards.
    """
    in_files = {head.digest for head in filed}
    in_log = {head.digest for head in logged}
    newest = max((head.size for head in filed), default=0)
    for head in settled:
        if head.digest not in in_files:
            yield _finding(FindingKind.MISSING_HEAD, head, "It is in heads.log, but its file is gone.")
    for head in filed:
        if head.digest not in in_log and head.size != newest:
            yield _finding(FindingKind.MISSING_HEAD, head, "Its file is there, but its line in heads.log is gone.")


def _write_durably(file: Path, content: bytes) -> None:
    unfinished = file.with_name(f".{file.name}.new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(file)
    _sync_folder(file.parent)


def _append_durably(log: Path, line: bytes) -> None:
    """Append the line unless it is the last one already; a line that a crash cut short gives way."""
    descriptor = os.open(log, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as stream:
        start = max(0, stream.seek(0, os.SEEK_END) - _LONGEST_TAIL)
        stream.seek(start)
        tail = stream.read()
        whole = tail.rfind(b"\n") + 1
        if not tail[:whole].endswith(line):
            stream.seek(start + whole)
            stream.truncate()
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
    _sync_folder(log.parent)


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the content of each published file by name, in order. Unlike a glob, this tells of a refusal."""
    if not folder.exists():
        return {}
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.suffix == ".json"}


def _read_log(log: Path) -> bytes:
    return log.read_bytes() if log.exists() else b""


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
