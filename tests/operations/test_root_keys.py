"""Where the root key comes from: a file, the environment, a key service that misbehaves; and how it is exchanged."""

import asyncio
from collections.abc import Generator
from pathlib import Path

import pytest
from pydantic import SecretStr

from operalta.kernel.ids import CompanyId, new_id
from operalta.operations.root_keys import root_keys, root_source
from operalta.operations.secrets import make_missing_secrets
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.envelope import Envelope, Location
from operalta.sealing.errors import (
    CannotRotateHere,
    KeyFileExposed,
    KeyServiceRefused,
    KeyServiceSilent,
    RootKeyUnusable,
)
from operalta.sealing.keys import RootKey, RootKeys, new_root_key_text
from operalta.sealing.root_sources import FileRoots
from operalta.settings import Profile, Settings, SettingsError
from tests.operations.key_service_stand_in import KEY, REGION, KeyServiceStandIn

PLACE = Location("credentials.secrets", new_id(), "sealed")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(var_dir=tmp_path)


@pytest.fixture
def service() -> Generator[KeyServiceStandIn]:
    with KeyServiceStandIn().running() as running:
        yield running


def at_the_service(service: KeyServiceStandIn, var: Path, **changes: object) -> Settings:
    settings = Settings(
        var_dir=var,
        kms_key=KEY,
        kms_region=REGION,
        kms_endpoint=service.url,
        kms_access_key=service.credentials.access_key,
        kms_secret_key=SecretStr(service.credentials.secret_key),
    )
    return settings.model_copy(update=changes)


# ── A file ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_start_makes_a_private_file(settings: Settings) -> None:
    make_missing_secrets(settings)
    path = settings.secrets_path / "root-key"
    assert path.stat().st_mode & 0o777 == 0o600
    first = root_keys(settings).current
    make_missing_secrets(settings)
    assert root_keys(settings).current == first
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        root_keys(settings)
    with pytest.raises(KeyFileExposed, match="chmod 600"):
        root_source(settings).load()
    path.unlink()
    with pytest.raises(RootKeyUnusable, match="missing"):
        root_source(settings).load()


def test_a_running_process_finds_a_fresh_root_key_and_keeps_what_it_had(settings: Settings) -> None:
    make_missing_secrets(settings)
    running, source = root_keys(settings), FileRoots(settings.secrets_path)
    first = running.current
    fresh = source.rotate()
    assert fresh != first
    assert running.current == fresh
    assert running.named(first.id) == first
    assert source.since(first.id) is not None
    source.retire(first.id)
    assert source.since(first.id) is None
    assert running.named(first.id) == first, "what this process had at hand stays at hand"
    with pytest.raises(RootKeyUnusable):
        root_keys(settings).named(first.id)


def test_what_names_an_unknown_root_key_makes_the_process_look_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_missing_secrets(settings)
    reader = root_keys(settings)
    source = FileRoots(settings.secrets_path)

    def unmarked(_source: FileRoots) -> None:
        """It has not looked at the file since."""

    monkeypatch.setattr(FileRoots, "mark", unmarked)
    company = CompanyId(new_id())
    reading = Envelope(CompanyKeys(tmp_path / "company-keys", reader))
    before = reading.seal(company, PLACE, b"token")
    source.rotate()
    writer = CompanyKeys(tmp_path / "company-keys", RootKeys.from_source(source))
    assert writer.rewrap() == 1
    assert reading.open(company, PLACE, before) == b"token"


def test_a_crash_between_the_two_steps_of_an_exchange_loses_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_missing_secrets(settings)
    source = FileRoots(settings.secrets_path)
    first = source.load().current
    with monkeypatch.context() as patched:

        def crash(_path: Path, _content: bytes) -> None:
            raise KeyboardInterrupt

        patched.setattr("operalta.sealing.root_sources.replace_private", crash)
        with pytest.raises(KeyboardInterrupt):
            source.rotate()
    assert source.load().current == first
    fresh = source.rotate()
    known = source.load()
    assert (known.current, known.previous) == (fresh, (first,))


@pytest.mark.proves("7.2.4")
def test_a_fresh_root_key_is_of_the_same_profile(settings: Settings) -> None:
    make_missing_secrets(settings)
    FileRoots(settings.secrets_path).rotate()
    assert (settings.secrets_path / "root-key").read_bytes().startswith(b"local_")


# ── The environment ──────────────────────────────────────────────────────────────────────────────────


