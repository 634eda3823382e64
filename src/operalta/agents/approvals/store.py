"""The SQL of approvals and grants. What was asked cannot be changed; a decision and a use count once each."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from operalta.db.scope import Row, Scope

# ── The run's side ─────────────────────────────────────────────────────────────────────────────────────


async def ask(scope: Scope, approval: dict[str, Any]) -> bool:
    """Put a question. False: it has been put for this call already."""
    return bool(
        await scope.execute(
            "INSERT INTO agents.approvals (company_id, id, run_id, conversation_id, private_to, agent_id, requester_id,"
            " call_id, card_id, tool, tool_class, tool_hash, arguments, arguments_sha256, argument_shape, reasons, before,"
            " after, expires_at) VALUES (%(company)s, %(id)s, %(run)s, %(conversation)s, %(private_to)s, %(agent)s,"
            " %(requester)s, %(call)s, %(card)s, %(tool)s, %(tool_class)s, %(tool_hash)s, %(arguments)s, %(sha256)s,"
            " %(shape)s, %(reasons)s, %(before)s, %(after)s, now() + interval '24 hours') ON CONFLICT DO NOTHING",
            approval | {"company": scope.company},
        )
    )


async def approval_of_call(scope: Scope, run_id: UUID, call_id: str) -> Row | None:
    """Return the question about one call."""
    return await scope.one(
        "SELECT company_id, id, coalesce(card_id, id) AS card_id, run_id, conversation_id, requester_id, tool, tool_hash,"
        " arguments_sha256, before,"
        " decision, decided_session, expires_at, expires_at <= now() AS expired, consumed_at"
        " FROM agents.approvals WHERE company_id = %(company)s AND run_id = %(run)s AND call_id = %(call)s",
        {"company": scope.company, "run": run_id, "call": call_id},
    )


async def consume(scope: Scope, approval_id: UUID, run_id: UUID, arguments_sha256: str, tool_hash: str) -> bool:
    """Use an approval up, in one statement, for exactly these arguments and this definition of the tool.

    The policy of that statement asks whether whoever gave it may still give it (`scope.decision_stands`).
    """
    return bool(
        await scope.execute(
            "UPDATE agents.approvals SET consumed_at = now() WHERE company_id = %(company)s AND id = %(id)s"
            " AND run_id = %(run)s AND arguments_sha256 = %(sha256)s AND tool_hash = %(tool_hash)s"
            " AND consumed_at IS NULL AND decision IN ('once', 'conversation') AND expires_at > now()",
            {
                "company": scope.company,
                "id": approval_id,
                "run": run_id,
                "sha256": arguments_sha256,
                "tool_hash": tool_hash,
            },
        )
    )


async def answer_to(scope: Scope, approval_id: UUID) -> Row | None:
    """Return what a person answered to a question, and who."""
    return await scope.one(
        "SELECT asked.answer, person.name AS person_name FROM agents.approvals AS asked"
        " LEFT JOIN identity.people AS person ON person.id = asked.decided_by"
        " WHERE asked.company_id = %(company)s AND asked.id = %(id)s AND asked.answer IS NOT NULL",
        {"company": scope.company, "id": approval_id},
    )


async def decision_stands(scope: Scope, approval_id: UUID) -> bool:
    """Tell whether whoever approved may still do so, and the session in which they did was not taken from them."""
    row = await scope.one("SELECT scope.decision_stands(%(id)s) AS stands", {"id": approval_id})
    return bool(row and row["stands"])


# ── Looking at questions ───────────────────────────────────────────────────────────────────────────────


async def approvals(
    scope: Scope,
    *,
    waiting: bool | None = None,
    conversation_id: UUID | None = None,
    ids: list[UUID] | None = None,
    card_of: UUID | None = None,
) -> list[Row]:
    """Return questions, newest first: those that wait or do not, of a conversation, of these ids, or of one's card."""
    return await scope.all(
        "SELECT approval.id, coalesce(approval.card_id, approval.id) AS card_id, approval.run_id, approval.conversation_id,"
        " approval.call_id, approval.tool, approval.tool_class, approval.tool_hash, approval.arguments,"
        " approval.arguments_sha256, approval.argument_shape, approval.reasons, approval.before, approval.after,"
        " approval.asked_at, approval.expires_at, approval.expires_at <= now() AS expired, approval.decision,"
        " approval.decided_at, approval.private_to, approval.requester_id, agent.name AS agent_name,"
        " requester.name AS requester_name, decider.name AS decider_name, approval.answer"
        " FROM agents.approvals AS approval"
        " JOIN agents.agents AS agent ON agent.company_id = approval.company_id AND agent.id = approval.agent_id"
        " LEFT JOIN identity.people AS requester ON requester.id = approval.requester_id"
        " LEFT JOIN identity.people AS decider ON decider.id = approval.decided_by"
        " WHERE approval.company_id = %(company)s"
        " AND (%(waiting)s::boolean IS NULL"
        "   OR (approval.decision IS NULL AND approval.expires_at > now()) = %(waiting)s)"
        " AND (%(conversation)s::uuid IS NULL OR approval.conversation_id = %(conversation)s)"
        " AND (%(ids)s::uuid[] IS NULL OR approval.id = ANY (%(ids)s::uuid[]))"
        " AND (%(card_of)s::uuid IS NULL OR coalesce(approval.card_id, approval.id) = (SELECT coalesce(one.card_id, one.id)"
        "   FROM agents.approvals AS one WHERE one.company_id = %(company)s AND one.id = %(card_of)s))"
        " ORDER BY approval.asked_at DESC LIMIT 100",
        {
            "company": scope.company,
            "waiting": waiting,
            "conversation": conversation_id,
            "ids": ids,
            "card_of": card_of,
        },
    )


