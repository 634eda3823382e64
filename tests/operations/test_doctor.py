"""The doctor says what is wrong, how to mend it, and never a secret."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from operalta.cli import application
from operalta.operations.doctor import Examined, Verdict, examine
from operalta.operations.secrets import make_missing_secrets
from operalta.settings import Settings
from tests.conftest import Servers


def of(found: list[Examined], part: str) -> dict[str, Examined]:
    return {each.says: each for each in found if each.part == part}


@pytest.fixture
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("OPERALTA_VAR_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def secrets(var: Path) -> Path:
    make_missing_secrets(Settings(var_dir=var))
    return var / "secrets"


@pytest.mark.proves("7.2.1")
def test_a_deployment_that_is_well_says_so(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERALTA_VAR_DIR", str(servers.settings.var))
    found = examine()
    parts = ("settings", "secrets", "permissions", "database")
    assert [each for part in parts for each in of(found, part).values() if each.verdict is not Verdict.WELL] == []
    wrong = [each for each in found if each.verdict is Verdict.WRONG and each.part != "versions"]
    assert {each.says.partition(":")[0] for each in wrong} == {"web", "worker"}, "those two were not started"
    assert all(each.mend for each in found if each.verdict is not Verdict.WELL)


@pytest.mark.usefixtures("var")
def test_before_the_first_start_it_says_what_to_start() -> None:
    (missing,) = of(examine(), "secrets").values()
    assert missing.verdict is Verdict.WRONG
    assert "operalta up" in missing.mend
    assert next(iter(of(examine(), "sandbox").values())).verdict is Verdict.UNKNOWN


@pytest.mark.proves("7.2.1")
def test_faults_are_named_with_their_mending(secrets: Path) -> None:
    (secrets / "redis").chmod(0o644)
    (secrets / "pepper-1").write_bytes(b"short")
    (secrets / "code-key").unlink()
    (secrets / "root-key").write_bytes(b"x" * 44)
    found = of(examine(), "secrets")
    told = {says.partition(" is ")[0].partition(" can ")[0]: each.mend for says, each in found.items()}
    assert "chmod 600" in told[str(secrets / "redis")]
    assert "32 bytes" in told[str(secrets / "pepper-1")]
    assert "operalta up" in told[str(secrets / "code-key")]
    assert any("root key" in says for says in found)
    assert "chmod 600" in of(examine(), "permissions")[f"{secrets / 'redis'} is open to others"].mend


@pytest.mark.proves("7.2.4")
def test_secrets_of_the_other_profile_are_a_fault(secrets: Path) -> None:
    (secrets / "profile").write_text("production")
    found = of(examine(), "secrets")
    assert any("production profile" in says for says in found)
    assert all(each.verdict is Verdict.WRONG for each in found.values())


@pytest.mark.usefixtures("secrets")
def test_settings_that_cannot_be_used_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERALTA_PORT", "x")
    (found,) = of(examine(), "settings").values()
    assert "OPERALTA_PORT" in found.says


def test_the_command_ends_with_a_code_and_shows_no_secret(secrets: Path) -> None:
    (secrets / "limit-key").chmod(0o644)
    held = [path.read_text() for path in secrets.iterdir() if path.name != "profile" and path.stat().st_size]
    for arguments in (["doctor"], ["doctor", "--json"]):
        result = CliRunner().invoke(application, arguments)
        assert result.exit_code == 3
        assert not [secret for secret in held if secret in result.output]
    assert {each["verdict"] for each in json.loads(result.output)} >= {"well", "wrong"}
    assert "Example: operalta doctor" in CliRunner().invoke(application, ["doctor", "--help"]).output


ROUTES = """
[[route]]
slug = "far"
title = "Far"
kind = "openai"
model = "far-1"
key_variable = "OPERALTA_MODEL_KEY_FAR"
fall_back = "near"
[route.approval]
terms_reference = "DPA 2030-1"
region = "EU"
retention = "30 days"
training_opt_out = true
logging = "off"
approved_by = "Operator"
approved_on = 2030-01-01
[[route]]
slug = "near"
title = "Near"
kind = "compatible"
model = "near-1"
base_url = "https://models.example/v1"
[route.approval]
terms_reference = "ours"
region = "EU"
retention = "none"
training_opt_out = true
logging = "off"
approved_by = "Operator"
approved_on = 2030-01-01
"""


def routes(var: Path, monkeypatch: pytest.MonkeyPatch, text: str, key: str = "a-key-0a9b8c7d") -> dict[str, Examined]:
    path = var / "routes.toml"
    path.write_text(text)
    monkeypatch.setenv("OPERALTA_MODEL_ROUTES", str(path))
    monkeypatch.setenv("OPERALTA_MODEL_KEY_FAR", key)
    return of(examine(), "model routes")


@pytest.mark.proves("5.6.1")
@pytest.mark.usefixtures("secrets")
def test_model_routes_that_can_be_used_are_well(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ((says, found),) = of(examine(), "model routes").items()
    assert (found.verdict, "built-in route alone" in says) == (Verdict.WELL, True)
    ((says, found),) = routes(var, monkeypatch, ROUTES).items()
    assert (found.verdict, "has 2" in says) == (Verdict.WELL, True)


@pytest.mark.proves("5.6.1")
@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    ("old", "new", "says", "mend"),
    [
        ("[[route]]", "[[route", "no TOML", "docs/model-routes.md"),
        ('"openai"', '"else"', "kind", "docs/model-routes.md"),
        ('"EU"\nretention = "30', '""\nretention = "30', "far: its approval record does not state the reg", "compl"),
        ('"none"\ntraining_opt_out = true', '"none"', "near: its approval record does not state that train", "compl"),
        ('"none"\ntraining_opt_out = true', '"none"', "far: it falls back to near, which is not", "approve near"),
        ("approved_on = 2030-01-01\n[[", "[[", "far: its approval record does not state the day", "complete"),
        ('[route.approval]\nterms_reference = "ours"', "[route.approval]", "near: its approval record does", "compl"),
        ("KEY_FAR", "KEY_NONE", "far: OPERALTA_MODEL_KEY_NONE is not set", "put the provider's key there"),
    ],
    ids=["toml", "kind", "region", "training", "fall-back", "day", "terms", "key"],
)
def test_what_is_wrong_with_model_routes_is_named(
    var: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, says: str, mend: str
) -> None:
    found = routes(var, monkeypatch, ROUTES.replace(old, new))
    wrong = {text: each.mend for text, each in found.items() if each.verdict is Verdict.WRONG}
    assert any(says in text and mend in mending for text, mending in wrong.items()), found
    assert CliRunner().invoke(application, ["doctor"]).exit_code == 3


@pytest.mark.proves("5.6.1", "7.2.1")
@pytest.mark.usefixtures("secrets")
def test_a_file_of_routes_that_everybody_may_write_is_a_fault_and_no_key_is_told(
    var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "a key 0a9b8c7d6e5f"
    (var / "routes.toml").touch()
    (var / "routes.toml").chmod(0o646)
    found = routes(var, monkeypatch, ROUTES, key)
    assert any("written by everybody" in says and "chmod o-w" in each.mend for says, each in found.items())
    assert any("holds no key" in says for says in found)
    assert "0a9b8c7d6e5f" not in str(found)
