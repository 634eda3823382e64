"""Sealed values: they open in their own place, unaltered, as long as the company's key lives."""

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.kernel.ids import CompanyId
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.envelope import LARGEST_SECRET_BYTES, Envelope, Location
from operalta.sealing.errors import (
    CompanyKeyGone,
    KeyFileDamaged,
    KeyFileExposed,
    RootKeyUnusable,
    Tampered,
    WrongPlace,
)
from operalta.sealing.keys import RootKeys, new_root_key_text
from operalta.sealing.opened_keys import OpenedKeys
from tests.sealing.conftest import ROOT_TEXT

COMPANY = CompanyId(UUID(int=1))
OTHER = CompanyId(UUID(int=2))
PLACE = Location("vault.integrations", UUID(int=7), "credential")


def test_a_sealed_value_opens_in_its_place(envelope: Envelope) -> None:
    sealed = envelope.seal(COMPANY, PLACE, b"token")
    assert envelope.open(COMPANY, PLACE, sealed) == b"token"
    assert b"token" not in sealed
    assert envelope.seal(COMPANY, PLACE, b"token") != sealed


@given(plaintext=st.binary(max_size=300))
def test_any_bytes_survive(tmp_path_factory: pytest.TempPathFactory, plaintext: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "property"
    envelope = Envelope(CompanyKeys(folder, RootKeys.from_text(ROOT_TEXT)))
    assert envelope.open(COMPANY, PLACE, envelope.seal(COMPANY, PLACE, plaintext)) == plaintext


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(PLACE, table="vault.connections"),
        replace(PLACE, row=UUID(int=8)),
        replace(PLACE, column="refresh_token"),
    ],
)
def test_a_value_moved_to_another_place_is_refused(elsewhere: Location, envelope: Envelope) -> None:
    sealed = envelope.seal(COMPANY, PLACE, b"token")
    with pytest.raises(WrongPlace):
        envelope.open(COMPANY, elsewhere, sealed)
    # The mark of the place is for a good error only: forged, the cipher still refuses.
    mark = envelope.seal(COMPANY, elsewhere, b"other")[5:21]
    with pytest.raises(Tampered):
        envelope.open(COMPANY, elsewhere, sealed[:5] + mark + sealed[21:])


def test_a_value_of_another_company_is_refused(envelope: Envelope) -> None:
    sealed = envelope.seal(COMPANY, PLACE, b"token")
    envelope.seal(OTHER, PLACE, b"token")
    with pytest.raises(WrongPlace):
        envelope.open(OTHER, PLACE, sealed)


def test_every_altered_byte_is_noticed(envelope: Envelope) -> None:
    sealed = envelope.seal(COMPANY, PLACE, b"token")
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises((Tampered, WrongPlace, CompanyKeyGone)):
            envelope.open(COMPANY, PLACE, bytes(altered))
    for length in range(len(sealed)):
        with pytest.raises(Tampered):
            envelope.open(COMPANY, PLACE, sealed[:length])
    with pytest.raises(Tampered):
        envelope.open(COMPANY, PLACE, sealed + b"\x00")


def test_a_value_beyond_the_bound_is_refused(envelope: Envelope) -> None:
    with pytest.raises(ValueError, match="bytes"):
        envelope.seal(COMPANY, PLACE, bytes(LARGEST_SECRET_BYTES + 1))


def test_rotation_opens_old_values_and_seals_new_ones(envelope: Envelope, company_keys: CompanyKeys) -> None:
    old = envelope.seal(COMPANY, PLACE, b"token")
    assert company_keys.rotate(COMPANY) == 2
    assert envelope.open(COMPANY, PLACE, old) == b"token"
    assert not envelope.is_current(COMPANY, old)
    new = envelope.reseal(COMPANY, PLACE, old)
    assert envelope.is_current(COMPANY, new)
    company_keys.retire(COMPANY)
    assert envelope.open(COMPANY, PLACE, new) == b"token"
    with pytest.raises(CompanyKeyGone):
        envelope.open(COMPANY, PLACE, old)


