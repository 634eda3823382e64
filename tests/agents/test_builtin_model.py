"""The built-in route through single steps, as the runner drives it, and through pydantic-ai's own loop."""

from collections.abc import AsyncIterator, Sequence

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart, ToolReturnPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from operalta.agents.builtin_model import BuiltinModel
from operalta.agents.company_tools import COMPANY_TOOLS
from operalta.agents.errors import HistoryUnreadable, ModelMisbehaved
from operalta.agents.quoting import keywords
from operalta.agents.registry import Reference, ToolDeclaration, ToolResult
from operalta.agents.steps import (
    LONGEST_MESSAGE,
    MOST_CHARACTERS,
    CallResult,
    History,
    ModelTurn,
    TextDelta,
    begin,
    denied,
    dump_history,
    failed,
    load_history,
    next_step,
    open_calls,
    succeeded,
    with_results,
    with_turn,
)


async def step(
    history: History, tools: Sequence[ToolDeclaration] = COMPANY_TOOLS, model: Model | None = None
) -> ModelTurn:
    """Take one step and check what every step promises."""
    pieces = [piece async for piece in next_step(model or BuiltinModel(), history, tools)]
    *deltas, turn = pieces
    assert isinstance(turn, ModelTurn)
    assert all(isinstance(piece, TextDelta) for piece in deltas)
    assert "".join(piece.text for piece in deltas if isinstance(piece, TextDelta)) == turn.text
    assert turn.usage.tokens > 0
    return turn


async def answer(prompt: str, *results: ToolResult) -> str:
    """Run a whole turn: the prompt, its calls with these results (nothing for the rest of them), the answer."""
    history = begin(prompt)
    turn = await step(history)
    missing = len(turn.tool_calls) - len(results)
    given = (*results, *[ToolResult("Nothing found.")] * missing)
    outcomes = [succeeded(call, result) for call, result in zip(turn.tool_calls, given, strict=True)]
    last = await step(with_results(with_turn(history, turn), outcomes))
    assert last.is_answer
    return last.text


async def test_a_command_is_one_tool_call_and_then_its_result() -> None:
    history = begin("/decide Use Postgres | It is enough.")
    turn = await step(history)
    (call,) = turn.tool_calls
    assert (call.tool, call.arguments) == (
        "memory_record",
        {"kind": "decision", "title": "Use Postgres", "body": "It is enough."},
    )
    assert not turn.is_answer
    history = with_results(with_turn(history, turn), [succeeded(call, ToolResult("Recorded as decision 7."))])
    last = await step(history)
    assert last.is_answer
    assert last.text == "Recorded as decision 7."


async def test_the_same_history_gives_the_same_answer() -> None:
    first, second = await step(begin("what is red?")), await step(begin("what is red?"))
    assert (first.text, first.tool_calls, first.usage) == (second.text, second.tool_calls, second.usage)


async def test_a_denied_or_failed_call_is_told_plainly() -> None:
    history = begin("/run ls")
    turn = await step(history)
    (call,) = turn.tool_calls
    refused = await step(with_results(with_turn(history, turn), [denied(call, "Alice declined.")]))
    assert refused.text == "This was not done. Alice declined."
    broken = await step(with_results(with_turn(history, turn), [failed(call, "The disk is full.")]))
    assert broken.text == "This did not work. The disk is full."


async def test_a_question_is_answered_by_quoting_with_sources() -> None:
    found = ToolResult(
        "Two found.",
        references=(
            Reference("decision", "rec-1", "Use Postgres", "We use Postgres since it is enough."),
            Reference("decision", "rec-2", "Not Oracle"),
        ),
    )
    files = ToolResult("One found.", references=(Reference("file", "notes/db.md", "db.md", "Postgres 18"),))
    text = await answer("Why did we choose Postgres?", found, files)
    assert "> We use Postgres since it is enough. [1]" in text
    assert "> Postgres 18 [3]" in text
    assert "[1] decision: Use Postgres (rec-1)" in text
    assert "[2] decision: Not Oracle (rec-2)" in text
    assert "[3] file: db.md (notes/db.md)" in text


