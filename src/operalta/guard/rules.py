"""Every rate limit of the product in one table, and the pure parts of a decision.

The figures of clauses 3.1.2 to 3.1.5 stand first; the others are ours. A rule has one limit for each
dimension that it counts; a request passes only if it fits into all of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from operalta.terms.registry import upholds

_MINUTE = 60
_FIVE_MINUTES = 5 * _MINUTE
_QUARTER_HOUR = 15 * _MINUTE
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR

PASSWORD_RESETS_PER_EMAIL = 5
PASSWORD_RESET_WINDOW_SECONDS = _QUARTER_HOUR
CODES_SENT_PER_PHONE = 3
CODE_SENDING_WINDOW_SECONDS = _FIVE_MINUTES
CODES_CHECKED_PER_PERSON = 10
CODE_CHECKING_WINDOW_SECONDS = _FIVE_MINUTES
CHAT_REQUESTS_PER_PERSON = 40
CHAT_WINDOW_SECONDS = _MINUTE

LARGEST_LIMIT = 20_000
"""A log entry takes about ten bytes in the store, so one dimension stays below a quarter of a megabyte."""


class Dimension(StrEnum):
    """What a limit counts by."""

    IDENTITY = "identity"
    ADDRESS = "address"
    COMPANY = "company"
    GLOBAL = "global"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `limit` requests in any `window_seconds` in a row. `name` is public: it goes into headers."""

    name: str
    limit: int
    window_seconds: int

    def __post_init__(self) -> None:
        """Refuse what the store or a header could not carry."""
        if not self.name.isascii() or not self.name.replace("-", "").isalnum():
            raise ValueError(f"a limit's name has ASCII letters, digits and hyphens only: {self.name!r}")
        if not 1 <= self.limit <= LARGEST_LIMIT:
            raise ValueError(f"a limit lies between 1 and {LARGEST_LIMIT}: {self.limit}")
        if not 1 <= self.window_seconds <= 24 * _HOUR:
            raise ValueError(f"a window lies between a second and a day: {self.window_seconds}")


@dataclass(frozen=True, slots=True)
class Rule:
    """The limits of one kind of request.

    `critical` rules fail closed: with the store out of reach the request is refused (clause 3.5.1). The
    others let reading go on. A dimension in `optional` is skipped for a caller that has none, such as a
    person outside any company; a missing one that is not optional is a fault of the calling code.
    """

    name: str
    limits: Mapping[Dimension, Limit]
    critical: bool = True
    optional: frozenset[Dimension] = frozenset({Dimension.COMPANY})


