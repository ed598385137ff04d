"""Functions that SQL over the lake has in addition to DuckDB's: VWAP, returns and resampling.

Each is a macro of DuckDB. A new one is one entry of ``MACROS``; the examples on the page of SQL show it.
"""

from __future__ import annotations

MACROS = {
    "vwap(quote_volume, base_volume)": "sum(quote_volume) / nullif(sum(base_volume), 0)",
    "returns(price, series, time)": "price / lag(price) OVER (PARTITION BY series ORDER BY time) - 1",
    "log_returns(price, series, time)": "ln(price / lag(price) OVER (PARTITION BY series ORDER BY time))",
    # Silver klines have no column segment or offset: the second part of the union adds them as null.
    "resample(source, width)": """TABLE
        SELECT exchange, market, symbol, segment, time_bucket(width, open_time) AS open_time,
            arg_min(open, stored.open_time) AS open, max(high) AS high, min(low) AS low,
            arg_max(close, stored.open_time) AS close,
            sum(base_volume) AS base_volume, sum(quote_volume) AS quote_volume,
            sum(trade_count)::BIGINT AS trade_count, vwap(quote_volume, base_volume) AS vwap
        FROM (
            SELECT * FROM query_table(source)
            UNION ALL BY NAME SELECT NULL::BIGINT AS segment, NULL::BIGINT AS "offset" WHERE false
        ) AS stored
        WHERE coalesce("offset", 0) = 0
        GROUP BY ALL ORDER BY ALL""",
}
"""Signature and definition of each macro.

``resample`` takes the name of a table with open_time, prices and volumes, or of a WITH query, and an interval. It uses
bars at offset 0 and never joins segments.
"""


def statements() -> str:
    """The SQL that creates the macros."""
    return "; ".join(f"CREATE MACRO {signature} AS {definition}" for signature, definition in MACROS.items())
