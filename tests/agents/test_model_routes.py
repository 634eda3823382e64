"""Models of others are asked in their own wire formats, only where approved, and what is said stays out of logs."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import pytest

from operalta.agents.model_routes.operators_file import operators_routes
from operalta.agents.model_routes.written import MODELS
from operalta.agents.routes import RouteRegistry
from operalta.agents.runner import Runner
from operalta.sandbox.credential import Credential
from operalta.sandbox.egress import OPEN, EgressDoor, Record
from operalta.sandbox.errors import DestinationRefused
from operalta.sandbox.exchange import EgressLine
from operalta.sandbox.transport import EgressTransport
from operalta.settings import Settings, SettingsError
from tests.agents.conftest import Desk, Office, allow
from tests.sandbox.staging import Counted, LoopbackServer, answer

KEY = "key-of-the-provider-0a9b8c7d6e5f4a3b"
WORDS = "Heliotrope"
APPROVAL = """
[route.approval]
terms_reference = "DPA 2030-1"
region = "EU"
retention = "30 days"
training_opt_out = true
logging = "off"
approved_by = "Operator"
approved_on = 2030-01-01
"""


def sse(*events: object, done: bool = True) -> bytes:
    lines = [f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events]
    return answer(200, "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode(), content_type="text/event-stream")


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


CHAT_CALL = sse(
    chunk({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "memory_search", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"query": '}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"prices"}'}}]}),
    chunk({}, "tool_calls"),
    {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}},
)
CHAT_ANSWER = sse(
    chunk({"role": "assistant", "content": "Nothing "}),
    chunk({"content": f"on {WORDS}."}),
    chunk({}, "stop"),
    {"choices": [], "usage": {"prompt_tokens": 200, "completion_tokens": 20}},
)
MESSAGES_CALL = sse(
    {"type": "message_start", "message": {"usage": {"input_tokens": 100, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "I look."}},
    {"type": "content_block_start", "index": 1, "content_block":
     {"type": "tool_use", "id": "toolu_1", "name": "memory_search", "input": {}}},
    {"type": "content_block_delta", "index": 1, "delta":
     {"type": "input_json_delta", "partial_json": '{"query": "prices"}'}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 10}},
    {"type": "message_stop"}, done=False,
)  # fmt: skip
MESSAGES_ANSWER = sse(
    {"type": "message_start", "message": {"usage": {"input_tokens": 200, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"Nothing on {WORDS}."}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 20}},
    {"type": "message_stop"}, done=False,
)  # fmt: skip


class Provider(LoopbackServer):
    """Gives its answers one after the other, the last one again and again."""

    turns: list[bytes]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = self.turns[min(self.connections, len(self.turns) - 1)]
        self.answers = dict.fromkeys(("/v1/chat/completions", "/v1/messages"), turn)
        await super().serve(reader, writer)

    def body(self, index: int) -> dict[str, Any]:
        return cast("dict[str, Any]", json.loads(self.requests[index].partition(b"\r\n\r\n")[2]))


@pytest.fixture
async def provider() -> AsyncGenerator[Provider]:
    staged = Provider()
    server = await asyncio.start_server(staged.serve, "127.0.0.1", 0)
    staged.port = server.sockets[0].getsockname()[1]
    yield staged
    server.close()


def written(slug: str, kind: str, port: int, *more: str, approval: str = APPROVAL) -> str:
    lines = ["[[route]]", f'slug = "{slug}"', f'title = "{slug}"', f'kind = "{kind}"', 'model = "far-1"',
             f'base_url = "http://127.0.0.1:{port}/v1"', "local = true", 'key_variable = "OPERALTA_MODEL_KEY_TEST"',
             'input_price = "2"', "output_price = 10", "seconds = 20", *more]  # fmt: skip
    return "\n".join(lines) + "\n" + approval


def routes_in(folder: Path, text: str) -> RouteRegistry:
    def make(keep: Record, inside: tuple[str, ...]) -> EgressDoor:
        return EgressDoor(OPEN, inside, keep, meter=Counted())

    path = folder / "routes.toml"
    path.write_text(text)
    return RouteRegistry(operators_routes(Settings(model_routes=path), make))


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("OPERALTA_MODEL_KEY_TEST", KEY)


async def run(
    desk: Desk, office: Office, routes: RouteRegistry, text: str = f"What of {WORDS}?", allowed: str = "far other"
) -> Any:  # noqa: ANN401
    allow(desk, office.founder, routes, *allowed.split())
    posted = await desk.write(office.founder, text)
    desk.rows("UPDATE agents.runs SET route = 'far' WHERE id = %s", posted.run_id)
    desk.rows("DELETE FROM jobs.procrastinate_jobs WHERE args ->> 'subject' = %s", str(posted.run_id))
    await Runner(desk.pools.worker, desk.dispatcher, desk.registry, routes, desk.files).run(posted.run_id)
    return posted.run_id


@pytest.mark.proves("5.6.1", "5.6.2", "5.6.4")
@pytest.mark.parametrize("kind", ["openai", "mistral", "compatible", "anthropic"])
async def test_a_run_with_a_tool_call_over_each_kind_of_route(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    is_messages = kind == "anthropic"
    provider.turns = [MESSAGES_CALL, MESSAGES_ANSWER] if is_messages else [CHAT_CALL, CHAT_ANSWER]
    secret = "sk-" + "a1B2" * 8
    with caplog.at_level(logging.DEBUG):
        done = await run(
            desk, office, routes_in(tmp_path, written("far", kind, provider.port)), f"{WORDS} {secret} {KEY}"
        )
    assert (desk.status(done), desk.answers(done)) == ("finished", [f"Nothing on {WORDS}."])
    said = [event["body"] for event in desk.events(done) if event["kind"] == "model_answered"]
    assert [(one["input_tokens"], one["output_tokens"], one["cost_micros"], one["route"]) for one in said] == [
        (100, 10, 300, "far"), (200, 20, 600, "far")]  # fmt: skip
    assert provider.field_of(0, "x-api-key" if is_messages else "authorization") == (
        KEY if is_messages else f"Bearer {KEY}"
    )
    assert all(secret.encode() not in request for request in provider.requests)
    assert all(KEY not in json.dumps(provider.body(number)) for number in range(2))
    assert provider.body(0).get("store") == (False if kind == "openai" else None)
    assert "memory_search" in json.dumps(provider.body(0)["tools"])
    last = provider.body(1)["messages"][-1]
    assert last["content"][0]["tool_use_id"] == "toolu_1" if is_messages else last["role"] == "tool"
    lines = desk.rows("SELECT purpose, outcome FROM sandbox.egress_log WHERE run_id = %s", done)
    assert [(line["purpose"], line["outcome"]) for line in lines] == [("model far", "200")] * 2
    assert WORDS not in caplog.text
    assert KEY not in caplog.text


@pytest.mark.proves("5.6.1")
async def test_a_gap_in_the_approval_sends_nothing(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider
) -> None:
    for approval in ("", APPROVAL.replace('"DPA 2030-1"', '""'), APPROVAL.replace("= true", "= false")):
        routes = routes_in(tmp_path, written("far", "openai", provider.port, approval=approval))
        assert routes.known("far")
        assert desk.status(await run(desk, office, routes)) == "failed"
    assert provider.connections == 0


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_provider_is_asked_again(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider, status: int
) -> None:
    provider.turns = [answer(status, b"busy"), CHAT_ANSWER]
    done = await run(desk, office, routes_in(tmp_path, written("far", "openai", provider.port)))
    assert (desk.status(done), provider.connections) == ("finished", 2)


@pytest.mark.parametrize(
    ("wait", "seconds", "tries"),
    [(1, 20, 4), (5, 2, 1), (21, 60, 1)],
    ids=["so often at most", "within the route's time", "no pause without end"],
)
async def test_a_provider_that_stays_busy_is_left_alone(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider, wait: int, seconds: int, tries: int
) -> None:
    provider.turns = [answer(429, b"busy", f"Retry-After: {wait}")]
    text = written("far", "openai", provider.port).replace("seconds = 20", f"seconds = {seconds}")
    done = await run(desk, office, routes_in(tmp_path, text))
    assert (desk.status(done), provider.connections) == ("failed", tries)


@pytest.mark.proves("5.6.1")
@pytest.mark.parametrize("approved", [True, False])
async def test_a_fall_back_is_taken_only_where_it_is_approved(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider, web_page: LoopbackServer, *, approved: bool
) -> None:
    provider.turns = [answer(503, b"busy", "Retry-After: 99")]
    web_page.answers = {"/v1/chat/completions": CHAT_ANSWER}
    far = written("far", "openai", provider.port, 'fall_back = "other"')
    other = written("other", "compatible", web_page.port, approval=APPROVAL if approved else "")
    done = await run(desk, office, routes_in(tmp_path, far + other))
    assert (desk.status(done), web_page.connections) == (("finished", 1) if approved else ("failed", 0))


@pytest.mark.parametrize(
    "turn",
    [sse("{broken"), sse(chunk({"content": "half"}), done=False), answer(200, b"{}", content_type="application/json"),
     sse(chunk({"content": "x"}, "length")), answer(401, b"no"), sse({"error": {"message": WORDS}}),
     sse(*[chunk({"content": "long " * 1000})] * 40)],
)  # fmt: skip
async def test_what_cannot_be_used_ends_the_run_with_words(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider, turn: bytes
) -> None:
    provider.turns = [turn]
    done = await run(desk, office, routes_in(tmp_path, written("far", "openai", provider.port)))
    assert (desk.status(done), provider.connections) == ("failed", 1)
    assert "went wrong on our side" not in desk.events(done)[-1]["body"]["text"]


@pytest.mark.proves("5.4.2", "7.2.2")
async def test_a_redirect_elsewhere_is_not_followed_and_takes_no_key(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider, web_page: LoopbackServer
) -> None:
    there = f"Location: http://127.0.0.1:{web_page.port}/v1/chat/completions"
    provider.turns = [answer(307, b"", there)]
    done = await run(desk, office, routes_in(tmp_path, written("far", "openai", provider.port)))
    assert (desk.status(done), web_page.connections) == ("failed", 0)


@pytest.mark.proves("5.4.2")
async def test_a_redirect_within_the_provider_is_not_followed_either(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider
) -> None:
    there = f"Location: http://127.0.0.1:{provider.port}/v1/messages"
    provider.turns = [answer(307, b"", there), CHAT_ANSWER]
    done = await run(desk, office, routes_in(tmp_path, written("far", "openai", provider.port)))
    assert (desk.status(done), provider.connections) == ("failed", 1)


@pytest.mark.proves("5.4.2", "7.2.2")
async def test_the_key_goes_to_the_origin_of_its_route_alone(provider: Provider, web_page: LoopbackServer) -> None:
    own, other = (f"127.0.0.1:{port}" for port in (provider.port, web_page.port))
    provider.turns = [CHAT_ANSWER]

    async def keep(_line: EgressLine) -> None:
        """Keep nothing."""

    door = EgressDoor(OPEN, (own, other), keep, meter=Counted())
    key = Credential(("http", "127.0.0.1", provider.port), "authorization", f"Bearer {KEY}")
    transport = EgressTransport(door, MODELS.for_hosts(own, other), purpose="model far", credential=key)
    async with transport.client() as client:
        assert (await client.post(f"http://{own}/v1/messages")).status_code == 200
        with pytest.raises(DestinationRefused):
            await client.post(f"http://{other}/")
    assert (provider.field_of(0, "authorization"), web_page.connections) == (f"Bearer {KEY}", 0)


async def test_a_silent_provider_is_given_up(desk: Desk, office: Office, tmp_path: Path, provider: Provider) -> None:
    provider.turns = [b""]
    text = written("far", "openai", provider.port).replace("/v1", "/silent?").replace("?", "")
    routes = routes_in(tmp_path, text.replace("seconds = 20", "seconds = 1"))
    assert desk.status(await run(desk, office, routes)) == "failed"


@pytest.mark.proves("5.6.1")
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [('slug = "far"', 'slug = "Far!"', "slug"), ("local = true", "", "https://"), ("[[route]]", "[[route", "TOML"),
     ('"openai"', '"else"', "kind"), ("seconds = 20", "seconds = 2000", "seconds"),
     ('slug = "far"', 'slug = "built-in"', "product's own"),
     ("seconds = 20", 'fall_back = "far"', "falls back"), ("KEY_TEST", "KEY_NONE", "is not set"),
     ('key_variable = "OPERALTA_MODEL_KEY_TEST"', 'key_file = "pepper-1"', "key_file")],
)  # fmt: skip
def test_a_file_that_is_wrong_says_where(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        routes_in(tmp_path, written("far", "openai", 9, approval=APPROVAL).replace(old, new))
