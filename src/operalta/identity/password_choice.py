"""Which passwords may be chosen (clause 2.1.2).

The whole password is held to what NIST SP 800-63B section 3.1.1.2 asks: a length, and nothing about its kinds of
signs. How early somebody who knows its owner would guess it is estimated by zxcvbn, which brings lists of leaked
passwords, names and words, and knows keyboards, dates, repeats and letters written as digits.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import cast

from operalta.kernel import clock
from operalta.kernel.errors import InvalidInput

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024
FEWEST_GUESSES = 10**6
"""A password that would be guessed earlier is refused.

The limits on signing in let a stranger try one account about 2,000 times a day, 700,000 times a year: one million is
beyond a year of that. zxcvbn says from there on that a password withstands guessing online. Eight random signs are at
10**8.
"""

LENGTH_LOOKED_AT = 32
"""How many characters are estimated: the time grows with their square and with every sign that can stand for a letter.

At this length the worst takes as long as one hash (a quarter of a second of a core), at 64 five times that.
"""

TOO_COMMON = "Many people use this password. Choose another, such as four words."

_FIRST_YEAR_UNKNOWN = 2020
_WORD = re.compile(r"[^\W_]+")
_SHORTEST_WORD = 3
_MOST_WORDS = 40


class WeakPassword(InvalidInput):
    """Choose another password: at least 8 characters, and not one that many people use."""


def spellings(password: str) -> tuple[str, ...]:
    """Return what is to be estimated of a password; raise `WeakPassword` where it cannot be one at all.

    It has 8 to 1,024 characters, counted as Unicode code points after NFC. A group that is repeated counts once. A
    second spelling leaves out the signs between letters and digits, where that leaves enough: what is put between
    two words hides them from nobody.
    """
    text = unicodedata.normalize("NFC", password)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise WeakPassword("The password has signs that are not text.", field="password") from None
    if len(text) < SHORTEST_PASSWORD:
        raise WeakPassword(f"Choose a password of at least {SHORTEST_PASSWORD} characters.", field="password")
    if len(text) > LONGEST_PASSWORD:
        raise WeakPassword(f"A password has at most {LONGEST_PASSWORD} characters.", field="password")
    group = _repeated_group(text)
    if len(group) < SHORTEST_PASSWORD:
        raise WeakPassword(TOO_COMMON, field="password")
    bare = "".join(sign for sign in group if sign.isalnum())
    kept = (group, bare) if SHORTEST_PASSWORD <= len(bare) < len(group) else (group,)
    return tuple(spelling[:LENGTH_LOOKED_AT] for spelling in kept)


def words_at_hand(about: Iterable[str]) -> tuple[str, ...]:
    """Return the words that are tried first on this password: ours, the years of late, and the person's.

    Those are the words of each text in `about`, and all of them run together; an e-mail address is two texts.
    """
    # zxcvbn's own years end at 2019.
    years = map(str, range(_FIRST_YEAR_UNKNOWN, clock.now().year + 2))
    texts = [part.lower() for given in about for part in unicodedata.normalize("NFC", given).split("@")]
    parted = [_WORD.findall(text) for text in texts]
    words = [word for parts in parted for word in ("".join(parts), *parts) if len(word) >= _SHORTEST_WORD]
    return ("operalta", *years, *words)[:_MOST_WORDS]


def fewest_guesses(texts: Iterable[str], words: Iterable[str]) -> int:
    """Return after about how many guesses the weakest of `texts` would be found. Takes up to a quarter of a second."""
    from zxcvbn import zxcvbn  # loads its lists, which only the workers need

    given = list(words)
    # A line break behind digits makes zxcvbn 4.5 fail.
    found = [cast("dict[str, int]", zxcvbn(text.replace("\n", " "), user_inputs=given)) for text in texts]
    return min(int(each["guesses"]) for each in found)


def _repeated_group(text: str) -> str:
    """Return the shortest group that fills the text when repeated, at least twice; the text where there is none.

    The last repetition may be cut short.
    """
    sizes = range(1, len(text) // 2 + 1)
    return next((text[:size] for size in sizes if text[size:] == text[:-size]), text)
