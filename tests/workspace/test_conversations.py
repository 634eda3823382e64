"""Conversations on the real database: privacy inside the company, idempotency, who speaks as whom."""

import asyncio

import psycopg
import pytest

from operalta.kernel.errors import InvalidInput, NotAllowed
from operalta.kernel.ids import ConversationId
from operalta.workspace.conversations import service as conversations
from operalta.workspace.conversations.rules import Author, Conversation, Message
from operalta.workspace.errors import KeyUsedOtherwise, NoSuchConversation, NotSpokenHere
from tests.conftest import Member
from tests.workspace.conftest import Look, Office, Opening, RunOpening


async def _started(scope_of: Opening, member: Member, *, private: bool = True) -> Conversation:
    async with scope_of(member) as scope:
        return await conversations.start_conversation(scope, "Plans", private=private)


async def test_a_conversation_holds_what_was_said_in_order(office: Office, scope_of: Opening, look: Look) -> None:
    talk = await _started(scope_of, office.advisor)
    async with scope_of(office.advisor) as scope:
        for number in range(5):
            await conversations.add_person_message(scope, talk.id, f"Message {number}")
        latest = await conversations.messages(scope, talk.id, limit=2)
        earlier = await conversations.messages(scope, talk.id, latest.next_cursor, limit=3)
        renamed = await conversations.rename(scope, talk.id, "Better plans")
    assert [one.body for one in latest.items] == ["Message 3", "Message 4"]
    assert [one.body for one in earlier.items] == ["Message 0", "Message 1", "Message 2"]
    assert earlier.next_cursor is None
    assert renamed.title == "Better plans"
    assert (talk.private_to, talk.created_by) == (office.advisor.person_id, office.advisor.person_id)
    assert "conversation.started" in look.actions(office.advisor.company_id)


@pytest.mark.proves("2.4.2", "5.1.1")
async def test_a_private_conversation_does_not_exist_for_colleagues(
    office: Office, scope_of: Opening, run_for: RunOpening
) -> None:
    talk = await _started(scope_of, office.advisor)
    async with scope_of(office.advisor) as scope:
        await conversations.add_person_message(scope, talk.id, "Only for me")
    for member in (office.founder, office.investor, office.stranger):
        async with scope_of(member) as scope:
            for attempt in (
                conversations.get(scope, talk.id),
                conversations.messages(scope, talk.id),
                conversations.rename(scope, talk.id, "Mine"),
                conversations.add_person_message(scope, talk.id, "Let me in"),
            ):
                with pytest.raises(NoSuchConversation):
                    await attempt
            assert (await conversations.list_conversations(scope)).items == ()
            assert await scope.all("SELECT body FROM workspace.messages") == []
            assert await scope.execute("UPDATE workspace.conversations SET title = 'x'") == 0
    async with run_for(office.founder) as (scope, own):
        with pytest.raises(NoSuchConversation):
            await conversations.add_agent_message(scope, talk.id, "From a colleague's agent")
        assert [one.id for one in (await conversations.list_conversations(scope)).items] == [own]


