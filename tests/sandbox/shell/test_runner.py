import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from operalta.sandbox.errors import ShellUnavailable
from operalta.sandbox.shell import member, watch
from operalta.sandbox.shell.member import Member
from operalta.sandbox.shell.pool import SandboxPool
from operalta.sandbox.shell.profile import Binding, Profile
from operalta.sandbox.shell.rules import CommandLimits, Ending, Job
from operalta.sandbox.shell.runner import CommandRunner


def script(
    text: str, *, files: Mapping[str, bytes] | None = None, seconds: float | None = None, returns_files: bool = False
) -> Job:
    return Job(("/bin/sh", "-c", text), files=files or {}, seconds=seconds, returns_files=returns_files)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def nothing(*_: object, **__: object) -> None:
    return None


def without_a_system(_: Profile) -> tuple[str, ...]:
    return ("--ro-bind", "/nowhere", "/usr")


async def test_a_command_works_on_files_and_hands_them_back(runner: CommandRunner) -> None:
    text = "wc -w a.txt; echo new > made.txt; echo more >> b/c.txt; rm gone; mkdir empty; exit 3"
    files = {"a.txt": b"one two\n", "b/c.txt": b"is\n", "gone": b"x", "same": b"same"}
    report = await runner.run(script(text, files=files, returns_files=True))
    assert (report.ending, report.exit_code, report.output) == (Ending.FINISHED, 3, b"2 a.txt\n")
    assert report.changed == {"made.txt": b"new\n", "b/c.txt": b"is\nmore\n"}
    assert report.removed == ("gone",)
    assert files["b/c.txt"] == b"is\n"


async def test_files_stay_where_nobody_asked_for_them(runner: CommandRunner) -> None:
    report = await runner.run(script("echo x > y"))
    assert report.changed == {}


async def test_only_ordinary_files_come_back(runner: CommandRunner) -> None:
    text = "ln -s /etc/passwd link; mkfifo pipe; touch real; ln real second; head -c 300 /dev/zero > tiny"
    report = await runner.run(script(text, returns_files=True))
    assert set(report.changed) == {"real", "second", "tiny"}


async def test_closed_folders_take_no_file_along(runner: CommandRunner) -> None:
    text = "mkdir -p new; echo x > new/made; chmod 600 new; chmod 000 kept .; true"
    report = await runner.run(script(text, files={"kept/a": b"a", "b": b"b"}, returns_files=True))
    assert (report.ending, report.removed) == (Ending.FINISHED, ())
    assert report.changed == {"new/made": b"x\n"}


async def test_names_come_back_as_they_are_or_not_at_all(runner: CommandRunner) -> None:
    text = """printf x > "$(printf 'a\\377.txt')"; printf y > ö.txt; d=$(printf 'd%.0s' $(seq 200))
mkdir -p $d/$d/$d/$d/$d; echo deep > $d/$d/$d/$d/$d/$d"""
    report = await runner.run(script(text, returns_files=True))
    assert list(report.changed) == ["ö.txt"]
    assert len(report.not_returned) == 2


async def test_what_is_too_large_or_too_many_is_named() -> None:
    limits = CommandLimits(returned_files=2, returned_bytes=100)
    small = CommandRunner(Profile(limits))
    report = await small.run(script("for n in 1 2 3 4; do echo $n > $n; done; head -c 200 /dev/zero > large",
                                    returns_files=True))  # fmt: skip
    await small.close()
    assert list(report.changed) == ["1", "2"]
    assert report.not_returned == ("3", "4", "large")


async def test_both_streams_come_in_their_order_and_at_once(runner: CommandRunner) -> None:
    pieces: list[tuple[float, bytes]] = []

    async def say(piece: bytes) -> None:
        pieces.append((time.monotonic(), piece))

    report = await runner.run(script("echo one; echo two >&2; sleep 0.5; echo three"), say)
    assert report.output == b"one\ntwo\nthree\n"
    assert b"".join(piece for _, piece in pieces) == report.output
    assert pieces[-1][0] - pieces[0][0] > 0.1


