"""Settings: defaults, every kind of wrong value, and secrets that nothing prints."""

from __future__ import annotations

import os
from datetime import date

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.settings import Env, Settings, SettingsError
from crypto_lakehouse_tests.binance_archive import BINANCE_FEEDS

SECRET = "hunter2secret"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("LAKEHOUSE_", "AWS_")):
            monkeypatch.delenv(name)


@pytest.mark.requirement("F1.1")
def test_defaults() -> None:
    settings = Settings.load()
    assert settings.env is Env.LOCAL
    assert settings.lake_uri == "./lake"
    files = "https://data.binance.vision"
    assert settings.archive_urls("binance") == (files, "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision")
    assert settings.table_names == ("klines_1m", "funding_rates")
    assert settings.symbol_filter.select(["B", "A"]) == ["A", "B"]


@pytest.mark.requirement("F1.1")
def test_variables_are_read_and_overrides_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", "s3://bucket/prefix/")
    monkeypatch.setenv("LAKEHOUSE_S3_ENDPOINT_URL", "http://127.0.0.1:8333/")
    monkeypatch.setenv("LAKEHOUSE_TABLES", "klines_1h, funding_rates")
    monkeypatch.setenv("LAKEHOUSE_CONCURRENCY", "4")
    settings = Settings.load(concurrency=8)
    assert settings.lake_uri == "s3://bucket/prefix"
    assert settings.s3_endpoint_url == "http://127.0.0.1:8333"
    assert settings.table_names == ("klines_1h", "funding_rates")
    assert settings.concurrency == 8


@pytest.mark.requirement("F1.1", "F6.4")
@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LAKEHOUSE_LAKE_URI": "", "LAKEHOUSE_S3_ENDPOINT_URL": "", "LAKEHOUSE_S3_REGION": ""},
        {"LAKEHOUSE_LAKE_URI": "elsewhere/lake/"},
        {"LAKEHOUSE_LAKE_URI": "s3://bucket/lake/"},
        {"LAKEHOUSE_LAKE_URI": "s3://bucket/lake", "LAKEHOUSE_S3_ENDPOINT_URL": "http://127.0.0.1:8333/"},
        {"LAKEHOUSE_LAKE_URI": "s3://bucket/lake", "LAKEHOUSE_S3_REGION": "eu-west-1"},
    ],
)
def test_the_reader_and_the_settings_find_the_same_lake(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert Lakehouse()._store == LakeStore.open(settings.lake_uri, settings.s3_endpoint_url, settings.s3_region)


@pytest.mark.requirement("F1.3")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("klines_1?", ["klines_1s", "klines_1m", "klines_1h", "klines_1d", "klines_1w"]),
        ("funding_rates,klines_1m", ["klines_1m", "funding_rates"]),
        ("klines_1?, !klines_1[s], ", None),
        ("klines_1?,!klines_1s,!*_1w", ["klines_1m", "klines_1h", "klines_1d"]),
        ("book_*,book_depth", ["book_depth", "book_ticker"]),
        ("!*klines*", None),
    ],
)
def test_tables_by_pattern(monkeypatch: pytest.MonkeyPatch, text: str, expected: list[str] | None) -> None:
    monkeypatch.setenv("LAKEHOUSE_TABLES", text)
    if "[" in text:
        with pytest.raises(SettingsError, match=r"no table 'klines_1\[s\]'; did you mean klines_1s"):
            Settings.load()
    elif expected is None:
        rest = {feed.table for feed in BINANCE_FEEDS if "klines" not in feed.table}
        assert set(Settings.load().table_names) == rest
    else:
        assert list(Settings.load().table_names) == expected


@pytest.mark.requirement("F1.5")
def test_markets_and_start_narrow_the_feeds(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = Settings.load().feeds
    assert list(everything) == [f for f in BINANCE_FEEDS if f.table in ("klines_1m", "funding_rates")]
    monkeypatch.setenv("LAKEHOUSE_MARKETS", " cm, um ")
    monkeypatch.setenv("LAKEHOUSE_START", "2023-06-15")
    monkeypatch.setenv("LAKEHOUSE_TABLES", "klines_1m,funding_rates,option_summaries,book_depth")
    settings = Settings.load()
    assert settings.market_names == ("um", "cm")
    first = {feed.name: feed.first_date for feed in settings.feeds}
    day, month = date(2023, 6, 15), date(2023, 6, 1)
    assert first == {
        f"binance/{market}/{table}": month if table == "funding_rates" else day
        for market in ("um", "cm")
        for table in ("klines_1m", "funding_rates", "book_depth")
    }
    # A feed that begins later than that keeps its own first day, and one that has ended is left out.
    assert Settings.load(start="2020-01-01", tables="book_depth").feeds[0].first_date == date(2023, 1, 1)
    assert {feed.name for feed in Settings.load(start="2024-04-01", tables="book_ticker").feeds} == {
        "binance/cm/book_ticker"
    }


@pytest.mark.requirement("F1.5")
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"MARKETS": "spot", "TABLES": "funding_rates"}, "no table of LAKEHOUSE_TABLES (funding_rates) is in"),
        ({"START": "2025-01-01", "TABLES": "option_summaries"}, "on LAKEHOUSE_START or later"),
    ],
)
def test_settings_that_leave_nothing_are_an_error(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], text: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"LAKEHOUSE_{name}", value)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert text in str(caught.value)


