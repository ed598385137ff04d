"""Rows of a table as a stream or in pages, funding events, and refused rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from crypto_lakehouse.api.answers import BATCH_ROWS, Service
from crypto_lakehouse.api.cursor import Cursor, request_digest
from crypto_lakehouse.api.describing import with_rows
from crypto_lakehouse.api.parameters import Funding, Rows, names, note
from crypto_lakehouse.api.problems import Problem
from crypto_lakehouse.api.routes.contents import TablePath
from crypto_lakehouse.api.scopes import allowed_markets
from crypto_lakehouse.api.states import FileStates, file_states
from crypto_lakehouse.catalog import Cadence, parse_partition
from crypto_lakehouse.catalog.bars import closing_lag
from crypto_lakehouse.lake.reader.times import utc
from crypto_lakehouse.lake.storage.describe import path_columns, split_table
from crypto_lakehouse.schemas.gold import bars_in

_BAR = {"symbol": "BTCUSDT", "open_time": "2024-12-31T00:00:00.000000Z", "close": 96643.4}
_RATE = {"symbol": "BTCUSDT", "funding_time": "2024-12-31T00:00:00.006000Z", "funding_rate": 0.000002}


def rows_routes(service: Service) -> APIRouter:
    """The endpoints that return rows of tables."""
    router = APIRouter(tags=["rows"])

    @router.get("/v1/tables/{table}/rows", responses=with_rows(_BAR))
    async def rows(request: Request, table: TablePath, query: Annotated[Rows, Query()]) -> Response:
        """Rows of a table in order of partition, market, then row of the file.

        Without ``limit`` all rows are streamed. With ``limit`` the answer is a page, and Next-Cursor says where the
        next one starts.
        """
        return await service.compute(lambda: _answer(service, request, table, query))

    @router.get(
        "/v1/quarantine", responses=with_rows({"table": "klines_1m", "symbol": "BTCUSDT", "reason": "duplicate"})
    )
    async def quarantine(request: Request, query: Annotated[Rows, Query()]) -> Response:
        """Files and rows that bronze and silver have refused, each with the reason."""
        return await service.compute(lambda: _answer(service, request, "quarantine.rejected", query))

    @router.get("/v1/funding", responses=with_rows(_RATE))
    async def funding(request: Request, query: Annotated[Funding, Query()]) -> Response:
        """Funding events of perpetual contracts, sorted by market, symbol and hour."""

        def work() -> Response:
            markets = allowed_markets("silver.funding_rates", query.exchange, query.market)
            note("silver.funding_rates", query, markets)
            states = file_states(service.store, [("silver", "funding_rates")], query.exchange, markets, *query.bounds)
            digest = request_digest(states.digest, query)
            if (unchanged := service.unchanged(request, query.format, digest)) is not None:
                return unchanged
            rows = service.lake.funding(
                query.symbols,
                market=markets,
                exchange=query.exchange,
                columns=names(query.columns),
                limit=query.limit,
                format="arrow",
                **query.range,
                **query.versions,
            )
            return service.frame(request, query.format, rows, states.cache_control, digest)

        return await service.compute_alone(work)

    return router


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a page starts: the key of a partition and the rows of it to leave out."""

    key: str | None
    skip: int


