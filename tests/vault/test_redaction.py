"""A secret is taken out of an answer however it is written there, nothing else is, and no answer makes that dear."""

import base64
import html
import json
import string
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.vault.integrations.redaction import MOST_LAYERS, REDACTED, SHORTEST_FORM, Redactor

KEY = "sk_a+b/c=d.0123456789abcdefXYZ"
HOSTILE = [
    "%", "%2", "25", "41", "\\", "u00", "x", "n", '"', "/", "&", "#", "x0", "amp", "quot", ";", "A", "+", "-", "_",
    "%C3", "%a9", "é", "😀", "\\ud83d", "\\uDE00", "\\u0041", "&#65;", "&#x41;", "&lt;", " ", "\n", "ab", "sEc",
]  # fmt: skip
Cell = tuple[str, int, int]


# ── A slow reference: one character after the other, every place compared ──────────────────────────────


def read(text: str, at: int) -> tuple[str, int] | None:
    """Return the character that is written at a place in more than one, and how many it takes."""
    if text[at] == "%":
        for number in range(1, 5):
            part = text[at : at + 3 * number]
            if len(part) < 3 * number or any(part[each] != "%" for each in range(0, len(part), 3)):
                break
            digits = part.replace("%", "")
            if len(digits) == 2 * number and is_hexadecimal(digits):
                try:
                    return bytes.fromhex(digits).decode(), 3 * number
                except UnicodeDecodeError:
                    continue
    if text[at] == "\\":
        return read_escape(text[at : at + 12])
    if text[at] == "&" and ";" in text[at:]:
        return read_reference(text[at : text.index(";", at) + 1])
    return None


def read_escape(part: str) -> tuple[str, int] | None:
    if part[1:2] and part[1:2] in '"/\\nr':
        return {"n": "\n", "r": "\r"}.get(part[1], part[1]), 2
    if part[1:2] == "x" and len(part) >= 4 and is_hexadecimal(part[2:4]):
        return chr(int(part[2:4], 16)), 4
    if part[1:2] != "u" or len(part) < 6 or not is_hexadecimal(part[2:6]):
        return None
    point = int(part[2:6], 16)
    if not 0xD800 <= point <= 0xDFFF:
        return chr(point), 6
    if point < 0xDC00 and part[6:8] == "\\u" and len(part) == 12 and is_hexadecimal(part[8:]):
        low = int(part[8:], 16)
        if 0xDC00 <= low <= 0xDFFF:
            return chr(0x10000 + (point - 0xD800) * 0x400 + low - 0xDC00), 12
    return None


def read_reference(part: str) -> tuple[str, int] | None:
    inner = part[1:-1].lower()
    is_number = (
        (inner.startswith("#x") and 0 < len(inner[2:].lstrip("0")) <= 6 and is_hexadecimal(inner[2:]))
        or (inner.startswith("#") and 0 < len(inner[1:].lstrip("0")) <= 7 and set(inner[1:]) <= set(string.digits))
    )  # fmt: skip
    if is_number or inner in ("amp", "lt", "gt", "quot", "apos"):
        return html.unescape(f"&{inner};")[:1] or "\ufffd", len(part)
    return None


def is_hexadecimal(text: str) -> bool:
    return set(text) <= set(string.hexdigits)


def undone(cells: list[Cell]) -> list[Cell]:
    text, at, made = "".join(cell[0] for cell in cells), 0, list[Cell]()
    while at < len(text):
        one, length = read(text, at) or (text[at], 1)
        made.append((one, cells[at][1], cells[at + length - 1][2]))
        at += length
    return made


def layers(text: str) -> Iterator[list[Cell]]:
    cells = [(one, at, at + 1) for at, one in enumerate(text)]
    for _ in range(MOST_LAYERS + 1):
        yield cells
        before, cells = cells, undone(cells)
        if cells == before:
            return


def found_in(cells: list[Cell], needle: str) -> Iterator[tuple[int, int]]:
    at = 0
    while at + len(needle) <= len(cells):
        if all(cells[at + place][0] == one for place, one in enumerate(needle)):
            yield cells[at][1], cells[at + len(needle) - 1][2]
            at += len(needle)
        else:
            at += 1


