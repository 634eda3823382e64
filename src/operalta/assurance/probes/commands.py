"""How commands are observed: over the chat, in the deployment's own sandbox, with the host looked at beside them."""

import re
import secrets
from pathlib import Path

from operalta.agents.company_tools import COMPANY_TOOLS
from operalta.assurance.probes import store
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Company, Person, Run, Stage, staged
from operalta.sandbox.shell.profile import environment
from operalta.settings import DatabaseRole

_RISKY = frozenset(tool.name for tool in COMPANY_TOOLS if tool.tool_class.is_sensitive)
_NEXT = "echo =$((6 * 7))=; "  # what it prints does not stand in it, since the command's own text is found, too
_LOOKING = (
    f"env; {_NEXT}"
    "for f in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do tr '\\0' '\\n' < $f; done 2>/dev/null; "
    f"{_NEXT} ls /proc/self/fd | tr '\\n' ' '; {_NEXT}"
    "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; "
    f"{_NEXT} cat {{var}}/secrets/* /etc/shadow {{var}}/run/* 2>/dev/null; ls {{var}} /home /root /var 2>/dev/null; "
    f"cat /proc/1/root{{var}}/secrets/* 2>/dev/null; {_NEXT} ls /sys/class/net 2>/dev/null; "
    'python3 -c \'import socket; socket.create_connection(("{host}", {port}), 2); print("connected")\' 2>/dev/null; '
    "touch /usr/bin/x /etc/x /x 2>/dev/null && echo written; true"
)
_SHORTEST_SECRET = 8


@probe("5.3.1")
async def commands_see_no_secrets(context: ProbeContext) -> Observations:
    """Have a command look everywhere for the server's secrets, and for more than it was given."""
    stage = staged(context)
    seen = Observations()
    person, company = await _equipped(stage, "Looking")
    if not await _works(seen, stage, person, company):
        return seen
    text = _LOOKING.format(var=stage.settings.var, host=stage.settings.host, port=stage.settings.port)
    output = _output(await stage.say(person, company, f"/run {text}"))
    parts = output.split("=42=")
    if not seen.expect("the command could look around", len(parts) == 6, len(parts)):  # noqa: PLR2004 - its parts
        return seen
    names = {line.partition("=")[0] for line in parts[0].splitlines() if "=" in line}
    seen.expect("its environment is what was declared", names <= _DECLARED, " ".join(sorted(names - _DECLARED)))
    found = [file.name for file in _secret_files(stage) if _begins(file) in output]
    seen.expect("no secret of the server is seen, of all that it has", not found, " ".join(found))
    seen.expect("no descriptor was left open", set(parts[2].split()) <= {"0", "1", "2", "3"}, parts[2].strip())
    rights = dict(re.findall(r"(\w+):\t(\w+)", parts[3]))
    held = (rights.get("CapEff"), rights.get("NoNewPrivs"), rights.get("Seccomp"))
    seen.expect("it has no capability, gains none, and is filtered", held == ("0000000000000000", "1", "2"), held)
    seen.expect("nothing of the server's folders is seen", not parts[4].strip(), f"{len(parts[4].strip())} characters")
    done = {"connected", "written", "eth0", "lo"} & set(parts[5].split())
    seen.expect("it has no network and writes nothing of the system", not done, " ".join(done))
    return seen


@probe("5.3.2", alone=True)
async def commands_are_capped(context: ProbeContext) -> Observations:
    """Ask for more time, memory, output and processes than the server gives, and for a life after the end."""
    stage = staged(context)
    seen = Observations()
    person, company = await _equipped(stage, "Capped")
    if not await _works(seen, stage, person, company):
        return seen
    mark = f"{secrets.randbelow(10**6) + 10**6}"
    texts = {
        "more time than the server gives": f"sleep {mark}",
        "a session of its own after the end": f"setsid sleep {mark}1 & setsid setsid sleep {mark}2 & echo bye",
        "more memory than the server gives": "for n in 1 2 3 4; do python3 -c "
        "'import time; x = bytearray(b\"1\") * (60 << 20); time.sleep(30)' & done; wait",
        "output without end": "yes",
        "larger files than the server takes": "head -c 200000000 /dev/zero > large && echo made it",
        "a core, or a higher limit": "ulimit -c 1 && echo raised; ulimit -u 100000 && echo raised",
    }
    runs = await stage.say_all(person, company, [f"/run {text}" for text in texts.values()])
    told = dict(zip(texts, ((run.outcome, _output(run)) for run in runs), strict=True))
    for wanted, expected in (
        ("more time than the server gives", "took longer"),
        ("more memory than the server gives", "took more memory"),
        ("output without end", "wrote without end"),
    ):
        outcome, output = told[wanted]
        seen.expect(f"{wanted} ends the command", outcome == "failed" and expected in output, output[:80])
    for wanted in ("larger files than the server takes", "a core, or a higher limit"):
        output = told[wanted][1]
        seen.expect(f"{wanted}: refused", "made it" not in output and "raised" not in output, output[:80])
    outcome, output = told["a session of its own after the end"]
    seen.expect("a command that leaves processes behind ends", outcome == "success" and "bye" in output, output[:80])
    left = _processes_with(mark)
    seen.expect("no process of them is left on the host", not left, left)
    return seen


