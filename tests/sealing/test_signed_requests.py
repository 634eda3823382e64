"""Signature Version 4, against the examples that AWS publishes: its test suite, and ListUsers of its reference."""

from datetime import UTC, datetime

import pytest

from operalta.sealing.signed_requests import Credentials, SignedPlace, signed_headers, signing_key

CREDENTIALS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
SUITE = {"host": "example.amazonaws.com"}
FORM = "application/x-www-form-urlencoded"
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwth"
    "Ax7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY"
    "9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)


@pytest.mark.parametrize(
    ("service", "method", "headers", "query", "body", "signature"),
    [
        ("service", "GET", SUITE, "", b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("service", "POST", SUITE, "", b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "service", "POST", SUITE | {"my-header1": "value1"}, "", b"",
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        ),
        (
            "service", "POST", SUITE | {"content-type": FORM}, "", b"Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
        (
            "iam", "GET", {"host": "iam.amazonaws.com", "content-type": f"{FORM}; charset=utf-8"},
            "Action=ListUsers&Version=2010-05-08", b"",
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        ),
    ],
)  # fmt: skip
def test_published_examples_are_signed_as_published(
    service: str, method: str, headers: dict[str, str], query: str, body: bytes, signature: str
) -> None:
    place = SignedPlace("us-east-1", service)
    signed = signed_headers(
        CREDENTIALS, place, method=method, path="/", headers=headers, query=query, body=body, now=NOW
    )
    names = ";".join(sorted({*headers, "x-amz-date"}))
    assert signed["authorization"] == (
        f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/{service}/aws4_request, SignedHeaders={names}, "
        f"Signature={signature}"
    )


def test_the_token_of_temporary_credentials_is_sent_and_signed() -> None:
    temporary = Credentials(CREDENTIALS.access_key, CREDENTIALS.secret_key, TOKEN)
    place = SignedPlace("us-east-1", "service")
    signed = signed_headers(temporary, place, method="POST", path="/", headers=SUITE, body=b"", now=NOW)
    assert signed["x-amz-security-token"] == TOKEN
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token" in signed["authorization"]
    assert signed["authorization"].endswith("85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead")


def test_the_key_of_a_day_is_the_published_one() -> None:
    key = signing_key(CREDENTIALS.secret_key, "20150830", SignedPlace("us-east-1", "iam"))
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"


def test_credentials_show_in_no_representation() -> None:
    assert "wJalr" not in repr(Credentials("AKIDEXAMPLE", CREDENTIALS.secret_key, CREDENTIALS.secret_key))
