"""The elevated flows do nothing for an id that nobody vouched for, and leave a trail for what they do."""

import secrets
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from operalta.db.elevated import Purpose, open_elevated
from operalta.db.elevated_flows import FLOWS, Flow, Trail
from operalta.db.policy_check import check_policies
from operalta.settings import DatabaseRole
from tests.conftest import Pools, Servers, World

TAKE = "SELECT FROM elevated.take_message(%(id)s)"
# How each flow that takes an id is called. What comes back for a wrong one is empty, or the call is refused.
CALLS: dict[str, LiteralString] = {
    "take_message": "SELECT id FROM elevated.take_message(%(id)s)",
    "attach_link": "SELECT elevated.attach_link(%(id)s, %(bytes)s)",
    "attach_code": "SELECT elevated.attach_code(%(id)s, %(bytes)s)",
    "keep_in_outbox": "SELECT elevated.keep_in_outbox(%(id)s, 'Subject', 'Body')",
    "finish_revocation": "SELECT elevated.finish_revocation(%(id)s, %(id)s, 'revoked', NULL)",
    "finish_webhook": "SELECT elevated.finish_webhook(%(id)s, %(id)s, %(id)s, 'delivered', 200, NULL, 0,"
    ' \'[{"method": "POST", "destination": "x", "outcome": "204", "purpose": "x"}]\','
    " %(id)s || '.' || repeat('0', 64))",
    "begin_schedule": "SELECT elevated.begin_schedule(%(id)s, %(id)s, now(), now() + interval '1 day')",
    "finish_message": "SELECT elevated.finish_message(%(id)s, 'sent', %(text)s)",
    "company_numbers": "SELECT last_number FROM elevated.company_numbers(ARRAY[%(id)s])",
    "record_leaf": "SELECT elevated.record_leaf(%(id)s, 900000, 900000, %(bytes)s)",
    "note_key_rotation": "SELECT elevated.note_key_rotation(%(id)s, 'company key', '2')",
    "secret_writers_at_work": "SELECT elevated.secret_writers_at_work(%(id)s)",
    "secrets_to_reseal": "SELECT id FROM elevated.secrets_to_reseal(%(id)s, 9, '', 10)",
    "reseal_secrets": "SELECT elevated.reseal_secrets(%(id)s, ARRAY[%(id)s], ARRAY[%(bytes)s], ARRAY[%(bytes)s])",
    "rewrap_authenticators": "SELECT elevated.rewrap_authenticators(ARRAY[%(id)s], ARRAY[%(bytes)s], ARRAY[%(bytes)s])",
    "sign_out_person": "SELECT elevated.sign_out_person(%(id)s, 'because')",
    "reset_factors": "SELECT elevated.reset_factors(%(id)s, 'because')",
    "appoint_staff": "SELECT elevated.appoint_staff(%(id)s, 'support', 'because')",
    "dismiss_staff": "SELECT elevated.dismiss_staff(%(id)s, 'because')",
    "revoke_api_key": "SELECT elevated.revoke_api_key(%(id)s, 'because')",
}
# The ids of `Ids` for which each of them may do something.
FOR: dict[str, frozenset[str]] = {
    "take_message": frozenset({"mail", "code"}),
    "attach_link": frozenset({"mail"}),
    "attach_code": frozenset({"code"}),
    "keep_in_outbox": frozenset({"mail", "code", "finished"}),
    "finish_message": frozenset({"mail", "code"}),
    "finish_revocation": frozenset(),
    "finish_webhook": frozenset(),
    "begin_schedule": frozenset(),
    "company_numbers": frozenset({"company"}),
    "record_leaf": frozenset({"event"}),
    "note_key_rotation": frozenset({"company"}),
    "secret_writers_at_work": frozenset(),
    "secrets_to_reseal": frozenset(),
    "reseal_secrets": frozenset(),
    "rewrap_authenticators": frozenset(),
    "sign_out_person": frozenset({"person"}),
    "reset_factors": frozenset({"person"}),
    "appoint_staff": frozenset({"person"}),
    "dismiss_staff": frozenset(),
    "revoke_api_key": frozenset(),
}
KINDS = ("nobody", "person", "company", "session", "mail", "code", "finished", "event", "sealed")
REFUSALS = ("OP003", "OP005")
NOTHING: tuple[object, ...] = (None, False, 0, "")
TABLES = """
    SELECT space.nspname || '.' || class.relname AS name FROM pg_class AS class
    JOIN pg_namespace AS space ON space.oid = class.relnamespace
    WHERE class.relkind = 'r' AND class.relowner = 'operalta_owner'::regrole
"""


