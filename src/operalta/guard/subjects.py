"""Who is counted: identities and addresses in one spelling each, so that a new spelling is no new budget."""

import hashlib
import unicodedata
from ipaddress import IPv6Address, ip_address
from uuid import UUID

from operalta.guard.errors import UnknownAddress
from operalta.guard.phone_numbers import phone_number
from operalta.terms.registry import upholds

_IPV6_HOST_BITS = 64


def person_identity(person: UUID) -> str:
    """Return the identity of a person, the same on every route that the person may use."""
    return f"person:{person}"


def key_identity(text: str) -> str:
    """Return the identity of an API key, by all of it: who knows its id alone does not use up its budget."""
    return f"key:{hashlib.sha256(text.encode()).hexdigest()}"


def hook_identity(token: str) -> str:
    """Return the identity of an address for incoming messages."""
    return f"hook:{hashlib.sha256(token.encode()).hexdigest()}"


def run_identity(run: UUID) -> str:
    """Return the identity of an agent's run."""
    return f"run:{run}"


@upholds("3.1.2")
def email_identity(email: str) -> str:
    """Return the identity of an e-mail address: trimmed, compatibility forms and case folded."""
    return f"email:{unicodedata.normalize('NFKC', email).strip().casefold()}"


@upholds("3.1.3")
def phone_identity(number: str) -> str:
    """Return the identity of a phone number, however it was typed. Raise `PhoneNotInternational` for none."""
    return f"phone:{phone_number(number).e164}"


def address_prefix(address: str) -> str:
    """Return what is counted of a client's address: IPv4 whole, IPv6 as its /64, mapped IPv4 as IPv4.

    A single customer holds a whole /64 (RFC 6177), so counting single IPv6 addresses would limit nobody.
    Text that is no address raises `UnknownAddress`: in one bucket for all of them one would block the rest.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        raise UnknownAddress from None
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        network = int(parsed) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS
        return f"{IPv6Address(network)}/{_IPV6_HOST_BITS}"
    return str(parsed)
