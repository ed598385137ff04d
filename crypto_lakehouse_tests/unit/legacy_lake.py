"""Small lakes for tests of the export in the legacy tool's shape: candles and funding through parser and cleaner.

Rows go the real way: CSV text, parse, clean, a lake in a folder, export.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from crypto_lakehouse.catalog import feed, parse_partition, partition_keys
from crypto_lakehouse.catalog.bars import parse_bars_list
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.cli import app
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.export_legacy import Exported, ExportPlan, LegacyExport
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.continuous import GapRule
from crypto_lakehouse.transforms.gold.legacy import Profile
from crypto_lakehouse.transforms.parse import parse_csv
from crypto_lakehouse.transforms.silver.funding import clean_funding_rates
from crypto_lakehouse.transforms.silver.klines import clean_klines

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
START = datetime(2024, 5, 6, tzinfo=UTC)  # a Monday
LEGACY, DEFAULT = Profile.LEGACY, Profile.DEFAULT
both_profiles = pytest.mark.parametrize("profile", [LEGACY, DEFAULT])
HOLO = "holo_1m_klines/futures_um"

# (time, open, high, low, close, volume, quote_volume), as the archive's columns are named.
Candle = tuple[datetime, float, float, float, float, float, float]
Event = tuple[datetime, float]


def flat(time: datetime, price: float, volume: float = 1.0) -> Candle:
    """A candle at one price."""
    return (time, price, price, price, price, volume, volume * price)


def epoch_ms(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def silver(market: str, table: str, symbol: str, lines: Sequence[str]) -> pl.DataFrame:
    """Silver rows of one archive file with these lines."""
    of = feed("binance", market, table)
    parsed = parse_csv("".join(f"{line}\n" for line in lines).encode(), of.file_format)
    bronze = parsed.rows.with_columns(symbol=pl.lit(symbol), source_key=pl.lit("k"), source_sha256=pl.lit("s"))
    clean = clean_klines if table == "klines_1m" else clean_funding_rates
    cleaned = clean(bronze, of, date(2000, 1, 1), date(2100, 1, 1))
    assert not parsed.rejected
    assert cleaned.rejected.is_empty()
    return cleaned.rows


def minutes(market: str, symbol: str, candles: Sequence[Candle]) -> pl.DataFrame:
    lines = []
    for time, o, h, low, c, volume, quote in candles:
        opened = epoch_ms(time)
        lines.append(f"{opened},{o},{h},{low},{c},{volume},{opened + 59_999},{quote},{int(volume > 0)},0,0,0")
    return silver(market, "klines_1m", symbol, lines)


def events(symbol: str, funding: Sequence[Event]) -> pl.DataFrame:
    return silver("um", "funding_rates", symbol, [f"{epoch_ms(time)},8,{rate}" for time, rate in funding])


def store(lake: Path, market: str, table: str, rows: pl.DataFrame, days: Sequence[date] = ()) -> None:
    """Write silver rows; the partitions from the first to the last, or those of ``days``."""
    time = "open_time" if table == "klines_1m" else "funding_time"
    of = feed("binance", market, table)
    keys = [day.isoformat() for day in days]
    if not keys:
        first, last = rows[time].min(), rows[time].max()
        assert isinstance(first, datetime)
        assert isinstance(last, datetime)
        keys = partition_keys(first.date(), last.date() + DAY, of.cadence)
    for key in keys:
        begin, end = parse_partition(key, of.cadence)
        part = rows.filter((pl.col(time).dt.date() >= begin) & (pl.col(time).dt.date() < end))
        write_partition(LakeStore.open(str(lake)), TableSlice("silver", "binance", market, table).partition(key), part)


def export(
    folder: Path,
    market: str = "um",
    profile: Profile = LEGACY,
    bars: str = "",
    symbols: str = "",
    first: date = date(2000, 1, 1),
    end: date = date(2050, 1, 1),
) -> list[Exported]:
    """Export the lake in ``folder`` to ``folder/out``."""
    rule = GapRule()
    plan = ExportPlan(first, end, SymbolFilter.parse(symbols), parse_bars_list(bars), rule, profile)
    lake, out = (LakeStore.open(str(folder / name)) for name in ("lake", "out"))
    return list(LegacyExport(lake, out, market, plan).run())


def out(folder: Path, path: str) -> pl.DataFrame:
    return pl.read_parquet(folder / "out" / path)


def names(folder: Path, below: str = HOLO) -> list[str]:
    return sorted(path.stem for path in (folder / "out" / below).iterdir())


def run(folder: Path, *arguments: str) -> Result:
    fixed = ["export", "legacy", "--out", str(folder / "out"), "--from", "2024-05-01", "--to", "2024-05-31"]
    return CliRunner().invoke(app, [*fixed, *arguments], env={"LAKEHOUSE_LAKE_URI": str(folder / "lake")})