@dataclass(frozen=True)
class Ids:
    """One id of each kind. `nobody` is made up, `finished` a message that was sent, `sealed` an event in the tree."""

    of: Mapping[str, UUID]


@pytest.fixture
def ids(servers: Servers, world: World) -> Generator[Ids]:
    company = world.company()
    member = world.member(company)
    with servers.as_owner() as owner:

        def made(query: LiteralString, *parameters: object) -> UUID:
            row = owner.execute(query, parameters).fetchone()
            assert row is not None
            return row["id"]

        def message(kind: str, status: str, code: UUID | None = None) -> UUID:
            return made(
                "INSERT INTO delivery.messages (kind, status, recipient, person_id, code_id)"
                " VALUES (%s, %s, %s, %s, %s) RETURNING id",
                kind, status, member.email, member.person_id, code,
            )  # fmt: skip

        def event() -> UUID:
            return made(
                "INSERT INTO audit.events (company_id, actor_kind, action, target_kind, outcome)"
                " VALUES (%s, 'system', 'elevated.used', 'message', 'succeeded') RETURNING id",
                company[0],
            )

        session = made("SELECT id FROM identity.sessions WHERE person_id = %s", member.person_id)
        code = made(
            "INSERT INTO identity.codes (person_id, session_id, purpose, number, country)"
            " VALUES (%s, %s, 'step_up', '+41446681800', 'CH') RETURNING id",
            member.person_id, session,
        )  # fmt: skip
        sealed = event()
        owner.execute("UPDATE audit.events SET leaf_index = 800000 WHERE id = %s", (sealed,))
        yield Ids(
            {
                "nobody": uuid4(),
                "person": member.person_id,
                "company": company[0],
                "session": session,
                "mail": message("reset_password", "queued"),
                "code": message("code", "queued", code),
                "finished": message("reset_password", "sent"),
                "event": event(),
                "sealed": sealed,
            }
        )
        owner.execute("UPDATE audit.events SET leaf_index = NULL WHERE id = %s", (sealed,))


def contents(servers: Servers) -> dict[str, str]:
    """What every table holds, as one digest each."""
    with servers.as_owner() as owner:
        found: dict[str, str] = {}
        for table in owner.execute(TABLES).fetchall():
            name: str = table["name"]
            query = (
                f"SELECT md5(coalesce(string_agg(kept::text, '' ORDER BY kept::text), '')) AS held FROM {name} AS kept"  # noqa: S608 - a name of the catalogue
            )
            row = owner.execute(query.encode()).fetchone()
            assert row is not None
            found[name] = row["held"]
        return found


def caller(servers: Servers, flow: Flow) -> psycopg.Connection[Any]:
    """Whoever may call a flow: the job role, or for support the owner as the definer."""
    role = DatabaseRole.JOB if flow.scheduled else DatabaseRole.OWNER
    connection = psycopg.connect(servers.settings.database_dsn(role))
    if not flow.scheduled:
        connection.execute("SET LOCAL ROLE operalta_definer")
    return connection


def call(servers: Servers, flow: Flow, subject: UUID, *before: LiteralString) -> list[object]:
    """Call a flow in one transaction, after other calls with the same id; return what came back."""
    given = {"id": subject, "bytes": secrets.token_bytes(32), "text": secrets.token_hex(8)}
    with caller(servers, flow) as connection:
        for each in before:
            connection.execute(each, given)
        return [row[0] for row in connection.execute(CALLS[flow.function], given).fetchall()]


def events_about(servers: Servers, subject: UUID) -> list[str]:
    with servers.as_owner() as owner:
        rows = owner.execute(
            "SELECT action FROM audit.events WHERE target_id = %s ORDER BY occurred_at", (str(subject),)
        ).fetchall()
    return [row["action"] for row in rows]


def flow_named(name: str) -> Flow:
    (found,) = [flow for flow in FLOWS if flow.function == name]
    return found


WITH_IDS = [flow for flow in FLOWS if flow.function in CALLS]
named = pytest.mark.parametrize("flow", WITH_IDS, ids=lambda flow: flow.function)