@probe("5.3.3")
async def risky_tools_are_held(context: ProbeContext) -> Observations:
    """Ask for commands in words and typed, and see whether one ran before a person said yes to exactly that."""
    stage = staged(context)
    seen = Observations()
    seen.expect("running commands is declared as high-risk", "shell_run" in _RISKY, "; ".join(sorted(_RISKY)))
    person = await stage.new_person("Ria Risking")
    company = await stage.found(person, "Risky Company", "startup")
    mark = f"{secrets.randbelow(10**6) + 10**6}"
    asked = 0
    for setting, texts in (
        ("as agents come", (f"Please run the command sleep {mark}", f"/run sleep {mark}")),
        ("allowed in the agent's settings", (f"Please run the command sleep {mark}", f"We should /run sleep {mark}")),
    ):
        if setting.startswith("allowed"):
            await _allow(stage, company)
        for text in texts:
            run = await stage.say(person, company, text)
            asked += len(run.bodies("tool_asked"))
            done = [body for body in run.bodies("tool_result") if body.get("tool") in _RISKY and body.get("ok")]
            held = bool(run.bodies("approval_asked")) or all(
                body["decision"] == "deny" for body in run.bodies("tool_decided") if body.get("tool") in _RISKY
            )
            seen.expect(f"{setting}, “{text.partition(mark)[0]}…” waits or is denied", held and not done, run.outcome)
    seen.expect("commands were really asked for", asked >= 3, asked)  # noqa: PLR2004 - all but the remark
    left = _processes_with(mark)
    seen.expect("nothing ran", not left, left)
    return seen


_DECLARED = frozenset(environment(network=True)) | {"PWD", "SHLVL", "OLDPWD", "_"}


async def _equipped(stage: Stage, name: str) -> tuple[Person, Company]:
    """Return somebody whose agent may run what they type themselves."""
    person = await stage.new_person(f"Sal {name}")
    company = await stage.found(person, f"{name} Company", "startup")
    await _allow(stage, company)
    return person, company


async def _allow(stage: Stage, company: Company) -> None:
    async with stage.connect(DatabaseRole.OWNER) as connection:
        await store.put_tool_setting(connection, company.id, "shell_run", "allow")


async def _works(seen: Observations, stage: Stage, person: Person, company: Company) -> bool:
    """Tell whether commands run here; where the deployment says that they do not, see that they really do not."""
    tools = (await person.browser.get(f"{API}/companies/{company.slug}/tools")).json()["items"]
    reason = next(tool["absent_because"] for tool in tools if tool["name"] == "shell_run")
    run = await stage.say(person, company, "/run echo wor''ks")
    if reason is None:
        return seen.expect("a command runs", run.outcome == "success" and "works" in _output(run), run.outcome)
    seen.not_applicable(f"commands are off ({reason})", run.outcome == "denied", run.outcome)
    return False


def _output(run: Run) -> str:
    """Return what was told of a run's command: what it wrote, how it ended, and what the agent said of it."""
    results = [str(body["output"]) for body in run.bodies("tool_result")]
    return "\n".join([*results, *(str(body["text"]) for body in run.bodies("answer"))])


def _secret_files(stage: Stage) -> list[Path]:
    return [file for file in stage.settings.secrets_path.iterdir() if file.is_file()]


def _begins(file: Path) -> str:
    return file.read_text(errors="replace").strip()[:40].ljust(_SHORTEST_SECRET, "?")


def _processes_with(mark: str) -> list[str]:
    """Return the host's processes whose command line holds the mark, once those on their way out are gone."""
    found: list[str] = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"sleep") and any(mark.encode() in word for word in words):
            found.append(" ".join(word.decode(errors="replace") for word in words))
    return found
