"""Export bars and instruments to a Parquet data catalog of nautilus_trader, without that package.

This module knows the folders, names, columns and metadata of its files, and how it stores decimal numbers. Bars come
from ``export_bars.py``. The command line owns messages to the user.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crypto_lakehouse.catalog import find_market
from crypto_lakehouse.catalog.instruments import parse_symbol
from crypto_lakehouse.catalog.symbol_facts import ContractType
from crypto_lakehouse.lake.reader.lakehouse import Lakehouse
from crypto_lakehouse.pipeline.export_bars import EXCHANGE, MINUTES, finished_bars

VENUE = "BINANCE"
_UNITS = {"m": "MINUTE", "h": "HOUR", "d": "DAY", "w": "WEEK", "mo": "MONTH"}
_PRICES = ("open", "high", "low", "close")
_SCALE = 16
"""Numbers are stored in 10**-16, in sixteen bytes; the field calls this the high precision mode."""
_VOLUME_DIGITS = 8
"""The archive writes volumes with at most eight decimals."""
_LARGEST = 17_014_118_346_046
"""nautilus_trader accepts no price above this number."""
_ROWS_PER_GROUP = 5_000
_MARK = (b"exported_by", b"crypto-lakehouse")
_FIRST_NAME = "1970-01-01T00-00-00-000000000Z"

_NUMBER = pa.binary(_SCALE)
_BARS = pa.schema(
    [
        *(pa.field(name, _NUMBER, nullable=False) for name in (*_PRICES, "volume")),
        *(pa.field(name, pa.uint64(), nullable=False) for name in ("ts_event", "ts_init")),
    ]
)
_NAMES = pa.dictionary(pa.int16(), pa.string())
_LIMITS = ("max_quantity", "min_quantity", "max_notional", "min_notional", "max_price", "min_price")


@dataclass(frozen=True, slots=True)
class Digits:
    """Numbers of decimals of the prices and of the volumes of a symbol: nautilus_trader's precisions."""

    price: int
    size: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """A symbol as nautilus_trader's adapter of Binance names it: ``BTCUSDT``, or ``BTCUSDT-PERP`` of a perpetual."""

    symbol: str
    base: str
    quote: str
    is_perpetual: bool

    @property
    def id(self) -> str:
        """The id of the instrument: ``BTCUSDT-PERP.BINANCE``."""
        return f"{self.symbol}{'-PERP' if self.is_perpetual else ''}.{VENUE}"

    @property
    def path(self) -> str:
        """The path of its definition below the folder of the catalog."""
        kind = "crypto_perpetual" if self.is_perpetual else "currency_pair"
        return f"data/{kind}/{self.id}/{_FIRST_NAME}_{_FIRST_NAME}.parquet"

    def bar_type(self, timeframe: str) -> str:
        """The type of its bars, which is also the name of their folder.

        >>> Instrument("BTCUSDT", "BTC", "USDT", is_perpetual=True).bar_type("15m")
        'BTCUSDT-PERP.BINANCE-15-MINUTE-LAST-EXTERNAL'
        """
        number, unit = cast("re.Match[str]", re.fullmatch(r"(\d+)(\w+)", timeframe)).groups()
        return f"{self.id}-{number}-{_UNITS[unit]}-LAST-EXTERNAL"


def find_instrument(market: str, symbol: str) -> Instrument | None:
    """The instrument of a symbol; None for contracts with delivery and settled ones, whose dates are not stored."""
    facts = parse_symbol(find_market(EXCHANGE, market), symbol)
    is_written = facts.contract_type in (ContractType.SPOT, ContractType.PERPETUAL)
    if not is_written or facts.is_settled or not facts.base_asset or not facts.quote_asset:
        return None
    return Instrument(symbol, facts.base_asset, facts.quote_asset, facts.contract_type is ContractType.PERPETUAL)


def find_digits(lake: Lakehouse, market: str, symbol: str) -> Digits:
    """The digits of all minutes of a symbol in the lake, so that they are the same for every range and timeframe."""
    minutes = lake.scan(MINUTES, market=market, symbols=symbol).select(*_PRICES, "base_volume").collect()
    price = max(_digits(minutes[name], _SCALE) for name in _PRICES)
    return Digits(price, _digits(minutes["base_volume"], _VOLUME_DIGITS))