@pytest.mark.proves("2.4.4")
def test_every_flow_that_takes_an_id_is_tried(servers: Servers) -> None:
    with servers.as_owner() as owner:
        rows = owner.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'elevated'::regnamespace"
            " AND proargtypes::oid[] && ARRAY['uuid'::regtype, 'uuid[]'::regtype]::oid[]"
        ).fetchall()
    assert {row["proname"] for row in rows} == set(CALLS) == set(FOR)
    assert {flow.function for flow in FLOWS if not flow.ids.startswith(("it takes none", "none"))} == set(CALLS)


@pytest.mark.proves("2.4.4")
@named
def test_an_id_that_is_made_up_or_of_another_kind_changes_and_tells_nothing(
    servers: Servers, ids: Ids, flow: Flow
) -> None:
    for kind in KINDS:
        if kind in FOR[flow.function]:
            continue
        before = contents(servers)
        try:
            told = call(servers, flow, ids.of[kind])
        except psycopg.DatabaseError as refused:
            quiet = refused.sqlstate in REFUSALS and str(ids.of[kind]) not in str(refused)
            told = [] if quiet else [str(refused)]
        assert all(each in NOTHING for each in told), (kind, told)
        assert contents(servers) == before, kind


@pytest.mark.proves("2.4.4")
def test_what_follows_a_taken_message_does_nothing_for_one_that_was_not_taken(servers: Servers, ids: Ids) -> None:
    before = contents(servers)
    for flow in FLOWS:
        if flow.trail is Trail.OF_TAKING:
            for kind in sorted(FOR[flow.function]):
                try:
                    assert call(servers, flow, ids.of[kind])[0] in NOTHING
                except psycopg.DatabaseError as refused:
                    assert refused.sqlstate in REFUSALS  # noqa: PT017 - some answer with nothing instead
                finally:
                    assert contents(servers) == before, (flow.function, kind)


@pytest.mark.proves("2.4.4")
def test_a_message_that_was_taken_before_is_not_taken_now(servers: Servers, ids: Ids) -> None:
    call(servers, flow_named("take_message"), ids.of["mail"])
    before = contents(servers)
    with pytest.raises(psycopg.DatabaseError, match="carries no link"):
        call(servers, flow_named("attach_link"), ids.of["mail"])
    call(servers, flow_named("keep_in_outbox"), ids.of["mail"])
    assert contents(servers) == before


@pytest.mark.proves("2.4.4")
def test_a_delivery_leaves_one_event_for_each_attempt(servers: Servers, ids: Ids) -> None:
    for kind, flow in (("mail", "attach_link"), ("code", "attach_code"), ("mail", "keep_in_outbox")):
        subject = ids.of[kind]
        before = events_about(servers, subject)
        call(servers, flow_named(flow), subject, TAKE)
        assert events_about(servers, subject) == [*before, "elevated.used"]
    call(servers, flow_named("finish_message"), ids.of["mail"])
    assert call(servers, flow_named("take_message"), ids.of["mail"]) == []
    assert events_about(servers, ids.of["mail"]) == ["elevated.used"] * 2


@pytest.mark.proves("2.4.4")
@pytest.mark.parametrize(
    ("function", "actions"),
    [
        ("sign_out_person", ["session.ended"]),
        ("reset_factors", ["session.ended", "factor.removed"]),
        ("appoint_staff", ["staff.appointed"]),
    ],
)
def test_support_leaves_its_reason(servers: Servers, ids: Ids, function: str, actions: list[str]) -> None:
    before = contents(servers)
    call(servers, flow_named(function), ids.of["person"])
    assert events_about(servers, ids.of["person"]) == actions
    if function == "appoint_staff":
        call(servers, flow_named("dismiss_staff"), ids.of["person"])
        assert events_about(servers, ids.of["person"]) == [*actions, "staff.dismissed"]
    changed = {table for table, held in contents(servers).items() if held != before[table]}
    assert changed <= {
        "audit.events", "delivery.messages", "identity.sessions", "identity.tickets",
        "jobs.procrastinate_events", "jobs.procrastinate_jobs",
    }  # fmt: skip


