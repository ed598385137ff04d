"""Words that a shell offers for arguments: tables, markets.

They come from the catalogue and never from the lake, because a key press must not wait for a listing.
"""

from __future__ import annotations

from crypto_lakehouse.catalog import MARKETS, tables_of


def complete_market(incomplete: str) -> list[str]:
    """Markets of all exchanges."""
    return [name for name in dict.fromkeys(name for _, name in MARKETS) if name.startswith(incomplete)]


def complete_table(incomplete: str) -> list[str]:
    """Tables as ``layer.table``."""
    from crypto_lakehouse.schemas import table_names

    return [name for name in (f"{layer}.{table}" for layer, table in table_names()) if name.startswith(incomplete)]


def complete_built(incomplete: str) -> list[str]:
    """Tables without their layer, which ``backfill`` builds: those of the archive, and gold tables."""
    from crypto_lakehouse.schemas import table_names

    archived = (table for exchange, market in MARKETS for table in tables_of(exchange, market))
    gold = (table for layer, table in table_names() if layer == "gold")
    return [name for name in dict.fromkeys([*archived, *gold]) if name.startswith(incomplete)]