@dataclass(frozen=True, slots=True)
class Subjects:
    """Who is calling, in the terms of the dimensions.

    `identity` is what the rule counts by: a normalised e-mail address, a phone number, `person:<id>`,
    `key:<id>`. `address` is the client's, whole; the limiter reduces it. Only digests leave the process.
    """

    identity: str | None = None
    address: str | None = None
    company: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What the limiter decided.

    `policy` is the limit that decides: of a refused request the one with the longest wait, of an admitted one
    the one with the fewest requests left. `limit` is its figure, `remaining` how many more requests fit now,
    `reset_seconds` when one more than now will fit, `retry_after` the seconds after which a refused request
    may pass (None when it passed). `policies` are all limits that were counted.
    """

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: int
    retry_after: int | None
    policy: Limit
    policies: tuple[Limit, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """What the store says of one limit: how many more fit, and after how many microseconds one more does."""

    limit: Limit
    remaining: int
    reset_microseconds: int


def only(rule: Rule, dimensions: frozenset[Dimension]) -> Rule | None:
    """Return `rule` with the limits of these dimensions alone; None where it has none of them."""
    limits = {dimension: limit for dimension, limit in rule.limits.items() if dimension in dimensions}
    return replace(rule, limits=MappingProxyType(limits)) if limits else None


def conclude(*, allowed: bool, counts: tuple[Count, ...]) -> Decision:
    """Make a decision of the counts of all dimensions."""
    if allowed:
        decisive = min(counts, key=lambda count: count.remaining)
    else:
        full = [count for count in counts if count.remaining == 0]
        decisive = max(full, key=lambda count: count.reset_microseconds)
    reset = max(1, math.ceil(decisive.reset_microseconds / 1_000_000))
    return Decision(
        allowed=allowed,
        limit=decisive.limit.limit,
        remaining=decisive.remaining,
        reset_seconds=reset,
        retry_after=None if allowed else reset,
        policy=decisive.limit,
        policies=tuple(count.limit for count in counts),
    )


def headers(decision: Decision) -> dict[str, str]:
    """Return the `RateLimit`, `RateLimit-Policy` and, for a refusal, `Retry-After` header fields.

    The first two are lists of structured-field strings with integer parameters (RFC 9651 section 3.1,
    draft-ietf-httpapi-ratelimit-headers-11): `q` quota, `w` window in seconds, `r` what remains, `t` seconds
    until more fits.
    """
    policies = ", ".join(f'"{limit.name}";q={limit.limit};w={limit.window_seconds}' for limit in decision.policies)
    fields = {
        "RateLimit-Policy": policies,
        "RateLimit": f'"{decision.policy.name}";r={decision.remaining};t={decision.reset_seconds}',
    }
    if decision.retry_after is not None:
        fields["Retry-After"] = str(decision.retry_after)
    return fields


def _rule(
    name: str,
    *,
    identity: tuple[int, int] | None = None,
    address: tuple[int, int] | None = None,
    company: tuple[int, int] | None = None,
    everybody: tuple[int, int] | None = None,
    critical: bool = True,
) -> Rule:
    given = {
        Dimension.IDENTITY: identity,
        Dimension.ADDRESS: address,
        Dimension.COMPANY: company,
        Dimension.GLOBAL: everybody,
    }
    limits = {
        dimension: Limit(f"{name}-{dimension.value}", *figures)
        for dimension, figures in given.items()
        if figures is not None
    }
    return Rule(name, MappingProxyType(limits), critical=critical)


@upholds("3.1.1", "3.1.2", "3.1.3", "3.1.4", "3.1.5")
def rules() -> tuple[Rule, ...]:
    """Return every rule of the product; each is a constant of this module as well."""
    return tuple(value for value in globals().values() if isinstance(value, Rule))


PASSWORD_RESET = _rule(
    "password-reset",
    identity=(PASSWORD_RESETS_PER_EMAIL, PASSWORD_RESET_WINDOW_SECONDS),
    address=(30, _QUARTER_HOUR),
    everybody=(3_000, _QUARTER_HOUR),
)
"""Identity: `email_identity`."""

OTP_SEND = _rule(
    "otp-send",
    identity=(CODES_SENT_PER_PHONE, CODE_SENDING_WINDOW_SECONDS),
    address=(20, _FIVE_MINUTES),
    everybody=(600, _FIVE_MINUTES),
)
"""Identity: `phone_identity`."""

OTP_CHECK = _rule(
    "otp-check",
    identity=(CODES_CHECKED_PER_PERSON, CODE_CHECKING_WINDOW_SECONDS),
    address=(100, _FIVE_MINUTES),
    everybody=(3_000, _FIVE_MINUTES),
)
"""Identity: the person whose code is checked, apart on a device that the account knows. The 3 tries of each code are
counted in the database."""

CHAT = _rule(
    "chat",
    identity=(CHAT_REQUESTS_PER_PERSON, CHAT_WINDOW_SECONDS),
    company=(2_000, _MINUTE),
)
"""Identity: `person_identity` on pages, JSON, OpenAI-compatible and MCP routes alike; `key_identity` for a
service key."""

SIGN_IN = _rule(
    "sign-in",
    identity=(20, _QUARTER_HOUR),
    address=(60, _QUARTER_HOUR),
    everybody=(6_000, _QUARTER_HOUR),
)
"""Identity: `email_identity` for a stranger's device. Give a known device an identity of its own, or
somebody who keeps guessing keeps the owner out."""

SIGN_UP = _rule("sign-up", identity=(5, _HOUR), address=(20, _HOUR), everybody=(2_000, _HOUR))
REFRESH = _rule("refresh", identity=(120, _MINUTE), address=(1_200, _MINUTE), everybody=(20_000, _MINUTE))
SIGN_OUT = _rule("sign-out", address=(120, _MINUTE), everybody=(20_000, _MINUTE), critical=False)
"""Open without the store: it lets nothing in, and whoever leaves a shared computer must be able to."""

VERIFY_EMAIL = _rule(
    "verify-email", identity=(10, _QUARTER_HOUR), address=(60, _QUARTER_HOUR), everybody=(3_000, _QUARTER_HOUR)
)
PASSWORD_RESET_CONFIRM = _rule(
    "password-reset-confirm",
    identity=(10, _QUARTER_HOUR),
    address=(60, _QUARTER_HOUR),
    everybody=(3_000, _QUARTER_HOUR),
)
PASSWORD_CHANGE = _rule(
    "password-change", identity=(10, _QUARTER_HOUR), address=(60, _QUARTER_HOUR), everybody=(3_000, _QUARTER_HOUR)
)
"""Everything in a session for which the present password is given."""

FACTOR_CHECK = _rule(
    "factor-check", identity=(10, _FIVE_MINUTES), address=(100, _FIVE_MINUTES), everybody=(3_000, _FIVE_MINUTES)
)
"""Authenticator apps; identity as for `OTP_CHECK`."""

RECOVERY_CHECK = _rule(
    "recovery-check", identity=(10, _FIVE_MINUTES), address=(100, _FIVE_MINUTES), everybody=(3_000, _FIVE_MINUTES)
)
OPEN_WAYS = _rule(
    "open-ways", identity=(60, _FIVE_MINUTES), address=(300, _FIVE_MINUTES), everybody=(6_000, _FIVE_MINUTES)
)
PASSKEY_SIGN_IN = _rule("passkey-sign-in", address=(60, _FIVE_MINUTES), everybody=(3_000, _FIVE_MINUTES))
"""Signing in without a password: nobody is named until the passkey has answered."""

FACTOR_CHANGE = _rule(
    "factor-change", identity=(30, _QUARTER_HOUR), address=(100, _QUARTER_HOUR), everybody=(3_000, _QUARTER_HOUR)
)
TRUST_DEVICE = _rule(
    "trust-device", identity=(10, _QUARTER_HOUR), address=(60, _QUARTER_HOUR), everybody=(3_000, _QUARTER_HOUR)
)
INVITATION_SEND = _rule("invitation-send", identity=(60, _HOUR), company=(200, _HOUR))
INVITATION_ACCEPT = _rule(
    "invitation-accept", identity=(20, _QUARTER_HOUR), address=(60, _QUARTER_HOUR), everybody=(3_000, _QUARTER_HOUR)
)
OPERATOR_LINK = _rule("operator-link", address=(10, _QUARTER_HOUR), everybody=(60, _QUARTER_HOUR))
SENSITIVE_WRITE = _rule("sensitive-write", identity=(30, _MINUTE), company=(300, _MINUTE))
"""Keys, integrations, roles, approvals."""

WRITE = _rule("write", identity=(120, _MINUTE), company=(2_400, _MINUTE))
UPLOAD = _rule("upload", identity=(30, _MINUTE), company=(300, _MINUTE))
SECURITY_REPORT = _rule("security-report", address=(5, _HOUR), everybody=(300, _HOUR))
SMS_RECEIPT = _rule("sms-receipt", address=(1_200, _MINUTE), everybody=(6_000, _MINUTE))
"""What the SMS provider tells of messages; all of it comes from few addresses."""

INBOUND_HOOK = _rule("inbound-hook", identity=(120, _MINUTE), address=(600, _MINUTE), everybody=(6_000, _MINUTE))
"""Messages of other services. Identity: `hook_identity` of the address that they were sent to."""

CONTENT_REPORT = _rule("content-report", address=(20, _MINUTE), everybody=(600, _MINUTE))
"""Reports of browsers under the content policy."""

_OUTGOING = frozenset({Dimension.IDENTITY})
EGRESS_REQUESTS = replace(_rule("egress-requests", identity=(100, _DAY), company=(300, _MINUTE)), optional=_OUTGOING)
"""Requests that leave for a company. Identity: `run_identity`; what no run asks for has none. A run may wait for a
person for a day, and is over then."""

EGRESS_VOLUME = replace(_rule("egress-volume", identity=(200, _DAY), company=(600, _MINUTE)), optional=_OUTGOING)
"""As above, but one for each quarter of a mebibyte that travels: 50 MiB a run, 150 MiB a minute and company."""

READ = _rule("read", identity=(600, _MINUTE), company=(12_000, _MINUTE), critical=False)
PAGE = _rule("page", address=(300, _MINUTE), critical=False)
"""Pages without a session."""
