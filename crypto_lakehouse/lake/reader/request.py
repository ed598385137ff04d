"""The checked arguments of a read.

Forms of times are in ``times.py``, symbols in ``symbols.py``, formats of results in ``arguments.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crypto_lakehouse.lake.reader.arguments import check_columns, check_limit, check_listed, check_text
from crypto_lakehouse.lake.reader.ends import made_columns
from crypto_lakehouse.lake.reader.known import Known, Mode, known_range
from crypto_lakehouse.lake.reader.reasons import STATES
from crypto_lakehouse.lake.reader.symbols import SymbolChoice
from crypto_lakehouse.lake.reader.times import Length, Time, TimeRange, time_range
from crypto_lakehouse.lake.storage.describe import check_markets, path_columns, split_table
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.known import AVAILABLE

# In these layers the time column cannot be compared with a time (bronze holds raw integers) or is not market time (the
# logs hold the time at which a file was seen), so a time range selects whole partitions.
_LOGS = ("ledger", "quarantine")
_BY_PARTITION = ("bronze", *_LOGS)


@dataclass(frozen=True, slots=True)
class RowRequest:
    """The checked arguments of ``Lakehouse.scan``. ``is_market_named`` is false if the caller chose no market."""

    table: str
    layer: str
    schema: Schema
    slices: tuple[TableSlice, ...]
    is_market_named: bool
    symbols: SymbolChoice | None
    times: TimeRange
    columns: tuple[str, ...]
    limit: int | None
    known: Known | None = None

    @classmethod
    def parse(
        cls,
        table: str,
        exchange: str,
        market: str | Sequence[str] | None = None,
        symbols: str | Sequence[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        last: Length | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        index: Sequence[str] = (),
        known_by: Time | None = None,
        mode: Mode = "live",
        available_at: bool = False,
    ) -> RowRequest:
        """Check the arguments; the columns of the ``index`` are read as well. Raises like ``Lakehouse.scan``."""
        check_text("table", table, "'gold.bars_1h'")
        layer, name, schema = split_table(table)
        known = [*path_columns(layer, name), *made_columns(layer, name)]
        output = [*check_columns(table, schema, known, columns), *check_columns(table, schema, known, list(index))]
        output += [AVAILABLE] if available_at else []
        wanted = Known.parse(known_by, mode, has_column=AVAILABLE in output)
        markets = check_markets(exchange, check_listed("market", market))
        if not markets:
            raise ValueError("market is an empty list: name a market, or leave it out to read all")
        return cls(
            table,
            layer,
            schema,
            tuple(TableSlice(layer, exchange, each, name) for each in markets),
            market is not None,
            SymbolChoice.parse(symbols),
            time_range(start, end, last) if layer in _LOGS else known_range(time_range(start, end, last), wanted),
            tuple(dict.fromkeys(output)),
            check_limit(limit),
            wanted,
        )

    @property
    def name(self) -> str:
        """Name of the table without its layer."""
        return self.table.partition(".")[2]

    @property
    def exchange(self) -> str:
        """Name of the exchange."""
        return self.slices[0].exchange

    @property
    def markets(self) -> list[str]:
        """Names of the markets."""
        return [each.market for each in self.slices]

    @property
    def time_column(self) -> str | None:
        """The column that the range selects rows by; None if it selects whole partitions."""
        by_partition = self.layer in _BY_PARTITION or self.table in STATES
        return None if by_partition else self.schema.time_column
