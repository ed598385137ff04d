"""The layout of the Binance public archive: its folders and file names.

Pure. ``listed.py`` lists and fetches the files; facts about feeds are in ``catalog``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from crypto_lakehouse.archive.layout import Checksum, KeyParts, KeyRange, Listing
from crypto_lakehouse.catalog import Feed, partition_key


class BinanceLayout:
    """``data/{market}/{cadence}/{type}/{SYMBOL}/[{interval}/]{SYMBOL}-{interval or type}-{period}.zip``."""

    listing = Listing.S3_V1
    checksum = Checksum.SHA256_FILE
    absent = frozenset({404})
    ban = frozenset({403})
    requests_per_second = None

    def symbol_folder(self, feed: Feed) -> str:
        """The folder of the feed's type."""
        return f"data/{feed.market.archive_path}/{feed.cadence.value}/{feed.archive_type}/"

    def ranges(self, feed: Feed, symbol: str, start: date, end: date) -> Iterator[KeyRange]:  # noqa: ARG002
        """The whole folder of the symbol, because keys rise with their periods: a listing ends at ``end``."""
        folder, stem = self._folder(feed, symbol), self._stem(feed, symbol)
        yield KeyRange(folder, f"{folder}{stem}{partition_key(start, feed.cadence)}")

    def parse(self, feed: Feed, object_key: str) -> KeyParts | None:
        """Symbol and period of a zip.

        >>> from crypto_lakehouse.catalog import feed
        >>> key = "data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01-01.zip"
        >>> BinanceLayout().parse(feed("binance", "spot", "klines_1m"), key)
        KeyParts(symbol='BTCUSDT', period='2024-01-01')
        """
        symbol = object_key.removeprefix(self.symbol_folder(feed)).partition("/")[0]
        start = f"{self._folder(feed, symbol)}{self._stem(feed, symbol)}"
        period = object_key.removeprefix(start).removesuffix(".zip")
        return KeyParts(symbol, period) if object_key == f"{start}{period}.zip" else None

    def _folder(self, feed: Feed, symbol: str) -> str:
        interval = f"{feed.interval.name}/" if feed.interval else ""
        return f"{self.symbol_folder(feed)}{symbol}/{interval}"

    def _stem(self, feed: Feed, symbol: str) -> str:
        return f"{symbol}-{feed.interval.name if feed.interval else feed.archive_type}-"
