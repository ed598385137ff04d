"""What pages list: tables, faults by day, refused files and rows, and replaced days of a symbol."""

from __future__ import annotations

from typing import Any

import polars as pl

from crypto_lakehouse.api.answers import Service
from crypto_lakehouse.api.call import CALL
from crypto_lakehouse.api.scopes import allowed_markets, visible
from crypto_lakehouse.catalog import FEEDS
from crypto_lakehouse.lake.reader.status import TableStatus, lake_status
from crypto_lakehouse.lake.storage.describe import existing_tables
from crypto_lakehouse.schemas import schema_of

REVISIONS, REJECTED = "ledger.revisions", "quarantine.rejected"
_PLACE = ("layer", "table", "exchange", "market")
_FAULTS = ("holes", "failed", "quarantined")
_KINDS = {"holes": "missing", "failed": "failed", "quarantined": "quarantined"}


def table_rows(service: Service) -> list[dict[str, Any]]:
    """The tables that the token allows, and whether each is made of archive files of symbols."""
    rows = visible(service.lake.tables()).to_dicts()
    for row in rows:
        row["is_of_files"] = (row["exchange"], row["market"], row["table"]) in FEEDS
    return rows


def quality_rows(service: Service) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """The completeness of each table and market, and the markets."""
    rows = [
        {
            **{name: getattr(status, name) for name in (*_PLACE, "first", "last", "partitions")},
            **{name: len(getattr(status, name)) for name in _FAULTS},
        }
        for status in _allowed(lake_status(service.store))
    ]
    return rows, sorted({(row["exchange"], row["market"]) for row in rows})


def days_with_faults(service: Service, exchange: str, market: str, day: str) -> list[dict[str, Any]]:
    """The faults of a market by day or month, newest first; those of one of them if ``day`` is not empty.

    ``day`` selects keys that start with it, so a month has the faults of its days.
    """
    rows: list[dict[str, Any]] = []
    for status in _allowed(lake_status(service.store, None, [(exchange, market)])):
        for name in _FAULTS:
            for entry in getattr(status, name):
                key, _, detail = entry.partition(" ")
                symbol, _, reason = detail.partition(": ")
                table = f"{status.layer}.{status.table}"
                rows.append({"day": key, "table": table, "symbol": symbol, "fault": _KINDS[name], "reason": reason})
    rows += _refused(service, exchange, market)
    chosen = [row for row in rows if row["day"].startswith(day)]
    chosen.sort(key=lambda row: (row["table"], row["symbol"], row["fault"]))
    chosen.sort(key=lambda row: row["day"], reverse=True)
    return chosen


def _allowed(statuses: list[TableStatus]) -> list[TableStatus]:
    places = [{name: getattr(status, name) for name in _PLACE} for status in statuses]
    frame = visible(pl.DataFrame(places, schema=dict.fromkeys(_PLACE, pl.String)))
    allowed = set(frame.iter_rows())
    return [status for status in statuses if tuple(getattr(status, name) for name in _PLACE) in allowed]


def _refused(service: Service, exchange: str, market: str) -> list[dict[str, Any]]:
    """Rows that were refused, counted by day, table, symbol and reason."""
    columns = ("layer", "table", "symbol", "period", "reason", "source_line")
    rows = _logged(service, REJECTED, exchange, market, None, columns)
    counts = rows.filter(pl.col("source_line").is_not_null()).group_by(*columns[:5]).len()
    token = CALL.get().token
    return [
        {
            "day": row["period"],
            "table": f"{row['layer']}.{row['table']}",
            "symbol": row["symbol"],
            "fault": "rows refused",
            "reason": f"{row['len']} row{'s'[: row['len'] > 1]}: {row['reason']}",
        }
        for row in counts.iter_rows(named=True)
        if token is None or token.allows_table(f"{row['layer']}.{row['table']}")
    ]


def revisions_of(service: Service, exchange: str, market: str, symbol: str) -> pl.DataFrame:
    """The replaced days and months of a symbol's minutes; no rows if the token does not allow to see them."""
    rows = _logged(service, REVISIONS, exchange, market, symbol, schema_of("ledger", "revisions").column_names)
    return rows.filter(pl.col("table") == "klines_1m")


def _logged(service: Service, table: str, exchange: str, market: str, symbol: str | None, columns: Any) -> pl.DataFrame:
    layer, _, name = table.partition(".")
    token, call = CALL.get().token, CALL.get()
    schema = dict.fromkeys(columns, pl.String)
    if name not in existing_tables(service.store, layer) or not (token is None or token.allows_table(table)):
        return pl.DataFrame(schema=schema)
    allowed_markets(table, exchange, [market])
    count = len(call.warnings)
    rows = service.lake.scan(table, exchange=exchange, market=market, symbols=symbol, columns=list(columns)).collect()
    # That nothing was refused or replaced is no reason to warn.
    del call.warnings[count:]
    return rows
