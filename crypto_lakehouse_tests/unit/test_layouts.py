"""The layouts of the exchanges' archives, by keys alone."""

from __future__ import annotations

from datetime import date

import pytest

from crypto_lakehouse.archive.binance import BinanceLayout
from crypto_lakehouse.archive.layout import KeyParts, KeyRange
from crypto_lakehouse.archive.sources import LAYOUTS
from crypto_lakehouse.catalog import EXCHANGES, Feed, feed, partition_key
from crypto_lakehouse_tests.binance_archive import BINANCE_FEEDS

BINANCE = BinanceLayout()
SPOT_1M, FUNDING = feed("binance", "spot", "klines_1m"), feed("binance", "um", "funding_rates")
FOLDER = "data/spot/daily/klines/BTCUSDT/1m/"


@pytest.mark.requirement("T1", "F2.1")
def test_every_exchange_has_a_layout() -> None:
    assert LAYOUTS.keys() == EXCHANGES.keys()


@pytest.mark.requirement("F2.1")
@pytest.mark.parametrize("entry", BINANCE_FEEDS, ids=lambda entry: entry.name)
def test_a_listing_of_binance_starts_before_the_first_file(entry: Feed) -> None:
    (keys,) = BINANCE.ranges(entry, "BTCUSDT", date(2024, 5, 1), date(2024, 6, 1))
    assert keys.prefix.startswith(f"{BINANCE.symbol_folder(entry)}BTCUSDT/")
    assert keys.marker.startswith(keys.prefix)
    period = partition_key(date(2024, 5, 1), entry.cadence)
    assert BINANCE.parse(entry, f"{keys.marker}.zip") == KeyParts("BTCUSDT", period)


@pytest.mark.requirement("F2.1")
def test_keys_of_binance() -> None:
    assert list(BINANCE.ranges(SPOT_1M, "BTCUSDT", date(2024, 1, 1), date(2024, 1, 2))) == [
        KeyRange(FOLDER, f"{FOLDER}BTCUSDT-1m-2024-01-01")
    ]
    key = "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-01.zip"
    assert BINANCE.parse(FUNDING, key) == KeyParts("BTCUSDT", "2024-01")
    assert BINANCE.parse(SPOT_1M, FOLDER.replace("BTCUSDT", "\u5e01USDT") + "\u5e01USDT-1m-2024-01-01.zip") == KeyParts(
        "\u5e01USDT", "2024-01-01"
    )


@pytest.mark.requirement("F2.1")
@pytest.mark.parametrize(
    "key",
    [
        f"{FOLDER}BTCUSDT-1m-2024-01-01.zip.CHECKSUM",
        f"{FOLDER}BTCUSDT-1m-2024-01-01.csv",
        f"{FOLDER}BTCUSDT-1h-2024-01-01.zip",
        f"{FOLDER}ETHUSDT-1m-2024-01-01.zip",
        f"{FOLDER}old/BTCUSDT-1m-2024-01-01.zip",
        "data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01-01.zip",
        "data/spot/daily/klines/",
        "",
    ],
)
def test_a_key_that_is_no_file_of_the_feed_has_no_parts(key: str) -> None:
    assert BINANCE.parse(SPOT_1M, key) is None
