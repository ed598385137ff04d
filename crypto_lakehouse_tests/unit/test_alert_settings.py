"""Settings of alerts: wrong values are refused, and no text shows a secret."""

from __future__ import annotations

import pytest

from crypto_lakehouse.settings import Settings, SettingsError

pytestmark = pytest.mark.requirement("F1.1")

SECRET = "hunter2secret"
SECRETS = {
    "LAKEHOUSE_ALERT_SLACK_URL": f"https://hooks.example.com/services/{SECRET}",
    "LAKEHOUSE_ALERT_WEBHOOK_URL": f"https://me:{SECRET}@example.com/{SECRET}",
    "LAKEHOUSE_ALERT_HEARTBEAT_URL": f"https://example.com/ping/{SECRET}",
    "LAKEHOUSE_ALERT_SMTP_URL": f"smtp://me:{SECRET}@mail.example.com",
}
ADDRESSES = {"LAKEHOUSE_ALERT_EMAIL_FROM": "lake@example.com", "LAKEHOUSE_ALERT_EMAIL_TO": "a@example.com"}


def test_no_text_of_settings_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRETS, **ADDRESSES}.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert SECRET not in f"{settings!r} {settings} {settings.masked()} {settings.model_dump()}"
    assert settings.alert_slack_url is not None
    assert settings.alert_slack_url.get_secret_value() == SECRETS["LAKEHOUSE_ALERT_SLACK_URL"]


@pytest.mark.parametrize("name", list(SECRETS))
@pytest.mark.parametrize("wrong", [f"no-url-{SECRET}", f"ftp://x/{SECRET}", f"https://a:b/{SECRET}@c"])
def test_a_wrong_value_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, name: str, wrong: str) -> None:
    monkeypatch.setenv(name, wrong)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert f"{name}='****': must be" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"LAKEHOUSE_ALERT_EMAIL_TO": "a@example.com\nBcc: b@example.com"}, "must be addresses"),
        ({"LAKEHOUSE_ALERT_EMAIL_TO": "somebody"}, "must be addresses"),
        ({"LAKEHOUSE_ALERT_EMAIL_TO": "a@example.com"}, "set LAKEHOUSE_ALERT_SMTP_URL, _EMAIL_FROM and _EMAIL_TO"),
        ({"LAKEHOUSE_ALERT_LATE_HOURS": "0"}, "greater than 0"),
        ({"LAKEHOUSE_ALERT_UI_URL": "dagster"}, "must be a URL"),
    ],
)
def test_wrong_values_are_refused(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=message):
        Settings.load()