def slowly_cleaned(text: str, secret: str) -> str:
    spans = list[tuple[int, int]]()
    forms = {"".join(cell[0] for cell in cells) for cells in layers(secret)}
    forms = {secret, secret.replace(" ", "+")} | {form for form in forms if len(form) >= SHORTEST_FORM}
    for cells in layers(text):
        for form in forms:
            spans += found_in(cells, form)
        spans += found_in([(one.lower() if one.isascii() else one, *at) for one, *at in cells], secret.encode().hex())  # pyright: ignore[reportArgumentType]
        together = [({"-": "+", "_": "/"}.get(one, one), start, end) for one, start, end in cells if not one.isspace()]
        for before in range(3):
            whole = base64.b64encode(b"\x00" * before + secret.encode()).decode()
            bits = (before * 8, (before + len(secret.encode())) * 8)
            core = whole[-(-bits[0] // 6) : bits[1] // 6]
            spans += found_in(together, core) if core else ()
    covered = [False] * len(text)
    begins = set[int]()
    end = 0
    for start, stop in sorted(spans):
        if start >= end:
            begins.add(start)
        end = max(end, stop)
        covered[start:stop] = [True] * (stop - start)
    return "".join(REDACTED if at in begins else "" if covered[at] else one for at, one in enumerate(text))


@given(
    st.lists(st.sampled_from(HOSTILE), max_size=40).map("".join),
    st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=6).map("".join),
)
def test_it_takes_out_what_the_slow_reference_takes_out(text: str, secret: str) -> None:
    assert Redactor(secret).clean(text) == slowly_cleaned(text, secret)


@given(st.data())
def test_so_it_does_where_the_text_is_made_of_the_secret(data: st.DataObject) -> None:
    secret = data.draw(st.text('abA%41\\"&;é', min_size=1, max_size=8))
    ways = [secret, secret[:-1], secret[1:], *(way(secret) for way in WAYS), *(way(way(secret)) for way in WAYS)]
    ways += [base64.b64encode(around + secret.encode()).decode() for around in (b"", b"x", b"xy")]
    ways += [secret.encode().hex(), secret.encode().hex().upper(), "\n", " ", "x"]
    text = "".join(data.draw(st.lists(st.sampled_from(ways), max_size=6)))
    assert Redactor(secret).clean(text) == slowly_cleaned(text, secret)


# ── Ways in which services write ───────────────────────────────────────────────────────────────────────


def as_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def as_html_safe_json(text: str) -> str:
    """As those who put JSON into pages do."""
    return as_json(text).replace("<", "\\u003c").replace(">", "\\u003E").replace("&", "\\u0026")


def percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def as_references(text: str) -> str:
    return "".join(f"&#{ord(one)};" for one in text)


WAYS: list[Callable[[str], str]] = [
    as_json, as_html_safe_json, html.escape, quote, lambda text: quote(text, safe=""), percent, as_references,
]  # fmt: skip


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=30, max_size=40).map("s{}z".format),
    st.lists(st.sampled_from(WAYS), max_size=MOST_LAYERS),
    st.text("<k>: {", max_size=5),
    st.text("<>: {}", max_size=5),
)
def test_it_is_found_however_often_and_differently_it_is_encoded(
    secret: str, ways: list[Callable[[str], str]], before: str, after: str
) -> None:
    written = [before, secret, after]
    for way in ways:
        written = [way(part) for part in written]
    assert Redactor(secret).clean("".join(written)) == written[0] + REDACTED + written[2]


@given(st.data())
def test_it_is_found_with_each_of_its_characters_written_in_another_way(data: st.DataObject) -> None:
    secret = data.draw(st.text(string.ascii_letters + string.digits + "+/=_-.é", min_size=8, max_size=30))
    written = "".join(data.draw(st.sampled_from([str, percent, as_references, as_json]))(one) for one in secret)
    assert Redactor(secret).clean(f"<{written}>") == f"<{REDACTED}>"


@pytest.mark.proves("1.3.2")
@pytest.mark.parametrize("around", [b"", b"x", b"xy", b"key="])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes])
@pytest.mark.parametrize("key", [KEY, "sk~~??>>~~??>>~~??>>"])
def test_no_part_of_its_base64_is_left(key: str, around: bytes, encode: Callable[[bytes], bytes]) -> None:
    inside = encode(around + key.encode() * 3 + b"&end").decode()
    for written in (inside, as_json(inside), quote(inside), inside.replace("\n", "\r\n")):
        cleaned = Redactor(key).clean(f"<{written}>")
        assert cleaned.count(REDACTED) == 3
        assert len(cleaned) < len(REDACTED) * 3 + 30


@pytest.mark.proves("1.3.2")
@pytest.mark.parametrize(
    "written",
    [
        KEY,
        quote(KEY, safe=""),
        percent(percent(KEY)),
        json.dumps(json.dumps(json.dumps(KEY + '"'))),
        KEY.encode().hex(),
        KEY.encode().hex().upper(),
        "".join(f"\\x{ord(one):02x}" for one in KEY),
        "".join(f"\\u{ord(one):04X}" for one in KEY),
        "".join(f"&#x{ord(one):06x};" for one in KEY),
        as_references(KEY),
    ],
)
def test_it_is_found_in_each_form(written: str) -> None:
    cleaned = Redactor("another", KEY).clean(f"before {written} after")
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert REDACTED in cleaned
    assert len(cleaned) < 60


def test_blanks_become_pluses_in_forms() -> None:
    assert Redactor("correct horse/battery").clean(quote_plus("correct horse/battery")) == REDACTED


def test_what_looks_encoded_itself_is_found_where_others_are_escaped_around_it() -> None:
    secret = "a&%41%42-0123456"
    assert Redactor(secret).clean(as_html_safe_json(secret)) == REDACTED
    assert Redactor("%41%41").clean("say AA") == "say AA"


def test_nothing_is_cut_in_half_at_the_end_of_what_is_shown() -> None:
    redactor = Redactor(KEY)
    for way in (str, percent, as_references):
        text = "x" * 90 + way(KEY) + "y" * 2_000
        for longest in range(80, 130):
            shown = redactor.beginning(text, longest)
            assert len(shown) <= longest
            assert shown == ("x" * 90 + REDACTED + "y" * 2_000)[: len(shown)]


def test_nothing_to_look_for_and_nothing_to_find_leave_a_text_as_it_is() -> None:
    assert Redactor("").clean("a %41") == "a %41"
    assert Redactor(KEY).clean("a %41 \\n &amp; é") == "a %41 \\n &amp; é"
    assert KEY not in repr(Redactor(KEY))


@pytest.mark.parametrize(
    "piece",
    [
        "x", "%41", "%2525252541", "%4", "%C3", "%D0%B6", "\\", '\\"', "\\u0041", "\\ud800", "&", "&#", "&#0", "&amp;",
        "&amp;amp;amp;", "\\n%41", "a" * 3_999 + "b", "YWFh", "61", "ж", "\n",
    ],
)  # fmt: skip
def test_a_hostile_answer_and_a_long_token_are_no_more_work_than_others(piece: str) -> None:
    """Where the work grew with their product, this would not end."""
    redactor = Redactor("a" * 8_000 + "!", ("0123456789" * 820)[:8_192])
    text = piece * (1_000_000 // len(piece))
    assert REDACTED not in redactor.clean(text)
