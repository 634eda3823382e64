"""The settings for SMS: what they need, and what follows from them."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from operalta.delivery.sms.channel import wire_of
from operalta.settings import Profile, Settings, SettingsError, SmsProvider, load_settings

COMPLETE: dict[str, Any] = {
    "sms_provider": SmsProvider.TWILIO,
    "sms_account": "AC1",
    "sms_sender": "+41446681800",
    "sms_countries": ("CH", "de"),
}
PRODUCTION: dict[str, Any] = {
    "profile": Profile.PRODUCTION,
    "public_url": "https://operalta.example",
    "trusted_proxies": ("10.0.0.0/8",),
    "smtp_url": SecretStr("smtp://mail.example"),
}


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("OPERALTA_SMS_ACCOUNT", "", "OPERALTA_SMS_ACCOUNT"),
        ("OPERALTA_SMS_SENDER", "", "OPERALTA_SMS_SENDER"),
        ("OPERALTA_SMS_COUNTRIES", "[]", "OPERALTA_SMS_COUNTRIES to the countries"),
        ("OPERALTA_SMS_COUNTRIES", '["CH", "UK", "*"]', "not UK, *"),
        ("OPERALTA_SMS_API_URL", "http://sms.example", "OPERALTA_SMS_API_URL"),
        ("OPERALTA_SMS_API_URL", "https://user:password@sms.example", "OPERALTA_SMS_API_URL"),
        ("OPERALTA_SMS_API_URL", "https://sms.example:port", "OPERALTA_SMS_API_URL"),
        ("OPERALTA_SMS_PROVIDER", "pigeon", "OPERALTA_SMS_PROVIDER"),
    ],
)
def test_a_provider_that_is_not_set_up_in_full_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, word: str
) -> None:
    complete = {"PROVIDER": "twilio", "ACCOUNT": "AC1", "SENDER": "+41446681800", "COUNTRIES": '["CH"]'}
    for name, given in complete.items():
        monkeypatch.setenv(f"OPERALTA_SMS_{name}", given)
    load_settings()
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match="The configuration cannot be used") as refused:
        load_settings()
    assert word in str(refused.value)


@pytest.mark.parametrize("url", ["https://sms.example/v2/", "http://127.0.0.1:9000", "http://[::1]:9000"])
def test_the_provider_s_address_is_secure_or_this_machine(url: str) -> None:
    assert Settings(**COMPLETE, sms_api_url=url).sms_api_url == url


def test_codes_go_to_the_countries_that_are_set() -> None:
    settings = Settings(**COMPLETE)
    assert settings.offers_sms
    assert not settings.sms_uses_outbox
    assert [settings.allows_country(each) for each in ("CH", "DE", "FR", "001", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.proves("2.2.5")
def test_the_outbox_is_for_the_local_profile_and_production_without_a_provider_offers_no_sms() -> None:
    local = Settings()
    assert (local.offers_sms, local.sms_uses_outbox, local.allows_country("CH")) == (True, True, True)
    assert not Settings(sms_countries=("DE",)).allows_country("CH")
    production = Settings(**PRODUCTION)
    assert (production.offers_sms, production.sms_uses_outbox, production.allows_country("CH")) == (False, False, False)
    with_provider = Settings(**PRODUCTION, **COMPLETE)
    assert (with_provider.offers_sms, with_provider.sms_uses_outbox) == (True, False)


def test_a_provider_s_secrets_are_asked_for_by_name(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    given: dict[str, Any] = {**COMPLETE, "var_dir": tmp_path, "sms_provider": SmsProvider.BIRD}
    settings = Settings(**given)
    for name in ("sms-token", "sms-signing-key"):
        with pytest.raises(SettingsError, match=name):
            wire_of(settings)
        (secrets / name).touch(mode=0o600)
        with pytest.raises(SettingsError, match=f"{name} is weak"):
            wire_of(settings)
        (secrets / name).write_text("x" * 40)
    assert wire_of(settings) is not None