async def waiting_count(scope: Scope) -> int:
    """Return how many questions wait for somebody."""
    row = await scope.one(
        "SELECT count(*) AS waiting FROM agents.approvals WHERE company_id = %(company)s AND decision IS NULL"
        " AND expires_at > now()",
        {"company": scope.company},
    )
    return int(row["waiting"]) if row else 0


# ── Deciding ───────────────────────────────────────────────────────────────────────────────────────────


async def classes_to_decide(scope: Scope) -> tuple[list[str], list[str]]:
    """Return the classes of tools that the person of the scope decides about: of others' calls, and of their own."""
    row = await scope.one("SELECT scope.classes_to_decide(false) AS others, scope.classes_to_decide(true) AS own")
    return (row["others"], row["own"]) if row else ([], [])


async def decide(scope: Scope, shown: Mapping[UUID, str], decision: str, answer: str | None = None) -> set[UUID]:
    """Record a person's decision about exactly these questions, with these arguments; only the first counts.

    Return those that it is recorded for.
    """
    rows = await scope.all(
        # Locked in one order first, so that two people with the same card never wait for each other in a ring.
        "WITH locked AS (SELECT one.id FROM agents.approvals AS one WHERE one.company_id = %(company)s"
        "   AND one.id = ANY (%(ids)s::uuid[]) ORDER BY one.id FOR UPDATE)"
        " UPDATE agents.approvals AS asked SET decision = %(decision)s, decided_by = %(person)s,"
        " decided_session = %(session)s, decided_at = now(), answer = %(answer)s"
        " FROM locked JOIN unnest(%(ids)s::uuid[], %(digests)s::text[]) AS shown (id, digest) ON shown.id = locked.id"
        " WHERE asked.company_id = %(company)s AND asked.id = shown.id AND asked.arguments_sha256 = shown.digest"
        " AND asked.decision IS NULL AND asked.expires_at > now() RETURNING asked.id",
        {
            "company": scope.company,
            "ids": list(shown),
            "digests": list(shown.values()),
            "decision": decision,
            "answer": answer,
            "person": scope.actor.person_id,
            "session": scope.actor.session_id,
        },
    )
    return {row["id"] for row in rows}


# ── Grants ─────────────────────────────────────────────────────────────────────────────────────────────


async def give_grant(scope: Scope, approval: Row) -> None:
    """Keep the grant for the conversation that comes with a decision."""
    await scope.execute(
        "INSERT INTO agents.grants (company_id, approval_id, conversation_id, private_to, requester_id, tool, tool_hash,"
        " argument_shape, given_by) VALUES (%(company)s, %(approval)s, %(conversation)s, %(private_to)s, %(requester)s,"
        " %(tool)s, %(tool_hash)s, %(shape)s, %(person)s)",
        {
            "company": scope.company,
            "approval": approval["id"],
            "conversation": approval["conversation_id"],
            "private_to": approval["private_to"],
            "requester": approval["requester_id"],
            "tool": approval["tool"],
            "tool_hash": approval["tool_hash"],
            "shape": approval["argument_shape"],
            "person": scope.actor.person_id,
        },
    )


