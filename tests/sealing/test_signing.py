"""Signing keys: one ring a purpose, in files, rotated with an overlap."""

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from operalta.kernel import clock
from operalta.sealing.errors import BadSignature, KeyFileDamaged, KeyFileExposed, UnusableKey
from operalta.sealing.files import create_private
from operalta.sealing.keys import RootKeys, new_root_key_text
from operalta.sealing.signing import SigningKeyRing, SigningPurpose
from tests.sealing.conftest import ROOT_TEXT

PURPOSES = list(SigningPurpose)
ACCESS = SigningPurpose.ACCESS_TOKEN
NO_OVERLAP = timedelta(0)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_key_signs_and_verifies(purpose: SigningPurpose, tmp_path: Path, roots: RootKeys) -> None:
    key = SigningKeyRing(tmp_path, roots, purpose).current()
    for number in range(20):
        message = f"message {number}".encode()
        signature = key.sign(message)
        key.verify(message, signature)
        for forged in (signature[:-1], signature + b"\x00", bytes(64), signature[::-1], b""):
            with pytest.raises(BadSignature):
                key.verify(message, forged)
        with pytest.raises(BadSignature):
            key.verify(message + b"!", signature)


def test_purposes_do_not_share_keys(tmp_path: Path, roots: RootKeys) -> None:
    rings = [SigningKeyRing(tmp_path, roots, purpose) for purpose in PURPOSES]
    assert len({ring.current().kid for ring in rings}) == len(PURPOSES)
    assert rings[1].find(rings[2].current().kid) is None
    signature = rings[1].current().sign(b"head")
    with pytest.raises(BadSignature):
        rings[2].current().verify(b"head", signature)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_key_survives_a_restart(purpose: SigningPurpose, tmp_path: Path, roots: RootKeys) -> None:
    key = SigningKeyRing(tmp_path, roots, purpose).current()
    again = SigningKeyRing(tmp_path, roots, purpose).current()
    assert (again.kid, again.sequence, again.created_at) == (key.kid, key.sequence, key.created_at)
    again.verify(b"message", key.sign(b"message"))


@pytest.mark.parametrize("purpose", PURPOSES)
def test_public_keys_leave_without_their_private_halves(
    purpose: SigningPurpose, tmp_path: Path, roots: RootKeys
) -> None:
    ring = SigningKeyRing(tmp_path, roots, purpose)
    key = ring.current()
    assert load_pem_public_key(key.public_pem().encode()) == key.public
    (jwk,) = ring.public_jwks()["keys"]
    assert jwk["kid"] == key.kid
    assert jwk["use"] == "sig"
    assert jwk["alg"] == {"access-token": "ES256"}.get(purpose.value, "Ed25519")
    assert "d" not in jwk
    assert "private" not in repr(key)


