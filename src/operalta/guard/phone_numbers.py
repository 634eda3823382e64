"""Phone numbers in one spelling, with the country that they belong to."""

import unicodedata
from dataclasses import dataclass

import phonenumbers

from operalta.guard.errors import PhoneNotInternational
from operalta.terms.registry import upholds

LONGEST_TYPED = 60
_MOBILE = frozenset(
    {
        phonenumbers.PhoneNumberType.MOBILE,
        phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
        phonenumbers.PhoneNumberType.PERSONAL_NUMBER,
    }
)
NO_COUNTRY = "001"
"""What the numbering plan says of numbers that belong to no country (satellites, shared services)."""


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number in E.164, such as `+41446681800`, and its country (ISO 3166-1 alpha-2, or `001` for none).

    `may_be_mobile`: its country's numbering plan does not rule out that it belongs to a mobile phone. Premium rates,
    by which a message costs its sender, never do.
    """

    e164: str
    country: str
    may_be_mobile: bool

    @property
    def hint(self) -> str:
        """The last two digits, by which its owner knows it again."""
        return f"…{self.e164[-2:]}"


@upholds("3.1.3")
def phone_number(typed: str) -> PhoneNumber:
    """Return the number in `typed`, whatever separators or digits it was written with.

    It must be complete with its country code, as nobody's country is guessed, and one that its country's numbering
    plan has. Raise PhoneNotInternational for anything else.
    """
    if len(typed) > LONGEST_TYPED:
        raise PhoneNotInternational(field="phone")
    visible = (sign for sign in unicodedata.normalize("NFKC", typed) if unicodedata.category(sign) != "Cf")
    text = "".join(visible).strip()
    if any(sign.isalpha() for sign in text):  # the library would read letters as keys of a telephone
        raise PhoneNotInternational(field="phone")
    if text.startswith("00"):
        text = "+" + text[2:]
    try:
        parsed = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        raise PhoneNotInternational(field="phone") from None
    if parsed.extension or not phonenumbers.is_valid_number(parsed):
        raise PhoneNotInternational(field="phone")
    country = phonenumbers.region_code_for_number(parsed) or NO_COUNTRY
    return PhoneNumber(
        phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164),
        country,
        phonenumbers.number_type(parsed) in _MOBILE,
    )
