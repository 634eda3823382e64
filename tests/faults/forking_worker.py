"""A worker that is forked anew whenever it is killed: `python -m tests.faults.forking_worker VAR PORT`.

It is the product's own worker, but for the model of the built-in route: that one works through a list of calls, so that
its runs are long. Each process tells its number on a line of its own.
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from pydantic_ai.messages import ModelMessage, ToolReturnPart, UserPromptPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from operalta import worker
from operalta.agents.routes import ModelCall, ModelRoute, builtin_route
from operalta.agents.shell_tool import Shell
from operalta.sandbox.shell.state import ShellState
from operalta.settings import Settings

STEPS = 6


def calls_of(tag: str, step: int, port: int) -> list[tuple[str, dict[str, str]]]:
    """Return what the model asks for in a step: a record that can be undone, and a fetch that cannot."""
    return [
        ("memory_record", {"kind": "decision", "title": f"{tag} step {step}"}),
        ("web_fetch", {"url": f"http://127.0.0.1:{port}/{tag}/{step}"}),
    ]


def _route(port: int) -> ModelRoute:
    async def stream(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        parts = [part for message in messages for part in message.parts]
        said = [str(part.content) for part in parts if isinstance(part, UserPromptPart)]
        step = sum(isinstance(part, ToolReturnPart) for part in parts) // 2
        found = re.search(r"tag-\w+", said[-1])
        if found is None or step == STEPS:
            yield "Done."
            return
        for at, (tool, arguments) in enumerate(calls_of(found[0], step, port)):
            yield {at: DeltaToolCall(tool, json.dumps(arguments), tool_call_id=f"{step}-{at}")}

    def build(_call: ModelCall) -> Model:
        return FunctionModel(stream_function=stream)

    return replace(builtin_route(), build=build)


async def _no_shell(_settings: Settings) -> tuple[ShellState, Shell | None]:
    await asyncio.sleep(0)
    return ShellState(available=False, reason="None is needed here."), None


def install(port: int) -> None:
    """Let the worker of this process have long runs, and no shell."""
    worker.builtin_route = lambda: _route(port)
    worker._shell = _no_shell  # pyright: ignore[reportPrivateUsage]


def main() -> None:
    """Fork workers until the process is ended."""
    var, port = Path(sys.argv[1]), int(sys.argv[2])
    install(port)
    settings = Settings(var_dir=var, egress_exemptions=(f"127.0.0.1:{port}",))
    while True:
        child = os.fork()
        if child == 0:
            # What it logs goes elsewhere: the lines here are numbers of processes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            worker.work(settings)
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
