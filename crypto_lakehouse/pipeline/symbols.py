"""Check that the symbols of a run exist in the archive or the ledger, before the run stores anything.

``catalog/symbols.py`` parses lists of symbols; ``catalog/near.py`` finds similar names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.catalog import FEEDS, Feed
from crypto_lakehouse.catalog.near import did_you_mean, near, with_near
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.ledger import read_ledger
from crypto_lakehouse.lake.storage.store import LakeStore

_NAMED = 10
# Where a market has this table, its files list all symbols of the market.
_KLINES = "klines_1m"


class UnknownSymbolsError(ValueError):
    """Neither the archive nor the ledger knows a requested symbol; the text suggests similar names."""


def check_symbols_exist(
    feed: Feed, source: ArchiveSource, store: LakeStore, symbols: SymbolFilter, listed: Sequence[str], *, for_feed: bool
) -> list[str]:
    """Return the names and patterns of ``symbols`` that match none of the feed's symbols ``listed`` in the archive.

    A returned name is known to the ledger from earlier runs. Without ``for_feed`` it may also be a symbol of another
    market or table, because settings apply to all of them.

    Raises
    ------
    UnknownSymbolsError
        A name is unknown everywhere, or symbols given ``for_feed`` select nothing.
    ArchiveError
        The archive cannot be listed.
    """
    unmatched = symbols.unknown(listed)
    unknown = [name for name in unmatched if "*" not in name]
    known = set(listed)
    if unknown:
        known.update(filter(None, read_ledger(store, feed)["symbol"]))
        unknown = [name for name in unknown if name not in known]
    for other in () if for_feed else _other_feeds(feed):
        if unknown:
            known.update(source.symbols(other))
            unknown = [name for name in unknown if name not in known]
    if unknown:
        words = f"the archive has no symbol {_in_words(unknown, sorted(known))}"
        raise UnknownSymbolsError(
            f"{words} in {feed.name}" if for_feed else f"LAKEHOUSE_SYMBOLS: {words} in any market"
        )
    if for_feed:
        check_selection(feed, symbols, known)
    return unmatched


def check_selection(feed: Feed, symbols: SymbolFilter, known: Iterable[str]) -> None:
    """Raise UnknownSymbolsError if the user selected symbols and the feed has none of them."""
    listed = sorted(known)
    if symbols != SymbolFilter() and not symbols.select(listed):
        close = list(dict.fromkeys(symbol for name in symbols.wanted for symbol in near(name, listed)))[:_NAMED]
        hint = f"; {did_you_mean(close)}" if close else ""
        raise UnknownSymbolsError(f"{symbols.words} selects no symbol of {feed.name} in the archive{hint}")


def _other_feeds(feed: Feed) -> Iterator[Feed]:
    """The feeds whose files list the symbols of each market: its klines, or all its feeds if it has no klines."""
    for (exchange, market, table), other in FEEDS.items():
        names_symbols = table == _KLINES or (exchange, market, _KLINES) not in FEEDS
        if exchange == feed.exchange and names_symbols and other is not feed:
            yield other


def _in_words(unknown: Sequence[str], known: Sequence[str]) -> str:
    more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
    return ", ".join(with_near(name, known) for name in unknown[:_NAMED]) + more
