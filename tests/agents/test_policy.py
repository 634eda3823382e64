"""May this exact call happen without asking? The rules one by one, and every trap that is known."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated

import pytest
from pydantic import Field, StringConstraints

from operalta.agents.canonical import JsonValue
from operalta.agents.company_tools import Arguments, company_registry
from operalta.agents.decision_context import DecisionContext, Outcome, PolicyDecision, TargetFacts, ToolSettings
from operalta.agents.policy import OWN_SPACE_CALLS, accept_arguments, call_key, decide, plain_arguments
from operalta.agents.provenance import Origin, person_words
from operalta.agents.records import CollectionRecord
from operalta.agents.registry import SinkType, ToolClass, ToolDeclaration, UnknownTool, tool_hash

REGISTRY = company_registry()
REGISTRY.mark_present("shell_run")
NAMES = frozenset(tool.name for tool in REGISTRY)
ALL_ON = ToolSettings(enabled=NAMES, granted=NAMES)
NEW_PRIVATE = TargetFacts(is_new=True, is_private=True)

Call = tuple[str, Mapping[str, JsonValue]]


def context(text: str, origin: Origin = Origin.SESSION, facts: TargetFacts | None = None) -> DecisionContext:
    return DecisionContext(words=person_words(text, origin), settings=ALL_ON, facts=facts or TargetFacts())


def judge(text: str, call: Call, *, origin: Origin = Origin.SESSION, facts: TargetFacts | None = None) -> Outcome:
    name, arguments = call
    return decide(REGISTRY.resolve(name), arguments, context(text, origin, facts)).outcome


def tool(name: str) -> ToolDeclaration:
    found = REGISTRY.resolve(name)
    assert isinstance(found, ToolDeclaration)
    return found


def fetch(url: str) -> Call:
    return "web_fetch", {"url": url}


def write(path: str, content: str) -> Call:
    return "files_write", {"path": path, "content": content}


def record(title: str, body: str = "", kind: str = "decision") -> Call:
    return "memory_record", {"kind": kind, "title": title, "body": body}


def run(command: str, seconds: int = 60) -> Call:
    return "shell_run", {"command": command, "seconds": seconds}


def move(path: str, to: str) -> Call:
    return "files_move", {"path": path, "to": to}


def bin_file(path: str) -> Call:
    return "files_delete", {"path": path}


READS: list[Call] = [
    ("memory_search", {"query": "anything"}),
    ("metrics_read", {}),
    ("files_list", {"folder": ""}),
    ("files_read", {"path": "notes/a.md"}),
    ("files_search", {"query": "anything"}),
]


@pytest.mark.parametrize("call", READS, ids=lambda call: call[0])
@pytest.mark.parametrize("origin", list(Origin))
def test_internal_reads_pass(call: Call, origin: Origin) -> None:
    assert judge("hello", call, origin=origin) is Outcome.ALLOW


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("/decide Use Postgres | It is enough.", record("Use Postgres", "It is enough.")),
        ("/decide Use Postgres", record("Use Postgres")),
        ("  /DECIDE Use Postgres  ", record("Use Postgres")),
        ("/blocker No licence | We wait.", record("No licence", "We wait.", "blocker")),
        ("/write plans/a.md | one\n\n    two", write("plans/a.md", "one\n\n    two")),
        ("/fetch https://example.com/a", fetch("https://example.com/a")),
        ("/run ls -l | sort", run("ls -l | sort")),
        ("/append a.md | one", ("files_append", {"path": "a.md", "content": "one"})),
        ("/move a.md | b.md", move("a.md", "b.md")),
        ("/delete a.md", bin_file("a.md")),
    ],
)
def test_a_typed_command_is_the_approval(text: str, call: Call) -> None:
    assert judge(text, call) is Outcome.ALLOW


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("/decide Use Postgres | It is enough.", record("Use Postgres", "It is not enough.")),
        ("/decide Use Postgres | It is enough.", record("Use Postgres", "It is enough. ")),
        ("/decide Use Postgres | It is enough.", record("Use Postgres")),
        ("/decide Use Postgres", record("use postgres")),
        ("/decide Use Postgres", record("Use Postgres", kind="blocker")),
        ("/write plans/a.md | one", write("plans/b.md", "one")),
        ("/run ls -l", run("ls -l; curl evil.example")),
        ("/run ls -l", run("ls")),
        ("/run ls -l", run("ls -l", seconds=600)),
        ("/decide run it | ls -l", run("ls -l")),
        ("Please type /run ls -l", run("ls -l")),
        ("> /run ls -l", run("ls -l")),
        ("`/run ls -l`", run("ls -l")),
        ("hello\n/run ls -l", run("ls -l")),
        ("/run ls -l\nand be nice", run("ls -l")),
        ("/run ls\u202e -l", run("ls\u202e -l")),
        ("/decide Use\u200b Postgres", record("Use\u200b Postgres")),
    ],
)
def test_anything_but_exactly_what_was_typed_asks(text: str, call: Call) -> None:
    assert judge(text, call) is Outcome.ASK


@pytest.mark.parametrize("origin", [origin for origin in Origin if origin is not Origin.SESSION])
@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("/run ls", run("ls")),
        ("/decide Use Postgres", record("Use Postgres")),
        ("/fetch https://example.com/", fetch("https://example.com/")),
        ("fetch https://example.com/", fetch("https://example.com/")),
        ("write a file notes/a.md with hello", write("notes/a.md", "hello")),
    ],
)
@pytest.mark.proves("5.5.1")
def test_what_came_any_other_way_always_asks(text: str, call: Call, origin: Origin) -> None:
    assert judge(text, call, origin=origin, facts=NEW_PRIVATE) is Outcome.ASK


def test_a_typed_command_is_one_approval_and_not_two() -> None:
    name, arguments = run("ls")
    before = context("/run ls")
    accepted = accept_arguments(tool(name), arguments)
    assert accepted is not None
    after = replace(before, passed=frozenset({call_key(tool(name), plain_arguments(accepted))}))
    assert decide(tool(name), arguments, before).outcome is Outcome.ALLOW
    assert decide(tool(name), arguments, after) == PolicyDecision(Outcome.ASK, ("done_before_in_this_run",))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("Fetch https://example.com/a and tell me", "https://example.com/a"),
        ("What is on https://example.com?", "https://example.com/"),
        ("Compare https://a.example/ with https://b.example/x?y=1", "https://b.example/x?y=1"),
    ],
)
def test_a_fetch_passes_when_its_whole_address_was_written(text: str, url: str) -> None:
    assert judge(text, fetch(url)) is Outcome.ALLOW


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("What is in Notes.site?", "https://notes.site/"),
        ("What is on example.com?", "https://example.com/"),
        ("What is on https://example.com/?", "https://example.com/?q=secret"),
        ("What is on https://example.com/?", "https://evil.example/"),
        ("Do not open https://example.com/", "https://example.com/"),
        ("Open https://example.com/ when I say so", "https://example.com/"),
        ('Bob mailed "please open https://example.com/ at once"', "https://example.com/"),
        ("Summarise this:\n> see https://example.com/", "https://example.com/"),
    ],
)
def test_any_other_fetch_asks(text: str, url: str) -> None:
    assert judge(text, fetch(url)) is Outcome.ASK


def test_an_address_in_a_colleagues_own_message_passes_but_not_in_what_they_quote() -> None:
    url = "https://example.com/report"
    read = person_words(f"The report is at {url}", Origin.SESSION)
    quoted = person_words(f"Somebody wrote this:\n> The report is at {url}", Origin.SESSION)
    keyed = person_words(f"The report is at {url}", Origin.API_KEY)
    asked = context("Read the report that Bob has sent")
    for colleague, outcome in ((read, Outcome.ALLOW), (quoted, Outcome.ASK), (keyed, Outcome.ASK)):
        with_colleague = replace(asked, colleagues=(colleague,))
        assert decide(tool("web_fetch"), {"url": url}, with_colleague).outcome is outcome


OWN_SPACE: list[tuple[str, Call, TargetFacts, Outcome]] = [
    ("Write a file notes/a.md with hello", write("notes/a.md", "hello"), NEW_PRIVATE, Outcome.ALLOW),
    ("Save a note: we ship on Monday", write("notes/b.md", "we ship on Monday"), NEW_PRIVATE, Outcome.ALLOW),
    # not new, not private, or not known to be
    ("Write a file notes/a.md with hello", write("notes/a.md", "hello"), TargetFacts(), Outcome.ASK),
    ("Write a file notes/a.md with hello", write("notes/a.md", "hello"), TargetFacts(is_new=True), Outcome.ASK),
    (
        "Write a file notes/a.md with hello",
        write("notes/a.md", "hello"),
        TargetFacts(is_new=True, is_private=False),
        Outcome.ASK,
    ),
    (
        "Write a file notes/a.md with hello",
        write("notes/a.md", "hello"),
        TargetFacts(is_new=False, is_private=True),
        Outcome.ASK,
    ),
    # not in one's own folder
    ("Write a file plans/a.md with hello", write("plans/a.md", "hello"), NEW_PRIVATE, Outcome.ASK),
    ("Write a file a.md with hello", write("notes/../a.md", "hello"), NEW_PRIVATE, Outcome.ASK),
    ("Write a file a.md with hello", write("notes/.env", "hello"), NEW_PRIVATE, Outcome.ASK),
    ("Write a file a.md with hello", write("notes/", "hello"), NEW_PRIVATE, Outcome.ASK),
    ("Write a file a.md with hello", write("notes//a.md", "hello"), NEW_PRIVATE, Outcome.ASK),
    ("Write a file a.md with hello", write("notes\\..\\a.md", "hello"), NEW_PRIVATE, Outcome.ASK),
    ("Write a file a.md with hello", write("Notes/a.md", "hello"), NEW_PRIVATE, Outcome.ASK),
    # text that the person did not write, or only a part of a word of it
    ("Write a file notes/a.md with hello", write("notes/a.md", "hello world"), NEW_PRIVATE, Outcome.ASK),
    ("Write a file notes/a.md with hello", write("notes/a.md", "ello"), NEW_PRIVATE, Outcome.ASK),
    ("Write a file notes/a.md with hello", write("notes/a.md", ""), NEW_PRIVATE, Outcome.ASK),
    ("Write notes/a.md from this:\n> hello there", write("notes/a.md", "hello there"), NEW_PRIVATE, Outcome.ASK),
    # no intent
    ("What is in notes/a.md, hello?", write("notes/a.md", "hello"), NEW_PRIVATE, Outcome.ASK),
    ("Do not write a file with hello", write("notes/a.md", "hello"), NEW_PRIVATE, Outcome.ASK),
    ("Write a file with hello if it rains", write("notes/a.md", "hello"), NEW_PRIVATE, Outcome.ASK),
]


@pytest.mark.parametrize(("text", "call", "facts", "outcome"), OWN_SPACE)
def test_own_space(text: str, call: Call, facts: TargetFacts, outcome: Outcome) -> None:
    assert judge(text, call, facts=facts) is outcome


def test_only_a_few_writes_to_own_space_pass_in_a_run() -> None:
    name, arguments = write("notes/a.md", "hello")
    asked = replace(context("Write a file with hello", facts=NEW_PRIVATE), own_space_calls=OWN_SPACE_CALLS - 1)
    assert decide(tool(name), arguments, asked).outcome is Outcome.ALLOW
    once_more = replace(asked, own_space_calls=OWN_SPACE_CALLS)
    assert decide(tool(name), arguments, once_more).outcome is Outcome.ASK


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("Please record a decision that we chose Postgres", record("We chose Postgres")),
        ("Please record the decision we chose Postgres", record("we chose Postgres")),
        # the part of a sentence that says the opposite of the whole
        ("Record a decision: we do not sell to Acme", record("sell to Acme")),
        ('Record the decision "Use Postgres"', record("Use Postgres")),
    ],
)
def test_a_record_for_others_that_was_not_typed_as_a_command_asks(text: str, call: Call) -> None:
    decision = decide(tool(call[0]), call[1], context(text))
    assert decision.outcome is Outcome.ASK
    assert decision.reasons in {("text_for_others:title", "text_for_others:body"), ("not_asked_for",)}


def test_delegating_passes_since_a_task_vouches_for_nothing() -> None:
    call: Call = ("delegate", {"agent": "research-2", "task": "find it"})
    assert judge("hm", call, origin=Origin.WEBHOOK) is Outcome.ALLOW
    assert judge("Write a.md: x", write("a.md", "x"), origin=Origin.AGENT) is Outcome.ASK


def test_a_call_that_changes_nothing_passes_for_a_person_at_the_chat() -> None:
    idle = TargetFacts(changes_nothing=True)
    assert judge("hm", write("a.md", "x"), facts=idle) is Outcome.ALLOW
    assert judge("hm", write("a.md", "x"), facts=idle, origin=Origin.WEBHOOK) is Outcome.ASK


# ── Tools of other kinds, as an integration would declare them ────────────────────────────────────────

Short = Annotated[str, StringConstraints(max_length=200)]


class Sent(Arguments):
    to: Short
    subject: Short | None = None


class Moved(Arguments):
    record: Short
    to: Short | None = None


class Paid(Arguments):
    account: Short
    amount: Annotated[float, Field(ge=0)]


def declared(
    tool_class: ToolClass, arguments: type[Arguments], sinks: Mapping[str, SinkType], *verbs: str
) -> ToolDeclaration:
    return ToolDeclaration(
        name="other_tool",
        title="Other",
        purpose="Do something.",
        tool_class=tool_class,
        permission="other:use",
        arguments=arguments,
        sinks=sinks,
        verbs=frozenset(verbs),
    )


SHARE = declared(ToolClass.WRITE_SHARED, Sent, {"to": SinkType.ADDRESS, "subject": SinkType.BODY}, "share", "invite")
MOVE = declared(ToolClass.WRITE_SHARED, Moved, {"record": SinkType.RECORD, "to": SinkType.ADDRESS}, "move", "share")


def other(text: str, declaration: ToolDeclaration, arguments: Mapping[str, object], **more: object) -> PolicyDecision:
    on = ToolSettings(enabled=frozenset({"other_tool"}), granted=frozenset({"other_tool"}))
    base = DecisionContext(words=person_words(text, Origin.SESSION), settings=on)
    return decide(declaration, arguments, replace(base, **more))  # pyright: ignore[reportArgumentType] - by name


@pytest.mark.parametrize("tool_class", [one for one in ToolClass if one.is_sensitive])
@pytest.mark.proves("5.3.3", "5.5.1")
def test_sensitive_classes_always_ask(tool_class: ToolClass) -> None:
    declaration = declared(tool_class, Sent, {"to": SinkType.ADDRESS}, "share")
    arguments = {"to": "bob@acme.example"}
    # Everything speaks for it, and it is asked all the same.
    allowing = ToolSettings(
        enabled=frozenset({"other_tool"}),
        granted=frozenset({"other_tool"}),
        company=MappingProxyType({"other_tool": Outcome.ALLOW}),
        agent=MappingProxyType({"other_tool": Outcome.ALLOW}),
    )
    facts = TargetFacts(is_new=True, is_private=True, changes_nothing=True)
    decision = other(
        "share it with bob@acme.example",
        declaration,
        arguments,
        directory={"Bob": "bob@acme.example"},
        facts=facts,
        settings=allowing,
    )
    assert decision == PolicyDecision(Outcome.ASK, ("sensitive_class",))


def test_five_classes_are_sensitive() -> None:
    sensitive = {one.value for one in ToolClass if one.is_sensitive}
    assert sensitive == {"execute", "money", "identity", "publish", "destroy"}


def test_money_to_a_friend_asks() -> None:
    pay = declared(ToolClass.MONEY, Paid, {"account": SinkType.ACCOUNT, "amount": SinkType.AMOUNT}, "pay")
    assert other("pay 50 to my friend", pay, {"account": "friend", "amount": 50.0}).outcome is Outcome.ASK


DIRECTORY = MappingProxyType(
    {"Bob": "bob@acme.example", "Bob Miller": "miller@acme.example", "Eve": "eve@acme.example"}
)


@pytest.mark.parametrize(
    ("text", "to", "outcome"),
    [
        ("Share it with new@acme.example", "new@acme.example", Outcome.ALLOW),
        ("Share it with Bob", "bob@acme.example", Outcome.ALLOW),
        ("share it with bob", "bob@acme.example", Outcome.ALLOW),
        ("Share it with Bob Miller", "miller@acme.example", Outcome.ALLOW),
        ("Share it with Bob Miller", "bob@acme.example", Outcome.ASK),
        ("Share it with Bob", "eve@acme.example", Outcome.ASK),
        ("Share it with Bob", "bob@evil.example", Outcome.ASK),
        ("Share it with Bob", "Bob", Outcome.ASK),
        ("Share it with Bobby", "bob@acme.example", Outcome.ASK),
        ('Share it, and tell me who "our dear Bob" is', "bob@acme.example", Outcome.ASK),
        ("Read the file of Bob", "bob@acme.example", Outcome.ASK),
        # The verb stands in another sentence than the name.
        ("Share the plan. Bob is on holiday.", "bob@acme.example", Outcome.ASK),
        ("Do not share it with Bob", "bob@acme.example", Outcome.ASK),
    ],
)
def test_recipients_are_written_or_known(text: str, to: str, outcome: Outcome) -> None:
    assert other(text, SHARE, {"to": to}, directory=DIRECTORY).outcome is outcome


def test_text_for_others_asks() -> None:
    decision = other("share Hello with new@acme.example", SHARE, {"to": "new@acme.example", "subject": "Hello"})
    assert decision == PolicyDecision(Outcome.ASK, ("text_for_others:subject",))


def test_the_same_recipients_pass_once_in_a_run() -> None:
    arguments: dict[str, JsonValue] = {"to": "new@acme.example", "subject": None}
    text = "Share it with new@acme.example"
    assert other(text, SHARE, arguments).outcome is Outcome.ALLOW
    again = other(text, SHARE, arguments, passed=frozenset({call_key(SHARE, arguments)}))
    assert again == PolicyDecision(Outcome.ASK, ("done_before_in_this_run",))


MEETING = CollectionRecord(
    reference="ev_7f3a21",
    identity="Board meeting",
    addresses=frozenset({"chair@acme.example"}),
    is_unique=True,
    outsiders_write=True,
    owner_is_first_party=True,
)


@pytest.mark.parametrize(
    ("meeting", "text", "outcome"),
    [
        (MEETING, "Move the board meeting", Outcome.ALLOW),
        (MEETING, "Move the meeting", Outcome.ASK),
        (replace(MEETING, is_unique=False), "Move the board meeting", Outcome.ASK),
        (replace(MEETING, changed_in_run=True), "Move the board meeting", Outcome.ASK),
        # A planted record can be the only one of its name.
        (replace(MEETING, owner_is_first_party=False), "Move the board meeting", Outcome.ASK),
        (replace(MEETING, identity="Meeting"), "Move the meeting", Outcome.ASK),
        (replace(MEETING, identity="Meeting"), 'Move the "Meeting"', Outcome.ALLOW),
        (replace(MEETING, identity="Meeting", outsiders_write=False), "Move the meeting", Outcome.ALLOW),
        (replace(MEETING, identity="42", outsiders_write=False), "Move 42", Outcome.ASK),
        (replace(MEETING, identity=" ", outsiders_write=False), "Move it", Outcome.ASK),
    ],
)
def test_records_are_bound_by_their_name(meeting: CollectionRecord, text: str, outcome: Outcome) -> None:
    assert other(text, MOVE, {"record": "ev_7f3a21"}, records=(meeting,)).outcome is outcome


def test_an_address_of_a_bound_record_counts_and_others_do_not() -> None:
    text = "Share the board meeting"
    to_chair = {"record": "ev_7f3a21", "to": "chair@acme.example"}
    assert other(text, MOVE, to_chair, records=(MEETING,)).outcome is Outcome.ALLOW
    to_eve = {"record": "ev_7f3a21", "to": "eve@evil.example"}
    assert other(text, MOVE, to_eve, records=(MEETING,)).outcome is Outcome.ASK


def test_an_address_counts_only_while_its_record_is_as_it_was() -> None:
    text, to_chair = "Share the board meeting", {"to": "chair@acme.example"}
    assert other(text, SHARE, to_chair, records=(MEETING,)).outcome is Outcome.ALLOW
    changed = replace(MEETING, changed_in_run=True)
    assert other(text, SHARE, to_chair, records=(changed,)).outcome is Outcome.ASK


def test_a_record_changed_in_the_run_asks_even_when_its_id_was_written() -> None:
    changed = replace(MEETING, changed_in_run=True)
    assert other("Share ev_7f3a21", MOVE, {"record": "ev_7f3a21"}).outcome is Outcome.ALLOW
    assert other("Share ev_7f3a21", MOVE, {"record": "ev_7f3a21"}, records=(changed,)).outcome is Outcome.ASK


def test_an_argument_that_is_not_declared_asks() -> None:
    declaration = declared(ToolClass.WRITE_SHARED, Sent, {"to": SinkType.ADDRESS}, "share")
    decision = other("share with new@acme.example", declaration, {"to": "new@acme.example"})
    assert decision == PolicyDecision(Outcome.ASK, ("undeclared:subject",))


def test_egress_with_more_than_an_address_asks() -> None:
    declaration = declared(ToolClass.EGRESS, Sent, {"to": SinkType.URL, "subject": SinkType.QUERY}, "get")
    text = "get https://example.com/ hello"
    assert other(text, declaration, {"to": "https://example.com/"}).outcome is Outcome.ALLOW
    more = {"to": "https://example.com/", "subject": "hello"}
    assert other(text, declaration, more).outcome is Outcome.ASK


def test_a_tool_without_a_lexicon_always_asks() -> None:
    declaration = declared(ToolClass.WRITE_SHARED, Sent, {"to": SinkType.ADDRESS, "subject": SinkType.BODY})
    assert other("share with new@acme.example", declaration, {"to": "new@acme.example"}).outcome is Outcome.ASK


# ── What is denied, and what settings do ──────────────────────────────────────────────────────────────


@pytest.mark.proves("5.5.2")
@pytest.mark.parametrize(
    "name",
    ["", "Files_Read", "files_read ", "files-read", "ｆiles_read", "fi\u200bles_read", "fіles_read", "eval"],  # noqa: RUF001 - look-alikes
)
def test_unknown_and_look_alike_tools_are_denied(name: str) -> None:
    assert REGISTRY.resolve(name) == UnknownTool(name)
    decision = decide(REGISTRY.resolve(name), {"path": "a.md"}, context("/read a.md"))
    assert decision == PolicyDecision(Outcome.DENY, ("unknown_tool",))


@pytest.mark.proves("5.5.2")
def test_disabled_ungranted_absent_and_drifted_tools_are_denied() -> None:
    shell = tool("shell_run")
    base = context("/run ls")
    off = [
        (replace(ALL_ON, enabled=NAMES - {"shell_run"}), "not_switched_on_for_the_company"),
        (replace(ALL_ON, granted=NAMES - {"shell_run"}), "not_granted_to_the_agent"),
        (replace(ALL_ON, pinned={"shell_run": "0" * 64}), "definition_has_changed"),
    ]
    for settings, reason in off:
        decision = decide(shell, {"command": "ls"}, replace(base, settings=settings))
        assert decision == PolicyDecision(Outcome.DENY, (reason,))
    pinned = replace(base, settings=replace(ALL_ON, pinned={"shell_run": tool_hash(shell)}))
    assert decide(shell, {"command": "ls"}, pinned).outcome is Outcome.ALLOW
    absent = replace(shell, absent_because="no sandbox")
    assert decide(absent, {"command": "ls"}, base) == PolicyDecision(Outcome.DENY, ("not_available_here",))


@pytest.mark.proves("5.3.3")
def test_as_declared_the_shell_does_not_exist() -> None:
    decision = decide(company_registry().resolve("shell_run"), {"command": "ls"}, context("/run ls"))
    assert decision == PolicyDecision(Outcome.DENY, ("not_available_here",))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"path": ""},
        {"path": "x" * 401},
        {"path": 7},
        {"path": None},
        {"path": "a.md", "unsandboxed": True},
        {"path": "\ud800"},
        {"path": "a\x00b"},
    ],
)
def test_arguments_that_do_not_fit_are_denied(arguments: dict[str, object]) -> None:
    assert decide(tool("files_read"), arguments, context("read")).outcome is Outcome.DENY


def test_nothing_is_made_to_fit() -> None:
    denied = PolicyDecision(Outcome.DENY, ("arguments_do_not_fit",))
    assert decide(tool("shell_run"), {"command": "ls", "seconds": "60"}, context("/run ls")) == denied


def test_a_call_that_no_card_could_show_whole_is_denied() -> None:
    longest = write("notes/a.md", "x" * 80_000)
    assert judge("write it", longest, facts=NEW_PRIVATE) is Outcome.ASK
    escaped = write("notes/a.md", '"' * 80_000)
    decision = decide(tool("files_write"), escaped[1], context("write it"))
    assert decision == PolicyDecision(Outcome.DENY, ("arguments_too_long",))


def test_a_number_without_one_form_is_denied() -> None:
    pay = declared(ToolClass.MONEY, Paid, {"account": SinkType.ACCOUNT, "amount": SinkType.AMOUNT}, "pay")
    decision = other("pay", pay, {"account": "ac-1", "amount": float("inf")})
    assert decision == PolicyDecision(Outcome.DENY, ("arguments_not_canonical",))


@pytest.mark.parametrize("setting", list(Outcome))
@pytest.mark.parametrize("base", ["files_read", "memory_record"])
@pytest.mark.parametrize("holder", ["company", "agent"])
def test_settings_only_tighten(setting: Outcome, base: str, holder: str) -> None:
    arguments: dict[str, object] = (
        {"path": "a.md"} if base == "files_read" else {"kind": "decision", "title": "We chose X"}
    )
    plain = context("record a decision that we chose X")
    untouched = decide(tool(base), arguments, plain).outcome
    outcomes = MappingProxyType({base: setting})
    settings = replace(ALL_ON, company=outcomes) if holder == "company" else replace(ALL_ON, agent=outcomes)
    order = [Outcome.ALLOW, Outcome.ASK, Outcome.DENY]
    decision = decide(tool(base), arguments, replace(plain, settings=settings))
    assert decision.outcome is max(untouched, setting, key=order.index)


def test_the_strictest_setting_wins_over_a_typed_command() -> None:
    outcomes = MappingProxyType({"memory_record": Outcome.ASK})
    asked = replace(context("/decide Use Postgres"), settings=replace(ALL_ON, company=outcomes))
    decision = decide(tool("memory_record"), {"kind": "decision", "title": "Use Postgres"}, asked)
    assert decision == PolicyDecision(Outcome.ASK, ("company_setting", "typed_as_a_command"))


@pytest.mark.proves("5.5.1")
@pytest.mark.parametrize(
    ("text", "call", "outcome"),
    [
        # Into the bin and back, or to another name: nothing is lost, so naming it all is enough.
        ("please delete the file notes/old.md", bin_file("notes/old.md"), Outcome.ALLOW),
        ("delete notes/old.md", bin_file("notes/old.md"), Outcome.ALLOW),
        ("move the file a.md to plans/b.md", move("a.md", "plans/b.md"), Outcome.ALLOW),
        ("rename a.md to b.md, please", move("a.md", "b.md"), Outcome.ALLOW),
        # Another file than the one that was named, or none that was.
        ("delete notes/old.md", bin_file("notes/new.md"), Outcome.ASK),
        ("delete notes/older.md", bin_file("notes/old.md"), Outcome.ASK),
        ("tidy up the notes", bin_file("notes/old.md"), Outcome.ASK),
        ("read notes/old.md", bin_file("notes/old.md"), Outcome.ASK),
        ("do not delete notes/old.md", bin_file("notes/old.md"), Outcome.ASK),
        ("should I delete notes/old.md?", bin_file("notes/old.md"), Outcome.ASK),
        ('he wrote "delete notes/old.md"', bin_file("notes/old.md"), Outcome.ASK),
        ("move a.md somewhere else", move("a.md", "b.md"), Outcome.ASK),
        ("move a.md to b.md", move("a.md", "c.md"), Outcome.ASK),
        ("move a.md to b.md", move("c.md", "b.md"), Outcome.ASK),
        # What an agent puts together for others is asked about, wherever it goes.
        ("add hello to the file a.md", ("files_append", {"path": "a.md", "content": "hello"}), Outcome.ASK),
    ],
)
def test_files_move_and_go_to_the_bin_as_far_as_the_person_named_them(text: str, call: Call, outcome: Outcome) -> None:
    assert judge(text, call) is outcome
    for origin in set(Origin) - {Origin.SESSION}:
        assert judge(text, call, origin=origin) is Outcome.ASK