def _answer(service: Service, request: Request, table: str, query: Rows) -> Response:
    layer, name, _ = split_table(table)
    markets = allowed_markets(table, query.exchange, query.market)
    bars = bars_in(layer, name)
    lag = closing_lag(bars) if bars else timedelta(0)
    states = file_states(service.store, [(layer, name)], query.exchange, markets, *query.bounds, lag)
    note(table, query, markets)
    key_column = next((each for each in path_columns(layer, name) if each in ("date", "month")), None)
    digest = request_digest(
        table, query.exchange, markets, query.symbols, query.columns, *query.range.values(), query.versions
    )
    cursor = None if query.cursor is None else Cursor.parse(query.cursor, digest)
    facts = request_digest(states.digest, digest, query.limit, query.cursor)
    if (unchanged := service.unchanged(request, query.format, facts)) is not None:
        return unchanged
    start, last = _start(query, cursor, states)
    position = _Position(cursor.key, cursor.skip) if cursor else _Position(None, 0)
    if cursor is not None and cursor.state != _state(states, cursor.key):
        raise Problem("lake-changed", "a run has replaced files of the partition at which the page starts")
    wanted = query.column_names
    reader = service.lake.record_batches(
        table,
        exchange=query.exchange,
        market=markets,
        symbols=query.symbols,
        start=_resumed(start, position, key_column, lag),
        end=query.end,
        last=last,
        columns=_columns(table, wanted, key_column),
        **query.versions,
        batch_rows=BATCH_ROWS if query.limit is None else min(BATCH_ROWS, max(query.limit + 1, 1_000)),
    )
    batches, schema = _after(reader, position, key_column), reader.schema
    is_shown = key_column is None or key_column in (wanted or ())
    shown = schema if is_shown else schema.remove(schema.get_field_index(key_column))
    if query.limit is None:
        stream = (batch.select(shown.names) for batch in batches)
        return service.rows(request, query.format, shown, stream, facts, states.cache_control)
    page, end = _page(batches, schema, query.limit, position, key_column)
    text = None
    if end is not None:
        text = Cursor(
            digest, end.key, end.skip, _state(states, end.key), None if start is None else start.isoformat()
        ).text()
    pieces = page.select(shown.names).combine_chunks().to_batches(max_chunksize=BATCH_ROWS)
    return service.rows(request, query.format, shown, pieces, facts, states.cache_control, text)


def _state(states: FileStates, key: str | None) -> str:
    return states.digest[:16] if key is None else states.of_key(key)


def _start(query: Rows, cursor: Cursor | None, states: FileStates) -> tuple[datetime | None, str | None]:
    """The start of the range, and ``last`` where the reader has to resolve it."""
    times = query.times
    if times.last is None:
        return times.start, None
    if cursor is not None:
        return utc("start", cursor.start), None
    if query.as_of is not None:
        if query.limit is not None:
            raise Problem("wrong-argument", "pages of a lake as it was need a start: pass start instead of last")
        return None, query.last
    start, _ = times.within(file.end for file in states.files if file.slice.table != "symbol_states")
    # Without a partition the reader says so.
    return start, None if start is not None else query.last


def _resumed(start: datetime | None, position: _Position, key_column: str | None, lag: timedelta) -> datetime | None:
    """The start of a read that goes on at a partition: rows of a bar start before the day on which it closes."""
    if position.key is None or key_column is None:
        return start
    try:
        day, _ = parse_partition(position.key, Cadence.MONTHLY if key_column == "month" else Cadence.DAILY)
        first = datetime.combine(day, time.min, UTC) - lag
    except (ValueError, OverflowError):
        raise Problem("wrong-cursor", "the cursor is not one that this server has returned") from None
    return first if start is None else max(start, first)


def _columns(table: str, wanted: list[str] | None, key_column: str | None) -> list[str] | None:
    """The columns to read: those of the answer, and that of the partition, which the cursor counts in."""
    if key_column is None:
        return wanted
    if wanted is None:
        _, _, schema = split_table(table)
        return [*schema.column_names, "exchange", "market", key_column]
    return list(dict.fromkeys([*wanted, key_column]))


def _after(reader: pa.RecordBatchReader, position: _Position, key_column: str | None) -> Iterator[pa.RecordBatch]:
    """The batches from a position on."""
    skip = position.skip
    for batch in reader:
        if position.key is not None and key_column is not None:
            keys = pc.cast(batch[key_column], pa.string())
            earlier = pc.sum(pc.less(keys, position.key)).as_py() or 0
            same = pc.sum(pc.equal(keys, position.key)).as_py() or 0
            taken = min(skip, same)
            batch = batch.slice(earlier + taken)
        else:
            taken = min(skip, batch.num_rows)
            batch = batch.slice(taken)
        skip -= taken
        if batch.num_rows:
            yield batch


def _page(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, limit: int, position: _Position, key_column: str | None
) -> tuple[pa.Table, _Position | None]:
    """The rows of a page, and where the next one starts; None after the last row."""
    kept: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        kept.append(batch)
        count += batch.num_rows
        if count > limit:
            break
    table = pa.Table.from_batches(kept, schema)
    if count <= limit:
        return table, None
    page = table.slice(0, limit)
    if key_column is None:
        return page, _Position(None, position.skip + limit)
    keys = pc.cast(page[key_column], pa.string())
    key = keys[-1].as_py()
    of_key = pc.sum(pc.equal(keys, key)).as_py()
    return page, _Position(key, of_key + (position.skip if key == position.key else 0))