def test_a_dropped_key_ends_everything_and_does_not_come_back(tmp_path: Path, roots: RootKeys) -> None:
    folder = tmp_path / "company-keys"
    here, there = Envelope(CompanyKeys(folder, roots)), Envelope(CompanyKeys(folder, roots))
    sealed = here.seal(COMPANY, PLACE, b"token")
    kept = here.seal(OTHER, PLACE, b"kept")
    backup = (folder / f"{COMPANY}.json").read_bytes()
    here.drop_company_key(COMPANY)
    here.drop_company_key(COMPANY)
    for envelope in (here, there):
        with pytest.raises(CompanyKeyGone):
            envelope.open(COMPANY, PLACE, sealed)
        with pytest.raises(CompanyKeyGone):
            envelope.seal(COMPANY, PLACE, b"new")
    assert not any(backup in path.read_bytes() for path in folder.iterdir())
    (folder / f"{COMPANY}.json").write_bytes(backup)
    (folder / f"{COMPANY}.json").chmod(0o600)
    with pytest.raises(CompanyKeyGone):
        here.open(COMPANY, PLACE, sealed)
    assert CompanyKeys(folder, roots).companies() == (OTHER,)
    assert here.open(OTHER, PLACE, kept) == b"kept"


def test_a_company_without_a_key_has_nothing_to_open(envelope: Envelope) -> None:
    sealed = envelope.seal(COMPANY, PLACE, b"token")
    with pytest.raises(CompanyKeyGone):
        envelope.open(OTHER, PLACE, sealed)


def test_the_root_key_is_exchanged_while_values_stay_readable(tmp_path: Path) -> None:
    folder, new_text = tmp_path / "company-keys", new_root_key_text()
    before = Envelope(CompanyKeys(folder, RootKeys.from_text(ROOT_TEXT)))
    sealed = [before.seal(company, PLACE, b"token") for company in (COMPANY, OTHER)]
    both = CompanyKeys(folder, RootKeys.from_text(new_text, ROOT_TEXT))
    assert Envelope(both).open(COMPANY, PLACE, sealed[0]) == b"token"
    assert both.rewrap() == 2
    assert both.rewrap() == 0
    after = Envelope(CompanyKeys(folder, RootKeys.from_text(new_text)))
    assert [after.open(company, PLACE, value) for company, value in zip((COMPANY, OTHER), sealed, strict=True)] == [
        b"token",
        b"token",
    ]
    with pytest.raises(RootKeyUnusable):
        before.open(COMPANY, PLACE, sealed[0])


def test_key_files_are_private_and_hold_no_key(tmp_path: Path, roots: RootKeys) -> None:
    folder = tmp_path / "company-keys"
    keys = CompanyKeys(folder, roots)
    old_mask = os.umask(0)
    try:
        secret = keys.newest(COMPANY).secret
        keys.rotate(COMPANY)
        keys.drop(OTHER)
    finally:
        os.umask(old_mask)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert not any(secret in path.read_bytes() or secret.hex() in path.read_text() for path in folder.iterdir())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_file_open_to_others_is_not_used(mode: int, tmp_path: Path, company_keys: CompanyKeys) -> None:
    company_keys.newest(COMPANY)
    path = tmp_path / "company-keys" / f"{COMPANY}.json"
    path.chmod(mode)
    with pytest.raises(KeyFileExposed):
        company_keys.newest(COMPANY)


def test_a_folder_open_to_others_is_not_used(tmp_path: Path, roots: RootKeys) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(KeyFileExposed):
        CompanyKeys(folder, roots)


def test_a_link_in_place_of_a_key_file_is_not_followed(tmp_path: Path, company_keys: CompanyKeys) -> None:
    company_keys.newest(COMPANY)
    company_keys.newest(OTHER)
    folder = tmp_path / "company-keys"
    (folder / f"{COMPANY}.json").unlink()
    (folder / f"{COMPANY}.json").symlink_to(folder / f"{OTHER}.json")
    with pytest.raises(KeyFileDamaged):
        company_keys.newest(COMPANY)


