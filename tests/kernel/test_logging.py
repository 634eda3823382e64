"""What could be a secret does not reach a log: by its name, by its kind, by its shape."""

import io
import json
import logging
from typing import Any

import pytest
import structlog

from operalta.kernel.logging import configure, redact
from operalta.kernel.secret_texts import marked

PEM = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n-----END PRIVATE KEY-----"  # not one
TEXT = "a1B2c3D4" * 8
AWS = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def redacted(**event: object) -> Any:  # noqa: ANN401 - any JSON
    return redact(None, "info", dict(event))


@pytest.mark.proves("7.2.1")
@pytest.mark.parametrize(
    "secret",
    [
        "op_" + "aB3" * 16 + "xy",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0aaaa.c2lnbmF0dXJlc2ln",
        PEM,
        PEM[:50],
        "AKIA" + "ABCDEFGH12345678",
        AWS,
        "ghp_" + "a1B2" * 9,
        "xoxb-1234567890-abcdef",
        "sk-" + "a1B2" * 6,
        marked("local", TEXT.encode()).decode(),
        marked("production", TEXT.encode()).decode(),
    ],
)
def test_what_has_the_shape_of_a_secret_is_taken_out(secret: str) -> None:
    for text in (secret, f"refused {secret}, says it", f'{{"value": "{secret}"}}', f"({secret})"):
        shown = json.dumps(redacted(event=text, found=[text], nested={"deep": (text, {"er": text})}))
        assert secret[5:40] not in shown, text
        assert "[redacted]" in shown


@pytest.mark.proves("7.2.1")
@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abc.def~ghi-jkl", "abc.def"),
        ("authorization: basic dXNlcjpwYXNzd29yZA==", "dXNlc"),
        ("AccessKey 0123456789abc", "0123456789abc"),
        ("postgresql://owner:h%40rd@host/db", "h%40rd"),
        ("unix://:hard@/run/valkey.sock", "hard"),
        ("smtp://user:hard@mail.example:587 said no", "hard"),
        ("/operator?token=abcdefghijklmnopqrst", "abcdefghij"),
    ],
)
def test_what_stands_in_the_place_of_a_secret_is_taken_out(text: str, secret: str) -> None:
    assert secret not in redacted(event=text)["event"]


@pytest.mark.proves("7.2.1")
@pytest.mark.parametrize(
    "name",
    ["password", "Authorization", "set_cookie", "api_key", "refresh_token", "root_key", "client_secret", "sealed"],
)
def test_what_is_called_a_secret_is_taken_out(name: str) -> None:
    assert redacted(**{name: "x1"}) == {name: "[redacted]"}
    assert redacted(fields={name: "x1"}) == {"fields": {name: "[redacted]"}}


@pytest.mark.proves("7.2.1")
def test_bytes_are_never_shown() -> None:
    assert redacted(a=b"key", b=bytearray(b"key"), c=[b"key"]) == {
        "a": "[redacted]",
        "b": "[redacted]",
        "c": ["[redacted]"],
    }


def test_what_is_no_secret_stays() -> None:
    event = {
        "event": "the database answered in 3 ms",
        "path": "/api/v1/companies/{company}/memory",
        "address": "https://operalta.example/c/acme",
        "commit": "3f2504e04f8911d39a0c0305e82c3301deadbeef",
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "run": "01a20f8d-656f-78da-848b-e6cfcfa893b1",
        "count": 3,
        "ready": True,
        "none": None,
    }
    assert redacted(**event) == event


@pytest.mark.proves("7.2.1", "5.6.4")
def test_both_kinds_of_loggers_go_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    output = io.StringIO()
    monkeypatch.setattr("sys.stdout", output)
    configure()
    structlog.get_logger("ours").info("opened", value=AWS)
    logging.getLogger("theirs").warning("connecting to %s", "redis://:hard@host")
    logging.getLogger("theirs").error("failed", exc_info=ValueError(AWS))
    logging.getLogger("asyncio").error(
        "Task exception was never retrieved\nfuture: <Task exception=ValueError('said')>"
    )
    structlog.reset_defaults()
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [
        "opened",
        "connecting to redis://[redacted]@host",
        "failed",
        "Task exception was never retrieved",
    ]
    assert AWS not in output.getvalue()
    assert lines[2]["error"] == "ValueError"