def _digits(numbers: pl.Series, most: int) -> int:
    """The least number of decimals that writes all numbers, or ``most``.

    >>> _digits(pl.Series([97000.5, 0.25, 3.0]), 8), _digits(pl.Series([0.1 + 0.2]), 8)
    (2, 8)
    """
    values = numbers.to_numpy()
    for digits in range(most):
        # Exact: the quotient of two whole numbers below 2**53 is the float that is nearest to the decimal number.
        values = values[np.rint(values * 10.0**digits) / 10.0**digits != values]
        if not values.size:
            return digits
    return most


def instrument_file(instrument: Instrument, digits: Digits, maker_fee: Decimal, taker_fee: Decimal) -> bytes:
    """The definition of an instrument. What the lake does not know (margins, limits) is zero or missing."""
    assets = {"base_currency": instrument.base, "quote_currency": instrument.quote}
    if instrument.is_perpetual:
        assets["settlement_currency"] = instrument.quote
    columns: list[tuple[str, pa.DataType, object]] = [
        ("id", pa.dictionary(pa.int64(), pa.string()), instrument.id),
        ("raw_symbol", pa.string(), instrument.symbol),
        *((name, _NAMES, asset) for name, asset in assets.items()),
        *([("is_inverse", pa.bool_(), False)] if instrument.is_perpetual else []),
        ("price_precision", pa.uint8(), digits.price),
        ("size_precision", pa.uint8(), digits.size),
        ("price_increment", _NAMES, _step(digits.price)),
        ("size_increment", _NAMES, _step(digits.size)),
        ("multiplier", _NAMES, "1"),
        ("lot_size", _NAMES, None),
        *((name, _NAMES, None) for name in _LIMITS),
        *((name, pa.string(), "0") for name in ("margin_init", "margin_maint")),
        ("maker_fee", pa.string(), str(maker_fee)),
        ("taker_fee", pa.string(), str(taker_fee)),
        ("info", pa.binary(), b"null"),
        *((name, pa.uint64(), 0) for name in ("ts_event", "ts_init")),
    ]
    name = "CryptoPerpetual" if instrument.is_perpetual else "CurrencyPair"
    schema = pa.schema(
        [(column, kind) for column, kind, _ in columns], metadata=dict([(b"class", name.encode()), _MARK])
    )
    return _parquet(pa.Table.from_pylist([{column: value for column, _, value in columns}], schema))


def _step(digits: int) -> str:
    """The least step of a price or a size: ``0.01``."""
    return f"{Decimal(1).scaleb(-digits):f}"


def bars_file(instrument: Instrument, timeframe: str, digits: Digits, bars: pl.DataFrame) -> tuple[str, bytes]:
    """The path of a file of bars below the folder of the catalog, and its bytes.

    A bar has the time at which its window ends, so that a backtest does not see it earlier.
    """
    times = bars["end_time"].dt.epoch("ns").cast(pl.UInt64).to_arrow()
    numbers = [_fixed(instrument.symbol, bars[name], digits.price) for name in _PRICES]
    volumes = _fixed(instrument.symbol, bars["base_volume"], digits.size)
    metadata = {
        b"bar_type": instrument.bar_type(timeframe).encode(),
        b"instrument_id": instrument.id.encode(),
        b"price_precision": b"%d" % digits.price,
        b"size_precision": b"%d" % digits.size,
        _MARK[0]: _MARK[1],
    }
    table = pa.Table.from_arrays([*numbers, volumes, times, times], schema=_BARS.with_metadata(metadata))
    name = "_".join(f"{_time_name(bars['end_time'][row])}" for row in (0, -1))
    return f"data/bar/{instrument.bar_type(timeframe)}/{name}.parquet", _parquet(table)


def _time_name(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H-%M-%S-%f}000Z"


def _fixed(symbol: str, numbers: pl.Series, digits: int) -> pa.Array:
    """The numbers, rounded to ``digits`` decimals, as whole numbers of 10**-16."""
    whole = np.rint(numbers.to_numpy() * 10.0**digits)
    largest = cast("float", numbers.max())
    if largest > _LARGEST or whole.max() >= 2.0**63:
        raise ValueError(f"{numbers.name} {largest:g} of {symbol} is too large for nautilus_trader: leave it out")
    # An Arrow decimal of 128 bits is the same whole number, in the same order of bytes.
    factor = pa.scalar(Decimal(10 ** (_SCALE - digits)), pa.decimal128(_SCALE + 1))
    scaled = pc.multiply(pa.array(whole.astype(np.int64)).cast(pa.decimal128(19)), factor)
    return pa.FixedSizeBinaryArray.from_buffers(_NUMBER, len(scaled), [None, scaled.buffers()[1]])


