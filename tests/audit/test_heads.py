import asyncio
import dataclasses
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from operalta.audit import heads
from operalta.audit.findings import FindingKind
from operalta.audit.heads import (
    NO_PREVIOUS,
    HeadConflict,
    HeadDirectory,
    KeyUnknown,
    SignedHead,
    UnreadableHead,
    check_heads,
    sign_head,
    verify_head,
)

SEALED_AT = datetime(2026, 3, 16, 9, 30, tzinfo=UTC)
ROOTS = {size: hashlib.sha256(bytes([size])).digest() for size in range(40)}


def sign(message: bytes) -> bytes:
    return hashlib.sha256(b"private" + message).digest()


def verify(key_id: str, message: bytes, signature: bytes) -> bool:
    if key_id != "key-1":
        raise KeyUnknown(key_id)
    return signature == sign(message)


def chain(*sizes: int) -> list[SignedHead]:
    heads: list[SignedHead] = []
    for position, size in enumerate(sizes):
        heads.append(
            sign_head(
                size=size,
                root=ROOTS[size],
                sealed_at=SEALED_AT + timedelta(seconds=position),
                previous=heads[-1] if heads else None,
                key_id="key-1",
                sign=sign,
            )
        )
    return heads


def kinds(heads: list[SignedHead], tree_size: int = 39) -> list[FindingKind]:
    def root_at(size: int) -> bytes | None:
        return ROOTS[size] if size <= tree_size else None

    return [finding.kind for finding in check_heads(heads, root_at, verify)]


def test_a_head_is_signed_over_a_domain_and_everything_it_says() -> None:
    (head,) = chain(3)
    assert head.previous_digest == NO_PREVIOUS
    assert head.signed_bytes() == (
        b'operalta-audit-head-v1\0{"key_id":"key-1","previous":"' + b"00" * 32 + b'","root":"'
        b"" + ROOTS[3].hex().encode() + b'","sealed_at":"2026-03-16T09:30:00.000000Z","size":3}'
    )
    assert verify_head(head, verify) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"size": 4},
        {"root": ROOTS[4]},
        {"sealed_at": SEALED_AT + timedelta(microseconds=1)},
        {"previous_digest": ROOTS[1]},
        {"signature": b"x" * 32},
        {"signature": b""},
    ],
)
def test_no_part_of_a_head_can_change(changed: dict[str, Any]) -> None:
    wrong = verify_head(dataclasses.replace(chain(3)[0], **changed), verify)
    assert wrong is not None
    assert wrong.kind is FindingKind.BAD_SIGNATURE
    assert wrong.tampered


def test_a_key_that_is_not_at_hand_is_no_sign_of_tampering() -> None:
    wrong = verify_head(dataclasses.replace(chain(3)[0], key_id="key-2"), verify)
    assert wrong is not None
    assert wrong.kind is FindingKind.UNKNOWN_KEY
    assert not wrong.tampered


def test_a_head_reads_back_as_it_was_written() -> None:
    for head in chain(0, 3, 17):
        assert SignedHead.from_json(head.to_json()) == head


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", -1),
        ("size", 2**63),
        ("size", "3"),
        ("size", 3.0),
        ("size", True),
        ("root", "00" * 31),
        ("root", "AA" * 32),
        ("previous", ""),
        ("sealed_at", "2026-03-16T09:30:00Z"),
        ("sealed_at", "2026-03-16T09:30:00.000000"),
        ("key_id", 5),
        ("signature", None),
        ("more", 1),
    ],
)
def test_what_is_no_canonical_head_is_unreadable(name: str, value: object) -> None:
    fields = json.loads(chain(3)[0].to_json())
    fields[name] = value
    with pytest.raises(UnreadableHead):
        SignedHead.from_json(json.dumps(fields, separators=(",", ":"), sort_keys=True).encode())


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b" "])
def test_garbage_is_unreadable(text: bytes) -> None:
    with pytest.raises(UnreadableHead):
        SignedHead.from_json(text)
    with pytest.raises(UnreadableHead):
        SignedHead.from_json(chain(3)[0].to_json() + text + b" ")


@pytest.mark.proves("2.5.5")
def test_heads_that_the_tree_leads_to_are_in_order() -> None:
    heads = chain(0, 3, 17, 39)
    assert kinds(heads) == []
    assert kinds(list(reversed(heads))) == []
    assert kinds([*heads, heads[1]]) == []


@pytest.mark.proves("2.5.5")
def test_each_way_to_falsify_heads_has_its_name() -> None:
    heads = chain(3, 17, 39)
    wrong_root = sign_head(size=39, root=ROOTS[1], sealed_at=SEALED_AT, previous=heads[1], key_id="key-1", sign=sign)
    fork = sign_head(size=20, root=ROOTS[20], sealed_at=SEALED_AT, previous=heads[0], key_id="key-1", sign=sign)
    second_beginning = chain(20)[0]
    assert kinds(heads, tree_size=38) == [FindingKind.CUT_TAIL]
    assert kinds(heads, tree_size=2) == [FindingKind.CUT_TAIL] * 3
    assert kinds([*heads[:2], wrong_root]) == [FindingKind.WRONG_ROOT]
    assert kinds([*heads, wrong_root]) == [FindingKind.FORKED_HEAD, FindingKind.WRONG_ROOT]
    stranger = dataclasses.replace(wrong_root, previous_digest=ROOTS[7])
    assert FindingKind.FORKED_HEAD in kinds([*heads, stranger])
    assert FindingKind.FORKED_HEAD in kinds([*heads, fork])
    assert FindingKind.FORKED_HEAD in kinds([*heads, second_beginning])
    assert kinds(heads[1:]) == [FindingKind.MISSING_HEAD]
    assert kinds([heads[0], heads[2]]) == [FindingKind.MISSING_HEAD]
    forged = dataclasses.replace(heads[2], signature=b"forged")
    assert kinds([*heads[:2], forged]) == [FindingKind.BAD_SIGNATURE]


