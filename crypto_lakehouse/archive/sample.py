"""The sample archive: a small, deterministic folder in the exact format of the Binance public archive.

Here belong file names, CSV text, zips and checksums, with the differences between markets and the known
quirks. The invented trading is in ``sample_bars.py``; ``server.py`` serves the folder over HTTP.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

from crypto_lakehouse.archive.sample_bars import Bars, Coin, Ints, coins, funding, log_path, minute_bars
from crypto_lakehouse.catalog import Cadence, Market, partition_keys
from crypto_lakehouse.catalog.binance import CM, SPOT, UM
from crypto_lakehouse.catalog.binance_files import FUNDING_RATE, KLINES

MICROSECONDS_FROM = date(2025, 1, 1)
MARKETS = (SPOT, UM, CM)
_INTERVALS = {"1m": 1, "1h": 60}
_ZIP_TIME = (2025, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What a sample archive holds: all files (zips and checksums), their bytes, and the days [first, end)."""

    files: int
    bytes: int
    markets: tuple[str, ...]
    symbols: int
    first: date
    end: date


def make_sample(
    directory: Path, symbols: int = 10, days: int = 10, start: date = date(2024, 12, 27), seed: int = 7
) -> SampleSummary:
    """Write the archive of ``symbols`` coins in each market for ``days`` UTC days from ``start``.

    The same arguments give the same bytes, and more symbols or days add to what fewer gave: files that
    are there and equal are left untouched. Funding files cover whole months. Raises ValueError for
    arguments below one (``seed`` below zero), OSError when the directory cannot be written.
    """
    if symbols < 1 or days < 1 or seed < 0:
        raise ValueError(
            f"symbols={symbols}, days={days}, seed={seed}: use at least one symbol and one day, seed from 0"
        )
    end = start + timedelta(days=days)
    files = size = 0
    for coin in coins(symbols):
        for key, text in (*_klines(coin, days, start, seed), *_funding(coin, start, end, seed)):
            for path, content in _archived(directory / key, text):
                _write(path, content)
                files, size = files + 1, size + len(content)
    return SampleSummary(files, size, tuple(m.name for m in MARKETS), symbols, start, end)


def _klines(coin: Coin, days: int, start: date, seed: int) -> Iterator[tuple[str, str]]:
    level = 0.0
    for number in range(days):
        day = start + timedelta(days=number)
        path = log_path(seed, coin, number, start)
        for market in MARKETS if coin.listed(number) else ():
            bars = minute_bars(market, coin, number, start, seed, level, path)
            for interval, minutes in _INTERVALS.items():
                key = _key(market, "daily", "klines", coin.symbol(market), f"{day:%Y-%m-%d}", interval)
                yield key, _klines_csv(market, day, bars if minutes == 1 else bars.resample(minutes), minutes)
        level += float(path[-1])


def _funding(coin: Coin, start: date, end: date, seed: int) -> Iterator[tuple[str, str]]:
    for period in partition_keys(start, end, Cadence.MONTHLY):
        for market in (UM, CM):
            events = funding(market, coin, date.fromisoformat(f"{period}-01"), start, seed)
            if events:
                rows = (f"{time},{coin.funding_hours},{rate:.8f}\n" for time, rate in events)
                text = ",".join(FUNDING_RATE.column_names) + "\n" + "".join(rows)
                yield _key(market, "monthly", "fundingRate", coin.symbol(market), period), text


def _key(market: Market, cadence: str, kind: str, symbol: str, period: str, interval: str = "") -> str:
    folder = f"data/{market.archive_path}/{cadence}/{kind}/{symbol}/"
    return folder + (f"{interval}/" if interval else "") + f"{symbol}-{interval or kind}-{period}.zip"


def _klines_csv(market: Market, day: date, bars: Bars, minutes: int) -> str:
    unit = 1_000_000 if market is SPOT and day >= MICROSECONDS_FROM else 1_000
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    opened = (midnight + bars.minute * 60) * unit
    price, volume, quote = bars.price_decimals, bars.volume_decimals, bars.quote_decimals
    columns = [
        _integer(opened),
        *(_decimal(prices, price, market) for prices in (bars.open, bars.high, bars.low, bars.close)),
        _decimal(bars.volume, volume, market),
        _integer(opened + minutes * 60 * unit - 1),
        _decimal(bars.quote, quote, market),
        _integer(bars.count),
        _decimal(bars.taker, volume, market),
        _decimal(bars.taker_quote, quote, market),
    ]
    row = ",".join(template for template, _ in columns) + ",0\n"
    values = zip(*(part.tolist() for _, parts in columns for part in parts), strict=True)
    return _header(market, day) + "".join([row % value for value in values])


def _header(market: Market, day: date) -> str:
    # Real USD-M files have the line or not, after the day they were made: a reader must look.
    without = market is SPOT or (market is UM and day.toordinal() % 4 == 0)
    return "" if without else ",".join(KLINES.column_names) + "\n"


def _integer(values: Ints) -> tuple[str, tuple[Ints, ...]]:
    return "%d", (values,)


def _decimal(values: Ints, decimals: int, market: Market) -> tuple[str, tuple[Ints, ...]]:
    """Template and integers that print ``values`` / 10**``decimals``: eight decimals on spot."""
    if market is SPOT:
        values, decimals = values * 10 ** (8 - decimals), 8
    if not decimals:
        return _integer(values)
    whole, fraction = np.divmod(values, 10**decimals)
    return f"%d.%0{decimals}d", (whole, fraction)


def _archived(path: Path, text: str) -> Iterator[tuple[Path, bytes]]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = zipfile.ZipInfo(path.with_suffix(".csv").name, _ZIP_TIME)
        member.create_system = 3
        member.external_attr = 0o644 << 16
        archive.writestr(member, text.encode(), zipfile.ZIP_DEFLATED, compresslevel=4)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    # A few real checksum files lack the newline.
    newline = "" if digest.startswith("0") else "\n"
    yield path, content
    yield path.with_name(f"{path.name}.CHECKSUM"), f"{digest}  {path.name}{newline}".encode()


def _write(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # A server may be reading: a file appears whole, and its draft is hidden from listings by the dot.
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_bytes(content)
    draft.replace(path)
