"""Chat completions as other programs speak them: an agent is a model, a key is the only way in.

A program sends what was said so far each time; the last message is what the agent is asked, and what came before goes
along as a quotation, which vouches for nothing. What waits for a person's approval is said so in the answer: no key
approves. Fields that steer a model are taken and change nothing, since the agent's own route decides.
"""

import json
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse
from pydantic import Field

from operalta.access.rules import Permission
from operalta.agents import service
from operalta.agents.definitions import service as definitions
from operalta.agents.rules import EventKind
from operalta.agents.service import RunEvent
from operalta.guard import rules
from operalta.kernel.errors import InvalidInput, Refusal
from operalta.terms.registry import upholds
from operalta.web import sse
from operalta.web.answers import RunAnswer, RunNotFinished, approvals_at, followed
from operalta.web.api.conversations import Key
from operalta.web.api.models import REFUSALS, Body, Shown
from operalta.web.entry import CompanyEntry, InCompanyOfKey
from operalta.workspace.conversations.rules import LONGEST_MESSAGE

router = APIRouter(prefix="/openai", tags=["for other programs"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompanyOfKey(Permission.AGENTS_RUN, rules.READ))]
Chatting = Annotated[CompanyEntry, Depends(InCompanyOfKey(Permission.AGENTS_RUN, rules.CHAT))]

MOST_MESSAGES = 400
EARLIER = "Said before, as the program that asks has sent it:"
LEFT_OUT = "(what was said before that is left out)"
_COMPLETION = "chat.completion"
_MILLISECONDS = 1000
_EXAMPLE = {"description": "One JSON value, or server-sent chunks that end with `[DONE]` where `stream` is true."}


Share = Annotated[float, Field(ge=-2, le=2)] | None
Count = Annotated[int, Field(ge=1, le=10_000_000)] | None
StopWord = Annotated[str, Field(max_length=400)]


class Part(Body):
    """A piece of a message. Pictures and sound are not taken."""

    type: Literal["text"]
    text: Annotated[str, Field(max_length=LONGEST_MESSAGE)]


class Turn(Body):
    """One message of the exchange."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, Field(max_length=LONGEST_MESSAGE)] | Annotated[tuple[Part, ...], Field(max_length=100)]
    name: Annotated[str, Field(max_length=120)] | None = None

    @property
    def text(self) -> str:
        """What was said, its pieces one after the other."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class StreamOptions(Body):
    """How to stream. With `include_usage` a last chunk without choices tells the tokens, as it does elsewhere."""

    include_usage: bool = False
    include_obfuscation: bool = False