@pytest.mark.proves("2.4.2")
@pytest.mark.parametrize("claims_privacy", [True, False])
async def test_not_even_sql_puts_a_message_into_a_colleagues_private_conversation(
    office: Office,
    scope_of: Opening,
    claims_privacy: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    talk = await _started(scope_of, office.advisor)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with scope_of(office.founder) as scope:
            await scope.execute(
                "INSERT INTO workspace.messages (company_id, id, conversation_id, private_to, author_kind, person_id,"
                " body) VALUES (%(company)s, gen_random_uuid(), %(talk)s, %(private_to)s, 'person', %(person)s, 'x')",
                {
                    "company": scope.company,
                    "talk": talk.id,
                    "private_to": office.advisor.person_id if claims_privacy else None,
                    "person": scope.actor.person_id,
                },
            )


async def test_an_open_conversation_is_for_all_who_may_use_agents(office: Office, scope_of: Opening) -> None:
    talk = await _started(scope_of, office.advisor, private=False)
    async with scope_of(office.investor) as scope:
        said, is_new = await conversations.add_person_message(scope, talk.id, "Good idea")
        assert is_new
        assert said.person_id == office.investor.person_id
    async with scope_of(office.advisor) as scope:
        found = await conversations.messages(scope, talk.id)
        assert [one.person_name for one in found.items] == [office.investor.email.partition("@")[0]]
    async with scope_of(office.stranger) as scope:
        with pytest.raises(NoSuchConversation):
            await conversations.get(scope, talk.id)


@pytest.mark.proves("2.4.2", "2.5.3")
async def test_an_observer_neither_reads_nor_speaks_by_the_service_nor_by_sql(
    office: Office, scope_of: Opening
) -> None:
    talk = await _started(scope_of, office.founder, private=False)
    async with scope_of(office.observer) as scope:
        for attempt in (
            conversations.start_conversation(scope, "Mine"),
            conversations.list_conversations(scope),
            conversations.get(scope, talk.id),
            conversations.messages(scope, talk.id),
            conversations.add_person_message(scope, talk.id, "Hello"),
        ):
            with pytest.raises(NotAllowed):
                await attempt
        assert await scope.all("SELECT id FROM workspace.conversations") == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await scope.execute(
                "INSERT INTO workspace.conversations (company_id, id, title, created_by)"
                " VALUES (%(company)s, gen_random_uuid(), 'x', %(person)s)",
                {"company": scope.company, "person": scope.actor.person_id},
            )


async def test_the_same_key_and_words_give_the_same_message(office: Office, scope_of: Opening) -> None:
    talk, other = await _started(scope_of, office.founder), await _started(scope_of, office.founder)
    async with scope_of(office.founder) as scope:
        first, is_new = await conversations.add_person_message(scope, talk.id, "Pay", "key-number-1")
        again, is_new_again = await conversations.add_person_message(scope, talk.id, "Pay", "key-number-1")
        assert (is_new, is_new_again) == (True, False)
        assert again == first
        with pytest.raises(KeyUsedOtherwise):
            await conversations.add_person_message(scope, talk.id, "Pay more", "key-number-1")
        with pytest.raises(KeyUsedOtherwise):
            await conversations.add_person_message(scope, other.id, "Pay", "key-number-1")
        assert len((await conversations.messages(scope, talk.id)).items) == 1


async def test_a_key_is_ones_own(office: Office, scope_of: Opening) -> None:
    talk = await _started(scope_of, office.founder, private=False)
    async with scope_of(office.founder) as scope:
        await conversations.add_person_message(scope, talk.id, "Mine", "key-number-1")
    async with scope_of(office.advisor) as scope:
        said, is_new = await conversations.add_person_message(scope, talk.id, "Yours", "key-number-1")
    assert (said.body, is_new) == ("Yours", True)


async def test_of_many_at_once_with_one_key_one_message_is_made(office: Office, scope_of: Opening) -> None:
    talk = await _started(scope_of, office.founder)

    together = asyncio.Barrier(5)

    async def say(body: str) -> tuple[Message, bool]:
        async with scope_of(office.founder) as scope:
            await together.wait()
            return await conversations.add_person_message(scope, talk.id, body, "key-number-1")

    results = await asyncio.gather(*(say("Once") for _ in range(5)))
    assert len({said.id for said, _ in results}) == 1
    assert sum(is_new for _, is_new in results) == 1
    others = await asyncio.gather(*(say("Twice") for _ in range(5)), return_exceptions=True)
    assert all(isinstance(other, KeyUsedOtherwise) for other in others)


@pytest.mark.proves("5.1.3")
async def test_agents_speak_as_agents_and_people_as_people(
    office: Office, scope_of: Opening, run_for: RunOpening
) -> None:
    async with run_for(office.founder) as (scope, talk):
        talk_id = ConversationId(talk)
        said = await conversations.add_agent_message(scope, talk_id, "Done.")
        assert (said.author, said.run_id, said.person_id) == (
            Author.AGENT,
            scope.actor.run_id,
            office.founder.person_id,
        )
        for attempt in (
            conversations.add_person_message(scope, talk_id, "As a person"),
            conversations.start_conversation(scope, "Of my own"),
        ):
            with pytest.raises(NotSpokenHere):
                await attempt
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await scope.execute(
                "INSERT INTO workspace.messages (company_id, id, conversation_id, private_to, author_kind, person_id,"
                " run_id, body) VALUES (%(company)s, gen_random_uuid(), %(talk)s, %(person)s, 'person', %(person)s,"
                " %(run)s, 'x')",
                {"company": scope.company, "talk": talk, "person": scope.actor.person_id, "run": scope.actor.run_id},
            )
    async with scope_of(office.founder) as scope:
        with pytest.raises(NotSpokenHere):
            await conversations.add_agent_message(scope, talk_id, "As an agent")


async def test_the_list_is_searched_by_title_and_paged_last_used_first(office: Office, scope_of: Opening) -> None:
    made: list[Conversation] = []
    for title in ("Hiring", "100% pricing", "Pricing_again"):
        async with scope_of(office.founder) as scope:
            made.append(await conversations.start_conversation(scope, title))
    async with scope_of(office.founder) as scope:
        await conversations.add_person_message(scope, made[0].id, "Moves it up")
    async with scope_of(office.founder) as scope:
        first = await conversations.list_conversations(scope, limit=2)
        rest = await conversations.list_conversations(scope, cursor=first.next_cursor)
        assert [one.title for one in (*first.items, *rest.items)] == ["Hiring", "Pricing_again", "100% pricing"]
        found = await conversations.list_conversations(scope, "PRICING")
        assert [one.title for one in found.items] == ["Pricing_again", "100% pricing"]
        assert [one.title for one in (await conversations.list_conversations(scope, "%")).items] == ["100% pricing"]
        with pytest.raises(InvalidInput):
            await conversations.list_conversations(scope, cursor="garbage")


async def test_what_cannot_be_kept_is_refused(office: Office, scope_of: Opening) -> None:
    talk = await _started(scope_of, office.founder)
    async with scope_of(office.founder) as scope:
        for body in ("", "  \n", "x" * 20_001, "NUL \x00", "lone \udfff surrogate"):
            with pytest.raises(InvalidInput):
                await conversations.add_person_message(scope, talk.id, body)
        for key in ("short", "x" * 201, "NUL\x00NUL\x00"):
            with pytest.raises(InvalidInput):
                await conversations.add_person_message(scope, talk.id, "Hello", key)
        assert (await conversations.messages(scope, talk.id)).items == ()
        said, _ = await conversations.add_person_message(scope, talk.id, "x" * 20_000)
        assert len(said.body) == 20_000
