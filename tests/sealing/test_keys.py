"""The root key."""

import base64

import pytest

from operalta.sealing.errors import RootKeyUnusable, Tampered
from operalta.sealing.keys import RootKey, RootKeys, derive_key, encode_context, new_root_key_text


def test_a_fresh_root_key_reads_back_and_differs_each_time() -> None:
    texts = [new_root_key_text() for _ in range(3)]
    assert len({RootKey.from_text(text).id for text in texts}) == 3
    assert RootKey.from_text(texts[0] + b"\n").secret == base64.b64decode(texts[0])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x" * 44,
        base64.b64encode(bytes(range(31))),
        base64.b64encode(bytes(range(33))),
        base64.b64encode(bytes(32)),
        b"\xff" * 44,
        bytes(range(32)),
    ],
)
def test_anything_but_thirty_two_random_bytes_is_refused(text: bytes) -> None:
    with pytest.raises(RootKeyUnusable):
        RootKey.from_text(text)


def test_the_secret_shows_in_no_representation() -> None:
    text = new_root_key_text()
    key = RootKey.from_text(text)
    for shown in (repr(key), str(key), repr(RootKeys(key))):
        assert text.decode() not in shown
        assert repr(key.secret) not in shown


def test_a_wrapped_key_opens_under_its_purpose_and_name_only() -> None:
    key = RootKey.from_text(new_root_key_text())
    wrapped = key.wrap("company-key", "a", b"secret")
    assert key.unwrap("company-key", "a", wrapped) == b"secret"
    other = RootKey.from_text(new_root_key_text())
    for root, purpose, name in [(key, "signing-key", "a"), (key, "company-key", "b"), (other, "company-key", "a")]:
        with pytest.raises(Tampered):
            root.unwrap(purpose, name, wrapped)
    for position in range(len(wrapped)):
        altered = bytearray(wrapped)
        altered[position] ^= 1
        with pytest.raises(Tampered):
            key.unwrap("company-key", "a", bytes(altered))
    for length in range(len(wrapped)):
        with pytest.raises(Tampered):
            key.unwrap("company-key", "a", wrapped[:length])


def test_contexts_with_moved_borders_differ() -> None:
    assert encode_context("ab", "c") != encode_context("a", "bc")
    assert derive_key(b"k" * 32, "ab", "c") != derive_key(b"k" * 32, "a", "bc")


def test_an_earlier_root_key_is_found_by_its_name() -> None:
    old, new = new_root_key_text(), new_root_key_text()
    roots = RootKeys.from_text(new, old)
    assert roots.named(RootKey.from_text(old).id).secret == base64.b64decode(old)
    with pytest.raises(RootKeyUnusable):
        RootKeys.from_text(new).named(RootKey.from_text(old).id)
