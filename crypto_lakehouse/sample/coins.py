"""The coins of the sample archive: their symbols in each market, when they trade, and which quirk each shows.

Contains facts about invented instruments. Their prices are in ``bars.py``; the modules of each archive type
write the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from crypto_lakehouse.catalog import Market

# Which coin shows which quirk, by its place in the list, and when: days count from 0.
FOUR_HOURLY, QUIET, LATE, DELISTED = 1, 2, 3, 4
QUIET_DAY, QUIET_MINUTES = 1, slice(300, 660)
LATE_DAY, LATE_MINUTE = 3, 600
DELISTED_DAY = 6
HALT_DAY, HALT_MINUTES = 2, slice(150, 240)
# All ids of these minutes are missing in this coin's files of trades and aggTrades, on this one day.
MISSING, MISSING_DAY, MISSING_MINUTES = 1, 1, slice(700, 705)
# This coin's files of trades and aggTrades start with rows of the day before, and contain some rows twice.
REPEATED, REPEATED_ROWS, DOUBLED_ROWS = 2, 3, slice(10, 13)
# This minute of every day is missing in this coin's mark, index and premium klines.
HOLED, HOLED_MINUTE = 1, 777

# Days without a file of the relisted coin: in this pause the ticker becomes another instrument.
RELISTED_GONE, RELISTED_BACK = 3, 10
RENAMED_DAY = 2
SETTLED_DAY = 2

# Name, price in USD, price decimals, lot decimals: price x lot never needs more than eight decimals.
_COINS = (
    ("BTC", 94_000.0, 1, 3),
    ("ETH", 3_350.0, 2, 3),
    ("LTC", 104.0, 2, 3),
    ("SOL", 188.0, 2, 2),
    ("XRP", 2.16, 4, 1),
    ("BNB", 692.0, 2, 2),
    ("DOGE", 0.3152, 5, 0),
    ("ADA", 0.8671, 4, 0),
    ("LINK", 22.31, 3, 2),
    ("AVAX", 36.42, 3, 1),
)
_SPECIAL_INDEX = 2000  # beyond all counted coins


@dataclass(frozen=True, slots=True)
class Coin:
    """One invented coin: ``price`` in USD on the first day; decimals of its price tick and its lot.

    It trades on the days [``first``, ``end``) of the sample, which count from 0; None means no first or last day.
    ``symbols`` maps a market to its symbol there; None means the usual symbol in every market. ``volatility`` is
    relative to that of the other coins. Coins with the same ``index`` have the same price path.
    """

    index: int
    name: str
    price: float
    price_decimals: int
    lot_decimals: int
    first: int | None = None
    end: int | None = None
    symbols: Mapping[str, str] | None = None
    delivery: bool = False
    volatility: float = 1.0

    def symbol(self, market: Market) -> str | None:
        """Its spot, perpetual or delivery symbol in the market; None where it does not trade there."""
        if self.symbols is not None:
            return self.symbols.get(market.name)
        return f"{self.name}USD_PERP" if market.inverse else f"{self.name}USDT"

    def listed(self, day: int) -> bool:
        """Whether it trades on the day (0 is the first of the sample)."""
        return (self.first is None or self.first <= day) and (self.end is None or day < self.end)

    @property
    def funding_hours(self) -> int:
        """Hours between funding events."""
        return 4 if self.index == FOUR_HOURLY else 8


def coins(count: int) -> list[Coin]:
    """The first ``count`` coins: well-known names, then ``C011`` and so on."""
    rows = [*_COINS[:count], *((f"C{i + 1:03d}", 0.5 + i % 40, 4, 1) for i in range(len(_COINS), count))]
    return [
        Coin(i, *row, first=LATE_DAY if i == LATE else None, end=DELISTED_DAY if i == DELISTED else None)
        for i, row in enumerate(rows)
    ]


def special_coins(start: date) -> list[Coin]:
    """Symbols that test the rules of names, for a sample that starts at ``start``.

    Spot: LUNAUSDT has no files on days 3 to 9 and is another instrument from day 10 on; NANOUSDT becomes
    XNOUSDT on day 2; BTCUPUSDT is a leveraged token, JUPUSDT and SUPUSDT are not; USDCUSDT is a stable pair.
    Futures: ICPUSDT_SETTLED and BNXUSDTSETTLED have files of days 0 and 1; BTC's delivery contracts of the
    next quarter end with its last Friday (2025-03-28 for the default start); one symbol is not ASCII.
    """
    delivery = _last_friday_of_next_quarter(start)
    until = (delivery - start).days + 1

    def spot(number: int, name: str, price: float, first: int | None = None, end: int | None = None) -> Coin:
        return Coin(_SPECIAL_INDEX + number, name, price, 4, 1, first, end, {"spot": f"{name}USDT"})

    def future(number: int, name: str, price: float, end: int | None, symbol: str) -> Coin:
        return Coin(_SPECIAL_INDEX + number, name, price, 4, 1, None, end, {"um": symbol})

    return [
        spot(0, "LUNA", 72.0, end=RELISTED_GONE),
        spot(1, "LUNA", 7.5, first=RELISTED_BACK),
        spot(2, "NANO", 2.25, end=RENAMED_DAY),
        spot(2, "XNO", 2.25, first=RENAMED_DAY),
        spot(3, "BTCUP", 61.0),
        spot(4, "JUP", 0.84),
        spot(5, "SUP", 0.31),
        replace(spot(6, "USDC", 1.0), volatility=0.01),
        future(7, "ICP", 7.1, SETTLED_DAY, "ICPUSDT_SETTLED"),
        future(8, "BNX", 1.3, SETTLED_DAY, "BNXUSDTSETTLED"),
        future(9, "币安人生", 0.21, None, "币安人生USDT"),
        Coin(
            _SPECIAL_INDEX + 10,
            "BTC",
            94_900.0,
            1,
            3,
            end=until,
            symbols={"um": f"BTCUSDT_{delivery:%y%m%d}", "cm": f"BTCUSD_{delivery:%y%m%d}"},
            delivery=True,
        ),
    ]


def _last_friday_of_next_quarter(day: date) -> date:
    """The next last Friday of a March, June, September or December that is more than two weeks away."""
    year, month = day.year, (day.month + 2) // 3 * 3
    while True:
        following = date(year + month // 12, month % 12 + 1, 1)
        last = following - timedelta(days=1)
        friday = last - timedelta(days=(last.weekday() - 4) % 7)
        if friday > day + timedelta(days=14):
            return friday
        year, month = (year + 1, 3) if month == 12 else (year, month + 3)