@pytest.mark.requirement("F1.3")
def test_a_star_means_every_table_in_the_order_of_the_catalogue() -> None:
    assert Settings.load(tables="*").table_names == tuple(dict.fromkeys(feed.table for feed in BINANCE_FEEDS))


@pytest.mark.requirement("F1.1")
def test_empty_variables_count_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = Settings.load()
    for field in Settings.model_fields:
        monkeypatch.setenv(f"LAKEHOUSE_{field.upper()}", "")
    assert Settings.load() == defaults
    assert Settings.load(lake_uri="/").lake_uri == "/"
    with pytest.raises(SettingsError, match=r"LAKEHOUSE_LAKE_URI='': .*a folder or s3://"):
        Settings.load(lake_uri="")


@pytest.mark.requirement("F1.1")
@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("LAKEHOUSE_SYMBOL", "LAKEHOUSE_SYMBOLS"),
        ("LAKEHOUSE_LAKE_URL", "LAKEHOUSE_LAKE_URI"),
        ("LAKEHOUSE_CONCURENCY", "LAKEHOUSE_CONCURRENCY"),
    ],
)
def test_a_typo_is_named_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch, typo: str, meant: str) -> None:
    monkeypatch.setenv(typo, "x")
    with pytest.raises(SettingsError, match=rf"{typo}: no such setting; did you mean {meant}\?"):
        Settings.load()


@pytest.mark.requirement("F1.1")
@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("ENV", "production", "'local', 'test' or 'prod'"),
        ("ARCHIVE_URL", "data.binance.vision", "https://host/path"),
        ("ARCHIVE_URL", "https://", "https://host/path"),
        ("ARCHIVE_URL", "https://:80/x", "https://host/path"),
        ("ARCHIVE_LISTING_URL", "ftp://host/x", "https://host/path"),
        ("S3_ENDPOINT_URL", "localhost:9000", "https://host/path"),
        ("LAKE_URI", "gs://bucket/x", "s3://bucket/prefix"),
        ("LAKE_URI", "s3:///x", "s3://bucket/prefix"),
        ("CONCURRENCY", "0", "greater than or equal to 1"),
        ("CONCURRENCY", "many", "valid integer"),
        ("RETRIES", "21", "less than or equal to 20"),
        ("STALL_TIMEOUT", "0", "greater than 0"),
        ("RAW_RETENTION", "maybe", "'keep' or 'drop'"),
        ("SYMBOLS", "BTC/USDT", "letters, digits"),
        ("TABLES", "klines_7m", "klines_1m"),
        ("TABLES", " ", "klines_*"),
        ("TABLES", "klines_1m,klins_*", "no table 'klins_*'; did you mean klines_"),
        ("TABLES", "klines_1m,!klines_7m", "no table 'klines_7m'; did you mean klines_"),
        ("MARKETS", "um,futures", "no market 'futures'; did you mean um"),
        ("START", "2023-1-1", "YYYY-MM-DD"),
        ("START", "2023-02-30", "2023-02 has 28 days"),
        ("START", "2999-01-01", "must be a UTC day that is over"),
        ("TABLES", "klines_1m,!klines_1?", "leaves no table"),
        ("TABLES", "KLINES_1M", "no table 'KLINES_1M'"),
        ("LAKE_URI", " ", "s3://bucket/prefix"),
        ("REST_URLS", "https://data-api.binance.vision", "pairs such as spot=https://host"),
        ("REST_URLS", "fapi=https://host", "one of spot, um, cm"),
        ("REST_URLS", "spot=data-api.binance.vision", "https://host/path"),
        ("REST_SHARE", "0", "greater than 0"),
        ("REST_SHARE", "1.5", "less than or equal to 1"),
    ],
)
def test_a_bad_value_names_variable_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(f"LAKEHOUSE_{name}", value)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    line = next(line for line in str(caught.value).splitlines() if f"LAKEHOUSE_{name}" in line)
    assert repr(value) in line
    assert allowed in line
    assert "Value error" not in line


@pytest.mark.requirement("F1.1", "F1.2")
def test_hosts_of_the_rest_api_replace_those_of_the_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_REST_URLS", f"spot=https://data-api.binance.vision/, um=http://user:{SECRET}@host")
    settings = Settings.load()
    assert settings.rest_urls_of("binance") == {
        "spot": "https://data-api.binance.vision",
        "um": f"http://user:{SECRET}@host",
        "cm": "https://dapi.binance.com",
    }
    assert settings.rest_urls_of("other") == {}
    assert SECRET not in f"{settings!r} {settings.masked()}"


