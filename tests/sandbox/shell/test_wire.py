import json

import pytest

from operalta.sandbox.shell.wire import (
    HEADER,
    LONGEST_FRAME,
    Kind,
    Malformed,
    exit_code_in,
    frame,
    kind_and_length,
    name_and_bytes,
    with_name,
)


def test_a_named_frame_comes_back() -> None:
    sent = with_name(Kind.CHANGED, "a/ö.txt", b"\0content")
    assert kind_and_length(sent[: HEADER.size]) == (Kind.CHANGED, len(sent) - HEADER.size)
    assert name_and_bytes(sent[HEADER.size :]) == ("a/ö.txt", b"\0content")
    assert frame(Kind.RUN)[HEADER.size :] == b""


@pytest.mark.proves("5.3.2")
@pytest.mark.parametrize(
    "header", [HEADER.pack(0, 1), HEADER.pack(Kind.RUN, 1), HEADER.pack(99, 1), HEADER.pack(17, LONGEST_FRAME + 1)]
)
def test_odd_headers_are_refused(header: bytes) -> None:
    with pytest.raises(Malformed):
        kind_and_length(header)


@pytest.mark.proves("5.3.2")
@pytest.mark.parametrize(
    ("kind", "length"),
    [
        (Kind.READY, 1), (Kind.ENDED, 65), (Kind.OUTPUT, 32_769), (Kind.DONE, 1), (Kind.REMOVED, 1_027),
        (Kind.TUNNEL_OPEN, 5), (Kind.TUNNEL_SENT, 32_773), (Kind.CHANGED, LONGEST_FRAME + 1),
    ],
)  # fmt: skip
def test_each_kind_has_its_own_bound(kind: Kind, length: int) -> None:
    with pytest.raises(Malformed):
        kind_and_length(HEADER.pack(kind, length))
    kind_and_length(HEADER.pack(kind, length - 1))


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\0", b"\0\5abc", b"\xff\xffa", b"\0\1\xff", b"\5\0" + b"a" * 1280])
def test_odd_names_are_refused(payload: bytes) -> None:
    with pytest.raises(Malformed):
        name_and_bytes(payload)


@pytest.mark.parametrize("told", [b"", b"[]", b"7", b"{}", b"\xff", *(
    json.dumps({"code": code}).encode() for code in (-1, 256, 1.5, "0", None, True, 10**30)
)])  # fmt: skip
def test_odd_exit_codes_are_refused(told: bytes) -> None:
    with pytest.raises(Malformed):
        exit_code_in(told)
