"""The SQL of the tenancy room."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from uuid import UUID

import psycopg

from operalta.db.scope import Row, Scope
from operalta.identity.rules import EmailAddress
from operalta.tenancy.errors import LastFounder

_LAST_FOUNDER = "OP001"


async def my_companies(scope: Scope) -> list[Row]:
    """Return the companies of the scope's person, by name."""
    return await scope.all("SELECT id, slug, name, kind, role FROM tenancy.my_companies()")


async def found_company(scope: Scope, *, name: str, slug: str, kind: str, anyone: bool) -> Row | None:
    """Make a company with the scope's person as its founder. None: the person may not."""
    return await scope.one(
        "SELECT id, slug FROM tenancy.found_company(%(name)s, %(slug)s, %(kind)s, %(anyone)s)",
        {"name": name, "slug": slug, "kind": kind, "anyone": anyone},
    )


async def get_company(scope: Scope) -> Row | None:
    """Return the company of the scope."""
    return await scope.one(
        "SELECT id, slug, name, kind, created_at FROM tenancy.companies WHERE id = %(company)s",
        {"company": scope.company},
    )


async def list_members(scope: Scope, *, after: UUID | None, limit: int) -> list[Row]:
    """Return members whose membership holds, by name, from the one after `after` on."""
    return await scope.all(
        """
        SELECT membership.person_id, person.name, person.email, membership.role, membership.created_at AS since
        FROM tenancy.memberships AS membership JOIN identity.people AS person ON person.id = membership.person_id
        WHERE membership.company_id = %(company)s AND membership.ended_at IS NULL
          AND (%(after)s::uuid IS NULL OR (person.name, person.id) > (
              SELECT earlier.name, earlier.id FROM identity.people AS earlier WHERE earlier.id = %(after)s))
        ORDER BY person.name, person.id LIMIT %(limit)s
        """,
        {"company": scope.company, "after": after, "limit": limit},
    )


async def get_member(scope: Scope, person: UUID) -> Row | None:
    """Return the role of a member whose membership holds."""
    return await scope.one(
        """
        SELECT role FROM tenancy.memberships
        WHERE company_id = %(company)s AND person_id = %(person)s AND ended_at IS NULL
        """,
        {"company": scope.company, "person": person},
    )


async def has_member(scope: Scope, address: EmailAddress) -> bool:
    """Tell whether an address belongs to a member whose membership holds."""
    row = await scope.one(
        """
        SELECT 1 AS found
        FROM tenancy.memberships AS membership JOIN identity.people AS person ON person.id = membership.person_id
        WHERE membership.company_id = %(company)s AND membership.ended_at IS NULL AND lower(person.email) = %(key)s
        """,
        {"company": scope.company, "key": address.key},
    )
    return row is not None


async def has_open_invitation(scope: Scope, address: EmailAddress) -> bool:
    """Tell whether an address has an invitation of this company that can be accepted."""
    row = await scope.one(
        """
        SELECT 1 AS found FROM tenancy.invitations
        WHERE company_id = %(company)s AND email_key = %(key)s AND accepted_at IS NULL AND revoked_at IS NULL
          AND expires_at > now()
        """,
        {"company": scope.company, "key": address.key},
    )
    return row is not None


async def add_invitation(scope: Scope, *, invitation: UUID, address: EmailAddress, role: str) -> None:
    """Add an invitation by the scope's person."""
    await scope.execute(
        """
        INSERT INTO tenancy.invitations (company_id, id, email, email_key, role, invited_by)
        VALUES (%(company)s, %(id)s, %(email)s, %(key)s, %(role)s, %(person)s)
        """,
        {
            "company": scope.company,
            "id": invitation,
            "email": address.display,
            "key": address.key,
            "role": role,
            "person": scope.actor.person_id,
        },
    )


async def send_invitation(scope: Scope, invitation: UUID) -> bool:
    """Have an open invitation mailed. False: it is not open."""
    row = await scope.one("SELECT delivery.send_invitation(%(id)s) AS sent", {"id": invitation})
    return row is not None and row["sent"]


async def get_invitation(scope: Scope, invitation: UUID) -> Row | None:
    """Return one invitation of the company."""
    return await scope.one(
        """
        SELECT invited.id, invited.email, invited.role, inviter.name AS inviter, invited.created_at, invited.expires_at,
            CASE WHEN invited.accepted_at IS NOT NULL THEN 'accepted' WHEN invited.revoked_at IS NOT NULL THEN 'revoked'
                WHEN invited.expires_at <= now() THEN 'expired' ELSE 'open' END AS state
        FROM tenancy.invitations AS invited LEFT JOIN identity.people AS inviter ON inviter.id = invited.invited_by
        WHERE invited.company_id = %(company)s AND invited.id = %(id)s
        """,
        {"company": scope.company, "id": invitation},
    )


async def list_invitations(scope: Scope, *, after: UUID | None, limit: int) -> list[Row]:
    """Return the company's invitations, the newest first, from the one after `after` on (ids sort by time)."""
    return await scope.all(
        """
        SELECT invited.id, invited.email, invited.role, inviter.name AS inviter, invited.created_at, invited.expires_at,
            CASE WHEN invited.accepted_at IS NOT NULL THEN 'accepted' WHEN invited.revoked_at IS NOT NULL THEN 'revoked'
                WHEN invited.expires_at <= now() THEN 'expired' ELSE 'open' END AS state
        FROM tenancy.invitations AS invited LEFT JOIN identity.people AS inviter ON inviter.id = invited.invited_by
        WHERE invited.company_id = %(company)s AND (%(after)s::uuid IS NULL OR invited.id < %(after)s)
        ORDER BY invited.id DESC LIMIT %(limit)s
        """,
        {"company": scope.company, "after": after, "limit": limit},
    )


