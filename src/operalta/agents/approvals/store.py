"""The SQL of approvals and grants. What was asked cannot be changed; a decision and a use count once each."""

from typing import Any
from uuid import UUID

from operalta.db.scope import Row, Scope


async def ask(scope: Scope, approval: dict[str, Any]) -> bool:
    """Put a question. False: it has been put for this call already."""
    return bool(
        await scope.execute(
            "INSERT INTO agents.approvals (company_id, id, run_id, conversation_id, private_to, agent_id, requester_id,"
            " call_id, tool, tool_class, tool_hash, arguments, arguments_sha256, argument_shape, reasons, before, after,"
            " expires_at) VALUES (%(company)s, %(id)s, %(run)s, %(conversation)s, %(private_to)s, %(agent)s,"
            " %(requester)s, %(call)s, %(tool)s, %(tool_class)s, %(tool_hash)s, %(arguments)s, %(sha256)s, %(shape)s,"
            " %(reasons)s, %(before)s, %(after)s, now() + interval '24 hours') ON CONFLICT DO NOTHING",
            approval | {"company": scope.company},
        )
    )


async def approval_of_call(scope: Scope, run_id: UUID, call_id: str) -> Row | None:
    """Return the question about one call."""
    return await scope.one(
        "SELECT company_id, id, run_id, conversation_id, requester_id, tool, tool_hash, arguments_sha256, before,"
        " decision, decided_session, expires_at, expires_at <= now() AS expired, consumed_at"
        " FROM agents.approvals WHERE company_id = %(company)s AND run_id = %(run)s AND call_id = %(call)s",
        {"company": scope.company, "run": run_id, "call": call_id},
    )


async def consume(scope: Scope, approval_id: UUID, run_id: UUID, arguments_sha256: str, tool_hash: str) -> bool:
    """Use an approval up, in one statement, for exactly these arguments and this definition of the tool."""
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


async def approvals(scope: Scope, *, waiting: bool, conversation_id: UUID | None = None) -> list[Row]:
    """Return questions, newest first: those that wait, or those that do not."""
    return await scope.all(
        "SELECT approval.id, approval.run_id, approval.conversation_id, approval.call_id, approval.tool,"
        " approval.tool_class, approval.arguments, approval.reasons, approval.before, approval.after, approval.asked_at,"
        " approval.expires_at, approval.expires_at <= now() AS expired, approval.decision, approval.decided_at,"
        " approval.private_to, agent.name AS agent_name, requester.name AS requester_name, decider.name AS decider_name"
        " FROM agents.approvals AS approval"
        " JOIN agents.agents AS agent ON agent.company_id = approval.company_id AND agent.id = approval.agent_id"
        " LEFT JOIN identity.people AS requester ON requester.id = approval.requester_id"
        " LEFT JOIN identity.people AS decider ON decider.id = approval.decided_by"
        " WHERE approval.company_id = %(company)s"
        " AND (approval.decision IS NULL AND approval.expires_at > now()) = %(waiting)s"
        " AND (%(conversation)s::uuid IS NULL OR approval.conversation_id = %(conversation)s)"
        " ORDER BY approval.asked_at DESC LIMIT 100",
        {"company": scope.company, "waiting": waiting, "conversation": conversation_id},
    )


async def approval(scope: Scope, approval_id: UUID) -> Row | None:
    """Return one question."""
    return await scope.one(
        "SELECT approval.id, approval.run_id, approval.conversation_id, approval.call_id, approval.tool,"
        " approval.tool_class, approval.tool_hash, approval.arguments, approval.argument_shape, approval.reasons,"
        " approval.before, approval.after, approval.asked_at, approval.expires_at, approval.expires_at <= now() AS expired,"
        " approval.decision, approval.decided_at, approval.private_to, approval.requester_id, agent.name AS agent_name,"
        " requester.name AS requester_name, decider.name AS decider_name"
        " FROM agents.approvals AS approval"
        " JOIN agents.agents AS agent ON agent.company_id = approval.company_id AND agent.id = approval.agent_id"
        " LEFT JOIN identity.people AS requester ON requester.id = approval.requester_id"
        " LEFT JOIN identity.people AS decider ON decider.id = approval.decided_by"
        " WHERE approval.company_id = %(company)s AND approval.id = %(id)s",
        {"company": scope.company, "id": approval_id},
    )


async def waiting_count(scope: Scope) -> int:
    """Return how many questions wait for somebody."""
    row = await scope.one(
        "SELECT count(*) AS waiting FROM agents.approvals WHERE company_id = %(company)s AND decision IS NULL"
        " AND expires_at > now()",
        {"company": scope.company},
    )
    return int(row["waiting"]) if row else 0


async def decide(scope: Scope, approval_id: UUID, decision: str) -> int:
    """Record a person's decision; only the first counts."""
    return await scope.execute(
        "UPDATE agents.approvals SET decision = %(decision)s, decided_by = %(person)s, decided_session = %(session)s,"
        " decided_at = now() WHERE company_id = %(company)s AND id = %(id)s AND decision IS NULL AND expires_at > now()",
        {
            "company": scope.company,
            "id": approval_id,
            "decision": decision,
            "person": scope.actor.person_id,
            "session": scope.actor.session_id,
        },
    )


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


async def grant_for(scope: Scope, conversation_id: UUID, tool: str, tool_hash: str, shape: str) -> Row | None:
    """Return a standing grant that covers a call of the scope's person in a conversation."""
    return await scope.one(
        "SELECT id FROM agents.grants WHERE company_id = %(company)s AND conversation_id = %(conversation)s"
        " AND requester_id = %(person)s AND tool = %(tool)s AND tool_hash = %(tool_hash)s AND argument_shape = %(shape)s"
        " AND revoked_at IS NULL AND given_at > now() - interval '30 days'",
        {
            "company": scope.company,
            "conversation": conversation_id,
            "person": scope.actor.person_id,
            "tool": tool,
            "tool_hash": tool_hash,
            "shape": shape,
        },
    )


async def grants(scope: Scope) -> list[Row]:
    """Return the standing grants of the company that the person can see."""
    return await scope.all(
        "SELECT standing.id, standing.conversation_id, standing.tool, standing.given_at, giver.name AS given_by_name,"
        " requester.name AS requester_name FROM agents.grants AS standing"
        " LEFT JOIN identity.people AS giver ON giver.id = standing.given_by"
        " LEFT JOIN identity.people AS requester ON requester.id = standing.requester_id"
        " WHERE standing.company_id = %(company)s AND standing.revoked_at IS NULL ORDER BY standing.given_at DESC LIMIT 100",
        {"company": scope.company},
    )


async def revoke_grant(scope: Scope, grant_id: UUID) -> int:
    """End a grant."""
    return await scope.execute(
        "UPDATE agents.grants SET revoked_at = now() WHERE company_id = %(company)s AND id = %(id)s AND revoked_at IS NULL",
        {"company": scope.company, "id": grant_id},
    )