def test_the_thumbprint_is_the_one_of_the_standard() -> None:
    """RFC 8037 appendix A.3."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from operalta.sealing.signing import SigningKey

    private = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    key = SigningKey(SigningPurpose.AUDIT, 1, clock.now(), private.public_key(), private)
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_rotation_keeps_the_old_key_for_the_overlap(
    tmp_path: Path, roots: RootKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring, elsewhere = (SigningKeyRing(tmp_path, roots, ACCESS) for _ in range(2))
    old = ring.current()
    assert elsewhere.current().kid == old.kid
    new = ring.rotate(HOUR)
    assert new.kid != old.kid
    assert elsewhere.current().kid == new.kid
    assert elsewhere.find(old.kid) is not None
    later = clock.now() + timedelta(hours=2)
    monkeypatch.setattr(clock, "now", lambda: later)
    ring.retire(HOUR)
    assert elsewhere.find(old.kid) is None
    assert elsewhere.find(new.kid) is not None


def test_the_overlap_ends_to_the_second_and_only_the_newest_key_signs(
    tmp_path: Path, roots: RootKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring, elsewhere = (SigningKeyRing(tmp_path, roots, ACCESS) for _ in range(2))
    old = ring.current()
    signature = old.sign(b"token")
    long_after = old.created_at + timedelta(days=90)
    monkeypatch.setattr(clock, "now", lambda: long_after)
    new = ring.rotate(HOUR)
    assert [each.current().kid for each in (ring, elsewhere)] == [new.kid, new.kid]
    for seconds, verifies in ((3599, True), (3600, False)):
        present = new.created_at + timedelta(seconds=seconds)
        monkeypatch.setattr(clock, "now", lambda present=present: present)
        ring.retire(HOUR)
        found = elsewhere.find(old.kid)
        assert (found is not None) is verifies
        if found is not None:
            found.verify(b"token", signature)
    assert [key.kid for key in elsewhere.all_keys()] == [new.kid], "the newest stays, however old it is"


def test_one_key_in_two_files_is_noticed(tmp_path: Path, roots: RootKeys) -> None:
    ring = SigningKeyRing(tmp_path, roots, ACCESS)
    twin = replace(ring.current(), sequence=2)
    content = ring._encode(twin, private=True)  # pyright: ignore[reportPrivateUsage] - no other way makes such a file
    create_private(tmp_path / ACCESS.value / "000002.json", content)
    with pytest.raises(KeyFileDamaged, match="same key"):
        SigningKeyRing(tmp_path, roots, ACCESS).current()


def test_a_ring_that_read_long_ago_sees_a_new_key(tmp_path: Path, roots: RootKeys) -> None:
    writer, reader = (SigningKeyRing(tmp_path, roots, ACCESS) for _ in range(2))
    writer.current()
    folder = tmp_path / ACCESS.value
    past = folder.stat().st_mtime_ns - 10_000_000_000
    os.utime(folder, ns=(past, past))
    reader.current()
    new = writer.rotate(HOUR)
    assert reader.current().kid == new.kid


@pytest.mark.parametrize("purpose", [SigningPurpose.AUDIT, SigningPurpose.EVIDENCE])
def test_what_an_earlier_evidence_key_signed_verifies_for_good(
    purpose: SigningPurpose, tmp_path: Path, roots: RootKeys
) -> None:
    ring = SigningKeyRing(tmp_path, roots, purpose)
    old = ring.current()
    signature = old.sign(b"head")
    for _ in range(3):
        ring.rotate(NO_OVERLAP)
    kept = SigningKeyRing(tmp_path, roots, purpose).find(old.kid)
    assert kept is not None
    kept.verify(b"head", signature)
    assert kept.private is None
    with pytest.raises(UnusableKey):
        kept.sign(b"a head that was never published")
    with pytest.raises(UnusableKey):
        kept.private_pem()
    assert len(ring.all_keys()) == 4
    assert sum(key.private is not None for key in ring.all_keys()) == 1


def test_key_files_are_private_and_opaque(tmp_path: Path, roots: RootKeys) -> None:
    old_mask = os.umask(0)
    try:
        ring = SigningKeyRing(tmp_path / "keys", roots, ACCESS)
        key = ring.current()
    finally:
        os.umask(old_mask)
    folder = tmp_path / "keys" / ACCESS.value
    assert folder.stat().st_mode & 0o777 == 0o700
    (path,) = folder.glob("*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    assert key.kid not in path.read_text()
    path.chmod(0o644)
    os.utime(folder)
    with pytest.raises(KeyFileExposed):
        SigningKeyRing(tmp_path / "keys", roots, ACCESS).current()


def test_altered_or_exchanged_key_files_are_noticed(tmp_path: Path, roots: RootKeys) -> None:
    for purpose in PURPOSES:
        SigningKeyRing(tmp_path, roots, purpose).rotate(HOUR)
    path = tmp_path / ACCESS.value / "000001.json"
    good = path.read_bytes()
    members = json.loads(good)
    for forged in (
        b"{}",
        b"",
        json.dumps({**members, "wrapped": members["wrapped"][:-8] + "AAAAAAAA"}).encode(),
        (tmp_path / ACCESS.value / "000002.json").read_bytes(),
        (tmp_path / SigningPurpose.AUDIT.value / "000001.json").read_bytes(),
    ):
        path.write_bytes(forged)
        with pytest.raises(KeyFileDamaged):
            SigningKeyRing(tmp_path, roots, ACCESS).current()


def test_the_root_key_is_exchanged(tmp_path: Path) -> None:
    new_text = new_root_key_text()
    old = SigningKeyRing(tmp_path, RootKeys.from_text(ROOT_TEXT), SigningPurpose.AUDIT)
    first = old.current()
    old.rotate(NO_OVERLAP)
    both = SigningKeyRing(tmp_path, RootKeys.from_text(new_text, ROOT_TEXT), SigningPurpose.AUDIT)
    assert both.rewrap() == 2
    assert both.rewrap() == 0
    after = SigningKeyRing(tmp_path, RootKeys.from_text(new_text), SigningPurpose.AUDIT)
    kept = after.find(first.kid)
    assert kept is not None
    assert kept.private is None
    assert after.current().private is not None


def first_kid(folder: str) -> str:
    return SigningKeyRing(Path(folder), RootKeys.from_text(ROOT_TEXT), ACCESS).current().kid


def rotated_kid(folder: str) -> str:
    return SigningKeyRing(Path(folder), RootKeys.from_text(ROOT_TEXT), ACCESS).rotate(HOUR).kid


def test_processes_that_start_at_once_end_with_the_same_key(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        for number in range(10):
            folder = str(tmp_path / str(number))
            kids = {future.result() for future in [pool.submit(first_kid, folder) for _ in range(4)]}
            assert len(kids) == 1
        folder = str(tmp_path / "0")
        kids = {future.result() for future in [pool.submit(rotated_kid, folder) for _ in range(4)]}
    ring = SigningKeyRing(Path(folder), RootKeys.from_text(ROOT_TEXT), ACCESS)
    assert kids <= {key.kid for key in ring.all_keys()}
    assert ring.current().sequence <= 5


def test_times_are_aware(tmp_path: Path, roots: RootKeys) -> None:
    created: datetime = SigningKeyRing(tmp_path, roots, ACCESS).current().created_at
    assert created.tzinfo is not None
