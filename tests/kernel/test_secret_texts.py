"""What a secret's text says about it."""

import base64
import secrets

import pytest

from operalta.kernel.secret_texts import marked, split_mark, weakness


@pytest.mark.proves("7.2.1")
@pytest.mark.parametrize(
    "secret",
    [
        b"",
        b"short",
        b"local_" + b"a1B2" * 6,
        b"changeme-changeme-changeme-changeme",
        b"my-very-long-Password-for-everything",
        b"this is an example of a long secret!",
        b"x" * 64,
        b"ab" * 40,
        b"kT9vQ2mZ" * 8,
        b"zyxwvutsrqponmlkjihgfedcba9876543210",
        base64.b64encode(bytes(range(32))).replace(b"A", b"0123456789"),
        b"your-secret-here-your-secret-here-1234",
    ],
)
def test_samples_defaults_and_patterns_are_weak(secret: bytes) -> None:
    assert weakness(secret)


def test_random_secrets_in_the_usual_spellings_are_not() -> None:
    for _ in range(300):
        raw = secrets.token_bytes(48)
        for text in (secrets.token_urlsafe(48).encode(), raw.hex().encode(), base64.b64encode(raw), raw):
            assert weakness(marked("local", text)) is None, text
        assert weakness(secrets.token_hex(128).encode()) is None
        assert weakness(secrets.token_urlsafe(12).encode(), 12) is None


def test_a_mark_is_told_from_the_secret() -> None:
    assert split_mark(marked("production", b"x")) == ("production", b"x")
    assert split_mark(b"prod_x") == (None, b"prod_x")