async def revoke_invitation(scope: Scope, invitation: UUID) -> bool:
    """Revoke an invitation that is neither accepted nor revoked. False: there is none."""
    touched = await scope.execute(
        """
        UPDATE tenancy.invitations SET revoked_at = now()
        WHERE company_id = %(company)s AND id = %(id)s AND accepted_at IS NULL AND revoked_at IS NULL
        """,
        {"company": scope.company, "id": invitation},
    )
    return touched == 1


async def revoke_invitations_of(scope: Scope, person: UUID, roles: Sequence[str]) -> int:
    """Revoke the open invitations of one inviter for these roles. Return how many there were."""
    return await scope.execute(
        """
        UPDATE tenancy.invitations SET revoked_at = now()
        WHERE company_id = %(company)s AND invited_by = %(person)s AND role = ANY (%(roles)s)
          AND accepted_at IS NULL AND revoked_at IS NULL
        """,
        {"company": scope.company, "person": person, "roles": list(roles)},
    )


async def accept_invitation(scope: Scope, token: str) -> Row | None:
    """Accept the invitation of this link for the scope's person. None: it does not hold for them."""
    return await scope.one("SELECT company_id AS id, slug FROM tenancy.accept_invitation(%(token)s)", {"token": token})


async def change_role(scope: Scope, person: UUID, role: str) -> bool:
    """Give a member another role. False: nobody there that the scope may change. Raise LastFounder."""
    with _a_founder_stays():
        touched = await scope.execute(
            """
            UPDATE tenancy.memberships SET role = %(role)s
            WHERE company_id = %(company)s AND person_id = %(person)s AND ended_at IS NULL
            """,
            {"company": scope.company, "person": person, "role": role},
        )
    return touched == 1


async def end_membership(scope: Scope, person: UUID) -> bool:
    """End a member's membership. False: nobody there that the scope may change. Raise LastFounder."""
    with _a_founder_stays():
        touched = await scope.execute(
            """
            UPDATE tenancy.memberships SET ended_at = now()
            WHERE company_id = %(company)s AND person_id = %(person)s AND ended_at IS NULL
            """,
            {"company": scope.company, "person": person},
        )
    return touched == 1


async def leave(scope: Scope) -> bool:
    """End the membership of the scope's person. Raise LastFounder."""
    with _a_founder_stays():
        row = await scope.one("SELECT tenancy.leave() AS gone")
    return row is not None and row["gone"]


async def transfer_ownership(scope: Scope, heir: UUID, own_next_role: str) -> str:
    """Make another member founder and give the scope's own person a lesser role: done, none, unproved or refused."""
    row = await scope.one(
        "SELECT tenancy.transfer_ownership(%(heir)s, %(role)s) AS verdict", {"heir": heir, "role": own_next_role}
    )
    return "refused" if row is None else row["verdict"]


async def own_staff_roles(scope: Scope) -> list[str]:
    """Return the roles that the scope's person may take as staff."""
    row = await scope.one("SELECT identity.own_staff_roles() AS roles")
    return [] if row is None else row["roles"]


async def companies_for_staff(scope: Scope, *, after: str | None, limit: int) -> list[Row]:
    """Return companies by slug; none for whoever is no staff."""
    return await scope.all(
        "SELECT slug, name, kind FROM tenancy.companies_for_staff(%(after)s, %(limit)s)",
        {"after": after, "limit": limit},
    )


async def open_staff_access(scope: Scope, *, company: str, role: str, reason: str, minutes: int) -> Row:
    """Open a company to the scope's person as staff. The verdict is opened, unproved or refused."""
    row = await scope.one(
        "SELECT * FROM tenancy.open_staff_access(%(company)s, %(role)s, %(reason)s, %(minutes)s)",
        {"company": company, "role": role, "reason": reason, "minutes": minutes},
    )
    return {"verdict": "refused"} if row is None else row


async def own_staff_access(scope: Scope) -> list[Row]:
    """Return the visits of the scope's person, the newest first."""
    return await scope.all("SELECT * FROM tenancy.own_staff_access()")


async def staff_access(scope: Scope, *, limit: int) -> list[Row]:
    """Return the visits to the company of the scope, the newest first."""
    return await scope.all(
        """
        SELECT visit.id AS access, host.slug, host.name, visit.person_name, visit.role, visit.reason, visit.opened_at,
            visit.expires_at, visit.ended_at, visit.ended_at IS NULL AND visit.expires_at > now() AS is_open
        FROM tenancy.staff_access AS visit JOIN tenancy.companies AS host ON host.id = visit.company_id
        WHERE visit.company_id = %(company)s ORDER BY visit.opened_at DESC, visit.id LIMIT %(limit)s
        """,
        {"company": scope.company, "limit": limit},
    )


async def end_staff_access(scope: Scope, visit: UUID) -> bool:
    """End a visit. False: there is none that is open and the scope may end."""
    row = await scope.one("SELECT tenancy.end_staff_access(%(visit)s) AS ended", {"visit": visit})
    return row is not None and row["ended"]


@contextmanager
def _a_founder_stays() -> Generator[None]:
    try:
        yield
    except psycopg.DatabaseError as error:
        if error.sqlstate == _LAST_FOUNDER:
            raise LastFounder from error
        raise
