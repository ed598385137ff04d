"""The registry of exchanges, and how settings choose exchanges and markets, with a made-up second exchange."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from crypto_lakehouse.archive.sources import open_source
from crypto_lakehouse.catalog import EXCHANGES, FEEDS, MARKETS, feed, feeds, find_market
from crypto_lakehouse.catalog.epochs import EPOCHS
from crypto_lakehouse.catalog.instruments import parse_symbol
from crypto_lakehouse.catalog.listings import RELISTINGS, RENAMES
from crypto_lakehouse.orchestration.launch import compaction_source, plan
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings, SettingsError, url_settings
from crypto_lakehouse_tests.unit import second_exchange
from crypto_lakehouse_tests.unit.second_exchange import FEED, MARKET, TOY

pytestmark = pytest.mark.requirement("T1")


@pytest.fixture(autouse=True)
def _two_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LAKEHOUSE_"):
            monkeypatch.delenv(name)
    second_exchange.register(monkeypatch)


def names(settings: Settings) -> list[str]:
    return [feed.name for feed in settings.feeds]


def test_the_catalogue_is_joined_from_the_entries_of_the_exchanges() -> None:
    binance = EXCHANGES["binance"]
    assert [f for f in FEEDS.values() if f.exchange == "binance"] == list(binance.feeds)
    assert [m for m in MARKETS.values() if m.exchange == "binance"] == list(binance.markets)
    others = [exchange for exchange in EXCHANGES.values() if exchange is not TOY]
    assert others[0] is binance
    assert [fact for exchange in others for fact in exchange.epochs] == list(EPOCHS)
    assert [fact for exchange in others for fact in exchange.relistings] == list(RELISTINGS)
    assert [fact for exchange in others for fact in exchange.renames] == list(RENAMES)


def test_each_exchange_has_settings_for_its_urls() -> None:
    assert {
        name for name in EXCHANGES if name != TOY.name for name in url_settings(name)
    } <= Settings.model_fields.keys()
    binance = EXCHANGES["binance"]
    assert Settings.load().archive_urls("binance") == (binance.archive_url, binance.listing_url)
    assert Settings.load(archive_url="http://here/").archive_urls("binance") == ("http://here", binance.listing_url)
    with pytest.raises(KeyError, match="no exchange 'binanc'; did you mean binance"):
        Settings.load().archive_urls("binanc")


def test_an_entry_of_another_exchange_is_refused() -> None:
    with pytest.raises(ValueError, match="the catalogue of toy has an entry of binance"):
        replace(TOY, feeds=(feed("binance", "spot", "klines_1m"),))
    with pytest.raises(ValueError, match="has feeds of a market that it does not list"):
        replace(TOY, markets=())


@pytest.mark.parametrize("odd", [{"day_offset": timedelta(hours=-8)}, {"newest_first": True}])
def test_a_feed_that_the_pipeline_would_misread_is_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"toy/spot/klines_1m: .* are not supported yet"):
        replace(TOY, feeds=(replace(FEED, **odd),))


@pytest.mark.requirement("F1.7")
def test_the_tables_of_a_second_exchange_are_enabled_only_for_who_asks() -> None:
    default = names(Settings.load())
    assert "toy/spot/klines_1m" not in default
    both = names(Settings.load(exchanges="toy, binance"))
    assert both == [*default, "toy/spot/klines_1m"]
    assert names(Settings.load(exchanges="toy", tables="klines_1m")) == ["toy/spot/klines_1m"]
    # A table that only another exchange has does not exist for this one.
    with pytest.raises(SettingsError, match="no table 'trades'; there is only klines_1m"):
        Settings.load(exchanges="toy", tables="trades")


@pytest.mark.requirement("F1.7")
def test_a_market_is_named_with_its_exchange_where_two_share_its_name() -> None:
    settings = Settings.load(exchanges="binance,toy", tables="klines_1m")
    assert list(settings.market_names) == [
        f"{exchange}/{market}" for exchange, market in MARKETS if exchange in ("binance", "toy")
    ]
    assert names(replace_markets(settings, "spot")) == ["binance/spot/klines_1m", "toy/spot/klines_1m"]
    only = replace_markets(settings, "toy/spot,binance/um")
    assert names(only) == ["binance/um/klines_1m", "toy/spot/klines_1m"]
    assert "(binance/spot, binance/cm, binance/option)" in only.hidden
    assert ("binance", "spot") not in only.shown_markets
    assert ("toy", "spot") in only.shown_markets
    with pytest.raises(SettingsError, match="no market 'toy/um'"):
        replace_markets(settings, "toy/um")


def replace_markets(settings: Settings, markets: str) -> Settings:
    return Settings.load(exchanges=settings.exchanges, tables=settings.tables, markets=markets)


@pytest.mark.requirement("F1.7")
@pytest.mark.parametrize(
    ("value", "allowed"),
    [("byb", "no exchange 'byb'; there are binance"), (" ,", "names no exchange; there are binance")],
)
def test_an_unknown_exchange_is_an_error_that_lists_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, value: str, allowed: str
) -> None:
    monkeypatch.setenv("LAKEHOUSE_EXCHANGES", value)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert allowed in str(caught.value)
    assert "LAKEHOUSE_EXCHANGES=" in str(caught.value)


@pytest.mark.requirement("F1.7")
def test_a_plan_for_an_exchange_that_is_not_enabled_names_the_setting() -> None:
    first, today = date(2024, 1, 1), date(2026, 1, 1)
    settings = Settings.load()
    for table in ("klines_1m", "continuous_1m", "instruments"):
        with pytest.raises(ValueError, match=r"exchange toy is not enabled; add it to LAKEHOUSE_EXCHANGES \(now: bin"):
            plan("toy", "spot", table, first, first, settings, today)
    with pytest.raises(ValueError, match="exchange toy is not enabled"):
        compaction_source(TableSlice.with_months("toy", "spot", "continuous_1m"), settings)


def test_markets_of_one_name_have_plans_jobs_and_assets_of_their_own() -> None:
    first, today = date(2024, 1, 1), date(2026, 1, 1)
    settings = Settings.load(exchanges="binance,toy", markets="toy/spot")
    planned = plan("toy", "spot", "klines_1m", first, first, settings, today)
    assert planned.job == "update_toy_spot_daily"
    assert all(key.path[1:3] == ["toy", "spot"] for key in planned.assets)
    for table in ("klines_1m", "instruments"):
        with pytest.raises(ValueError, match=r"market spot is not enabled; .*\(now: toy/spot\)"):
            plan("binance", "spot", table, first, first, settings, today)


def test_a_name_is_parsed_by_the_rules_of_its_exchange() -> None:
    assert parse_symbol(MARKET, "BTC-TOY").quote_asset == "TOY"
    assert parse_symbol(feed("binance", "spot", "klines_1m").market, "BTC-TOY").quote_asset is None
    assert FEED in feeds(["klines_1m"])


def test_an_exchange_without_layout_says_where_to_add_it() -> None:
    with pytest.raises(KeyError, match=r"no layout of the archive of toy; add it to LAYOUTS in archive/sources\.py"):
        open_source("toy", TOY.archive_url, TOY.listing_url)


def test_a_market_of_another_exchange_leads_to_that_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MARKETS, ("toy", "perp"), replace(MARKET, name="perp"))
    with pytest.raises(KeyError, match="no market 'perp' in binance, only in toy: name that exchange"):
        find_market("binance", "perp")