class CompletionBody(Body):
    """What is asked of an agent. What steers a model is taken and changes nothing."""

    model: Annotated[str, Field(min_length=1, max_length=120, description="An agent's slug, as `GET …/models` lists")]
    messages: Annotated[tuple[Turn, ...], Field(min_length=1, max_length=MOST_MESSAGES)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = 1
    temperature: Share = None
    top_p: Share = None
    presence_penalty: Share = None
    frequency_penalty: Share = None
    max_tokens: Count = None
    max_completion_tokens: Count = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: Annotated[str, Field(max_length=400)] | Annotated[tuple[StopWord, ...], Field(max_length=16)] | None = None
    user: Annotated[str, Field(max_length=256)] | None = None
    reasoning_effort: Annotated[str, Field(max_length=20)] | None = None


class Model(Shown):
    """An agent, as a model is listed. `created` counts seconds since 1970."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class Models(Shown):
    """The company's agents."""

    object: Literal["list"] = "list"
    data: Annotated[tuple[Model, ...], Field(max_length=5_000)]


@router.get("/models")
async def list_models(entry: Reading) -> Models:
    """List the agents of the key's company, each as a model."""
    async with entry.scope() as scope:
        agents = await definitions.list_agents(scope)
        owner = scope.actor.company_slug or ""
    return Models(data=tuple(Model(id=one.slug, created=_made_at(one.id), owned_by=owner) for one in agents))


@router.post("/chat/completions", response_model=None, responses={200: _EXAMPLE})
@upholds("5.0.1")
async def complete(entry: Chatting, body: CompletionBody, key: Key = None) -> StreamingResponse | dict[str, Any]:
    """Ask an agent, and wait for its answer or take it as it comes.

    The conversation stays in the company, private to the holder of a personal key. `Idempotency-Key` gives the run
    that is there. An agent that fails or is stopped is answered with 422, which clients do not repeat by themselves.
    """
    text = asked(body.messages)
    async with entry.scope() as scope:
        agent = await definitions.find_called(scope, body.model)
        posted = await service.post_message(
            scope, text, agent_id=agent, private=scope.actor.sees_private, idempotency_key=key
        )
        approvals = approvals_at(entry, scope)
    tells_usage = body.stream_options is not None and body.stream_options.include_usage
    answer = _Completion(body.model, posted.run_id, approvals, tells_usage=tells_usage)
    if body.stream:
        return StreamingResponse(_streamed(entry, answer), media_type="text/event-stream", headers=sse.HEADERS)
    async for event in followed(entry, posted.run_id, until_left=True):
        answer.take(event)
    if answer.failure is not None:
        raise RunNotFinished(answer.failure)
    return answer.whole()


def _made_at(agent: UUID) -> int:
    """Return when an id was made, which its first 48 bits tell (RFC 9562, section 5.7)."""
    return (agent.int >> 80) // _MILLISECONDS


def asked(turns: tuple[Turn, ...]) -> str:
    """Return the message for the agent. Raise InvalidInput where the last word is not the person's."""
    *before, last = turns
    if last.role != "user" or not last.text.strip():
        raise InvalidInput("The last message is what is asked: give it the role `user` and a text.", field="messages")
    if not before or last.text.lstrip().startswith("/"):
        return last.text  # a command is exactly what it says
    room = LONGEST_MESSAGE - len(last.text) - len(EARLIER) - len(LEFT_OUT) - 10
    lines: list[str] = []
    for turn in reversed(before):
        quoted = "\n".join(f"> {line}" for line in f"{turn.role}: {turn.text}".splitlines())
        room -= len(quoted) + 1
        if room < 0:
            lines.append(f"> {LEFT_OUT}")
            break
        lines.append(quoted)
    return "\n".join((last.text, "", EARLIER, *reversed(lines)))


class _Completion(RunAnswer):
    """What an agent has said so far, in the form that the program reads.

    Tokens are those of the agent's own requests; what helpers took is in the company's ledger of model use.
    """

    def __init__(self, model: str, run_id: UUID, approvals: str, *, tells_usage: bool) -> None:
        super().__init__(approvals)
        self._model, self.run_id, self._made_at = model, run_id, int(time.time())
        self._tokens_in, self._tokens_out = 0, 0
        self.tells_usage = tells_usage

    def take(self, event: RunEvent) -> str:
        """Take a step of the run in and return what it adds to the text."""
        if event.kind == EventKind.MODEL_ANSWERED:
            self._tokens_in += int(event.body.get("input_tokens", 0))
            self._tokens_out += int(event.body.get("output_tokens", 0))
        return super().take(event)

    @property
    def usage(self) -> dict[str, int]:
        """The tokens so far."""
        return {
            "prompt_tokens": self._tokens_in,
            "completion_tokens": self._tokens_out,
            "total_tokens": self._tokens_in + self._tokens_out,
        }

    def whole(self) -> dict[str, Any]:
        """Return the completion as one value."""
        message = {"role": "assistant", "content": self.text.strip(), "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return self._frame(_COMPLETION) | {"choices": [choice], "usage": self.usage}

    def piece(self, delta: Mapping[str, str], finish: str | None = None) -> str:
        """Return one chunk of the stream."""
        choice = {"index": 0, "delta": dict(delta), "finish_reason": finish, "logprobs": None}
        told = {"usage": None} if self.tells_usage else {}
        return _data(self._frame(f"{_COMPLETION}.chunk") | {"choices": [choice]} | told)

    def last_piece(self) -> str:
        """Return the chunk that tells the tokens."""
        return _data(self._frame(f"{_COMPLETION}.chunk") | {"choices": list[object](), "usage": self.usage})

    def _frame(self, kind: str) -> dict[str, Any]:
        named = {"id": f"chatcmpl-{self.run_id.hex}", "object": kind}
        return named | {"created": self._made_at, "model": self._model}


def _data(value: object) -> str:
    return f"data: {json.dumps(value)}\n\n"


async def _streamed(entry: CompanyEntry, answer: _Completion) -> AsyncGenerator[str]:
    """Yield the completion in chunks. What goes wrong on the way is told as the protocol tells it."""
    yield answer.piece({"role": "assistant", "content": ""})
    try:
        async for event in followed(entry, answer.run_id):
            if added := answer.take(event):
                yield answer.piece({"content": added})
        if answer.failure is not None:
            raise RunNotFinished(answer.failure)
    except Refusal as refusal:
        yield _data({"error": {"message": refusal.public_text, "type": refusal.code, "code": refusal.code}})
        return
    yield answer.piece({}, "stop")
    if answer.tells_usage:
        yield answer.last_piece()
    yield "data: [DONE]\n\n"