def test_the_environment_gives_a_root_key_and_an_earlier_one(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    current, earlier = new_root_key_text(), new_root_key_text()
    monkeypatch.setenv("OPERALTA_ROOT_KEY", current.decode())
    monkeypatch.setenv("OPERALTA_ROOT_KEY_PREVIOUS", earlier.decode())
    given = Settings(var_dir=settings.var_dir)
    make_missing_secrets(given)
    assert not (given.secrets_path / "root-key").exists()
    roots = root_keys(given)
    assert (roots.current, roots.previous) == (RootKey.from_text(current), (RootKey.from_text(earlier),))
    with pytest.raises(CannotRotateHere, match="rewrap"):
        root_source(given).rotate()
    shown = f"{given!r} {given} {given.model_dump()} {given.model_dump_json()}"
    assert current.decode() not in shown
    assert earlier.decode() not in shown


@pytest.mark.parametrize("text", ["too short", "production_" + "x" * 44, "A" * 43 + "="])
def test_an_unfit_root_key_in_the_environment_is_refused(settings: Settings, text: str) -> None:
    with pytest.raises((SettingsError, RootKeyUnusable)):
        root_keys(settings.model_copy(update={"root_key": SecretStr(text)}))


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        ({"ROOT_KEY_PREVIOUS": "x"}, "goes with OPERALTA_ROOT_KEY"),
        ({"ROOT_KEY": "x", "KMS_KEY": "k"}, "not both"),
        ({"KMS_KEY": "k", "KMS_REGION": "r"}, "OPERALTA_KMS_KEY needs"),
        ({"KMS_ENDPOINT": "http://kms.example"}, "OPERALTA_KMS_ENDPOINT"),
    ],
)
def test_half_a_choice_of_root_keys_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], word: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"OPERALTA_{name}", value)
    with pytest.raises(ValueError, match=word):
        Settings()


# ── A key service ────────────────────────────────────────────────────────────────────────────────────


async def test_a_key_service_makes_and_opens_the_root_key(service: KeyServiceStandIn, tmp_path: Path) -> None:
    settings = at_the_service(service, tmp_path)
    await asyncio.to_thread(make_missing_secrets, settings)
    assert not (settings.secrets_path / "root-key").exists()
    first = root_keys(settings).current  # from within a running event loop, as the worker does
    kept = (settings.secrets_path / "root-key.kms").read_bytes()
    assert first.secret not in kept
    assert (settings.secrets_path / "root-key.kms").stat().st_mode & 0o777 == 0o600
    assert root_keys(settings).current == first
    assert service.asked == ["GenerateDataKey", "Decrypt", "Decrypt"]
    assert service.refused == []


def test_a_root_key_of_a_key_service_is_exchanged_under_a_running_process(
    service: KeyServiceStandIn, tmp_path: Path
) -> None:
    settings = at_the_service(service, tmp_path)
    make_missing_secrets(settings)
    running = root_keys(settings)
    first = running.current
    source = root_source(settings)
    fresh = source.rotate()
    assert running.current == fresh
    assert running.named(first.id) == first
    asked = len(service.asked)
    assert running.current == fresh
    assert len(service.asked) == asked, "what was opened once is not asked for again"
    source.retire(first.id)
    assert root_keys(settings).previous == ()


def test_another_context_opens_nothing(service: KeyServiceStandIn, tmp_path: Path) -> None:
    settings = at_the_service(service, tmp_path)
    make_missing_secrets(settings)
    other = settings.model_copy(update={"profile": Profile.PRODUCTION})
    with pytest.raises(KeyServiceRefused, match="InvalidCiphertextException"):
        root_source(other).load()


def test_a_wrong_secret_is_told_from_silence(service: KeyServiceStandIn, tmp_path: Path) -> None:
    settings = at_the_service(service, tmp_path)
    wrong = settings.model_copy(update={"kms_secret_key": SecretStr("another")})
    with pytest.raises(KeyServiceRefused, match="InvalidSignatureException"):
        make_missing_secrets(wrong)
    assert service.refused == ["GenerateDataKey"], "a refusal is not tried again"
    nobody = settings.model_copy(update={"kms_endpoint": "http://127.0.0.1:9"})
    with pytest.raises(KeyServiceSilent):
        make_missing_secrets(nobody)


@pytest.mark.parametrize("fault", ["hangs up", "breaks", "throttles"])
def test_a_passing_fault_is_tried_again(service: KeyServiceStandIn, tmp_path: Path, fault: str) -> None:
    settings = at_the_service(service, tmp_path)
    make_missing_secrets(settings)
    service.faults = [fault, fault]
    root_keys(settings)
    service.faults = [fault] * 3
    with pytest.raises(KeyServiceSilent):
        root_keys(settings)


@pytest.mark.parametrize(
    "fault",
    [
        "denies",
        "talks of something else",
        "lists",
        "cuts the key",
        "leaves the key out",
        "has a weak key",
        "redirects",
        "is another kind of server",
        "floods",
    ],
)
def test_an_answer_that_is_no_key_gives_none(service: KeyServiceStandIn, tmp_path: Path, fault: str) -> None:
    settings = at_the_service(service, tmp_path)
    make_missing_secrets(settings)
    service.faults = [fault] * 3
    with pytest.raises(RootKeyUnusable):
        root_keys(settings)
    service.faults = []
    root_keys(settings)