async def test_what_is_said_last_is_read_however_late(runner: CommandRunner) -> None:
    """The sandbox is long gone when its last words are taken."""

    async def say(_piece: bytes) -> None:
        await asyncio.sleep(0.5)

    report = await runner.run(script("echo first; sleep 0.2; echo second; exit 4"), say)
    assert (report.ending, report.exit_code, report.output) == (Ending.FINISHED, 4, b"first\nsecond\n")


async def test_beginning_and_end_of_a_long_output_are_kept(runner: CommandRunner) -> None:
    report = await runner.run(script("echo first; seq 100000; echo last"))
    assert report.ending is Ending.FINISHED
    assert len(report.output) == 64 * 1024
    assert report.left_out > 0
    assert report.output.startswith(b"first\n")
    assert report.output.endswith(b"last\n")


async def test_standard_input_arrives(runner: CommandRunner) -> None:
    report = await runner.run(Job(("wc", "-c"), standard_input=b"x" * 1_000_000))
    assert report.output == b"1000000\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("false",), 1), (("no-such-program",), 127), (("/bin/sh", "-c", "kill -9 $$"), 137), (("/etc",), 127)],
)
async def test_exit_codes_are_those_of_a_shell(runner: CommandRunner, arguments: tuple[str, ...], code: int) -> None:
    report = await runner.run(Job(arguments))
    assert (report.ending, report.exit_code) == (Ending.FINISHED, code)


async def test_people_find_what_they_expect(runner: CommandRunner) -> None:
    text = """set -e
printf 'b\\na\\n' | sort | head -1; awk 'BEGIN {print 6 * 7}'; id -un; pwd; echo "$HOME"; date +%Z
python3 -c 'import json, csv, sqlite3, zipfile, decimal; print(json.dumps([1]))'
echo 'x=1' > m.py; python3 -c 'import sys; sys.path.insert(0, "."); import m; print(m.x)'
python3 -c 'import multiprocessing as m
with m.Pool(2) as pool: print(pool.map(abs, [-1, -2]))'
tar -cf t.tar m.py; gzip t.tar; ls t.tar.gz; nproc > /dev/null; ps > /dev/null 2>&1 || true; : > /tmp/x"""
    report = await runner.run(script(text))
    assert report.output.decode().splitlines() == [
        "a", "42", "agent", "/work", "/work", "UTC", "[1]", "1", "[1, 2]", "t.tar.gz",
    ]  # fmt: skip
    assert report.exit_code == 0


@pytest.mark.proves("5.3.2")
async def test_nobody_gets_more_time_than_the_server_gives() -> None:
    short = CommandRunner(Profile(CommandLimits(seconds=0.5)))
    report = await short.run(script("sleep 60", seconds=600))
    await short.close()
    assert report.ending is Ending.TIME
    assert report.seconds < 30


@pytest.mark.proves("5.3.2")
@pytest.mark.parametrize("text", [
    "sleep 600", "setsid sleep 600 & setsid setsid sleep 601 & wait", "trap '' TERM; while :; do :; done",
    "python3 -c 'import os, time\nfor _ in range(5): os.fork()\ntime.sleep(600)'",
])  # fmt: skip
async def test_a_stop_leaves_no_process(profile: Profile, text: str) -> None:
    started = await Member.start(profile)
    running = asyncio.create_task(started.run(script(text)))
    await asyncio.sleep(0.4)
    inside = watch.descendants(started.first)
    assert len(inside) > 2
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert not [process for process in inside if watch.exists(process)]


@pytest.mark.proves("5.3.2")
async def test_a_caller_that_gives_up_at_any_moment_leaves_nothing(runner: CommandRunner) -> None:
    await asyncio.sleep(0)
    before = watch.descendants(os.getpid())[1:]
    opened = descriptors()
    for turns in range(0, 24, 2):
        running = asyncio.create_task(runner.run(script("sleep 600")))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        async with asyncio.timeout(30):
            await asyncio.gather(running, return_exceptions=True)
    await runner.close()
    assert watch.descendants(os.getpid())[1:] == before
    assert descriptors() <= opened