def _parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=_ROWS_PER_GROUP)
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a catalog: the files that an export wrote, which the next one replaces, and those of others."""

    own: tuple[Path, ...]
    foreign: tuple[Path, ...]

    @classmethod
    def read(cls, path: Path) -> Folder:
        """The files in the folder, which may be missing. Raises ValueError if one is not Parquet."""
        files: dict[bool, list[Path]] = {True: [], False: []}
        for file in sorted(path.glob("*.parquet")):
            try:
                metadata = pq.read_schema(file).metadata or {}
            except pa.ArrowInvalid as error:
                raise ValueError(f"{file} is not a Parquet file, so the catalog cannot be used: {error}") from None
            files[metadata.get(_MARK[0]) == _MARK[1]].append(file)
        return cls(tuple(files[True]), tuple(files[False]))

    def digits(self, needed: Digits) -> Digits:
        """The digits for bars: those of the newest definition of another program, which stays; else the needed ones.

        Raises ValueError if that definition has fewer digits than the bars need.
        """
        if not self.foreign:
            return needed
        row = pq.ParquetFile(self.foreign[-1]).read(columns=["price_precision", "size_precision"]).to_pylist()[-1]
        defined = Digits(row["price_precision"], row["size_precision"])
        if defined.price < needed.price or defined.size < needed.size:
            raise ValueError(
                f"{self.foreign[-1]} has {defined.price} decimals of prices and {defined.size} of sizes, but the bars"
                f" need {needed.price} and {needed.size}: define the instrument with these, or choose another --out"
            )
        return defined

    def own_fees(self) -> tuple[Decimal, Decimal]:
        """The fees of makers and takers in the definition of an earlier export; zero without one."""
        if not self.own:
            return Decimal(0), Decimal(0)
        row = pq.ParquetFile(self.own[-1]).read(columns=["maker_fee", "taker_fee"]).to_pylist()[-1]
        return Decimal(row["maker_fee"]), Decimal(row["taker_fee"])

    def overlapping(self, name: str) -> list[Path]:
        """The files of other programs with bars in the time of the file ``name``. Times are in the names."""
        first, last = Path(name).stem.split("_")
        ranges = {path: path.stem.split("_") for path in self.foreign if path.stem.count("_") == 1}
        return [path for path, (start, end) in ranges.items() if start <= last and first <= end]


@dataclass(frozen=True, slots=True)
class NautilusExport:
    """An export of bars of one market and timeframe with open_time in [start, end) to the catalog in ``out``.

    A fee that is None is that of an earlier export of the instrument, or zero.
    """

    lake: Lakehouse
    out: Path
    market: str
    timeframe: str
    start: date | None
    end: date | None
    maker_fee: Decimal | None
    taker_fee: Decimal | None

    def files(self, instrument: Instrument) -> dict[str, bytes]:
        """The definition of an instrument and its bars, by path; nothing without a finished bar.

        A definition that another program wrote stays. Raises ValueError if files of other programs do not fit.
        """
        symbol = instrument.symbol
        bars = finished_bars(self.lake, self.market, symbol, self.timeframe, self.start, self.end)
        if bars.is_empty():
            return {}
        needed = find_digits(self.lake, self.market, symbol)
        defined = self._folder(instrument.path)
        path, content = bars_file(instrument, self.timeframe, defined.digits(needed), bars)
        if overlapping := self._folder(path).overlapping(path):
            raise ValueError(
                f"{overlapping[0]} of another program has bars of these days: move it, or choose another --out"
            )
        files = {path: content}
        if not defined.foreign:
            given = (self.maker_fee, self.taker_fee)
            fees = [own if fee is None else fee for fee, own in zip(given, defined.own_fees(), strict=True)]
            files[instrument.path] = instrument_file(instrument, needed, *fees)
        return files

    def replaced(self, paths: Iterable[str]) -> list[Path]:
        """The files of earlier exports in the folders of these files, which replace them."""
        return [old for path in paths for old in self._folder(path).own if old != self.out / path]

    def _folder(self, path: str) -> Folder:
        return Folder.read((self.out / path).parent)
