"""The public reader: ``Lakehouse``, by which notebooks, programs and other rooms read the lake.

Here belongs what a reader says and gets. Checks of arguments are in ``arguments.py``, listings in
``describe.py``, files and frames over them in ``scan.py``, bars made on demand in ``bars.py``, DuckDB
is in ``sql.py``, places and credentials are in ``store.py``. Nothing here writes, and nothing here may
import Dagster; pandas and DuckDB are imported when they are used.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog.bars import bars_of_table
from crypto_lakehouse.catalog.instruments import ContractType, InstrumentFilter
from crypto_lakehouse.catalog.near import with_near
from crypto_lakehouse.lake.arguments import (
    Format,
    Time,
    as_format,
    check_columns,
    check_format,
    check_listed,
    check_one_market,
    check_symbols,
    check_text,
    time_range,
    utc,
)
from crypto_lakehouse.lake.bars import CONTINUOUS, closing_lag, find_bars, parse_bars_offset
from crypto_lakehouse.lake.damage import reading, unchanged
from crypto_lakehouse.lake.describe import (
    check_markets,
    describe_frame,
    path_columns,
    require_lake,
    split_table,
    tables_frame,
)
from crypto_lakehouse.lake.ends import find_ends, made_columns, untraded, with_after_end, without_filled_ends
from crypto_lakehouse.lake.places import check_places, room_around
from crypto_lakehouse.lake.scan import (
    Found,
    Span,
    by_day,
    check_one_market_each,
    check_unmixed,
    find_parts,
    lacking,
    newest_symbols,
    scan_parts,
)
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.lake.universe import universe_on
from crypto_lakehouse.transforms.ended import AFTER_END

if TYPE_CHECKING:
    import pandas as pd

_LOGS = ("ledger", "quarantine")
# In these layers the time column is not comparable (bronze: raw integers) or is not market time (when a
# file was seen), so a range of time means partitions.
_BY_PARTITION = ("bronze", *_LOGS)
# So it does here: each partition is all that was known at the end of its day, of whenever its rows are.
_STATES = ("gold.instruments", "gold.symbol_states")
_NAMED = 10


class Lakehouse:
    """A lake, opened for reading.

    ``uri`` is a folder or ``s3://bucket/prefix``; by default LAKEHOUSE_LAKE_URI, else ``./lake``.
    ``s3_endpoint_url`` is for S3 other than AWS; by default LAKEHOUSE_S3_ENDPOINT_URL. The region is
    LAKEHOUSE_S3_REGION. Where these are not set, endpoint and region come from boto3's chain, as credentials do:
    ``AWS_*`` variables, then the profile in AWS_PROFILE (or ``default``) of the AWS files. A place
    without a lake is no error here, but one of each method that reads.

    >>> lake = Lakehouse("./lake")
    >>> bars = lake.read("gold.bars_1h", market="um", symbols="BTCUSDT", start="2024-01-01", end="2024-02-01")
    """

    def __init__(self, uri: str | os.PathLike[str] | None = None, *, s3_endpoint_url: str | None = None):
        # The same variables and defaults as in environment.py, which takes more to import and to be valid.
        place = os.fspath(uri) if uri is not None else os.environ.get("LAKEHOUSE_LAKE_URI") or "./lake"
        endpoint = s3_endpoint_url or os.environ.get("LAKEHOUSE_S3_ENDPOINT_URL") or None
        region = os.environ.get("LAKEHOUSE_S3_REGION") or None
        self._store = LakeStore.open(place, s3_endpoint_url=endpoint, s3_region=region)

    def __repr__(self) -> str:
        return f"Lakehouse({self.uri!r})"

    @property
    def uri(self) -> str:
        """Where the lake is; without credentials."""
        return self._store.uri

    def scan(
        self,
        table: str,
        *,
        exchange: str = "binance",
        market: str | Sequence[str] | None = None,
        symbols: str | Sequence[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.LazyFrame:
        """Rows of ``layer.table`` as a lazy Polars frame; only the files of the range are ever opened.

        ``start`` is inclusive, ``end`` exclusive; text is ISO 8601, naive times are UTC. They bound the
        table's time column; in bronze, ledger, quarantine, gold.instruments and gold.symbol_states they choose
        whole partitions (any that overlaps the range). Gold bars lie in the partition of the day on which they
        close; those that open in the range are found all the same. ``market`` None means all markets; where one of
        the ``symbols`` has rows in several, market must be given, which also spares looking for that. Without
        ``columns`` the result has the columns of the schema, then ``exchange`` and ``market``; ``date`` (``month``
        for monthly tables) can be asked for by name. Rows come in the order of partitions, markets, then rows
        of the file.
        Of gold.continuous_1m and gold bars a symbol's rows end with its last trade, once it is known to be its last:
        what was filled for up to two gap thresholds after a delisting, or before a gap, is left out as soon as the
        newest partition of gold.symbol_states says that the series is over (``has_ended``). Rows of silver stay: of
        funding, open interest and mark, index and premium prices, which the archive goes on to have of a settled
        contract, the column ``is_after_end``, asked for by name, says which are of a time in which the symbol was not
        traded, as far as that partition knows.
        Where ``symbols`` are named, months of which many days are asked for are read from their month files, if these
        are there and up to date: the rows are the same. What is read are the files as they are at this call.
        A table with no data gives an empty frame with the right columns. Over a damaged file ``collect`` raises what
        Polars says of it, without its name, which ``read`` tells.

        Raises KeyError on an unknown table, exchange, market or column, ValueError on a malformed symbol or time,
        where end is before start, and where rows of several markets would be mixed, MissingLakeError where there is no
        lake.

        >>> lake.scan("silver.klines_1m", market="um", symbols=["BTCUSDT"], start="2024-01-01").collect()
        """
        return self._scan(table, exchange, market, symbols, start, end, columns, ordered=True)[0]

    def _scan(
        self,
        table: str,
        exchange: str,
        market: str | Sequence[str] | None,
        symbols: str | Sequence[str] | None,
        start: Time | None,
        end: Time | None,
        columns: Sequence[str] | None,
        ordered: bool,
    ) -> tuple[pl.LazyFrame, list[Found]]:
        """``scan`` and its files by market; unless ``ordered``, rows of a month may be in order of symbol."""
        check_text("table", table, "'gold.bars_1h'")
        layer, name, schema = split_table(table)
        markets = check_markets(exchange, check_listed("market", market))
        wanted = check_symbols(symbols)
        first, last = time_range(start, end)
        from_path = path_columns(layer, name)
        output = check_columns(table, schema, [*from_path, *made_columns(layer, name)], columns)
        bars = bars_of_table(name) if layer == "gold" else None
        span = Span(first, last, closing_lag(bars) if bars else timedelta(0))
        found = [find_parts(self._store, layer, name, exchange, one, span, wanted is not None) for one in markets]
        if not any(one.stored for one in found):
            require_lake(self._store)
        parts = [part for one in found for part in one.parts]
        frame = scan_parts(self._store, schema, parts, from_path)
        if wanted is not None:
            frame = frame.filter(pl.col("symbol").is_in(wanted))
        if layer not in _BY_PARTITION and table not in _STATES:
            time_column = pl.col(schema.time_column)
            if first is not None:
                frame = frame.filter(time_column >= pl.lit(first, dtype=pl.Datetime("us", "UTC")))
            if last is not None:
                frame = frame.filter(time_column < pl.lit(last, dtype=pl.Datetime("us", "UTC")))
        nothing_traded = untraded(layer, name)
        if nothing_traded is not None and parts:
            ends = find_ends(self._store, exchange, markets)
            if wanted is not None:
                ends = ends.filter(pl.col("symbol").is_in(wanted))
            if last is not None:
                ends = ends.filter(pl.col("last_time") < last)
            frame = without_filled_ends(frame, ends, nothing_traded)
        several = market is None and sum(bool(one.parts) for one in found) > 1
        if several and ordered:
            check_unmixed(table, output, found)
            if wanted is not None:
                with reading(self._store, [part.path for part in parts]):
                    check_one_market_each(table, frame.select("symbol", "market").unique().collect())
        if AFTER_END in output:
            frame = with_after_end(self._store, exchange, markets, name, frame)
        return (by_day(frame, parts, wanted or ()) if ordered else frame).select(output), found

    def read(
        self,
        table: str,
        *,
        exchange: str = "binance",
        market: str | Sequence[str] | None = None,
        symbols: str | Sequence[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        columns: Sequence[str] | None = None,
        format: Format = "pandas",
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Rows of ``layer.table`` in memory, sorted by market and primary key; arguments as in ``scan``.

        ``format`` is ``pandas`` (times are tz-aware, UTC), ``polars`` or ``arrow``. A UserWarning names symbols that
        have no row in the range, markets that have no partition (if they were named, or none has), and partitions of
        the range that lack between the oldest and the newest one of a market. Where files are replaced while they are
        read, they are listed and read again. Raises like ``scan``, and DamagedFile that names a file which cannot be
        read and says what makes it whole.

        >>> lake.read("silver.funding_rates", market="um", symbols="BTCUSDT", start="2024-01-01")
        """
        check_format(format)
        check_text("table", table, "'gold.bars_1h'")
        layer, name, schema = split_table(table)
        output = check_columns(table, schema, [*path_columns(layer, name), *made_columns(layer, name)], columns)
        # Text is slow to sort by, and one market needs no order.
        markets = check_markets(exchange, check_listed("market", market))
        order = [*(["market"] if len(markets) > 1 else []), *schema.primary_key]
        wanted = check_symbols(symbols)
        # By these it shows whether a file is of another day than its place.
        placed = () if room_around(layer, name) is None else (schema.time_column, *path_columns(layer, name))
        needed = list(dict.fromkeys([*output, *order, *(["symbol"] if wanted else []), *placed]))

        def listed() -> tuple[pl.LazyFrame, list[Found]]:
            return self._scan(table, exchange, market, wanted, start, end, needed, ordered=False)

        def collected() -> tuple[pl.DataFrame, list[Found]]:
            scanned, found = listed()
            if market is None:
                check_unmixed(table, output, found)
            with reading(self._store, [part.path for one in found for part in one.parts]):
                frame = scanned.collect()
            if placed:
                check_places(self._store, layer, name, schema, frame, (part for one in found for part in one.parts))
            return frame, found

        frame, found = unchanged(collected, lambda: listed()[1])
        if market is None and wanted:
            check_one_market_each(table, frame)
        for lack in self._lacks(table, exchange, found, named=market is not None):
            warnings.warn(lack, stacklevel=2)
        absent = sorted(set(wanted or ()) - set(frame["symbol"].unique())) if wanted else []
        if absent and any(one.stored for one in found):
            there = newest_symbols(self._store, schema, found)
            words = ", ".join(with_near(symbol, there) for symbol in absent)
            warnings.warn(f"{table} in {self.uri} has no rows in this range for: {words}", stacklevel=2)
        return as_format(frame.sort(order, maintain_order=True).select(output), format)

    def _lacks(self, table: str, exchange: str, found: Sequence[Found], named: bool) -> Iterator[str]:
        """In words, which markets that were ``named`` are not there, or that none is, and which partitions lack."""
        layer, name, _ = split_table(table)
        without = [one.market for one in found if not one.stored]
        if without and (named or len(without) == len(found)):
            yield f"{table} of {exchange}/{', '.join(without)} in {self.uri} has no partition: make it first"
        # Logs are of many tables; a partition of the others tells the whole state of its day.
        if layer in _LOGS or table in _STATES:
            return
        for one in found:
            if keys := lacking(layer, name, exchange, one):
                told = ", ".join(keys[:_NAMED]) + (f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")
                yield f"{table} of {exchange}/{one.market} in {self.uri} lacks {told}: their rows are not given"

    def bars(
        self,
        symbols: str | Sequence[str] | None,
        bars: str,
        *,
        exchange: str = "binance",
        market: str | None = None,
        offset: str = "0m",
        start: Time | None = None,
        end: Time | None = None,
        format: Format = "pandas",
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Bars of any kind, whose open_time is within [start, end), sorted by primary key.

        ``bars`` is an interval (``3m`` to ``1w``, ``1mo``) or an activity and its threshold:
        ``dollar:1000000`` (quote_volume), ``volume:100`` (base_volume), ``tick:5000`` (trades).
        ``offset`` shifts the windows of an interval by whole minutes (``5m``, ``1h``) and must be shorter
        than it. Columns are those of gold.bars_1h or, of activity bars, of gold.bars_dollar_1000000; see
        ``describe``. ``start``, ``end``, ``symbols`` and ``format`` are as in ``read``; ``market`` must be given.

        Rows are read from a gold table where one holds just these bars, and else made from
        gold.continuous_1m; they are the same. A symbol that has ended has no bar after its last trade, as in ``scan``.
        Bars that close after the newest of its partitions are not
        given. Days without a partition between the oldest and the newest are named in a UserWarning, and
        bars over them lack their minutes.

        Raises ValueError on an unknown kind, a bad offset, symbol or time or without a market, TypeError on what is no
        text, KeyError on an unknown exchange or market, MissingLakeError where there is no lake.

        >>> lake.bars(["FILUSDT"], "1h", market="um", offset="5m", start="2023-08-01", end="2023-10-01")
        """
        check_format(format)
        check_text("bars", bars, "'1h' or 'dollar:1000000'")
        check_text("offset", offset, "'5m' or '1h'")
        kind, shift = parse_bars_offset(bars, offset)
        if market is None:
            stored = self._store.folders(f"gold/{CONTINUOUS}/exchange={exchange}")
            there = ", ".join(name.removeprefix("market=") for name in stored)
            of = f"gold.{CONTINUOUS} has {there}" if there else "there are spot, um, cm"
            raise ValueError(f"lake.bars takes the bars of one market: give market='um', for example; {of}")
        check_one_market("lake.bars", exchange, market)
        wanted = check_symbols(symbols)
        first, last = time_range(start, end)
        found = find_bars(self._store, exchange, market, kind, shift, wanted, first, last)
        source = f"gold.{CONTINUOUS} of {exchange}/{market} in {self.uri}"
        absent = sorted(set(wanted or ()) - set(found.rows["symbol"].unique()))
        if found.no_minutes:
            require_lake(self._store)
            warnings.warn(f"{source} has no partition yet: make it first", stacklevel=2)
        elif absent:
            warnings.warn(f"{source} gives no {bars} bars in this range for: {', '.join(absent)}", stacklevel=2)
        if found.holes:
            warnings.warn(f"{source} lacks {', '.join(found.holes)}: bars over these days are partial", stacklevel=2)
        return as_format(found.rows, format)

    def universe(
        self,
        market: str,
        *,
        on: Time,
        quote: str | Sequence[str] | None = None,
        contract_type: str | Sequence[str] | None = None,
        stable_pairs: bool = True,
        leveraged: bool = False,
        settled: bool = False,
        exchange: str = "binance",
        format: Format = "pandas",
    ) -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """The instruments that were listed on the UTC day ``on``, those that are delisted by now included.

        One row each, in the columns of gold.instruments, sorted by symbol, with what was known on that day: no
        later delisting or rename shows (``last_day`` is ``on``). ``quote`` (``USDT``) and ``contract_type``
        (``spot``, ``perpetual``, ``delivery``) narrow it down to one or some; ``stable_pairs``, ``leveraged``
        and ``settled`` tell whether stable pairs, leveraged tokens and settled contracts stay. The archive files
        the history of a settled contract under a new name (``ICPUSDT_SETTLED``), often beside the old one: nobody
        knew that name while it was traded, so it shows only when asked for. Where there is no file under the old
        name, a warning says what is left out.

        Raises KeyError on an unknown exchange or market, ValueError on a malformed day, quote or contract type,
        and MissingPartition where no instruments are in the lake for this day or a later one, or the newest ones were
        made before anything of these days was listed, with what makes them.

        >>> lake.universe("um", on="2022-06-01", quote="USDT", contract_type="perpetual")
        """
        check_format(format)
        check_one_market("lake.universe", exchange, market)
        day = utc("on", on)
        if day is None:
            raise ValueError("on must be a day such as 2024-01-31")
        kinds = [contract_type] if isinstance(contract_type, str) else contract_type or []
        wanted = InstrumentFilter(
            quotes=(quote,) if isinstance(quote, str) else tuple(quote or ()),
            contract_types=tuple(ContractType.parse(kind) for kind in kinds),
            stable_pairs=stable_pairs,
            leveraged=leveraged,
            settled=settled,
        )
        return as_format(universe_on(self._store, exchange, market, day.date(), wanted), format)

    def sql(self, query: str, *, format: Format = "pandas") -> pd.DataFrame | pl.DataFrame | pa.Table | Any:
        """Answer a DuckDB query; tables are named ``layer.table``, the session's time zone is UTC.

        A query is one statement that reads: SELECT, WITH, PIVOT, DESCRIBE, SUMMARIZE or EXPLAIN. It can write
        nothing, and read no files outside of the lake.
        Every table has ``exchange``, ``market`` and ``date`` (``month`` for monthly tables) as columns;
        a condition on these skips files. Minutes and bars that were filled after the end of a series are left out as in
        ``scan``. Of gold bars ``date`` is the day on which they close: for long
        bars and offset grids it may be after the day of open_time. Where a query gives a name twice (as
        ``a.*, b.*`` of a join does), the later columns are ``open_1``, ``open_2``.
        ``SHOW ALL TABLES`` and ``information_schema`` tell the tables that are in the lake, by layer; what DuckDB lists
        in its database ``temp`` stands behind these. A query over files that a run replaces meanwhile is tried again.
        A query ends at the limits of LAKEHOUSE_SQL_MEMORY (``4GB``; for DuckDB, and for the rows of the answer; what
        does not fit is sorted and grouped on disk) and LAKEHOUSE_SQL_TIMEOUT (seconds), and at Ctrl-C.

        Raises ValueError on a query that does anything else, KeyError on a table there is not, DamagedFile that names
        a file which cannot be read, QueryLimit (a LakeError) at a limit, duckdb.Error on what DuckDB refuses.

        >>> lake.sql("SELECT symbol, max(high) FROM gold.bars_1h WHERE market = 'um' GROUP BY symbol")
        """
        check_format(format)
        from crypto_lakehouse.lake.sql import run_sql, to_polars

        result = run_sql(self._store, query)
        return result if format == "arrow" else as_format(to_polars(result), format)

    def tables(self) -> pl.DataFrame:
        """What is there, a row per slice of a table: layer, table, exchange, market, partitions, first, last, bytes.

        ``first`` and ``last`` are keys of partitions, ``partitions`` is their number, ``bytes`` those of
        their files. Raises MissingLakeError where there is no lake.

        >>> lake.tables()
        """
        found = tables_frame(self._store)
        if found.is_empty():
            require_lake(self._store)
        return found

    def describe(self, table: str) -> pl.DataFrame:
        """Columns of ``layer.table``: column, type, unit, key, nullable, doc. Raises KeyError if unknown.

        ``key`` tells which columns are the primary key.

        >>> lake.describe("gold.bars_1h")
        """
        layer, name, _ = split_table(table)
        return describe_frame(layer, name)
