"""The public reader: ``Lakehouse``, with which notebooks, programs and other packages read the lake.

This module holds the public methods, their warnings and their results. Argument checks are in ``arguments.py``,
listings in ``describe.py``, the choice of files and the lazy frames over them in ``scan.py``, bars computed on demand
in ``bars.py``, DuckDB in ``sql.py``, locations and credentials in ``storage/store.py``. Nothing here writes to the lake
or imports Dagster; pandas and DuckDB are imported on first use.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog.bars import closing_lag
from crypto_lakehouse.catalog.commands import command_line
from crypto_lakehouse.catalog.instruments import ContractType, InstrumentFilter
from crypto_lakehouse.catalog.near import with_near
from crypto_lakehouse.lake.reader.arguments import (
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
from crypto_lakehouse.lake.reader.bars import CONTINUOUS, find_bars, parse_bars_offset
from crypto_lakehouse.lake.reader.ends import find_ends, made_columns, untraded, with_after_end, without_filled_ends
from crypto_lakehouse.lake.reader.scan import (
    Selection,
    Span,
    by_day,
    check_one_market_each,
    check_unmixed,
    newest_symbols,
    scan_files,
    select_files,
    warn_of_older,
)
from crypto_lakehouse.lake.reader.universe import universe_on
from crypto_lakehouse.lake.storage.damage import reading, unchanged
from crypto_lakehouse.lake.storage.describe import (
    check_markets,
    describe_frame,
    path_columns,
    require_lake,
    split_table,
    tables_frame,
)
from crypto_lakehouse.lake.storage.places import check_places, room_around
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.gold import bars_in
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.ended import AFTER_END

if TYPE_CHECKING:
    import pandas as pd

_LOGS = ("ledger", "quarantine")
# In these layers the time column cannot be compared with a time (bronze holds raw integers) or is not market time (the
# logs hold the time at which a file was seen), so a time range selects whole partitions.
_BY_PARTITION = ("bronze", *_LOGS)
# In these tables too: each partition holds everything that was known at the end of its day, with rows of any time.
_STATES = ("gold.instruments", "gold.symbol_states")
_NAMED = 10


class Lakehouse:
    """A lake, opened for reading.

    Credentials come from boto3's chain: the ``AWS_*`` variables, then the profile AWS_PROFILE (or ``default``) in the
    AWS configuration files. Opening a location without a lake is not an error; the first method that reads it raises
    MissingLakeError.

    Parameters
    ----------
    uri
        A folder or ``s3://bucket/prefix``. Default: LAKEHOUSE_LAKE_URI, else ``./lake``.
    s3_endpoint_url
        The endpoint of an S3 service other than AWS. Default: LAKEHOUSE_S3_ENDPOINT_URL, else boto3's chain. The
        region is LAKEHOUSE_S3_REGION, else boto3's chain.

    Examples
    --------
    >>> lake = Lakehouse("./lake")
    >>> bars = lake.read("gold.bars_1h", market="um", symbols="BTCUSDT", start="2024-01-01", end="2024-02-01")
    """

    def __init__(self, uri: str | os.PathLike[str] | None = None, *, s3_endpoint_url: str | None = None):
        # The same variables and defaults as in settings.py, which imports more and validates every setting.
        location = os.fspath(uri) if uri is not None else os.environ.get("LAKEHOUSE_LAKE_URI") or "./lake"
        endpoint = s3_endpoint_url or os.environ.get("LAKEHOUSE_S3_ENDPOINT_URL") or None
        region = os.environ.get("LAKEHOUSE_S3_REGION") or None
        self._store = LakeStore.open(location, s3_endpoint_url=endpoint, s3_region=region)

    def __repr__(self) -> str:
        return f"Lakehouse({self.uri!r})"

    @property
    def uri(self) -> str:
        """The location of the lake, without credentials."""
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
        """Return rows of ``layer.table`` as a lazy Polars frame; only files of the range are opened.

        Parameters
        ----------
        table
            ``layer.table``, such as ``gold.bars_1h``; ``tables`` lists those that the lake holds.
        exchange
            Name of the exchange.
        market
            One market or several; None means all. If one of the ``symbols`` has rows in several markets, ``market``
            is required. Passing it also saves the search for such symbols.
        symbols
            One symbol or several; None means all.
        start, end
            Range of the table's time column, UTC: ``start`` inclusive, ``end`` exclusive. Text is ISO 8601; naive
            times are UTC. In bronze, ledger, quarantine, gold.instruments and gold.symbol_states the range selects
            whole partitions: all that overlap it. A gold bar is stored in the partition of the day on which it
            closes, but the range selects it by its open_time.
        columns
            Names of the columns to return. Default: the columns of the schema, then ``exchange`` and ``market``.
            ``date`` (``month`` in monthly tables) and ``is_after_end`` are returned only if named here.

        Returns
        -------
        polars.LazyFrame
            Rows in order of partition, market, then row of the file. A table without data gives an empty frame with
            the same columns. The frame reads the files that exist at the time of this call.

        Raises
        ------
        KeyError
            The table, exchange, market or column is unknown.
        ValueError
            A symbol or time is malformed, ``end`` is before ``start``, or rows of several markets would be mixed.
        MissingLakeError
            There is no lake at this location.

        Notes
        -----
        In gold.continuous_1m and gold bars, rows are forward-filled for up to two gap thresholds after a delisting or
        before a gap. Once the newest partition of gold.symbol_states says that the series is over (``has_ended``),
        filled rows after its last trade are left out.

        In silver these rows stay. The archive continues to publish funding, open interest and mark, index and premium
        prices of settled contracts; the column ``is_after_end`` of these tables is true where, by the newest partition
        of gold.symbol_states, the symbol was not traded at that time, and null where the market has no such partition.

        If ``symbols`` are given, a month of which many days are read comes from its month file, if that exists and is
        up to date; the rows are the same. If a file is damaged, ``collect`` raises Polars' error, which does not name
        the file; ``read`` names it.

        Examples
        --------
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
    ) -> tuple[pl.LazyFrame, list[Selection]]:
        """Return the frame of ``scan`` and its files by market; unless ``ordered``, a month may be sorted by symbol."""
        check_text("table", table, "'gold.bars_1h'")
        layer, name, schema = split_table(table)
        markets = check_markets(exchange, check_listed("market", market))
        wanted = check_symbols(symbols)
        first, last = time_range(start, end)
        from_path = path_columns(layer, name)
        output = check_columns(table, schema, [*from_path, *made_columns(layer, name)], columns)
        bars = bars_in(layer, name)
        span = Span(first, last, closing_lag(bars) if bars else timedelta(0))
        slices = [TableSlice(layer, exchange, each, name) for each in markets]
        selections = [select_files(self._store, each, span, by_month=wanted is not None) for each in slices]
        if not any(selection.stored for selection in selections):
            require_lake(self._store)
        files = [file for selection in selections for file in selection.files]
        frame = scan_files(self._store, schema, files, from_path)
        if wanted is not None:
            frame = frame.filter(pl.col("symbol").is_in(wanted))
        if layer not in _BY_PARTITION and table not in _STATES:
            time_column = pl.col(schema.time_column)
            if first is not None:
                frame = frame.filter(time_column >= pl.lit(first, dtype=pl.Datetime("us", "UTC")))
            if last is not None:
                frame = frame.filter(time_column < pl.lit(last, dtype=pl.Datetime("us", "UTC")))
        nothing_traded = untraded(layer, name)
        if nothing_traded is not None and files:
            ends = find_ends(self._store, exchange, markets)
            if wanted is not None:
                ends = ends.filter(pl.col("symbol").is_in(wanted))
            if last is not None:
                ends = ends.filter(pl.col("last_time") < last)
            frame = without_filled_ends(frame, ends, nothing_traded)
        several = market is None and sum(bool(selection.files) for selection in selections) > 1
        if several and ordered:
            check_unmixed(table, output, selections)
            if wanted is not None:
                with reading(self._store, [file.path for file in files]):
                    check_one_market_each(table, frame.select("symbol", "market").unique().collect())
        if AFTER_END in output:
            frame = with_after_end(self._store, exchange, markets, name, frame)
        return (by_day(frame, files, wanted or ()) if ordered else frame).select(output), selections

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
        """Return rows of ``layer.table`` in memory, sorted by market and primary key.

        Parameters
        ----------
        table, exchange, market, symbols, start, end, columns
            As in ``scan``.
        format
            ``pandas`` (times are tz-aware, UTC), ``polars`` or ``arrow``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            If a run replaces files during the read, they are listed and read again.

        Raises
        ------
        DamagedFile
            A file cannot be read. The error names the file and the command that rebuilds it.
        KeyError, ValueError, MissingLakeError
            As in ``scan``.

        Warns
        -----
        UserWarning
            Symbols have no rows in the range; markets have no partitions (if they were named, or if none has any);
            partitions of the range are missing between the oldest and the newest one of a market; partitions that an
            older version built have no values in columns of this one.

        Examples
        --------
        >>> lake.read("silver.funding_rates", market="um", symbols="BTCUSDT", start="2024-01-01")
        """
        check_format(format)
        check_text("table", table, "'gold.bars_1h'")
        layer, name, schema = split_table(table)
        output = check_columns(table, schema, [*path_columns(layer, name), *made_columns(layer, name)], columns)
        # Sorting by text is slow, so a single market is not sorted by its name.
        markets = check_markets(exchange, check_listed("market", market))
        order = [*(["market"] if len(markets) > 1 else []), *schema.primary_key]
        wanted = check_symbols(symbols)
        # These columns show whether a file holds rows of another day than its path says.
        placed = () if room_around(layer, name) is None else (schema.time_column, *path_columns(layer, name))
        needed = list(dict.fromkeys([*output, *order, *(["symbol"] if wanted else []), *placed]))

        def listed() -> tuple[pl.LazyFrame, list[Selection]]:
            return self._scan(table, exchange, market, wanted, start, end, needed, ordered=False)

        def collected() -> tuple[pl.DataFrame, list[Selection]]:
            scanned, selections = listed()
            files = [file for selection in selections for file in selection.files]
            if market is None:
                check_unmixed(table, output, selections)
            with reading(self._store, [file.path for file in files]):
                frame = scanned.collect()
            if placed:
                check_places(self._store, layer, name, schema, frame, files)
            return frame, selections

        frame, selections = unchanged(collected, lambda: listed()[1])
        if market is None and wanted:
            check_one_market_each(table, frame)
        for warning in self._missing(table, exchange, selections, named=market is not None):
            warnings.warn(warning, stacklevel=2)
        if older := warn_of_older(layer, schema, frame.select(output), selections):
            warnings.warn(f"{table} in {self.uri} {older}", stacklevel=2)
        absent = sorted(set(wanted or ()) - set(frame["symbol"].unique())) if wanted else []
        if absent and any(selection.stored for selection in selections):
            known = newest_symbols(self._store, schema, selections)
            names = ", ".join(with_near(symbol, known) for symbol in absent)
            warnings.warn(f"{table} in {self.uri} has no rows in this range for: {names}", stacklevel=2)
        return as_format(frame.sort(order, maintain_order=True).select(output), format)

    def _missing(self, table: str, exchange: str, selections: Sequence[Selection], named: bool) -> Iterator[str]:
        """Yield warnings: markets without partitions (if ``named``, or if none has any), and missing partitions."""
        layer, _, _ = split_table(table)
        without = [selection.slice.market for selection in selections if not selection.stored]
        if without and (named or len(without) == len(selections)):
            yield (
                f"{table} of {exchange}/{', '.join(without)} in {self.uri} has no partitions: build it first with"
                f" {command_line('backfill')}"
            )
        # A log covers many tables; a partition of gold.instruments or gold.symbol_states holds the whole state, so a
        # missing one hides no rows.
        if layer in _LOGS or table in _STATES:
            return
        for selection in selections:
            if keys := selection.missing:
                names = ", ".join(keys[:_NAMED]) + (f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")
                command = selection.slice.backfill_command(keys[0], keys[-1])
                yield (
                    f"{table} of {exchange}/{selection.slice.market} in {self.uri} has no partition for {names}: their"
                    f" rows are missing from the result. Build them with: {command}"
                )

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
        """Return bars of any kind whose open_time is within [start, end), sorted by primary key.

        Parameters
        ----------
        symbols
            One symbol or several; None means all.
        bars
            An interval (``3m`` to ``1w``, ``1mo``), or an activity and its threshold: ``dollar:1000000``
            (quote_volume), ``volume:100`` (base_volume), ``tick:5000`` (trades).
        exchange
            Name of the exchange.
        market
            One market; required.
        offset
            Shifts the windows of an interval by whole minutes (``5m``, ``1h``); shorter than the interval.
        start, end
            Range of open_time, UTC: ``start`` inclusive, ``end`` exclusive.
        format
            ``pandas``, ``polars`` or ``arrow``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The columns of gold.bars_1h or, for activity bars, of gold.bars_dollar_1000000 (see ``describe``). The
            bars are read from a gold table if one holds exactly these bars, otherwise computed from
            gold.continuous_1m; the rows are the same. Bars that close after the newest partition are not returned. A
            symbol that has ended has no bar after its last trade, as in ``scan``.

        Raises
        ------
        ValueError
            The kind is unknown, the offset, a symbol or a time is malformed, or ``market`` is missing.
        TypeError
            An argument that must be text is not.
        KeyError
            The exchange or market is unknown.
        MissingLakeError
            There is no lake at this location.

        Warns
        -----
        UserWarning
            The market has no minutes, a symbol has no bars in the range, or days between the oldest and the newest
            partition are missing: bars over these days are partial.

        Examples
        --------
        >>> lake.bars(["FILUSDT"], "1h", market="um", offset="5m", start="2023-08-01", end="2023-10-01")
        """
        check_format(format)
        check_text("bars", bars, "'1h' or 'dollar:1000000'")
        check_text("offset", offset, "'5m' or '1h'")
        kind, shift = parse_bars_offset(bars, offset)
        if market is None:
            stored = self._store.folders(f"gold/{CONTINUOUS}/exchange={exchange}")
            names = ", ".join(name.removeprefix("market=") for name in stored)
            known = f"gold.{CONTINUOUS} has {names}" if names else "the markets are spot, um, cm"
            raise ValueError(f"lake.bars reads one market: pass market='um', for example; {known}")
        check_one_market("lake.bars", exchange, market)
        wanted = check_symbols(symbols)
        first, last = time_range(start, end)
        result = find_bars(self._store, exchange, market, kind, shift, wanted, first, last)
        source = f"gold.{CONTINUOUS} of {exchange}/{market} in {self.uri}"
        absent = sorted(set(wanted or ()) - set(result.rows["symbol"].unique()))
        if result.no_minutes:
            require_lake(self._store)
            warnings.warn(f"{source} has no partitions: build it first with {command_line('backfill')}", stacklevel=2)
        elif absent:
            warnings.warn(f"{source} has no {bars} bars in this range for: {', '.join(absent)}", stacklevel=2)
        if result.holes:
            days = ", ".join(result.holes)
            warnings.warn(f"{source} has no partition for {days}: bars over these days are partial", stacklevel=2)
        return as_format(result.rows, format)

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
        """Return the instruments that were listed on the UTC day ``on``, including those delisted since.

        Parameters
        ----------
        market
            One market.
        on
            UTC day.
        quote
            One quote asset or several (``USDT``); None means all.
        contract_type
            ``spot``, ``perpetual`` or ``delivery``, one or several; None means all.
        stable_pairs, leveraged, settled
            Whether to include pairs of stablecoins, leveraged tokens and settled contracts. The archive publishes the
            history of a settled contract under a new name (``ICPUSDT_SETTLED``), often next to the old one. The new
            name did not exist while the contract was traded, so it is returned only with ``settled=True``.
        exchange
            Name of the exchange.
        format
            ``pandas``, ``polars`` or ``arrow``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The columns of gold.instruments, one row per instrument, sorted by symbol, with what was known on that day:
            ``last_day`` is ``on``, and later delistings and renames do not show.

        Raises
        ------
        KeyError
            The exchange or market is unknown.
        ValueError
            The day, quote or contract type is malformed.
        MissingPartition
            gold.instruments has no partition for this day or a later one, or its newest partition was built before
            the archive listed files of these days. The error gives the command that builds it.

        Warns
        -----
        UserWarning
            A settled contract is left out that the archive has only under its new name.

        Examples
        --------
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
        """Run a DuckDB query; tables are named ``layer.table``, the session's time zone is UTC.

        Parameters
        ----------
        query
            One statement that reads: SELECT, WITH, PIVOT, DESCRIBE, SUMMARIZE or EXPLAIN. It cannot write, and cannot
            read files outside the lake.
        format
            ``pandas``, ``polars`` or ``arrow``.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            The rows of the query. If it returns a column name twice (such as ``a.*, b.*`` of a join), the later
            columns are ``open_1``, ``open_2``.

        Raises
        ------
        ValueError
            The query is not one reading statement, or it reads other files.
        KeyError
            A table does not exist.
        DamagedFile
            A file cannot be read; the error names it.
        QueryLimit
            The query reached the limit of memory or time (a LakeError).
        duckdb.Error
            DuckDB refuses the query.

        Notes
        -----
        Every table has the columns ``exchange``, ``market`` and ``date`` (``month`` in monthly tables); a condition on
        these skips files. In gold bars ``date`` is the day on which the bar closes: for long bars and offset grids it
        may be after the day of open_time. Rows filled after the end of a series are left out as in ``scan``.
        ``SHOW ALL TABLES`` and ``information_schema`` list the tables of the lake by layer; entries in DuckDB's
        database ``temp`` are internal. If a run replaces files during a query, the query is run again.

        A query stops at the limits LAKEHOUSE_SQL_MEMORY (such as ``4GB``: one limit for DuckDB, which sorts and groups
        on disk beyond it, and one of the same size for the returned rows) and LAKEHOUSE_SQL_TIMEOUT (seconds), and at
        Ctrl-C.

        Examples
        --------
        >>> lake.sql("SELECT symbol, max(high) FROM gold.bars_1h WHERE market = 'um' GROUP BY symbol")
        """
        check_format(format)
        from crypto_lakehouse.lake.reader.sql import run_sql, to_polars

        result = run_sql(self._store, query)
        return result if format == "arrow" else as_format(to_polars(result), format)

    def tables(self) -> pl.DataFrame:
        """List the tables of the lake, one row per layer, table, exchange and market.

        Returns
        -------
        polars.DataFrame
            layer, table, exchange, market, ``partitions`` (their number), ``first`` and ``last`` (UTC days or months of
            the oldest and newest partition, inclusive), ``bytes`` (size of the Parquet files).

        Raises
        ------
        MissingLakeError
            There is no lake at this location.

        Examples
        --------
        >>> lake.tables()
        """
        listed = tables_frame(self._store)
        if listed.is_empty():
            require_lake(self._store)
        return listed

    def describe(self, table: str) -> pl.DataFrame:
        """List the columns of ``layer.table``.

        Returns
        -------
        polars.DataFrame
            column, type (Arrow), unit, key (true for columns of the primary key), nullable, doc.

        Raises
        ------
        KeyError
            The table is unknown.

        Examples
        --------
        >>> lake.describe("gold.bars_1h")
        """
        layer, name, _ = split_table(table)
        return describe_frame(layer, name)