@pytest.mark.proves("2.4.4")
def test_looking_for_people_leaves_an_event_whether_somebody_is_found_or_not(servers: Servers) -> None:
    with servers.as_owner() as owner:
        before = owner.execute("SELECT count(*) AS number FROM audit.events").fetchone()
        with owner.transaction():
            owner.execute("SET LOCAL ROLE operalta_definer")
            assert owner.execute("SELECT * FROM elevated.find_people(%s)", (secrets.token_hex(20),)).fetchall() == []
        after = owner.execute(
            "SELECT count(*) AS number, (array_agg(detail ->> 'purpose' ORDER BY occurred_at DESC))[1] AS purpose"
            " FROM audit.events"
        ).fetchone()
    assert before is not None
    assert after == {"number": before["number"] + 1, "purpose": "find people"}


@pytest.mark.proves("2.4.4")
async def test_forgetting_leaves_an_event_with_its_counts_where_something_had_expired(
    servers: Servers, pools: Pools, ids: Ids
) -> None:
    async def forget() -> list[dict[str, Any]]:
        with servers.as_owner() as owner:
            known = [row["id"] for row in owner.execute("SELECT id FROM audit.events").fetchall()]
            async with open_elevated(pools.job, Purpose.FORGET_EXPIRED) as elevated:
                await elevated.connection.execute("SELECT elevated.forget_expired()")
            query = "SELECT action, detail FROM audit.events WHERE NOT id = ANY (%s)"
            return owner.execute(query, (known,)).fetchall()

    await forget()
    assert await forget() == []
    with servers.as_owner() as owner:
        owner.execute(
            "UPDATE delivery.messages SET created_at = now() - interval '31 days' WHERE id = %s", (ids.of["finished"],)
        )
        owner.execute("INSERT INTO delivery.outbox (message_id, recipient, subject, body) SELECT id, '', '', '' FROM"
                      " delivery.messages WHERE id = %s", (ids.of["finished"],))  # fmt: skip
        owner.execute("UPDATE identity.codes SET created_at = now() - interval '3 days'")
    (left,) = await forget()
    assert left["action"] == "elevated.used"
    assert left["detail"]["purpose"] == Purpose.FORGET_EXPIRED.value
    assert (left["detail"]["removed"]["messages"], left["detail"]["removed"]["codes"] >= 1) == (1, True)


@pytest.mark.proves("2.4.3", "7.2.3")
def test_nobody_but_the_job_role_may_execute_a_scheduled_flow_and_nobody_one_for_support(servers: Servers) -> None:
    with servers.as_owner() as owner:
        rows = owner.execute(
            "SELECT function.proname AS name, role.rolname AS role FROM pg_proc AS function CROSS JOIN pg_roles AS role"
            " WHERE function.pronamespace = 'elevated'::regnamespace AND NOT role.rolsuper"
            " AND has_function_privilege(role.oid, function.oid, 'EXECUTE')"
        ).fetchall()
    others = [(row["name"], row["role"]) for row in rows if row["role"] != "operalta_definer"]
    assert sorted(others) == sorted((flow.function, "operalta_job") for flow in FLOWS if flow.scheduled)


@pytest.mark.proves("2.4.3")
async def test_an_elevated_transaction_needs_the_job_role_and_a_purpose_of_the_list(pools: Pools) -> None:
    for pool, purpose in (
        (pools.web, Purpose.DELIVER_MAIL),
        (pools.worker, Purpose.DELIVER_MAIL),
        (pools.job, Purpose.SUPPORT),
        (pools.job, "because I want to"),
    ):
        with pytest.raises(ValueError, match=r"elevated|support|valid Purpose"):
            async with open_elevated(pool, purpose):  # pyright: ignore[reportArgumentType] - free text, on purpose
                pass
    async with open_elevated(pools.job, Purpose.SEAL_AUDIT_LOG) as elevated:
        assert elevated.purpose is Purpose.SEAL_AUDIT_LOG


@pytest.mark.proves("2.4.4")
def test_the_list_and_the_catalogue_are_the_same(servers: Servers) -> None:
    changes: tuple[tuple[LiteralString, str], ...] = (
        ("CREATE FUNCTION elevated.novelty() RETURNS void LANGUAGE sql AS 'SELECT'", "closed list does not name"),
        ("DROP FUNCTION elevated.last_head()", "is not there"),
    )
    with psycopg.connect(servers.settings.database_dsn(DatabaseRole.OWNER)) as connection:
        for change, fault in changes:
            connection.execute(change)
            assert [gap for gap in check_policies(connection) if fault in gap.fault]
            connection.rollback()
