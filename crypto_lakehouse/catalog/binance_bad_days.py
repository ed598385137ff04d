"""Known bad days of Binance's archive: truncated files, missing rows, halts of the exchange.

Contains faults of particular dates, each with the thread that reports it; longer-lasting facts are in
``binance_epochs.py``. Faults that the exchange reports as repaired stay here: a lake may have ingested the file
before its repair, and a file repaired once deserves a second look.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from crypto_lakehouse.catalog.model import Cadence, Epoch, Topic
from crypto_lakehouse.catalog.names import parse_partition

ISSUES = "https://github.com/binance/binance-public-data/issues/"
_SPOT, _UM, _CM, _OPTION = ("spot",), ("um",), ("cm",), ("option",)
_KLINES, _AGG_TRADES, _TRADES, _METRICS, _BVOL = ("klines",), ("aggTrades",), ("trades",), ("metrics",), ("BVOLIndex",)
_INDEX, _MARK, _PREMIUM = ("indexPriceKlines",), ("markPriceKlines",), ("premiumIndexKlines",)
_REPAIRED = "The exchange says that it is repaired."
_BTC, _BVOL_SYMBOL = ("BTCUSDT",), ("BTCBVOLUSDT",)

# Trading halts: days, hours UTC, and the thread that lists them.
_HALTS = (
    ("2017-09-06", "16:00 to 23:00", 365),
    ("2017-12-04", "06:00 to 06:49", 365),
    ("2017-12-18", "10:00 to 10:14 and 12:29 to 13:34", 365),
    ("2018-01-04", "03:00 to 05:06", 365),
    ("2018-02-08/2018-02-09", "00:28 of the first to 10:00 of the second day", 365),
    ("2018-02-10", "06:00 to 06:15", 365),
    ("2018-02-11", "04:00 to 04:35", 365),
    ("2018-06-26", "02:00 to 12:00", 365),
    ("2018-06-27", "13:00 to 14:45", 365),
    ("2018-07-04", "00:22 to 08:00", 365),
    ("2018-10-19", "06:00 to 09:30", 365),
    ("2018-11-14", "02:00 to 09:00", 365),
    ("2019-03-12", "02:00 to 08:00", 365),
    ("2019-05-15", "03:00 to 13:00", 365),
    ("2019-06-07", "21:13 to 22:15", 365),
    ("2020-02-09", "02:00 to 03:00", 368),
    ("2020-02-19", "11:35 to 17:30", 368),
    ("2020-03-04", "09:21 to 11:30", 368),
    ("2020-04-25", "02:00 to 04:30", 368),
    ("2020-06-28", "02:00 to 05:30", 368),
    ("2020-11-30", "06:00 to 07:00", 312),
    ("2020-12-21", "13:47 to 18:00", 368),
    ("2020-12-25", "02:00 to 03:00", 368),
    ("2021-02-11", "03:40 to 05:00", 368),
    ("2021-03-06", "02:00 to 03:30", 368),
    ("2021-04-20", "02:00 to 04:30", 368),
    ("2021-04-25", "04:00 to 08:45", 368),
    ("2021-08-13", "02:00 to 06:30", 312),
    ("2021-09-29", "07:00 to 09:00", 312),
    ("2023-03-24", "12:40 to 14:00", 312),
)
# Missing minutes, over the six symbols that the thread examined.
_PRICE_HOLES = (("2020-01-19", 29), ("2020-12-17", 24), ("2022-07-12", 10), ("2022-07-13", 1), ("2024-08-12", 2))


def _bad(
    markets: tuple[str, ...],
    types: tuple[str, ...],
    value: str,
    days: str,
    text: str,
    *issues: int,
    cadence: Cadence | None = None,
    **only: Any,
) -> list[Epoch]:
    """``days`` is a day, a month, or ``first/last``."""
    first, _, last = days.partition("/")
    spans = [
        parse_partition(key, Cadence.DAILY if key.count("-") == 2 else Cadence.MONTHLY)
        for key in (first, last or first)
    ]
    bounds = (spans[0][0], spans[-1][1] - timedelta(days=1))
    source = ", ".join(f"{ISSUES}{issue}" for issue in issues)
    return Epoch.each("binance", markets, types, Topic.BAD_DAYS, value, *bounds, text, source, cadence=cadence, **only)


def _monthly(*fact: Any, **only: Any) -> list[Epoch]:
    return _bad(*fact, cadence=Cadence.MONTHLY, **only)


def _daily(*fact: Any, **only: Any) -> list[Epoch]:
    return _bad(*fact, cadence=Cadence.DAILY, **only)


_SPOT_DAYS = (
    *_monthly(
        _SPOT,
        _KLINES,
        "rows",
        "2022-03",
        f"Lines 31 to 92 of JUVUSDT 1d occur three times. {_REPAIRED}",
        191,
        intervals=("1d",),
        symbols=("JUVUSDT",),
    ),
    *_monthly(_SPOT, _KLINES, "truncated", "2024-01", f"Many symbols end on 2024-01-10. {_REPAIRED}", 320),
    *_monthly(_SPOT, _KLINES, "truncated", "2024-07", f"Many symbols have only seven days. {_REPAIRED}", 359, 403),
    *_monthly(
        _SPOT,
        _KLINES,
        "values",
        "2020-12-21",
        "Rows differ from the daily files, which agree with the REST API, mostly 13:00 to 13:49.",
        475,
        intervals=("1m", "5m", "15m", "1h"),
    ),
    *_monthly(
        _SPOT,
        _KLINES,
        "values",
        "2021-09-29",
        "Two rows differ from the daily files, which agree with the REST API.",
        475,
        intervals=("1m", "5m", "15m", "1h"),
    ),
    *_daily(
        _SPOT,
        _KLINES,
        "truncated",
        "2024-10-21",
        f"XRPUSDT has only 44,570 rows. {_REPAIRED}",
        367,
        intervals=("1s",),
        symbols=("XRPUSDT",),
    ),
    *_daily(_SPOT, _KLINES, "truncated", "2024-11-19", f"BTCUSDT ends at 18:50. {_REPAIRED}", 377, 404, symbols=_BTC),
    *_daily(_SPOT, _KLINES, "truncated", "2025-04-22", f"All symbols end at 07:36. {_REPAIRED}", 412, 413),
    *_daily(
        _SPOT, _KLINES, "truncated", "2025-07-30", f"Files end hours too early. {_REPAIRED}", 436, intervals=("1s",)
    ),
    *_daily(
        _SPOT, _KLINES, "truncated", "2025-08-02", f"Files end hours too early. {_REPAIRED}", 436, intervals=("1s",)
    ),
    *_monthly(_SPOT, _TRADES, "truncated", "2021-05", "Some symbols have only a few rows; their checksums match.", 39),
    *_monthly(
        _SPOT,
        _AGG_TRADES,
        "rows",
        "2018-01",
        "The zip of ETHUSDT contains two CSVs of different length.",
        449,
        symbols=("ETHUSDT",),
    ),
    *_bad(
        _SPOT,
        _AGG_TRADES,
        "ids",
        "2021-02-28/2021-03-01",
        "The last id of ZILBTC's first day is also the first id of the second day, for another trade.",
        353,
        symbols=("ZILBTC",),
    ),
    *_daily(
        _SPOT,
        _AGG_TRADES,
        "truncated",
        "2021-12-14",
        "Most symbols are truncated, BTCUSDT at 09:29; the REST API has the rest.",
        354,
    ),
    *_daily(
        _SPOT, _AGG_TRADES, "values", "2024-11-19", "ETHUSDT differs from the REST API.", 375, symbols=("ETHUSDT",)
    ),
    *(
        epoch
        for days, hours, issue in _HALTS
        for epoch in _bad(_SPOT, _KLINES, "halt", days, f"Trading was halted, {hours}: no candles.", issue)
    ),
)

_UM_DAYS = (
    *_monthly(_UM, _KLINES, "rows", "2022-04-01/2022-04-02", "These days are missing in many symbols.", 297),
    *_monthly(_UM, _KLINES, "rows", "2022-06-09", f"This day is missing in BTCUSDT 1m. {_REPAIRED}", 186, symbols=_BTC),
    *_monthly(_UM, _KLINES, "rows", "2023-04-07", "This day is missing in several symbols.", 253),
    *_bad(
        _UM,
        _KLINES,
        "values",
        "2025-01-29",
        "Volumes of BTCUSDT are 0 from 01:23 to 01:35 and 02:41 to 02:44, but not in the REST API.",
        395,
        symbols=_BTC,
    ),
    *_daily(
        _UM,
        (*_KLINES, *_AGG_TRADES),
        "no_file",
        "2024-04-18",
        f"This day was missing in many symbols. {_REPAIRED}",
        330,
        331,
    ),
    *_daily(
        _UM,
        (*_KLINES, *_AGG_TRADES, *_TRADES, *_METRICS),
        "no_file",
        "2024-06-11/2024-06-12",
        "Files of these days were missing; BTCUSDT's aggTrades were reported as added later.",
        336,
        338,
    ),
    *_bad(_UM, _AGG_TRADES, "ids", "2021-05-19", "557,026 ids of BTCUSDT are missing.", 350, symbols=_BTC),
    *_bad(_UM, _AGG_TRADES, "ids", "2022-09-06", "31,656 ids of BTCUSDT are missing.", 350, symbols=_BTC),
    *_monthly(
        _UM,
        _AGG_TRADES,
        "rows",
        "2022-09-12/2022-09-30",
        "Rows of BTCUSDT come twice, for part of the time.",
        203,
        symbols=_BTC,
    ),
    *_monthly(
        _UM,
        _AGG_TRADES,
        "order",
        "2023-05",
        "Two runs of rows of BTCUSDT are interleaved row by row.",
        339,
        symbols=_BTC,
    ),
    *_monthly(
        _UM,
        _AGG_TRADES,
        "order",
        "2023-11",
        "Two runs of rows of BTCUSDT are interleaved row by row.",
        293,
        symbols=_BTC,
    ),
    *_monthly(
        _UM,
        _AGG_TRADES,
        "values",
        "2023-05-01/2023-05-13",
        "Over 200,000 rows of ETHUSDT have quantity 0.",
        342,
        symbols=("ETHUSDT",),
    ),
    *_bad(_UM, _AGG_TRADES, "ids", "2024-07-04", "Single trades of BTCUSDT are in no aggregate.", 378, symbols=_BTC),
    *_daily(
        _UM,
        _TRADES,
        "truncated",
        "2023-01-23/2023-01-24",
        "Trades of the evenings are missing in all symbols: none after 20:14 on the 24th.",
        213,
    ),
    *_bad(_UM, _TRADES, "ids", "2023-02", "Single ids of BTCUSDT are missing throughout the month.", 363, symbols=_BTC),
    *_daily(_UM, _TRADES, "no_file", "2023-11-01/2023-11-16", "Some symbols miss one of these days.", 307),
    *_bad(_UM, _TRADES, "ids", "2025-10-10", "Trades of several hundred symbols are missing.", 458),
    *(
        epoch
        for day, minutes in _PRICE_HOLES
        for epoch in _bad(
            _UM,
            (*_INDEX, *_MARK),
            "rows",
            day,
            f"Minutes missing in some symbols, also in the REST API: {minutes}.",
            483,
            intervals=("1m",),
        )
    ),
    *_bad(
        _UM,
        _MARK,
        "rows",
        "2023-11-10",
        "03:40 to 04:00 are missing in BTCUSDT and ETHUSDT.",
        484,
        intervals=("5m",),
        symbols=("BTCUSDT", "ETHUSDT"),
    ),
    *_daily(
        _UM, _PREMIUM, "no_file", "2021-01-24/2021-02-21", "27 of these days are missing in BTCUSDT.", 335, symbols=_BTC
    ),
    *_bad(_UM, _METRICS, "no_file", "2021-12-23", "This day is missing in BLZUSDT.", 287, symbols=("BLZUSDT",)),
    *_bad(
        _UM,
        _METRICS,
        "no_file",
        "2022-02-23",
        "This day is missing in AKROUSDT, ATOMUSDT and BLZUSDT.",
        287,
        symbols=("AKROUSDT", "ATOMUSDT", "BLZUSDT"),
    ),
    *_bad(
        _UM,
        _METRICS,
        "values",
        "2022-03-07/2022-03-08",
        "Open interest of BTCUSDT is 0 in the last 102 rows of the first and the first 14 of the second day.",
        350,
        symbols=_BTC,
    ),
    *_bad(
        _UM,
        _METRICS,
        "no_file",
        "2022-04-01/2022-07-06",
        "These days are missing in BNXUSDT, and more days after them.",
        287,
        symbols=("BNXUSDT",),
    ),
    *_bad(_UM, _METRICS, "no_file", "2023-07-25", f"This day was missing in BTCUSDT. {_REPAIRED}", 258, symbols=_BTC),
    *_bad(
        _UM, _METRICS, "truncated", "2023-09-18", f"Rows from 13:00 on were missing in most symbols. {_REPAIRED}", 276
    ),
    *_bad(_UM, _METRICS, "truncated", "2024-02-16", "BTCUSDT ends at 13:30, with 163 rows.", 335, 350, symbols=_BTC),
    *_bad(
        _UM,
        _METRICS,
        "checksum",
        "2026-07-09",
        "Checksums of STXXUSDT and HBARUSDC did not match for two months.",
        498,
        symbols=("STXXUSDT", "HBARUSDC"),
    ),
)

_CM_DAYS = (
    *_daily(_CM, _AGG_TRADES, "no_file", "2025-06-24", "This day is probably missing in all symbols.", 432),
    *_daily(
        _CM,
        (*_KLINES, *_INDEX, *_PREMIUM),
        "no_file",
        "2023-08-28/2023-09-07",
        "Files were missing from 2023-08-28 to the day of the report.",
        267,
    ),
)

_OPTION_DAYS = (
    *(
        epoch
        for day in ("2023-09-25", "2023-10-24", "2024-06-11", "2024-06-12", "2024-06-30")
        for epoch in _bad(
            _OPTION, _BVOL, "no_file", day, "This day is missing in BTCBVOLUSDT.", 370, symbols=_BVOL_SYMBOL
        )
    ),
    *_bad(
        _OPTION,
        _BVOL,
        "no_file",
        "2025-12-15/2026-01-04",
        "These 21 days are missing in BTCBVOLUSDT.",
        499,
        symbols=_BVOL_SYMBOL,
    ),
)

BAD_DAYS: tuple[Epoch, ...] = (*_SPOT_DAYS, *_UM_DAYS, *_CM_DAYS, *_OPTION_DAYS)
