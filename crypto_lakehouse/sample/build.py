"""The sample archive: a small, deterministic folder in the exact format of the Binance public archive.

Decides which files exist: the writer of each archive type, its symbols and periods. ``klines.py``,
``trades.py``, ``futures.py`` and ``options.py`` write the text of the files; coins and their
quirks are in ``coins.py``. ``server.py`` serves the folder over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

from crypto_lakehouse.catalog import Cadence, Feed, Market, feeds, no_market, partition_key, partition_keys
from crypto_lakehouse.catalog.binance import EXCHANGE, MARKETS
from crypto_lakehouse.catalog.near import unknown_name
from crypto_lakehouse.sample import futures, klines, options, trades
from crypto_lakehouse.sample.bars import LEAST_TRADES, MINUTES, Bars
from crypto_lakehouse.sample.coins import Coin, coins, special_coins
from crypto_lakehouse.sample.days import CoinDay, Sample, walk
from crypto_lakehouse.sample.files import ArchiveFolder
from crypto_lakehouse.sample.format import file_key, header

DEFAULT_TABLES = ("klines_1m", "klines_1h", "funding_rates")
DEFAULT_START = date(2024, 12, 27)
TRADES_PER_DAY = (LEAST_TRADES * MINUTES, 40_000_000)
"""Minimum and maximum of ``trades_per_day``."""

File = tuple[str, Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """Contents of a sample archive: number of files (zips and checksums), their bytes, and the days [first, end)."""

    files: int
    bytes: int
    markets: tuple[str, ...]
    symbols: int
    first: date
    end: date


def make_sample(
    directory: Path,
    symbols: int = 10,
    days: int = 10,
    start: date = DEFAULT_START,
    seed: int = 7,
    tables: Sequence[str] = DEFAULT_TABLES,
    markets: Sequence[str] = (),
    specials: bool = False,
    trades_per_day: int | None = None,
    monthly: bool = False,
) -> SampleSummary:
    """Write a sample archive into ``directory``.

    The same arguments produce the same bytes (deflated files of trades and tickers: on the same processor). More
    symbols, days or tables add files to those of fewer; equal files that already exist are not rewritten. Only monthly
    klines (3d, 1w, 1mo) grow with the days. Funding files cover whole months. Trades, aggregates and klines of a day
    agree, except for the quirks in ``coins.py``.

    Parameters
    ----------
    directory
        Folder to write to; other files in it stay.
    symbols
        Number of coins in each market.
    days, start
        Number of UTC days, from ``start`` on.
    seed
        Seed of the random numbers, from 0.
    tables
        Tables of the catalogue, or patterns (``mark_klines_*``, ``*``). Each is written in the cadence that the lake
        reads, for the days that its feed covers.
    markets
        Names of markets; empty: all.
    specials
        Whether to add the symbols of ``special_coins``.
    trades_per_day
        Number of trades of each symbol and day, which is also the count in its klines; None: as many as the turnover
        suggests. Files of any number of trades need little memory.
    monthly
        Whether to add the monthly files of klines that have daily files, for months whose last day is in the sample.

    Returns
    -------
    SampleSummary
        The number of files, their bytes, and the days.

    Raises
    ------
    ValueError
        For numbers out of range (``trades_per_day``: TRADES_PER_DAY), and for unknown tables and markets.
    OSError
        If the directory cannot be written.
    """
    if symbols < 1 or days < 1 or seed < 0:
        raise ValueError(
            f"symbols={symbols}, days={days}, seed={seed}: use at least one symbol and one day, seed from 0"
        )
    if trades_per_day is not None and not TRADES_PER_DAY[0] <= trades_per_day <= TRADES_PER_DAY[1]:
        raise ValueError(f"trades_per_day={trades_per_day}: use {TRADES_PER_DAY[0]} to {TRADES_PER_DAY[1]}")
    chosen = _chosen(tables, markets)
    sample, end = Sample(start, seed, trades_per_day), start + timedelta(days=days)
    folder = ArchiveFolder(directory)
    for coin in [*coins(symbols), *(special_coins(start) if specials else ())]:
        for feed, (key, pieces) in _files(coin, chosen, sample, days):
            folder.add(key, pieces, large=feed.file_format.large)
        if monthly:
            for key, pieces in _months(coin, chosen, sample, days):
                folder.add(key, pieces)
    names = tuple(market.name for market in MARKETS if any(feed.market is market for feed in chosen))
    return SampleSummary(folder.files, folder.bytes, names, symbols, start, end)


def _chosen(tables: Sequence[str], markets: Sequence[str]) -> list[Feed]:
    available = [feed for feed in feeds() if feed.exchange == EXCHANGE]
    known = [market.name for market in MARKETS]
    for name in markets:
        if name not in known:
            raise ValueError(no_market(name, MARKETS))
    for pattern in tables:
        if not any(fnmatchcase(feed.table, pattern) for feed in available):
            raise ValueError(unknown_name("table", pattern, list(dict.fromkeys(f.table for f in available))))
    chosen = [
        feed
        for feed in available
        if feed.market.name in (markets or known) and any(fnmatchcase(feed.table, pattern) for pattern in tables)
    ]
    for feed in chosen:
        if feed.archive_type not in _KINDS:
            raise ValueError(
                f"the sample archive has no files of {feed.archive_type}: add to _KINDS in sample/build.py the function"
                " that writes them"
            )
    return chosen


def _files(coin: Coin, chosen: Sequence[Feed], sample: Sample, days: int) -> Iterator[tuple[Feed, File]]:
    """All files of one coin."""
    markets = [market for market in MARKETS if any(feed.market is market for feed in chosen)]
    longer = [feed for feed in chosen if feed.interval and feed.cadence is Cadence.MONTHLY]
    traded: dict[tuple[str, str], list[tuple[date, Bars]]] = {}
    months: dict[str, dict[str, list[bytes]]] = {}
    for day in walk(coin, markets, sample, days):
        for feed in chosen:
            kind = _KINDS[feed.archive_type]
            symbol = kind.symbol(coin, feed.market) if feed.market is day.market and feed.covers(day.date) else None
            if not symbol or kind.text is None:
                continue
            if feed.cadence is Cadence.DAILY:
                yield feed, (file_key(feed, symbol, day.date.isoformat()), kind.text(day, feed))
            elif not feed.interval:
                texts = months.setdefault(feed.name, {}).setdefault(partition_key(day.date, feed.cadence), [])
                text = b"".join(kind.text(day, feed))
                texts.append(text.removeprefix(header(feed, day.date)) if texts else text)
        for archive_type in dict.fromkeys(feed.archive_type for feed in longer if feed.market is day.market):
            whole = klines.minutes_of(day, archive_type).resample(MINUTES)
            traded.setdefault((day.market.name, archive_type), []).append((day.date, whole))
    for feed in chosen:
        kind = _KINDS[feed.archive_type]
        if feed.cadence is Cadence.MONTHLY and (symbol := kind.symbol(coin, feed.market)):
            if feed.interval:
                files = klines.monthly(feed, traded.get((feed.market.name, feed.archive_type), []))
            elif kind.text is None:
                files = _funding(feed, coin, sample, days)
            else:
                files = ((month, iter(texts)) for month, texts in months.get(feed.name, {}).items())
            for month, pieces in files:
                if feed.covers(date.fromisoformat(f"{month}-01")):
                    yield feed, (file_key(feed, symbol, month), pieces)


def _months(coin: Coin, chosen: Sequence[Feed], sample: Sample, days: int) -> Iterator[File]:
    """The monthly files of a coin's feeds with daily files: the texts of their days with one header line."""
    feeds = [feed for feed in chosen if feed.monthly_folder]
    markets = [market for market in MARKETS if any(feed.market is market for feed in feeds)]
    unfinished = partition_key(sample.start + timedelta(days=days), Cadence.MONTHLY)
    texts: dict[str, dict[str, list[bytes]]] = {feed.name: {} for feed in feeds}
    for day in walk(coin, markets, sample, days):
        month = partition_key(day.date, Cadence.MONTHLY)
        for feed in feeds:
            kind = _KINDS[feed.archive_type]
            symbol = kind.symbol(coin, feed.market) if feed.market is day.market and feed.covers(day.date) else None
            if symbol is None or kind.text is None or month == unfinished:
                continue
            key, waiting = file_key(replace(feed, cadence=Cadence.MONTHLY), symbol, month), texts[feed.name]
            if key not in waiting:
                yield from _taken(waiting)
            of_month = waiting.setdefault(key, [])
            text = b"".join(kind.text(day, feed))
            of_month.append(text.removeprefix(header(feed, day.date)) if of_month else text)
    for waiting in texts.values():
        yield from _taken(waiting)


