"""Addresses, names and devices: what is taken, what is refused, what becomes one."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.identity.rules import could_be_token, describe_device, email_address, mask, one_line, person_name
from operalta.kernel.errors import InvalidInput


@pytest.mark.parametrize(
    ("typed", "display", "key"),
    [
        ("ada@people.example", "ada@people.example", "ada@people.example"),
        ("  Ada.L+x@People.EXAMPLE \t", "Ada.L+x@people.example", "ada.l+x@people.example"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
        ("ada@BÜCHER.example", "ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
        ("ada@\uff50eople.example", "ada@people.example", "ada@people.example"),
        ("Jose\u0301@people.example", "Jos\u00e9@people.example", "jos\u00e9@people.example"),
        ("o'brien@people.example", "o'brien@people.example", "o'brien@people.example"),
        (f"{'a' * 64}@people.example", f"{'a' * 64}@people.example", f"{'a' * 64}@people.example"),
    ],
)
def test_spellings_of_one_address_have_one_key(typed: str, display: str, key: str) -> None:
    address = email_address(typed)
    assert (address.display, address.key) == (display, key)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ada",
        "@people.example",
        "ada@",
        "ada@@people.example",
        "ada@people@example.com",
        "ada@people",
        "ada@people.example.",
        "ada@.example",
        "ada@peo_ple.example",
        "ada@-people.example",
        "ada@192.0.2.7",
        "ada@[192.0.2.7]",
        "ada lovelace@people.example",
        '"ada"@people.example',
        "Ada <ada@people.example>",
        "ada@people.example, eve@people.example",
        ".ada@people.example",
        "a..da@people.example",
        "ada@people.example\r\nBcc: eve@people.example",
        "ada\n@people.example",
        "\nada@people.example",
        "ada@people.example\n",
        "ada\x00@people.example",
        "a\u200bda@people.example",
        "a\u202eda@people.example",
        "ada@peo\u00adple.example",
        "ada@people.exam\u2028ple",
        "\ud800@people.example",
        f"{'a' * 65}@people.example",
        f"{'é' * 33}@people.example",
        f"ada@{'a' * 64}.example",
        f"ada@{'.'.join(['a' * 60] * 5)}",
        f"ada@{'ü' * 120}.example",
    ],
)
def test_what_is_no_single_address_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        email_address(typed)
    assert refused.value.field == "email"


@given(st.text(max_size=80) | st.emails())
def test_an_accepted_address_is_one_line_with_one_sign_at(typed: str) -> None:
    try:
        address = email_address(typed)
    except InvalidInput:
        return
    for text in (address.display, address.key):
        assert text.count("@") == 1
        assert len(text) <= 254
        assert not any(unicodedata.category(character).startswith(("C", "Z")) for character in text)
    assert email_address(address.display) == address
    assert email_address(address.key).key == address.key


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("  Ada   Lovelace ", "Ada Lovelace"),
        ("Jose\u0301", "Jos\u00e9"),
        ("李小龍", "李小龍"),
        ("Nguyễn Văn A", "Nguyễn Văn A"),
        ("نیکا\u200cپور", "نیکا\u200cپور"),
        ("x" * 120, "x" * 120),
        ("R2-D2 & Söhne", "R2-D2 & Söhne"),
    ],
)
def test_a_name_is_kept_as_people_write_it(typed: str, name: str) -> None:
    assert person_name(typed) == name


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "   ",
        "--",
        "\u200b",
        "x" * 121,
        "Ada\nLovelace",
        "Ada\tLovelace",
        "\u202eadA",
        "Ada\u2066",
        "\x7fAda",
        "\x00",
        "\ud800a",
        "Win at https://evil.example",
        "www.evil.example",
    ],
)
def test_a_name_that_could_mislead_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        person_name(typed)
    assert refused.value.field == "name"


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0 Safari/537.36",
            "Chromium on Linux",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0) AppleWebKit/605.1 Version/18.0 Safari/605.1", "Safari on macOS"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 CriOS/140.0 Mobile Safari/604.1",
            "Chrome on iPhone",
        ),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.5.0", "curl"),
        ("something (Linux)", "A program on Linux"),
        ("", "An unknown device"),
    ],
)
def test_a_device_is_called_what_people_call_it(user_agent: str, device: str) -> None:
    assert describe_device(user_agent) == device


def test_small_things() -> None:
    assert mask("ada@people.example") == "a…@people.example"
    assert mask("nothing") == "…"
    assert email_address("ada@people.example").masked == "a…@people.example"
    assert one_line("a\r\nb\x00c" + "d" * 10, 6) == "a  b c"
    assert could_be_token("A_-9" * 8)
    assert not any(could_be_token(text) for text in ("", "short", "a" * 201, "a b" * 10, "é" * 20, "a" * 20 + "\n"))
