"""Attempts to get out of a sandbox and to stay in it: none may succeed."""

import pytest

from operalta.sandbox.shell import member
from operalta.sandbox.shell import self_test as testing
from operalta.sandbox.shell.profile import Profile, command, options
from operalta.sandbox.shell.self_test import AT_START, SMALL, STAYING, Staying, getting_out, is_held, self_test

LEAST_ATTEMPTS = 80


@pytest.mark.proves("5.2.1", "5.3.1", "5.3.2")
async def test_no_attempt_to_get_out_succeeds(profile: Profile) -> None:
    escaped, attempts = await getting_out(profile)
    assert escaped == []
    assert attempts >= LEAST_ATTEMPTS


@pytest.mark.proves("5.3.2")
@pytest.mark.parametrize("staying", STAYING, ids=lambda each: each.name)
async def test_no_command_stays_or_takes_more(profile: Profile, staying: Staying) -> None:
    assert await is_held(Profile(SMALL, profile.bindings), staying)


@pytest.mark.proves("5.3.3")
async def test_the_self_test_passes_here(profile: Profile) -> None:
    verdict = await self_test(profile)
    assert verdict.passed, verdict.reason
    assert verdict.attempts >= LEAST_ATTEMPTS + len(AT_START)


EVERYTHING = b"\x06\0\0\0\0\0\xff\x7f"  # a filter of one instruction: allow


def everything() -> bytes:
    return EVERYTHING


def stray(**_: bool) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "STRAY": "x"}


def readable(profile: Profile) -> tuple[str, ...]:
    return tuple(part.replace('"/etc"', '"/"') for part in command(profile))


def with_a_folder_of_the_host(profile: Profile) -> tuple[str, ...]:
    return (*options(profile), "--bind", "/dev/shm", "/dev/shm")  # noqa: S108 - the host's


def broken_program() -> dict[str, bytes]:
    return {"attempts/__main__.py": b"print('{')"}


@pytest.mark.proves("5.3.1", "5.3.3")
@pytest.mark.parametrize("layer", ["filter", "landlock", "network", "processes", "environment", "folders"])
async def test_a_missing_layer_is_noticed(profile: Profile, layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each layer is taken away, and the attempts must show it by what happens."""
    match layer:
        case "filter":
            monkeypatch.setattr(member, "system_call_filter", everything)
        case "landlock":
            monkeypatch.setattr(member, "command", readable)
        case "network":
            _without(monkeypatch, "--unshare-net")
        case "processes":
            _without(monkeypatch, "--unshare-pid")
        case "environment":
            monkeypatch.setattr(member, "environment", stray)
        case _:
            monkeypatch.setattr(member, "options", with_a_folder_of_the_host)
    escaped, attempts = await getting_out(profile)
    assert escaped
    assert attempts >= LEAST_ATTEMPTS


@pytest.mark.proves("5.3.3")
async def test_what_escapes_ends_the_shell(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "environment", stray)
    verdict = await self_test(profile)
    assert not verdict.passed
    assert "STRAY" in verdict.reason


def _without(monkeypatch: pytest.MonkeyPatch, *taken: str) -> None:
    def fewer(profile: Profile) -> tuple[str, ...]:
        given = options(profile)
        at = given.index(taken[0])
        return given[:at] + given[at + len(taken) :]

    monkeypatch.setattr(member, "options", fewer)


async def test_a_self_test_that_cannot_be_made_is_not_passed(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "_program", broken_program)
    verdict = await self_test(profile)
    assert not verdict.passed
    assert "could not be tested" in verdict.reason
