"""Taking a credential out of what a service answers, however it is written there. Pure.

A service that echoes what it was sent, in an error or on purpose, must not hand the credential to an agent, an event
or a page. Found are: the text as it is; with any of its characters percent-encoded, escaped as in JSON, or written as
HTML does; in base64 in either alphabet, alone or inside of something longer, also broken into lines; and in
hexadecimal digits. A service that means harm can write it in ways of its own: it has the credential already.
"""

import base64
import functools
import html
import re

from operalta.terms.registry import upholds

REDACTED = "[redacted]"
_MOST_PER_CHARACTER = 12
_BREAKS = r"(?:\s|\\[nr]|%0[AaDd])*"


@upholds("1.3.2", "7.2.2")
class Redactor:
    """Takes these secrets out of texts. They never show in a representation."""

    def __init__(self, *secrets: str) -> None:
        """Prepare for `secrets`; empty ones are passed over."""
        # Each once: a pattern for a long secret takes long to prepare.
        each = sorted(set(filter(None, secrets)), key=len, reverse=True)
        forms = [form for secret in each for form in _forms(secret)]
        self._pattern = re.compile("|".join(forms)) if forms else None
        self._margin = _MOST_PER_CHARACTER * max(map(len, secrets), default=0)

    def __repr__(self) -> str:
        """Return a text without the secrets."""
        return "Redactor()"

    def clean(self, text: str) -> str:
        """Return `text` with `[redacted]` in place of each secret."""
        return self._pattern.sub(REDACTED, text) if self._pattern else text

    def beginning(self, text: str, longest: int) -> str:
        """Return the cleaned beginning of `text`, at most `longest` characters; no secret is cut in half at its end."""
        window = text[: longest + self._margin]
        cleaned = self.clean(window)
        if len(window) < len(text):
            cleaned = cleaned[: max(0, len(cleaned) - self._margin)]
        return cleaned[:longest]


def _forms(secret: str) -> list[str]:
    """Return patterns for a secret: itself, in base64 at each of the three places in a group, and in hexadecimal."""
    raw = secret.encode()
    cores = dict.fromkeys(
        core
        for before in range(3)
        for encode in (base64.b64encode, base64.urlsafe_b64encode)
        if (core := _core(encode(b"\x00" * before + raw).decode("ascii"), before, len(raw)))
    )
    digits = "".join(f"[{two[0].lower()}{two[0].upper()}][{two[1].lower()}{two[1].upper()}]" for two in _hex(raw))
    return ["".join(map(_written, secret)), *(_BREAKS.join(map(_written, core)) for core in cores), digits]


def _core(encoded: str, before: int, length: int) -> str:
    """Return the part of a base64 text that stands for the secret's bytes alone, whatever stands around them."""
    start = -(-before * 8 // 6)
    end = (before + length) * 8 // 6
    return encoded[start:end]


def _hex(raw: bytes) -> list[str]:
    return [f"{byte:02x}" for byte in raw]


@functools.lru_cache(maxsize=256)
def _written(character: str) -> str:
    """Return a pattern for one character in all ways of writing: plain, percent-encoded, escaped, as a reference."""
    ways = [re.escape(character)]
    percent = "".join(f"%(?:25)*{_either_case(two)}" for two in _hex(character.encode()))
    point = ord(character)
    ways += [percent, rf"\\u{_either_case(f'{point:04x}')}", rf"\\x{_either_case(f'{point:02x}')}"]
    ways += [f"&#0*{point};", f"&#[xX]0*{_either_case(f'{point:x}')};"]
    if character in '"/':
        ways.append(rf"\\+{character}")
    if character == "\\":
        ways.append(r"\\+")
    escaped = html.escape(character)
    if escaped != character:
        ways.append(re.escape(escaped))
    if character == " ":
        ways.append(r"\+")
    return f"(?:{'|'.join(ways)})"


def _either_case(digits: str) -> str:
    return "".join(f"[{one.lower()}{one.upper()}]" if one.isalpha() else one for one in digits)