def test_exchanged_or_altered_key_files_are_noticed(tmp_path: Path, company_keys: CompanyKeys) -> None:
    company_keys.newest(COMPANY)
    company_keys.newest(OTHER)
    folder = tmp_path / "company-keys"
    mine, theirs = folder / f"{COMPANY}.json", folder / f"{OTHER}.json"
    content = json.loads(theirs.read_text())
    for forged in (
        theirs.read_bytes(),
        json.dumps({**content, "company": str(COMPANY)}).encode(),
        json.dumps({**content, "company": str(COMPANY), "keys": []}).encode(),
        b"{",
        b"",
    ):
        mine.write_bytes(forged)
        with pytest.raises(KeyFileDamaged):
            company_keys.newest(COMPANY)


def first_key(folder: str, company: int) -> bytes:
    keys = CompanyKeys(Path(folder), RootKeys.from_text(ROOT_TEXT))
    return keys.newest(CompanyId(UUID(int=company))).secret


def test_processes_that_start_at_once_end_with_the_same_key(tmp_path: Path) -> None:
    folder = tmp_path / "company-keys"
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        for company in range(20):
            futures = [pool.submit(first_key, str(folder), company) for _ in range(4)]
            assert len({future.result() for future in futures}) == 1
    assert not list(folder.glob(".*.json.*")), "a temporary file was left"


def rotate_often(folder: str) -> list[int]:
    keys = CompanyKeys(Path(folder), RootKeys.from_text(ROOT_TEXT))
    return [keys.rotate(COMPANY) for _ in range(15)]


def test_concurrent_rotations_lose_no_version(tmp_path: Path, roots: RootKeys) -> None:
    folder = tmp_path / "company-keys"
    keys = CompanyKeys(folder, roots)
    sealed = Envelope(keys).seal(COMPANY, PLACE, b"token")
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        rotations = [pool.submit(rotate_often, str(folder)) for _ in range(4)]
        versions = [version for rotation in rotations for version in rotation.result()]
    assert sorted(versions) == list(range(2, 62))
    assert Envelope(keys).open(COMPANY, PLACE, sealed) == b"token"


def test_ids_are_independent(envelope: Envelope) -> None:
    company = CompanyId(uuid4())
    assert envelope.open(company, PLACE, envelope.seal(company, PLACE, b"")) == b""


def test_an_earlier_revision_put_back_is_refused(envelope: Envelope) -> None:
    first = envelope.seal(COMPANY, replace(PLACE, revision=1), b"old")
    second = envelope.seal(COMPANY, replace(PLACE, revision=2), b"new")
    assert envelope.open(COMPANY, replace(PLACE, revision=2), second) == b"new"
    with pytest.raises(WrongPlace):
        envelope.open(COMPANY, replace(PLACE, revision=2), first)


def test_remembered_keys_are_forgotten_with_their_file(tmp_path: Path, roots: RootKeys) -> None:
    """Each change is made by another object, as another process would."""
    folder = tmp_path / "company-keys"
    here, there = CompanyKeys(folder, roots), CompanyKeys(folder, roots)
    first = here.newest(COMPANY)
    assert here.newest(COMPANY) is here.newest(COMPANY), "it is remembered"
    assert there.rotate(COMPANY) == 2
    assert here.newest(COMPANY).version == 2
    assert here.version(COMPANY, 1) == first
    there.retire(COMPANY)
    with pytest.raises(CompanyKeyGone):
        here.version(COMPANY, 1)
    there.drop(COMPANY)
    with pytest.raises(CompanyKeyGone):
        here.newest(COMPANY)


def test_a_tombstone_counts_while_the_key_file_is_still_there(tmp_path: Path, roots: RootKeys) -> None:
    folder = tmp_path / "company-keys"
    keys = CompanyKeys(folder, roots)
    keys.newest(COMPANY)
    (folder / f"{COMPANY}.gone").touch(mode=0o600)
    with pytest.raises(CompanyKeyGone):
        keys.newest(COMPANY)


def test_what_is_remembered_is_bounded_in_number_and_time(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(3)]
    kept: OpenedKeys[str] = OpenedKeys(most=2)
    for path in paths:
        path.touch()
        kept.remember(path, kept.mark(path), path.name)
    assert [kept.find(path) for path in paths] == [None, "1", "2"]
    over: OpenedKeys[str] = OpenedKeys(seconds=0)
    over.remember(paths[0], over.mark(paths[0]), "0")
    assert over.find(paths[0]) is None