@pytest.mark.requirement("F1.1")
def test_all_faults_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_ENV", "moon")
    monkeypatch.setenv("LAKEHOUSE_RETRIES", "-1")
    monkeypatch.setenv("LAKEHOUSE_ENVV", "local")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert len(str(caught.value).splitlines()) == 4
    for name in ("LAKEHOUSE_ENV=", "LAKEHOUSE_RETRIES=", "LAKEHOUSE_ENVV:"):
        assert name in str(caught.value)


@pytest.mark.requirement("F1.2")
def test_masked_hides_secrets_and_shows_that_they_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("LAKEHOUSE_S3_ENDPOINT_URL", f"http://user:{SECRET}@host:9000")
    settings = Settings.load()
    masked = settings.masked()
    assert masked["AWS_SECRET_ACCESS_KEY"] == "****"
    assert masked["AWS_ACCESS_KEY_ID"] == "(not set)"
    assert masked["LAKEHOUSE_S3_ENDPOINT_URL"] == "http://****@host:9000"
    assert masked["LAKEHOUSE_ENV"] == "local"
    assert masked["LAKEHOUSE_SYMBOLS"] == masked["LAKEHOUSE_START"] == masked["LAKEHOUSE_SQL_MEMORY"] == "(not set)"
    assert {f"LAKEHOUSE_{field.upper()}" for field in Settings.model_fields} <= set(masked)
    for text in (str(masked), repr(settings), str(settings)):
        assert SECRET not in text
    assert settings.s3_endpoint_url == f"http://user:{SECRET}@host:9000"


@pytest.mark.requirement("F1.2")
@pytest.mark.parametrize(
    "url",
    [
        f"ftp://user:{SECRET}@host",
        f"user:{SECRET}@host",
        f"http://user:{SECRET}@",
        f"http://user:{SECRET}@[host",
        f"http://user:{SECRET}@h\u2100st",
        f"http://user:{SECRET}://x@",
        f"http://user:12/{SECRET}@host",
    ],
)
def test_no_error_quotes_the_credentials_of_a_url(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("LAKEHOUSE_ARCHIVE_URL", url)
    with pytest.raises(SettingsError, match=r"LAKEHOUSE_ARCHIVE_URL.*\*\*\*\*@") as caught:
        Settings.load()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.requirement("F1.1")
@pytest.mark.parametrize(
    "name", ["feeds", "bars_kinds", "symbol_filter", "table_names", "market_names", "exchange_names", "enabled_markets"]
)
def test_a_setting_is_parsed_once(name: str) -> None:
    settings = Settings.load(tables="klines_*", symbols="BTC*", bars="1h:5m,dollar:1000")
    assert getattr(settings, name) is getattr(settings, name)
    assert settings == Settings.load(tables="klines_*", symbols="BTC*", bars="1h:5m,dollar:1000")


@pytest.mark.requirement("F5.5")
@pytest.mark.parametrize("value", ["sensors", "all,gold", "gold,none"])
def test_a_kind_of_automation_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LAKEHOUSE_AUTOMATION", value)
    with pytest.raises(
        SettingsError, match=r"LAKEHOUSE_AUTOMATION.*give schedules, feeds, gold, compaction, alerts, or all"
    ):
        Settings.load()


@pytest.mark.requirement("F5.5")
@pytest.mark.parametrize(
    ("env", "automation", "shown"),
    [
        ("local", "", "none"),
        ("prod", "", "schedules,alerts"),
        ("prod", "none", "none"),
        ("prod", "gold, schedules", "schedules,gold"),
        ("local", "all", "schedules,feeds,gold,compaction,alerts"),
    ],
)
def test_config_shows_what_starts_by_itself(env: str, automation: str, shown: str) -> None:
    assert Settings.load(env=env, automation=automation).masked()["LAKEHOUSE_AUTOMATION"] == shown


@pytest.mark.requirement("T13")
def test_logs_of_runs_are_in_the_lake_on_s3_in_prod_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load(env="prod", lake_uri="s3://bucket/lake/").compute_logs_uri == "s3://bucket/lake/_logs"
    assert Settings.load(env="prod", lake_uri="./lake").compute_logs_uri == ""
    assert Settings.load(env="local", lake_uri="s3://bucket/lake").compute_logs_uri == ""
    assert Settings.load(logs_uri="s3://other/logs/").compute_logs_uri == "s3://other/logs"
    monkeypatch.setenv("LAKEHOUSE_LOGS_URI", "./logs")
    with pytest.raises(SettingsError, match=r"LAKEHOUSE_LOGS_URI.*must be s3://bucket/prefix"):
        Settings.load()
