"""Under which keys of the store a request is counted. The keys hold keyed digests, never an identity."""

import hmac

from operalta.guard.errors import UnknownAddress
from operalta.guard.rules import Dimension, Limit, Rule, Subjects
from operalta.guard.subjects import address_prefix


def counted_keys(rule: Rule, subjects: Subjects, digest_key: bytes) -> list[tuple[Limit, str]]:
    """Return each limit of `rule` that applies to the caller, with its key in the store.

    A subject that the rule needs and the caller lacks is never skipped: it raises `UnknownAddress`, or
    `ValueError` where the calling code is at fault.
    """
    digests: dict[Dimension, str] = {}
    for dimension in rule.limits:
        subject = _subject(rule, dimension, subjects)
        if subject is not None:
            digests[dimension] = _digest(digest_key, f"{rule.name}|{dimension.value}|{subject}")
    if not digests:
        raise ValueError(f"nothing to count {rule.name} by: no subject was given")
    # A cluster runs a script on one node only, so the keys of one decision share a hash tag. Where the rule
    # counts by one dimension the tag is the digest itself, which spreads callers over all nodes.
    shares_tag = len(rule.limits) > 1
    return [
        (
            rule.limits[dimension],
            f"operalta:limit:{{{rule.name if shares_tag else digest}}}:{dimension.value}:{digest}",
        )
        for dimension, digest in digests.items()
    ]


def _subject(rule: Rule, dimension: Dimension, subjects: Subjects) -> str | None:
    """Return what one dimension counts by; None where it is optional and the caller has none."""
    match dimension:
        case Dimension.GLOBAL:
            return "everybody"
        case Dimension.ADDRESS:
            if subjects.address is None:
                raise UnknownAddress
            return address_prefix(subjects.address)
        case Dimension.IDENTITY:
            subject = subjects.identity
        case Dimension.COMPANY:
            subject = subjects.company
    if not subject and dimension not in rule.optional:
        raise ValueError(f"{rule.name} counts by {dimension.value}, and none was given")
    return subject or None


def _digest(digest_key: bytes, subject: str) -> str:
    return hmac.new(digest_key, subject.encode("utf-8", "surrogatepass"), "sha256").hexdigest()