def _taken(waiting: dict[str, list[bytes]]) -> Iterator[File]:
    while waiting:
        key, texts = waiting.popitem()
        yield key, iter(texts)


def _funding(feed: Feed, coin: Coin, sample: Sample, days: int) -> Iterator[File]:
    for month in partition_keys(sample.start, sample.start + timedelta(days=days), feed.cadence):
        first = date.fromisoformat(f"{month}-01")
        if text := futures.funding(feed, coin, first, sample):
            yield month, iter((text,))


def _traded(coin: Coin, market: Market) -> str | None:
    return coin.symbol(market)


def _perpetual(coin: Coin, market: Market) -> str | None:
    return None if coin.delivery else coin.symbol(market)


def _indexed(coin: Coin, market: Market) -> str | None:
    """COIN-M names the index after the pair, which its contracts share."""
    symbol = coin.symbol(market)
    if symbol is None or not market.inverse:
        return symbol
    return None if coin.delivery else symbol.split("_", 1)[0]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How to write an archive type: the text of a day's file, and the symbol of its folder.

    A monthly file is the texts of its days with one header line. ``text`` is None for funding rates, whose files cover
    whole months.
    """

    text: Callable[[CoinDay, Feed], Iterator[bytes]] | None
    symbol: Callable[[Coin, Market], str | None] = _traded


_KINDS = {
    "klines": _Kind(klines.daily),
    "indexPriceKlines": _Kind(klines.daily, _indexed),
    "markPriceKlines": _Kind(klines.daily),
    "premiumIndexKlines": _Kind(klines.daily, _perpetual),
    "trades": _Kind(trades.trades),
    "aggTrades": _Kind(trades.aggregates),
    "metrics": _Kind(futures.metrics),
    "bookDepth": _Kind(futures.book_depth),
    "bookTicker": _Kind(futures.book_ticker),
    "liquidationSnapshot": _Kind(futures.liquidations),
    "BVOLIndex": _Kind(options.volatility_index, options.index_symbol),
    "EOHSummary": _Kind(options.summaries, options.underlying),
    "fundingRate": _Kind(None, _perpetual),
}