async def grant_for(scope: Scope, run: Row, tool: str, tool_hash: str, shape: str) -> Row | None:
    """Return a standing grant that covers a call of this run, for the scope's person and the run's own agent."""
    return await scope.one(
        "SELECT standing.id FROM agents.grants AS standing JOIN agents.approvals AS given"
        " ON given.company_id = standing.company_id AND given.id = standing.approval_id"
        " WHERE standing.company_id = %(company)s AND standing.conversation_id = %(conversation)s"
        " AND standing.requester_id = %(person)s AND given.agent_id = %(agent)s AND standing.tool = %(tool)s"
        " AND standing.tool_hash = %(tool_hash)s AND standing.argument_shape = %(shape)s AND standing.revoked_at IS NULL"
        " AND standing.given_at > now() - interval '30 days' AND scope.decision_stands(given.id)",
        {
            "company": scope.company,
            "conversation": run["conversation_id"],
            "agent": run["agent_id"],
            "person": scope.actor.person_id,
            "tool": tool,
            "tool_hash": tool_hash,
            "shape": shape,
        },
    )


async def grants(scope: Scope) -> list[Row]:
    """Return the grants of the company that hold and that the person can see, with what each was given for."""
    return await scope.all(
        "SELECT standing.id, standing.conversation_id, standing.tool, standing.given_at, giver.name AS given_by_name,"
        " requester.name AS requester_name, agent.name AS agent_name, given.arguments,"
        " standing.given_at + interval '30 days' AS expires_at"
        " FROM agents.grants AS standing"
        " JOIN agents.approvals AS given ON given.company_id = standing.company_id AND given.id = standing.approval_id"
        " JOIN agents.agents AS agent ON agent.company_id = given.company_id AND agent.id = given.agent_id"
        " LEFT JOIN identity.people AS giver ON giver.id = standing.given_by"
        " LEFT JOIN identity.people AS requester ON requester.id = standing.requester_id"
        " WHERE standing.company_id = %(company)s AND standing.revoked_at IS NULL"
        " AND standing.given_at > now() - interval '30 days' AND scope.decision_stands(given.id)"
        " ORDER BY standing.given_at DESC LIMIT 100",
        {"company": scope.company},
    )


async def revoke_grant(scope: Scope, grant_id: UUID) -> int:
    """End a grant."""
    return await scope.execute(
        "UPDATE agents.grants SET revoked_at = now() WHERE company_id = %(company)s AND id = %(id)s AND revoked_at IS NULL",
        {"company": scope.company, "id": grant_id},
    )


# ── Rules and mail ─────────────────────────────────────────────────────────────────────────────────────


async def class_rules(scope: Scope) -> list[Row]:
    """Return for each class of tools which roles decide, whether a second person has to, and who changed that."""
    return await scope.all(
        "SELECT rule.tool_class, rule.roles, rule.second_person, rule.changed_at, person.name AS changed_by_name"
        " FROM agents.approval_rules_here() AS rule LEFT JOIN identity.people AS person ON person.id = rule.changed_by"
    )


async def change_class_rule(scope: Scope, tool_class: str, roles: list[str], *, second_person: bool) -> str:
    """Change who decides about a class; return what the database says to it."""
    row = await scope.one(
        "SELECT agents.change_approval_rule(%(class)s, %(roles)s::text[], %(second)s) AS verdict",
        {"class": tool_class, "roles": roles, "second": second_person},
    )
    return row["verdict"] if row else "refused"


async def own_mail(scope: Scope) -> str | None:
    """Return what the person of the scope wants mail about; None for who decides nothing."""
    row = await scope.one("SELECT agents.own_approval_mail() AS wanted")
    return row["wanted"] if row else None


async def choose_mail(scope: Scope, wanted: str) -> bool:
    """Keep what the person of the scope wants mail about. False: they decide nothing."""
    row = await scope.one("SELECT agents.choose_approval_mail(%(wanted)s) AS kept", {"wanted": wanted})
    return bool(row and row["kept"])