async def test_the_searches_of_a_question_use_its_words() -> None:
    turn = await step(begin("Why did we choose Postgres, and who chose Postgres?"))
    assert [(call.tool, call.arguments) for call in turn.tool_calls] == [
        ("memory_search", {"query": "choose postgres chose"}),
        ("files_search", {"query": "choose postgres chose"}),
        ("artifact_search", {"query": "choose postgres chose"}),
    ]
    assert keywords("a the of") == ""


async def test_finding_nothing_is_said() -> None:
    nothing = ToolResult("Nothing found.")
    assert "found nothing" in await answer("Why did we choose Postgres?", nothing, nothing)
    assert "found nothing" in (await step(begin("why?"))).text


async def test_a_search_that_did_not_work_is_not_told_as_finding_nothing() -> None:
    nothing = ToolResult("Nothing found.")
    down = ToolResult("The search is down.", references=(Reference("file", "a", "a", "a"),), failed=True)
    text = await answer("Why did we choose Postgres?", down, nothing)
    assert text == "I could not look everywhere. The search is down."
    one = ToolResult("One.", references=(Reference("decision", "rec-1", "Use Postgres", "Because."),))
    text = await answer("Why did we choose Postgres?", one, down)
    assert "> Because. [1]" in text
    assert text.endswith("I could not look everywhere. The search is down.")


async def test_quotations_cannot_format_link_or_load() -> None:
    bad = Reference("file", "a.md", "![x](https://evil.example/)", "![x](https://evil.example/?s=1)\n\n# <b>Hi</b>")
    text = await answer("Where is the picture?", ToolResult("One.", references=(bad,)), ToolResult("None."))
    assert "![x](" not in text
    assert "<b>" not in text.replace("\\<", "")
    assert "\\!\\[x\\](https://evil.example/?s=1) \\# \\<b\\>" in text


async def test_a_files_text_cannot_leave_its_fence() -> None:
    text = await answer("/read a.md", ToolResult("Read a.md.", "before\n```\n![x](https://evil.example/)\n````"))
    assert text.startswith("Read a.md.\n\n`````text\n")
    assert text.endswith("\n`````")


async def test_a_long_text_says_that_it_is_the_beginning() -> None:
    text = await answer("/read a.md", ToolResult("Read a.md.", "x" * 20_000))
    assert "This is the beginning: 8000 of 20000 characters." in text


async def test_help_advice_and_missing_tools_need_no_tool() -> None:
    assert "/decide Title" in (await step(begin("/help"))).text
    assert "Write it like this: /decide" in (await step(begin("/decide"))).text
    assert "may not use the tool shell_run" in (await step(begin("/run ls"), COMPANY_TOOLS[:3])).text
    assert "found nothing" in (await step(begin("Where is Bob?"), ())).text


async def test_a_later_message_starts_afresh() -> None:
    history = begin("/find red")
    turn = await step(history)
    history = with_results(with_turn(history, turn), [succeeded(turn.tool_calls[0], ToolResult("Nothing."))])
    history = with_turn(history, await step(history))
    again = await step(begin("/find blue", earlier=history))
    assert again.tool_calls[0].arguments == {"query": "blue"}
    assert again.tool_calls[0].call_id != turn.tool_calls[0].call_id


async def test_a_run_goes_on_from_its_stored_history() -> None:
    history = begin("/read a.md", instructions="Be brief.")
    history = with_turn(history, await step(history))
    restored = load_history(dump_history(history))
    assert restored == history
    assert [call.tool for call in open_calls(restored)] == ["files_read"]
    restored = with_results(restored, [succeeded(open_calls(restored)[0], ToolResult("Read.", "text"))])
    restored = load_history(dump_history(restored))
    assert open_calls(restored) == ()
    assert "text" in (await step(restored)).text


