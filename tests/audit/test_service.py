"""Recording events and reading them, with a real database."""

from uuid import uuid4

from operalta.audit import service
from operalta.audit.rules import Action
from operalta.db.scope import Origin, open_company_scope
from operalta.kernel.ids import RequestId
from tests.conftest import Pools, Servers, World


async def test_an_event_names_actor_company_target_and_outcome(servers: Servers, pools: Pools, world: World) -> None:
    company = world.company()
    member = world.member(company)
    request = RequestId(uuid4())
    origin = Origin(request, "203.0.113.9")
    async with open_company_scope(pools.web, member.session_secret, company[1], origin) as scope:
        event = await service.record(scope, Action.MEMORY_RECORDED, "decision", 17, kind="decision", ratio=0.5)
    with servers.as_owner() as owner:
        row = owner.execute("SELECT * FROM audit.events WHERE id = %s", (event,)).fetchone()
    assert row is not None
    assert row["company_id"] == company[0]
    assert row["actor_person_id"] == member.person_id
    assert (row["actor_kind"], row["action"], row["target_kind"]) == ("person", "memory.recorded", "decision")
    assert (row["target_id"], row["outcome"], row["request_id"]) == ("17", "succeeded", request)
    assert (row["origin"], row["detail"]) == ("203.0.113.9", {"kind": "decision", "ratio": "0.5"})
