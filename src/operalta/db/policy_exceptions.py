"""Reviewed exceptions of the policy check. Each names its reason and who reviewed it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReviewedException:
    """A gap that is one on purpose."""

    place: str
    fault: str
    reason: str
    reviewer: str


_NULLABLE = "company_id may be NULL"
EXCEPTIONS: tuple[ReviewedException, ...] = (
    ReviewedException(
        "audit.events",
        _NULLABLE,
        "Signing in and running the deployment belong to no company; the read policy compares with =, so such events "
        "are nobody's to read. Serving roles append through one function and hold no INSERT.",
        "db",
    ),
    ReviewedException("audit.leaves", _NULLABLE, "As audit.events; only the sealer writes it.", "db"),
    ReviewedException(
        "delivery.messages", _NULLABLE, "Mail to a person belongs to no company; no serving role may read it.", "db"
    ),
    ReviewedException(
        "identity.links", _NULLABLE, "Only links of invitations have a company; no serving role may read it.", "db"
    ),
)
