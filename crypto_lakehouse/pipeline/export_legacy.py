"""Export silver minutes to the folders of the legacy tool (BHDS), symbol by symbol.

This module decides which files an export writes, replaces and removes. ``transforms/gold/legacy.py`` computes their
content; the command line owns messages to the user.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from crypto_lakehouse import interrupts
from crypto_lakehouse.catalog import MARKETS, Cadence, check_symbol, no_market, partition_keys
from crypto_lakehouse.catalog.bars import Bars, TimeBars, offset_name
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.damage import reading
from crypto_lakehouse.lake.storage.partitions import collect_partitions, list_keys, scan_partitions
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.continuous import GapRule, continuous_minutes, no_state
from crypto_lakehouse.transforms.gold.legacy import EVENT, Profile, legacy_bars, legacy_series, with_legacy_completion

EXCHANGE = "binance"
_MINUTES, _FUNDING = "klines_1m", "funding_rates"
# The legacy tool's folder of each market; it joins funding rates on all but spot.
FOLDERS = {"spot": "spot", "um": "futures_um", "cm": "futures_cm"}
_NOT_FUNDED = ("spot",)


def check_market(market: str) -> None:
    """Raise KeyError, which suggests similar names, if the legacy tool does not know the market."""
    if market not in FOLDERS:
        raise KeyError(no_market(market, [MARKETS[EXCHANGE, name] for name in FOLDERS]))


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What to export: the UTC days [first, end) of ``symbols``, as minutes and as ``bars``.

    Raises ValueError if the legacy tool does not know the bars, or if the range has no day.
    """

    first: date
    end: date
    symbols: SymbolFilter
    bars: tuple[Bars, ...]
    rule: GapRule
    profile: Profile

    def __post_init__(self) -> None:
        if self.end <= self.first:
            raise ValueError(f"no day to export: the range starts on {self.first} and ends before {self.end}")
        for bars in self.bars:
            if not isinstance(bars, TimeBars) or bars.interval.length is None:
                raise ValueError(f"the legacy tool has no bars {bars.name}; give time bars such as 1h:5m,5m")

    @property
    def grids(self) -> list[tuple[TimeBars, timedelta]]:
        """Each (bars, offset) once: ``1h`` and ``1h:5m`` both have offset 0."""
        grids = {
            (bars.interval.name, offset): (bars, offset)
            for bars in self.bars
            if isinstance(bars, TimeBars)
            for offset in bars.offsets
        }
        return list(grids.values())