def result(call_id: str) -> CallResult:
    turn = load_history(dump_history([ModelResponse(parts=[ToolCallPart("files_read", {}, tool_call_id=call_id)])]))
    return succeeded(open_calls(turn)[0], ToolResult("x"))


@pytest.mark.parametrize("outcomes", [[], ["other"], ["one"], ["one", "two", "three"], ["one", "two", "two"]])
def test_each_call_is_answered_once(outcomes: list[str]) -> None:
    calls = [ToolCallPart("files_read", {}, tool_call_id=name) for name in ("one", "two")]
    history: History = [*begin("hello"), ModelResponse(parts=calls)]
    with pytest.raises(HistoryUnreadable):
        with_results(history, [result(name) for name in outcomes])
    with pytest.raises(HistoryUnreadable):
        with_results(begin("hello"), [])
    added = with_results(history, [result("two"), result("one")])[-1]
    assert [part.tool_call_id for part in added.parts if isinstance(part, ToolReturnPart)] == ["one", "two"]


@pytest.mark.parametrize("text", ["", "{}", "[{}]", "null", '[{"kind":"request"}]', "[" * 1000])
def test_a_damaged_history_is_refused(text: str) -> None:
    with pytest.raises(HistoryUnreadable):
        load_history(text)


def calling(*calls: DeltaToolCall) -> Model:
    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[DeltaToolCalls]:
        assert messages
        assert info.function_tools
        for index, call in enumerate(calls):
            yield {index: call}

    return FunctionModel(stream_function=stream)


def saying(text: str) -> Model:
    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        assert messages
        assert info.function_tools
        yield text

    return FunctionModel(stream_function=stream)


async def test_any_other_model_is_driven_the_same_way() -> None:
    call = DeltaToolCall("files_read", '{"path": "a.md"}', tool_call_id="x1")
    turn = await step(begin("hello"), model=calling(call))
    assert (turn.tool_calls[0].tool, turn.tool_calls[0].arguments) == ("files_read", {"path": "a.md"})
    assert (await step(begin("hello"), model=saying("Hi."))).text == "Hi."


@pytest.mark.parametrize("arguments", ["{not json", "[1]", '"text"'])
async def test_arguments_that_are_no_object_are_handed_on_as_none(arguments: str) -> None:
    turn = await step(begin("hello"), model=calling(DeltaToolCall("files_read", arguments, tool_call_id="x1")))
    assert turn.tool_calls[0].arguments is None
    assert with_results(with_turn(begin("hello"), turn), [failed(turn.tool_calls[0], "No.")])


@pytest.mark.parametrize(
    "model",
    [
        saying("   "),
        saying("a\x00b"),
        calling(DeltaToolCall("files_write", '{"content": "' + "x" * LONGEST_MESSAGE + '"}', tool_call_id="x1")),
        saying("x" * (MOST_CHARACTERS + 1)),
        calling(*(DeltaToolCall("files_read", "{}", tool_call_id="same") for _ in range(2))),
        calling(*(DeltaToolCall("files_read", "{}", tool_call_id=f"x{at}") for at in range(17))),
        calling(DeltaToolCall("files_read", "{}", tool_call_id="x" * 201)),
    ],
)
async def test_an_answer_that_cannot_be_used_is_refused(model: Model) -> None:
    with pytest.raises(ModelMisbehaved):
        await step(begin("hello"), model=model)


async def test_it_works_in_the_librarys_own_loop_too() -> None:
    agent = Agent(BuiltinModel())

    @agent.tool_plain
    def memory_search(query: str) -> dict[str, object]:  # pyright: ignore[reportUnusedFunction] - called by the agent
        reference = {"kind": "decision", "reference": "rec-1", "title": query, "excerpt": "Because."}
        return {"summary": "One.", "references": [reference]}

    outcome = await agent.run("Why Postgres?")
    assert "> Because. [1]" in outcome.output
    async with agent.run_stream("/find red") as streamed:
        assert await streamed.get_output() == "One.\n\n- red (rec-1)"
