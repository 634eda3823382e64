"""What an e-mail address, a person's name and a device look like here. Pure: no input or output.

Whatever is refused raises InvalidInput with the field at fault and what to do about it.
"""

import re
import unicodedata
from dataclasses import dataclass

from ada_url import idna_to_ascii

from operalta.kernel.errors import InvalidInput

LONGEST_ADDRESS = 254
"""RFC 5321 section 4.5.3.1.3 leaves 254 octets for an address between its angle brackets."""
LONGEST_LOCAL_PART = 64
LONGEST_NAME = 120

_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}", re.ASCII)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_QUOTED_ONLY = frozenset('"(),:;<>[\\]')
_DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
_CONTROL_CATEGORIES = frozenset({"Cc", "Cn", "Co", "Cs", "Zl", "Zp"})

_BROWSERS = (
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("OPR/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Firefox/", "Firefox"),
    ("Chromium/", "Chromium"),
    ("HeadlessChrome/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """An address that mail can be sent to, and the key by which its account is found.

    `display` keeps the local part as it was typed and holds the domain in its ASCII form (RFC 5891), so any mail
    server takes it as it stands. `key` has both parts in lower case: two spellings of one address have one account.
    """

    display: str
    key: str

    @property
    def masked(self) -> str:
        """The address with most of its local part hidden, for those who need not know it."""
        return mask(self.display)


def email_address(typed: str) -> EmailAddress:
    """Return the address in `typed`; white space around it is dropped, nothing else is mended."""
    text = unicodedata.normalize("NFC", typed.strip(" \t"))
    local, at, domain = text.partition("@")
    if not at or "@" in domain or not local or not domain or len(text) > LONGEST_ADDRESS:
        raise _bad_address()
    if len(local.encode("utf-8", "surrogatepass")) > LONGEST_LOCAL_PART or not _is_local_part(local):
        raise _bad_address()
    host = _ascii_domain(domain)
    address = EmailAddress(f"{local}@{host}", unicodedata.normalize("NFC", f"{local.lower()}@{host}"))
    if max(len(address.display), len(address.key)) > LONGEST_ADDRESS:
        raise _bad_address()
    return address


def person_name(typed: str) -> str:
    """Return a person's name of 1 to 120 characters: normalised (NFC), white space collapsed.

    Control characters and direction marks are refused (they can make a mail or a list read as something else), and
    so are web addresses: the name stands in mails that go to strangers.
    """
    if any(_is_control(character) for character in typed):
        raise InvalidInput("Write the name without control characters.", field="name")
    name = unicodedata.normalize("NFC", " ".join(typed.split()))
    if not any(character.isalnum() for character in name):
        raise InvalidInput("Write a name with at least one letter or digit.", field="name")
    if len(name) > LONGEST_NAME:
        raise InvalidInput(f"Write a name of at most {LONGEST_NAME} characters.", field="name")
    if "://" in name or name.lower().startswith("www."):
        raise InvalidInput("Write a name, not a web address.", field="name")
    return name


def describe_device(user_agent: str) -> str:
    """Return what a person would call the device, such as `Firefox on Linux`. It is a claim, never a proof."""
    program = next((name for mark, name in _BROWSERS if mark in user_agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), None)
    if program is None and system is None:
        return "An unknown device"
    if system is None:
        return program or "An unknown device"
    return f"{program or 'A program'} on {system}"


def mask(address: str) -> str:
    """Return `address` with its local part cut to the first character: `a…@example.com`."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…{at}{domain}" if at else "…"


def could_be_token(text: str) -> bool:
    """Tell whether `text` has the shape of a random token (base64url), so that the database need be asked at all."""
    return _TOKEN.fullmatch(text) is not None


def one_line(text: str, longest: int) -> str:
    """Return `text` fit for a stored line: control characters become spaces, at most `longest` characters."""
    clean = "".join(" " if unicodedata.category(character) in _CONTROL_CATEGORIES else character for character in text)
    return clean[:longest].strip()


def _bad_address() -> InvalidInput:
    return InvalidInput("Write one complete e-mail address, such as name@example.com.", field="email")


def _is_local_part(local: str) -> bool:
    """Tell whether this is a dot-string (RFC 5321 section 4.1.2, RFC 6531 section 3.3); quoted ones are not taken."""
    if local.startswith(".") or local.endswith(".") or ".." in local:
        return False
    return not any(
        character in _QUOTED_ONLY or unicodedata.category(character) in _UNSEEN_CATEGORIES for character in local
    )


def _ascii_domain(domain: str) -> str:
    if any(unicodedata.category(character) in _UNSEEN_CATEGORIES for character in domain):
        raise _bad_address()
    try:
        ascii_form = idna_to_ascii(domain).decode("ascii")
    except (ValueError, UnicodeError):
        raise _bad_address() from None
    labels = ascii_form.lower().split(".")
    # One label is a typing mistake nearly always, and digits at the end make it an IP address.
    if len(labels) < 2 or labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):  # noqa: PLR2004 - a name and its parent
        raise _bad_address()
    return ".".join(labels)


def _is_control(character: str) -> bool:
    return character in _DIRECTION_MARKS or unicodedata.category(character) in _CONTROL_CATEGORIES


def counted_address(typed: str) -> str:
    """Return the spelling under which attempts on an address are counted.

    That is its account's key, however it was typed: a domain can be written in many ways that IDNA makes one, and
    each would be a fresh budget. What is no address counts as it was typed.
    """
    try:
        return email_address(typed).key
    except InvalidInput:
        return typed
