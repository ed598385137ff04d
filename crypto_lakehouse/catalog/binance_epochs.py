"""Facts about Binance's archive, each with its source: what changed over time, and what its files mean.

Contains facts that hold for an era or always. Faults of particular days are in ``binance_bad_days.py``; ``epochs.py``
looks facts up.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from crypto_lakehouse.catalog.binance_bad_days import BAD_DAYS, ISSUES
from crypto_lakehouse.catalog.intervals import MONTHLY_ONLY
from crypto_lakehouse.catalog.model import Epoch, Topic

_README = "https://github.com/binance/binance-public-data/blob/master/README.md"
_SEEN = "seen in files"
_LISTED = "seen in listings"
_CLAIMED = "claimed, not seen in a file"

_SPOT, _UM, _CM, _OPTION = ("spot",), ("um",), ("cm",), ("option",)
_FUTURES = (*_UM, *_CM)
_TRADED = (*_SPOT, *_FUTURES)
_AGG_AND_TRADES = ("aggTrades", "trades")
_FILLS = ("klines", *_AGG_AND_TRADES)
_PRICE_KLINES = ("indexPriceKlines", "markPriceKlines", "premiumIndexKlines")


def _issues(*numbers: int) -> str:
    return ", ".join(f"{ISSUES}{number}" for number in numbers)


def _facts(
    markets: Iterable[str],
    types: Iterable[str],
    topic: Topic,
    value: str,
    text: str,
    source: str,
    first: str = "",
    last: str = "",
    **only: Any,
) -> list[Epoch]:
    days = [date.fromisoformat(day) if day else None for day in (first, last)]
    return Epoch.each("binance", markets, types, topic, value, *days, text, source, **only)


_HEADERS = (
    *_facts(_SPOT, _FILLS, Topic.HEADER, "never", "No header line.", f"{_SEEN}, {_issues(283)}"),
    *_facts(
        _FUTURES,
        (*_FILLS, *_PRICE_KLINES),
        Topic.HEADER,
        "sniff",
        "Whether a file has a header line depends on the day when it was written, not on its data: USD-M files of"
        " 2022-08-11 and later have one, older ones only if they were regenerated.",
        _issues(177, 278, 283),
    ),
    *_facts(
        _FUTURES, ("fundingRate", "metrics", "bookDepth", "bookTicker"), Topic.HEADER, "always", "A header line.", _SEEN
    ),
    *_facts(_CM, ("liquidationSnapshot",), Topic.HEADER, "always", "A header line.", _SEEN),
    *_facts(_OPTION, ("BVOLIndex", "EOHSummary"), Topic.HEADER, "always", "A header line.", _SEEN),
)

_TIMES = (
    *_facts(_SPOT, _FILLS, Topic.TIME_UNIT, "ms", "Times in milliseconds.", _SEEN, last="2024-12-31"),
    *_facts(
        _SPOT,
        _FILLS,
        Topic.TIME_UNIT,
        "us",
        "Times in microseconds; close_time ends in 999999.",
        f"{_SEEN}, {_issues(386, 387)}",
        first="2025-01-01",
    ),
    *_facts(
        _FUTURES,
        (*_FILLS, "fundingRate", "bookTicker", *_PRICE_KLINES),
        Topic.TIME_UNIT,
        "ms",
        "Times in milliseconds, also in 2026.",
        _SEEN,
    ),
    *_facts(_CM, ("liquidationSnapshot",), Topic.TIME_UNIT, "ms", "Times in milliseconds.", _SEEN),
    *_facts(_OPTION, ("BVOLIndex",), Topic.TIME_UNIT, "ms", "Times in milliseconds.", _SEEN),
    *_facts(_FUTURES, ("metrics", "bookDepth"), Topic.TIME_UNIT, "text", "Times as text, whole seconds, UTC.", _SEEN),
    *_facts(_OPTION, ("EOHSummary",), Topic.TIME_UNIT, "text", "Date as text, hour as a number, UTC.", _SEEN),
    *_facts(
        _UM,
        ("metrics",),
        Topic.LABEL,
        "period_end",
        "create_time is the end of its five minutes: 00:05 to 00:00 of the next day. One thread reports this; a real"
        " file of 2024-01-02 has 00:00 to 23:55 of its own date, which proves neither end.",
        _issues(491),
        last="2026-06-24",
    ),
    *_facts(
        _UM,
        ("metrics",),
        Topic.LABEL,
        "period_start",
        "create_time is the start of its five minutes: 00:00 to 23:55. So 2026-06-25 00:00 is in two files.",
        _issues(491),
        first="2026-06-25",
    ),
    *_facts(
        _CM, ("metrics",), Topic.LABEL, "period_start", "create_time is the start of its five minutes.", _issues(491)
    ),
    *_facts(_FUTURES, ("fundingRate",), Topic.JITTER, "13", "calc_time is 0 to 13 ms after the hour.", _SEEN),
    *_facts(
        _FUTURES,
        ("fundingRate",),
        Topic.INTERVAL,
        "1,4,8",
        "Funding every 8, 4 or 1 hours; the interval differs by symbol and changes over time.",
        "https://github.com/freqtrade/freqtrade/issues/12583",
    ),
    *_facts(
        _SPOT,
        ("klines",),
        Topic.ALIGNMENT,
        "off_grid",
        "Candles start some seconds after the minute.",
        _issues(14),
        "2017-12-04",
        "2017-12-17",
    ),
    *_facts(
        _SPOT,
        ("klines",),
        Topic.ALIGNMENT,
        "off_grid",
        "After the halt candles start 14.789 s after the minute; those of an hour, 28 minutes after the hour.",
        _issues(14, 77),
        first="2018-02-09",
        last="2018-02-11",
    ),
    *_facts(_TRADED, ("klines",), Topic.ALIGNMENT, "monday", "Weeks start Monday 00:00 UTC.", _SEEN, intervals=("1w",)),
)

_ROWS = (
    *_facts(_FUTURES, ("metrics",), Topic.ROWS, "288", "A row every five minutes.", f"{_SEEN}, {_issues(484)}"),
    *_facts(_OPTION, ("BVOLIndex",), Topic.ROWS, "86400", "A row every second.", _SEEN),
    *_facts(
        _FUTURES,
        ("bookDepth",),
        Topic.BANDS,
        "1,2,3,4,5",
        "Ten bands, written as whole numbers.",
        _SEEN,
        last="2026-01-14",
    ),
    *_facts(
        _FUTURES,
        ("bookDepth",),
        Topic.BANDS,
        "0.2,1,2,3,4,5",
        "Twelve bands, written with two decimals (-5.00), ±0.20 new; 2026-01-15 holds both forms.",
        _CLAIMED,
        first="2026-01-15",
    ),
    *_facts(
        _UM,
        ("bookDepth",),
        Topic.FROZEN,
        "0.2,1,2",
        "The ask bands next to the mid price stopped changing, one after the other, from about 12:00 UTC of 2026-09-03"
        " on, in all symbols checked.",
        _issues(496),
        first="2026-09-03",
    ),
    *_facts(
        _CM,
        ("liquidationSnapshot",),
        Topic.DUPLICATES,
        "all_rows",
        "Every row comes twice. The same was reported of USD-M, whose files have been removed.",
        _issues(259, 337),
    ),
    *_facts(
        _UM,
        _AGG_AND_TRADES,
        Topic.DUPLICATES,
        "some_rows",
        "Some files repeat a run of rows, or contain rows of the day before.",
        _issues(203),
    ),
    *_facts(_SPOT, ("aggTrades",), Topic.DUPLICATES, "ids", "An id may occur on two days.", _issues(353)),
    *_facts(
        _UM,
        ("metrics",),
        Topic.DUPLICATES,
        "some_rows",
        "Rows come twice, and times may be seconds off the grid.",
        _issues(484, 498),
    ),
    *_facts(
        _UM,
        _AGG_AND_TRADES,
        Topic.HOLES,
        "ids",
        "Ranges of ids may be missing; a clean day has no such holes.",
        _issues(190, 363, 378, 458),
    ),
    *_facts(
        _UM,
        ("metrics",),
        Topic.HOLES,
        "rows",
        "Rows are missing or out of order; fields may be blank, an empty text, or 0E-8.",
        _issues(287, 484, 498),
    ),
    *_facts(
        _UM,
        ("metrics",),
        Topic.HOLES,
        "symbols",
        "Only BTCUSDT; most symbols start on 2021-12-01.",
        f"{_LISTED}, {_issues(286)}",
        first="2020-09-01",
        last="2021-11-30",
    ),
    *_facts(
        _UM,
        ("bookTicker",),
        Topic.HOLES,
        "order",
        "Two runs of rows of a day are interleaved row by row.",
        _issues(305),
        first="2024-01-01",
    ),
    *_facts(_UM, _PRICE_KLINES, Topic.HOLES, "rows", "Single minutes are missing, also in the REST API.", _issues(483)),
    *_facts(
        _SPOT,
        ("klines",),
        Topic.HOLES,
        "early_close",
        "No candles while trading is halted; the candle before may close early, as on 2021-12-24 04h.",
        f"{_SEEN}, {_issues(77, 169)}",
    ),
    *_facts(_OPTION, ("EOHSummary",), Topic.HOLES, "values", "Blanks: contracts not traded or quoted.", _SEEN),
)

_MEANINGS = (
    *_facts(
        _CM,
        ("klines",),
        Topic.COLUMN_MEANING,
        "volume=contracts,quote_volume=base asset,taker_buy_volume=contracts,taker_buy_quote_volume=base asset",
        "Volumes are in contracts and coins, although the header names the columns as on USD-M.",
        f"{_SEEN}, {_README}, {_issues(267)}",
    ),
    *_facts(_CM, ("aggTrades",), Topic.COLUMN_MEANING, "quantity=contracts", "Quantities are contracts.", _SEEN),
    *_facts(
        _CM,
        ("trades",),
        Topic.COLUMN_MEANING,
        "qty=contracts,base_qty=base asset",
        "qty is in contracts; base_qty, in coins, replaces the quote_qty of USD-M.",
        _README,
    ),
    *_facts(
        _FUTURES,
        _PRICE_KLINES,
        Topic.COLUMN_MEANING,
        "count=samples",
        "Nothing is traded at these prices: volumes have no meaning, count is the number of values in the interval.",
        _issues(168),
    ),
    *_facts(
        _UM,
        ("bookDepth",),
        Topic.COLUMN_MEANING,
        "depth=base asset,notional=quote asset",
        "Depth and notional between the mid price and the edge of the band.",
        _issues(447),
    ),
)

_FILES = (
    *_facts(
        _TRADED,
        ("klines",),
        Topic.CADENCE,
        "monthly",
        "3d, 1w and 1mo exist only as monthly files; the folder is 1mo, never 1M.",
        f"{_LISTED}, {_README}",
        intervals=MONTHLY_ONLY,
    ),
    *_facts(
        _FUTURES,
        _PRICE_KLINES,
        Topic.CADENCE,
        "monthly",
        "3d, 1w and 1mo exist only as monthly files.",
        _LISTED,
        intervals=MONTHLY_ONLY,
    ),
    *_facts(_FUTURES, ("fundingRate",), Topic.CADENCE, "monthly", "Only monthly files exist.", _LISTED),
    *_facts(
        _TRADED,
        ("klines", "aggTrades"),
        Topic.WITNESS,
        "daily",
        "Daily and monthly rows are usually equal; monthly files have missed days and held wrong values where the"
        " daily ones agree with the REST API.",
        _issues(140, 186, 253, 320, 359, 475),
    ),
    *_facts(
        _SPOT,
        ("klines",),
        Topic.REPLACED,
        "in_place",
        "Files are replaced without notice, also after years: those of 2020-01-01 were regenerated on 2023-07-17.",
        f"{_LISTED}, {_README}",
    ),
    *_facts(_SPOT, ("aggTrades",), Topic.REPLACED, "in_place", "Lists of replaced files are incomplete.", _README),
    *_facts(_UM, ("klines",), Topic.REPLACED, "in_place", "Repaired files replace the old ones.", _issues(186)),
    *_facts(
        _UM,
        ("metrics",),
        Topic.REPLACED,
        "in_place",
        "In January 2023 files had one row a day; five-minute rows were added later, also for the past.",
        _issues(211, 276),
    ),
    *_facts(
        _TRADED,
        _FILLS,
        Topic.REPLACED,
        "stale_checksum",
        "A CHECKSUM may be older or newer than its zip for weeks, and the CDN may serve a stale zip.",
        _issues(40, 205, 241, 405),
    ),
    *_facts(_UM, ("metrics",), Topic.REPLACED, "stale_checksum", "A CHECKSUM may not match for weeks.", _issues(498)),
    *_facts(
        _SPOT,
        _FILLS,
        Topic.REPLACED,
        "late",
        "The files of these days were published on 2024-11-20, eight days late.",
        _issues(375),
        first="2024-11-12",
        last="2024-11-19",
    ),
    *_facts(
        _SPOT,
        ("klines",),
        Topic.REPLACED,
        "late",
        "The files of these days were published on 2025-04-22 or the day after.",
        _issues(410),
        first="2025-04-17",
        last="2025-04-21",
        intervals=("1s",),
    ),
)

_RELISTED = (
    ("spot", "LUNAUSDT", "2022-05-13", "2022-05-31"),
    ("um", "BNXUSDT", "2023-02-11", "2023-02-22"),
    ("um", "ICPUSDT", "2022-06-10", "2022-09-27"),
    ("um", "TLMUSDT", "2022-06-09", "2023-03-30"),
)

_INSTRUMENTS = (
    *_facts(_CM, ("indexPriceKlines",), Topic.SYMBOLS, "pair", "Files are named after the pair: BTCUSD.", _LISTED),
    *_facts(_CM, ("premiumIndexKlines",), Topic.SYMBOLS, "perpetual", "Only perpetual contracts: _PERP.", _LISTED),
    *_facts(
        _FUTURES,
        ("klines",),
        Topic.SYMBOLS,
        "delisted",
        "Candles of delisted contracts continue, without volume, at the last price.",
        _issues(201),
    ),
    *_facts(_UM, _FILLS, Topic.SYMBOLS, "settled", "Settled contracts may have the suffix SETTLED.", _LISTED),
    *_facts(_SPOT, _FILLS, Topic.SYMBOLS, "renamed", "A coin may be renamed: NANO became XNO.", _LISTED),
    *(
        epoch
        for market, symbol, first, last in _RELISTED
        for epoch in _facts(
            (market,),
            _FILLS,
            Topic.SYMBOLS,
            "relisted",
            f"{symbol} is not traded between these days, and is another instrument after them.",
            _SEEN,
            first,
            last,
            symbols=(symbol,),
        )
    ),
)

EPOCHS: tuple[Epoch, ...] = (*_HEADERS, *_TIMES, *_ROWS, *_MEANINGS, *_FILES, *_INSTRUMENTS, *BAD_DAYS)
