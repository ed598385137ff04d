"""compose.yaml and .env.example: nothing is open, nothing is missing, no service has more rights than it needs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.system.compose_file import FILE, ROOT, read_services, read_variables

pytestmark = pytest.mark.requirement("T13")

EXAMPLE = read_variables((ROOT / ".env.example").read_text(encoding="utf-8"))
SECRETS = [name for name, value in EXAMPLE.items() if re.search("PASSWORD|SECRET|HASH", name) and not value]
FILLED = {**EXAMPLE, **{name: f"secret-{name.lower()}" for name in SECRETS}}


def _services(**variables: str) -> dict[str, dict[str, Any]]:
    return read_services({**FILLED, **variables})


def test_the_example_has_no_secret_and_the_file_asks_for_each() -> None:
    assert len(SECRETS) == 5
    for name in SECRETS:
        with pytest.raises(ValueError, match=rf"{name}: set it in \.env"):
            read_services({**FILLED, name: ""})


def test_the_example_has_every_variable_of_the_file_and_no_other() -> None:
    assert set(re.findall(r"\$\{(\w+)", FILE.read_text(encoding="utf-8"))) == set(EXAMPLE)


def test_only_the_proxy_is_published_and_on_this_machine_only() -> None:
    published = {name: service["ports"] for name, service in _services().items() if "ports" in service}
    assert published == {"proxy": [f"127.0.0.1:{port}:{port}" for port in (8443, 8444, 8445)]}
    assert not [name for name, service in _services().items() if "network_mode" in service or "privileged" in service]


def test_every_address_of_the_proxy_but_its_health_check_asks_for_a_password_or_a_token() -> None:
    text = (ROOT / "deploy" / "compose" / "Caddyfile").read_text(encoding="utf-8")
    sites = re.findall(r"^(http\S+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    assert len(sites) == 4
    for address, body in sites:
        is_health = address.startswith("http://127.0.0.1:") and "bind 127.0.0.1" in body
        # The REST service asks for tokens itself, and does not start without one.
        is_api = "reverse_proxy {$PROXY_API_TO}" in body
        assert "basic_auth" in body or is_health or is_api


def test_every_setting_in_the_file_exists_and_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, service in _services().items():
        for variable, value in service.get("environment", {}).items():
            if variable.startswith("LAKEHOUSE_"):
                monkeypatch.setenv(variable, value)
        assert Settings.load(), name


def test_every_service_has_few_rights_and_a_health_check() -> None:
    for name, service in _services().items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["healthcheck"]["test"][0] == "CMD", name
        # Never the newest of whatever: images name a version.
        assert re.search(r":\d[\w.\-]*$", service["image"]), name
        if service["image"] == FILLED["LAKEHOUSE_IMAGE"]:
            assert service["read_only"] is True, name


@pytest.mark.parametrize("secret", ["PROXY_ADMIN_HASH", "PROXY_VIEWER_HASH"])
def test_hashes_of_passwords_are_in_the_proxy_only(secret: str) -> None:
    holders = [name for name, service in _services().items() if FILLED[secret] in str(service)]
    assert holders == ["proxy"]


def test_a_user_interface_knows_no_more_than_the_records_and_the_logs() -> None:
    services = _services()
    assert services["viewer"]["environment"] == services["webserver"]["environment"]
    assert "--read-only" in services["viewer"]["command"]
    assert "--read-only" not in services["webserver"]["command"]


def test_only_the_code_location_knows_where_alerts_go() -> None:
    services = _services(LAKEHOUSE_ALERT_SLACK_URL="https://hooks.example.com/secret")
    assert [name for name, service in services.items() if "hooks.example.com" in str(service)] == ["code"]