@dataclass(frozen=True, slots=True)
class Exported:
    """The result for one symbol: paths written and removed below the output folder, in order.

    Both are empty for a symbol without a traded minute.
    """

    market: str
    symbol: str
    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class LegacyExport:
    """The export of one market.

    ``days`` and ``months`` are the stored partitions of silver.klines_1m and silver.funding_rates.
    ``missing_days`` and ``missing_months`` are the missing partitions between the first and the last stored day: the
    export writes their minutes as if nothing had been traded, and their funding as 0 (legacy) or null (default).
    ``available`` are all symbols of these days, ``symbols`` the selected ones. Raises KeyError if the legacy tool does
    not know the market, LakeError if the lake cannot be read.
    """

    def __init__(self, lake: LakeStore, out: LakeStore, market: str, plan: ExportPlan) -> None:
        check_market(market)
        self.market, self._lake, self._out, self._plan = market, lake, out, plan
        self._market = MARKETS[EXCHANGE, market]
        self._funded = market not in _NOT_FUNDED
        self._silver = TableSlice("silver", EXCHANGE, market, _MINUTES)
        self._funding = TableSlice("silver", EXCHANGE, market, _FUNDING)
        stored = list_keys(lake, self._silver)
        keys = partition_keys(plan.first, plan.end, Cadence.DAILY)
        self.days = [key for key in keys if key in stored]
        self.missing_days = [key for key in keys if key not in stored and self._is_inside(key)]
        self._read = [self._silver.partition(key).path for key in self.days]
        self._minutes = scan_partitions(lake, self._silver, self.days)
        self.months, self.missing_months = self._find_months(lake) if self._funded else ([], [])
        self._rates = scan_partitions(lake, self._funding, self.months) if self._funded else None
        self._read += [self._funding.partition(key).path for key in self.months]
        with reading(lake, self._read):
            names = self._minutes.select(pl.col("symbol").unique()).collect(engine="streaming")
        self.available = sorted(check_symbol(name) for name in names["symbol"])
        self.symbols = plan.symbols.select(self.available)
        self._with_rates = self._symbols_with_rates() if self._funded else set()

    def build_minutes(self, days: Sequence[str] = ()) -> str:
        """The command that builds the minutes of days; by default of all days of the range."""
        chosen = days or partition_keys(self._plan.first, self._plan.end, Cadence.DAILY)
        return self._silver.backfill_command(chosen[0], chosen[-1])

    def build_rates(self, months: Sequence[str]) -> str:
        """The command that builds the funding rates of months."""
        return self._funding.backfill_command(months[0], months[-1])

    def run(self) -> Iterator[Exported]:
        """Export one symbol after another; each file gets its name when it is complete.

        A new export replaces a symbol's files of an earlier export. It also removes the symbol's ``SP`` files of
        segments that no longer exist from the folders that it writes, so that no reader takes them for a part of the
        new series. It touches nothing else. Raises LakeError if a file cannot be read or written.
        """
        folder = FOLDERS[self.market]
        before = [
            file.path
            for output in (f"holo_1m_klines/{folder}", *(_bars_folder(folder, *grid) for grid in self._plan.grids))
            for file in self._out.list(output, recursive=False)
        ]
        for symbol in self.symbols:
            interrupts.ask()
            written = tuple(self._write(symbol, folder))
            earlier = re.compile(rf"SP[0-9]+_{re.escape(symbol)}\.parquet")
            stale = [path for path in before if written and earlier.fullmatch(path.rpartition("/")[2])]
            removed = tuple(path for path in stale if path not in written)
            for path in removed:
                self._out.delete(path)
            yield Exported(self.market, symbol, written, removed)

    def _write(self, symbol: str, folder: str) -> Iterator[str]:
        for name, minutes in self._series(symbol):
            file = f"{name}.parquet"
            yield self._publish(f"holo_1m_klines/{folder}/{file}", minutes.drop(EVENT, strict=False))
            for bars, offset in self._plan.grids:
                rows = legacy_bars(minutes, bars.interval, offset, self._plan.profile)
                yield self._publish(f"{_bars_folder(folder, bars, offset)}/{file}", rows)

    def _series(self, symbol: str) -> list[tuple[str, pl.DataFrame]]:
        legacy = self._plan.profile is Profile.LEGACY
        is_symbol = pl.col("symbol") == symbol
        with reading(self._lake, self._read):
            minutes = self._minutes.filter(is_symbol).drop("date", "close_time").collect()
            rates = None if self._rates is None else self._rates.filter(is_symbol).collect()
        if legacy:
            minutes = with_legacy_completion(minutes)
        rows = continuous_minutes(
            minutes.drop("source"),
            rates,
            no_state(),
            None,
            self._plan.rule,
            inverse=self._market.inverse,
            legacy=legacy,
        ).rows
        if not rows.height:
            return []
        has_file = not legacy or symbol in self._with_rates
        return legacy_series(rows, symbol, self._market, with_funding=self._funded, has_file=has_file)

    def _is_inside(self, day: str) -> bool:
        return bool(self.days) and self.days[0] < day < self.days[-1]

    def _find_months(self, lake: LakeStore) -> tuple[list[str], list[str]]:
        stored = list_keys(lake, self._funding)
        needed = list(dict.fromkeys(day[: len("YYYY-MM")] for day in (*self.days, *self.missing_days)))
        return [m for m in needed if m in stored], sorted(m for m in needed if m not in stored)

    def _symbols_with_rates(self) -> set[str]:
        """Symbols with a funding rate in any month of the lake, because the legacy tool reads all its files."""
        months = sorted(list_keys(self._lake, self._funding))
        names = collect_partitions(
            self._lake, self._funding, months, lambda rows: rows.select(pl.col("symbol").unique())
        )
        return set(names["symbol"])

    def _publish(self, path: str, frame: pl.DataFrame) -> str:
        data = io.BytesIO()
        frame.write_parquet(data)
        self._out.write_bytes_atomic(path, data.getvalue())
        return path


def _bars_folder(folder: str, bars: TimeBars, offset: timedelta) -> str:
    return f"resampled_klines/{folder}/{bars.interval.name}/{offset_name(offset)}"
