"""Production and development share nothing: settings, secrets, keys and tokens of one are refused by the other."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from operalta.identity.tokens import issuer_name
from operalta.operations.root_keys import root_keys
from operalta.operations.secrets import make_missing_secrets
from operalta.settings import Profile, Settings, SettingsError, load_settings

PRODUCTION: dict[str, Any] = {
    "profile": Profile.PRODUCTION,
    "public_url": "https://operalta.example",
    "trusted_proxies": ("10.0.0.0/8",),
    "smtp_url": SecretStr("smtp://mail.example"),
}
VARIABLES = {
    "OPERALTA_PROFILE": "production",
    "OPERALTA_PUBLIC_URL": "https://operalta.example",
    "OPERALTA_TRUSTED_PROXIES": json.dumps(["10.0.0.0/8"]),
    "OPERALTA_SMTP_URL": "smtp://mail.example",
}


def deployment(profile: Profile, var: Path) -> Settings:
    return Settings(var_dir=var, **(PRODUCTION if profile is Profile.PRODUCTION else {}))


@pytest.mark.proves("7.2.4")
@pytest.mark.parametrize("made", Profile)
def test_the_secrets_of_one_profile_are_refused_by_the_other(tmp_path: Path, made: Profile) -> None:
    (other,) = set(Profile) - {made}
    owner = deployment(made, tmp_path)
    make_missing_secrets(owner)
    assert owner.secret("refresh-key").startswith(made.value.encode())
    root_keys(owner)
    stranger = deployment(other, tmp_path)
    for use in (lambda: stranger.secret("refresh-key"), stranger.peppers, lambda: root_keys(stranger)):
        with pytest.raises(SettingsError, match=f"secrets of the {made.value} profile"):
            use()


@pytest.mark.proves("7.2.4")
@pytest.mark.parametrize("made", Profile)
def test_a_single_secret_that_was_copied_is_refused_too(tmp_path: Path, made: Profile) -> None:
    (other,) = set(Profile) - {made}
    owner, stranger = deployment(made, tmp_path / "a"), deployment(other, tmp_path / "b")
    for settings in (owner, stranger):
        make_missing_secrets(settings)
    for name in ("refresh-key", "root-key", "pepper-1", "redis"):
        (stranger.secrets_path / name).write_bytes((owner.secrets_path / name).read_bytes())
        with pytest.raises(SettingsError, match=f"made for the {made.value} profile"):
            stranger.secret(name)
    with pytest.raises(SettingsError, match="made for the"):
        root_keys(stranger)


@pytest.mark.proves("7.2.1")
@pytest.mark.parametrize("secret", [b"x" * 64, b"changeme-changeme-changeme-changeme", b"abc" * 20])
def test_production_refuses_sample_secrets(tmp_path: Path, secret: bytes) -> None:
    settings = deployment(Profile.PRODUCTION, tmp_path)
    make_missing_secrets(settings)
    (settings.secrets_path / "limit-key").write_bytes(secret)
    with pytest.raises(SettingsError, match="weak"):
        settings.secret("limit-key")


@pytest.mark.proves("7.2.4")
@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"OPERALTA_PUBLIC_URL": "http://localhost:8080"}, "PUBLIC_URL"),
        ({"OPERALTA_BCRYPT_COST": "4"}, "BCRYPT_COST"),
        ({"OPERALTA_SMTP_URL": None}, "SMTP_URL"),
        ({"OPERALTA_TRUSTED_PROXIES": "[]"}, "TLS_CERTIFICATE"),
        ({"OPERALTA_DATABASE_URL": "postgresql://postgres:postgres@db/operalta"}, "password in OPERALTA_DATABASE_URL"),
        ({"OPERALTA_REDIS_URL": "redis://:short@cache"}, "password in OPERALTA_REDIS_URL"),
        ({"OPERALTA_SMTP_URL": "smtp://me:password1234@mail.example"}, "password in OPERALTA_SMTP_URL"),
        ({"OPERALTA_PROFILE": "local"}, "set OPERALTA_PROFILE=production"),
    ],
)
def test_settings_of_one_profile_are_refused_by_the_other(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], word: str
) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    load_settings()
    for name, value in changes.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=word) as refused:
        load_settings()
    assert "short" not in str(refused.value)
    assert "password1234" not in str(refused.value)


@pytest.mark.proves("7.2.4")
def test_tokens_of_two_profiles_name_two_issuers() -> None:
    assert len({issuer_name("https://operalta.example", profile.value) for profile in Profile}) == 2


@pytest.mark.proves("7.2.1")
@pytest.mark.parametrize("name", ["database_url", "redis_url", "smtp_url", "root_key", "kms_secret_key"])
def test_no_setting_that_holds_a_secret_shows_it(tmp_path: Path, name: str) -> None:
    settings = Settings(var_dir=tmp_path).model_copy(update={name: SecretStr("redis://user:h4rd-to-guess@host/0")})
    for shown in (repr(settings), str(settings), settings.model_dump_json(), f"{settings.model_dump()}"):
        assert "h4rd-to-guess" not in shown