async def test_published_heads_are_read_back_in_order(tmp_path: Path) -> None:
    directory = HeadDirectory(tmp_path)
    heads = chain(3, 17, 39)
    for head in heads:
        await directory.publish(head)
        await directory.publish(head)
    published = await directory.read()
    assert published.heads == tuple(heads)
    assert published.findings == ()
    assert sorted(file.name for file in (tmp_path / "heads").iterdir()) == [f"{size:020d}.json" for size in (3, 17, 39)]
    assert (tmp_path / "heads.log").read_bytes().count(b"\n") == 3
    assert (tmp_path / "heads.log").stat().st_mode & 0o077 == 0


async def test_nothing_published_is_nothing_found(tmp_path: Path) -> None:
    published = await HeadDirectory(tmp_path / "none").read()
    assert published.heads == ()
    assert published.findings == ()


async def test_another_head_of_the_same_size_is_never_written_over(tmp_path: Path) -> None:
    directory = HeadDirectory(tmp_path)
    heads = chain(3, 17)
    for head in heads:
        await directory.publish(head)
    other = sign_head(size=17, root=ROOTS[1], sealed_at=SEALED_AT, previous=None, key_id="key-1", sign=sign)
    with pytest.raises(HeadConflict):
        await directory.publish(other)
    assert (await directory.read()).heads == tuple(heads)


@pytest.mark.proves("2.5.5")
async def test_each_record_tells_what_was_removed_from_the_other(tmp_path: Path) -> None:
    directory = HeadDirectory(tmp_path)
    heads = chain(3, 17, 39)
    for head in heads:
        await directory.publish(head)
    log = tmp_path / "heads.log"
    whole = log.read_bytes()

    async def found() -> list[FindingKind]:
        return [finding.kind for finding in (await directory.read()).findings]

    lines = whole.splitlines(keepends=True)
    log.write_bytes(lines[0] + lines[2])
    assert await found() == [FindingKind.MISSING_HEAD]
    log.unlink()
    assert await found() == [FindingKind.MISSING_HEAD] * 2
    log.write_bytes(whole.replace(b'"size":17', b'"size":18'))
    assert await found() == [FindingKind.MISSING_HEAD] * 2
    log.write_bytes(b"x" + whole)
    assert await found() == [FindingKind.UNREADABLE_HEAD, FindingKind.MISSING_HEAD]
    log.write_bytes(whole)
    newest = tmp_path / "heads" / f"{39:020d}.json"
    kept = newest.read_bytes()
    newest.unlink()
    assert await found() == [FindingKind.MISSING_HEAD]
    newest.write_bytes(kept + b"\n")
    assert await found() == [FindingKind.UNREADABLE_HEAD, FindingKind.MISSING_HEAD]
    newest.write_bytes(kept)
    newest.rename(newest.with_name(f"{40:020d}.json"))
    assert await found() == [FindingKind.UNREADABLE_HEAD]


@pytest.mark.proves("2.5.5")
@pytest.mark.parametrize("before", [True, False], ids=["before the files are read", "after"])
async def test_heads_that_are_published_meanwhile_are_no_sign_of_tampering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, before: bool
) -> None:
    directory = HeadDirectory(tmp_path)
    first, *others = chain(3, 5, 8)
    await directory.publish(first)
    read = heads.read_folder

    def reading(folder: Path) -> dict[str, bytes]:
        found = None if before else read(folder)
        for head in others:
            asyncio.run(directory.publish(head))
        return found or read(folder)

    monkeypatch.setattr(heads, "read_folder", reading)
    published = await directory.read()
    assert published.findings == ()
    assert len(published.heads) == 3


async def test_what_a_crash_cut_short_is_completed_by_publishing_again(tmp_path: Path) -> None:
    directory = HeadDirectory(tmp_path)
    heads = chain(3, 17)
    for head in heads:
        await directory.publish(head)
    log = tmp_path / "heads.log"
    whole = log.read_bytes()
    first = whole[: len(whole) // 2]
    for cut in (whole[:-1], whole[: len(whole) // 2 + 20], first, first + bytes(4096)):
        log.write_bytes(cut)
        published = await directory.read()
        assert published.heads == tuple(heads)
        assert published.findings == ()
        await directory.publish(heads[-1])
        assert log.read_bytes() == whole


async def test_heads_that_cannot_be_read_are_no_sign_of_tampering(tmp_path: Path) -> None:
    (tmp_path / "heads").write_text("a file where a directory should be")
    published = await HeadDirectory(tmp_path).read()
    assert published.heads == ()
    assert [finding.kind for finding in published.findings] == [FindingKind.HEADS_UNAVAILABLE]
    assert not published.findings[0].tampered


async def test_the_log_of_heads_may_grow_past_what_is_read_back_at_once(tmp_path: Path) -> None:
    directory = HeadDirectory(tmp_path)
    heads = chain(3, 17)
    await directory.publish(heads[0])
    log = tmp_path / "heads.log"
    log.write_bytes(log.read_bytes() * 400)
    await directory.publish(heads[1])
    await directory.publish(heads[1])
    assert log.read_bytes().count(b"\n") == 401
    assert (await directory.read()).heads == tuple(heads)
