"""The catalogue: the existing feeds, and a new feed with one entry."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from crypto_lakehouse.catalog import FEEDS, INTERVALS, Cadence, Feed, Market, feed, feeds
from crypto_lakehouse.catalog.binance import CM, SPOT, UM
from crypto_lakehouse.catalog.binance_files import FUNDING_RATE, KLINES
from crypto_lakehouse.catalog.model import Interval
from crypto_lakehouse.transforms.parse import parse_csv
from crypto_lakehouse.transforms.silver.klines import clean_klines
from crypto_lakehouse_tests.binance_archive import BINANCE_FEEDS

pytestmark = pytest.mark.requirement("T1")

NAMES = ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1mo"]


def test_every_interval_in_every_market() -> None:
    assert list(INTERVALS) == NAMES
    futures = ("um", "cm")
    expected = {
        ("binance", market, f"klines_{name}")
        for market in ("spot", *futures)
        for name in NAMES
        if name != "1s" or market == "spot"
    }
    expected |= {
        ("binance", market, f"{kind}_klines_{name}")
        for market in futures
        for kind in ("index", "mark", "premium")
        for name in NAMES[1:]
    }
    assert {key for key in FEEDS if key[0] == "binance" and "klines" in key[2]} == expected
    assert len(expected) == 16 + 15 + 15 + 2 * 3 * 15


def test_cadences() -> None:
    monthly = {f.table for f in BINANCE_FEEDS if f.cadence is Cadence.MONTHLY}
    kinds = ("klines", "index_klines", "mark_klines", "premium_klines")
    assert "funding_rates" in monthly
    longer = {f"{kind}_{name}" for kind in kinds for name in ("3d", "1w", "1mo")}
    assert {table for table in monthly if "klines" in table} == longer
    assert Cadence.DAILY.partition_column == "date"
    assert Cadence.MONTHLY.partition_column == "month"


@pytest.mark.parametrize(
    ("market", "table", "first"),
    [
        ("spot", "klines_1m", date(2017, 8, 17)),
        ("um", "klines_1m", date(2019, 9, 8)),
        ("cm", "klines_1m", date(2020, 8, 10)),
        ("um", "funding_rates", date(2020, 1, 1)),
        ("cm", "funding_rates", date(2020, 8, 1)),
    ],
)
def test_first_dates(market: str, table: str, first: date) -> None:
    entry = feed("binance", market, table)
    assert entry.first_date == first
    assert entry.covers(first)
    assert not entry.covers(first - timedelta(days=1))


def test_a_monthly_feed_covers_the_whole_of_its_first_month_and_an_ended_one_ends() -> None:
    entry = feed("binance", "spot", "klines_1mo")
    assert entry.covers(date(2017, 8, 1))
    assert not entry.covers(date(2017, 7, 31))
    ended = Feed(SPOT, "t", "klines", "klines", None, Cadence.DAILY, KLINES, date(2020, 1, 1), date(2020, 1, 2))
    assert ended.covers(date(2020, 1, 2))
    assert not ended.covers(date(2020, 1, 3))


@pytest.mark.requirement("F5.7")
def test_the_span_of_a_feed_ends_with_it_or_today() -> None:
    today = date(2024, 10, 14)
    assert feed("binance", "um", "book_ticker").span(today) == (date(2023, 5, 16), date(2024, 3, 31))
    # The last day of book_ticker on COIN-M is not over yet.
    assert feed("binance", "cm", "book_ticker").span(today) == (date(2023, 5, 16), today)
    assert feed("binance", "um", "klines_1m").span(today) == (date(2019, 9, 8), today)
    assert feed("binance", "spot", "klines_1mo").span(today) == (date(2017, 8, 1), today)
    ended = Feed(SPOT, "t", "klines", "klines", None, Cadence.MONTHLY, KLINES, date(2020, 1, 15), date(2020, 2, 29))
    assert ended.span(today) == (date(2020, 1, 1), date(2020, 3, 1))
    assert ended.span(date(2020, 2, 10)) == (date(2020, 1, 1), date(2020, 2, 10))


def test_file_formats() -> None:
    assert KLINES.column_names == (
        "open_time",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "close_time",
        "quote_volume",
        "count",
        "taker_buy_volume",
        "taker_buy_quote_volume",
        "ignore",
    )
    assert FUNDING_RATE.column_names == ("calc_time", "funding_interval_hours", "last_funding_rate")
    for file_format in (KLINES, FUNDING_RATE):
        assert set(file_format.time_columns) <= set(file_format.column_names)


def test_contract_sizes() -> None:
    assert CM.contract_size("BTCUSD_PERP") == CM.contract_size("BTCUSD_240927") == 100.0
    assert CM.contract_size("ETHUSD_PERP") == 10.0
    with pytest.raises(ValueError, match="does not trade in contracts"):
        UM.contract_size("BTCUSDT")


def test_interval_lengths() -> None:
    assert INTERVALS["1m"].microseconds == 60_000_000
    assert INTERVALS["1w"].microseconds == 7 * 86_400_000_000
    with pytest.raises(ValueError, match="1mo has no fixed length"):
        _ = INTERVALS["1mo"].microseconds


def test_an_unknown_feed_names_what_exists() -> None:
    with pytest.raises(KeyError, match="no table 'open_interest' in binance/spot, only in um, cm"):
        feed("binance", "spot", "open_interest")
    with pytest.raises(KeyError, match=r"no exchange 'kraken'; there (is only|are) binance"):
        feed("kraken", "spot", "klines_1m")


def test_feeds_of_tables() -> None:
    assert [f.name for f in feeds(["klines_1s", "funding_rates"])] == [
        "binance/spot/klines_1s",
        "binance/um/funding_rates",
        "binance/cm/funding_rates",
    ]


def test_a_new_feed_needs_only_an_entry() -> None:
    market = Market("other", "perp", "Other perpetuals", "perp", date(2024, 1, 1))
    interval = Interval("10m", timedelta(minutes=10))
    entry = Feed(market, "klines_10m", "klines", "klines", interval, Cadence.DAILY, KLINES, market.first_date)
    # 1704067200000 ms is 2024-01-01 00:00:00; the row starts 7 s off the ten-minute grid.
    text = b"1704067207000,1,2,0.5,1.5,10,1704067799999,12,3,4,5,0\n"
    bronze = parse_csv(text, entry.file_format).rows.with_columns(
        symbol=pl.lit("XYZ"), source_key=pl.lit("k"), source_sha256=pl.lit("s")
    )
    cleaned = clean_klines(bronze, entry, date(2024, 1, 1), date(2024, 1, 2))
    assert cleaned.rejected.is_empty()
    row = cleaned.rows.row(0, named=True)
    assert (row["open_time"].isoformat(), row["base_volume"]) == ("2024-01-01T00:00:00+00:00", 10.0)