@pytest.mark.proves("5.3.2")
async def test_sandboxes_die_with_the_process_that_started_them(profile: Profile, tmp_path: Path) -> None:
    program = (
        "import asyncio\nfrom operalta.sandbox.shell.member import Member\n"
        "from operalta.sandbox.shell.profile import Profile\nfrom operalta.sandbox.shell.rules import *\n"
        "async def main():\n"
        "    member = await Member.start(Profile(CommandLimits()))\n    print(member.first, flush=True)\n"
        "    await member.run(Job(('sleep', '600')))\nasyncio.run(main())"
    )
    assert profile.limits.seconds > 1
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    assert process.stdout is not None
    first = int(await process.stdout.readline())
    await asyncio.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    for _ in range(100):
        if not watch.exists(first):
            return
        await asyncio.sleep(0.05)
    pytest.fail("it is still there")


async def test_each_sandbox_is_used_once(runner: CommandRunner) -> None:
    await runner.run(script("echo trace > /tmp/trace; echo trace > trace; sleep 60 &"))
    report = await runner.run(script("ls /tmp /work; ls /proc | grep -c '^[0-9]'"))
    assert report.output.split() == [b"/tmp:", b"/work:", report.output.split()[-1]]
    assert int(report.output.split()[-1]) <= 6


async def test_dead_sandboxes_are_passed_over(profile: Profile) -> None:
    pool = SandboxPool(profile, ahead=1)
    await pool.fill()
    waiting = await pool.take()
    os.kill(waiting.first, signal.SIGKILL)
    for _ in range(600):
        await asyncio.sleep(0.02)
        if not waiting.alive:
            break
    pool.give_back(waiting)
    taken = await pool.take()
    assert taken is not waiting
    assert (await taken.run(Job(("true",)))).exit_code == 0
    await pool.close()


@pytest.mark.proves("5.3.1")
async def test_bindings_show_what_they_say_and_cannot_be_written(profile: Profile, tmp_path: Path) -> None:
    (tmp_path / "shown").write_text("shown")
    more = CommandRunner(Profile(profile.limits, (Binding(tmp_path, "/opt/operalta/more"),)))
    report = await more.run(script("cat /opt/operalta/more/shown; echo x > /opt/operalta/more/shown || echo refused"))
    await more.close()
    assert report.output.startswith(b"shown")
    assert report.output.endswith(b"refused\n")
    assert (tmp_path / "shown").read_text() == "shown"


LIES = {
    "not a frame": r"\0\0\0\0\0\0\0\0",
    "a file before the end": r"\x13\0\0\0\5\0\1axx",
    "an end without a code": r"\x16\0\0\0\0",
    "a tunnel that nobody gave": r"\x17\0\0\0\4\0\0\0\1",
    "an endless frame": r"\x11\xff\xff\xff\xff",
}


@pytest.mark.proves("5.3.2")
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_lies_of_the_inner_program_end_it(profile: Profile, lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inner program is replaced by one that says what it should not."""

    def lying(_: Profile) -> tuple[str, ...]:
        return "/bin/bash", "-c", rf"printf '\020\0\0\0\0'; head -c 5 > /dev/null; printf '{lie}'; sleep 600"

    monkeypatch.setattr(member, "command", lying)
    report = await (await Member.start(profile)).run(Job(("true",), seconds=20))
    assert report.ending is Ending.BROKEN
    assert report.changed == {}


@pytest.mark.proves("5.3.3")
async def test_root_runs_no_commands(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ShellUnavailable, match="not run by root"):
        await Member.start(profile)


@pytest.mark.proves("5.3.3")
async def test_without_bubblewrap_there_is_no_sandbox(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member.shutil, "which", nothing)
    with pytest.raises(ShellUnavailable, match="not installed"):
        await Member.start(profile)


async def test_a_sandbox_that_does_not_start_says_why(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "options", without_a_system)
    with pytest.raises(ShellUnavailable, match="nowhere"):
        await Member.start(profile)
