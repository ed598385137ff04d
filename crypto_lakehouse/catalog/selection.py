"""Selection of the enabled feeds: by tables, markets and first day."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from crypto_lakehouse.catalog import MARKETS, Feed, feeds, no_market


def select_markets(text: str) -> list[str]:
    """The markets of a comma-separated list, in catalogue order; an empty list selects all.

    Raises ValueError, which quotes the unknown name.

    >>> select_markets("cm, um")
    ['um', 'cm']
    """
    known = list(dict.fromkeys(name for _, name in MARKETS))
    wanted = [name for name in (part.strip() for part in text.split(",")) if name]
    for name in wanted:
        if name not in known:
            raise ValueError(no_market(name, known))
    return [name for name in known if name in wanted] if wanted else known


def select_feeds(tables: Collection[str], markets: Collection[str], start: date | None) -> list[Feed]:
    """The feeds of the tables in the markets, in catalogue order, without their days before ``start``.

    Feeds that ended before ``start`` are omitted.
    """
    chosen = [one for one in feeds(tables) if one.market.name in markets]
    if start is None:
        return chosen
    return [one.since(start) for one in chosen if one.last_date is None or one.last_date >= start]
