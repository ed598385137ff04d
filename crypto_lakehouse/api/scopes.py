"""What the token of a request may read. Every endpoint asks here before it reads."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from crypto_lakehouse.api.call import CALL
from crypto_lakehouse.api.problems import Problem
from crypto_lakehouse.catalog import MARKETS


def allowed_markets(table: str, exchange: str, markets: Sequence[str] | None) -> list[str] | None:
    """The markets to read for a request; None if the token allows all and none is named.

    Without named markets, a token of some markets reads these. Raises Problem if the token does not allow the table or
    a named market.
    """
    require_table(table)
    token = CALL.get().token
    if token is None or token.markets is None:
        return list(markets) if markets else None
    for market in markets or ():
        if not token.allows_market(exchange, market):
            raise Problem("not-allowed", f"the token {token.name} may not read the market {exchange}/{market}")
    if markets:
        return list(markets)
    own = [market for of, market in MARKETS if of == exchange and token.allows_market(of, market)]
    if not own:
        raise Problem("not-allowed", f"the token {token.name} may not read a market of {exchange}")
    return own


def require_table(table: str) -> None:
    """Raise Problem if the token does not allow a table."""
    token = CALL.get().token
    if token is not None and not token.allows_table(table):
        raise Problem("not-allowed", f"the token {token.name} may not read {table}")


def require_all() -> None:
    """Raise Problem if the token is limited to tables or markets."""
    token = CALL.get().token
    if token is not None and token.is_limited:
        raise Problem("not-allowed", f"the token {token.name} is limited to tables or markets, and SQL reads any")


def visible(frame: pl.DataFrame, exchange: str | None = None) -> pl.DataFrame:
    """The rows of a list of tables that the token allows: columns layer, table, market, and exchange if not given."""
    token = CALL.get().token
    if token is None or not token.is_limited or frame.is_empty():
        return frame
    keep = [
        token.allows_table(f"{row['layer']}.{row['table']}")
        and token.allows_market(exchange or row["exchange"], row["market"])
        for row in frame.select("layer", "table", "market", *([] if exchange else ["exchange"])).iter_rows(named=True)
    ]
    return frame.filter(pl.Series(keep))
