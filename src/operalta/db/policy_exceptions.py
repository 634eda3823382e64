"""Reviewed exceptions of the policy check. Each names its reason and who reviewed it.

An exception covers one fault at one place, word for word. When the fault is mended, the exception is a gap itself.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReviewedException:
    """A gap that is one on purpose."""

    place: str
    fault: str
    reason: str
    reviewer: str


_NULLABLE = "company_id may be NULL"
_QUEUE = "The queue is the dispatcher's alone, holds ids and no content, and belongs to no company."

EXCEPTIONS: tuple[ReviewedException, ...] = (
    # ── Rows that belong to no company ──
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
    # ── Rows that everybody with the grant may see ──
    ReviewedException(
        "access.role_permissions",
        "USING of policy verifier_read lets every row through",
        "The role templates are in the code for everybody to read; the verifier compares the copy with it.",
        "db",
    ),
    ReviewedException(
        "assurance.evidence",
        "USING of policy public_read lets every row through",
        "It is what the public trust page shows.",
        "db",
    ),
    ReviewedException(
        "assurance.evidence",
        "WITH CHECK of policy verifier_insert lets every row through",
        "The verifier adds evidence of the whole deployment; it is signed, and nobody can change it.",
        "db",
    ),
    ReviewedException(
        "audit.heads",
        "USING of policy heads_read lets every row through",
        "Signed heads are published: size, root and time of the whole log, no content.",
        "db",
    ),
    ReviewedException(
        "audit.nodes",
        "USING of policy hashes_read lets every row through",
        "Hashes over salted commitments tell nothing; every company needs them to prove that its events are included.",
        "db",
    ),
    *(
        ReviewedException(f"jobs.{table}", f"{rule} of policy queue lets every row through", _QUEUE, "db")
        for table in (
            "procrastinate_events",
            "procrastinate_jobs",
            "procrastinate_periodic_defers",
            "procrastinate_workers",
        )
        for rule in ("USING", "WITH CHECK")
    ),
    # ── Two policies that add up on purpose ──
    ReviewedException(
        "identity.people",
        "the policies colleagues_read and self_read add up for operalta_web and operalta_worker and SELECT",
        "Everybody sees their own row, in a company the rows of colleagues as well; each binds to the scope by itself.",
        "db",
    ),
    # ── Columns that sound like a secret and are none ──
    ReviewedException(
        "agents.approvals",
        "operalta_web, operalta_worker may read tool_hash, which sounds like a secret",
        "A digest of a tool's description, compared before the approved call is made.",
        "db",
    ),
    ReviewedException(
        "agents.grants",
        "operalta_web, operalta_worker may read tool_hash, which sounds like a secret",
        "As in agents.approvals.",
        "db",
    ),
    ReviewedException(
        "audit.events",
        "operalta_web may read salt, which sounds like a secret",
        "With the salts of its own events a company recomputes its commitments; it keeps a dropped event's content "
        "from being guessed, and is gone then.",
        "db",
    ),
    ReviewedException(
        "audit.nodes",
        "operalta_verifier, operalta_web may read hash, which sounds like a secret",
        "A node of the public tree.",
        "db",
    ),
    # ── Keys ──
    ReviewedException(
        "agents.grants",
        "foreign key grants_requester_id_fkey tells whether any person exists",
        "WITH CHECK demands an approval of the same company with the same requester, and is asked before the key.",
        "db",
    ),
    ReviewedException(
        "workspace.messages",
        "foreign key messages_private_to_fkey tells whether any person exists",
        "WITH CHECK demands a conversation that the writer sees, private to the same person, and is asked before the "
        "key.",
        "db",
    ),
    ReviewedException(
        "jobs.procrastinate_jobs",
        "deleting along foreign key procrastinate_jobs_worker_id_fkey reads the whole table",
        "The queue's library made it. Workers are few, and ended jobs are removed every few seconds.",
        "db",
    ),
)
