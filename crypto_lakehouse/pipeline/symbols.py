"""Whether the symbols that a run is for exist: asked of the archive and the ledger before anything is stored.

Here belongs which names are refused. How lists of names are written is in ``catalog/symbols.py``, how near names are
found in ``catalog/near.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.catalog import FEEDS, Feed
from crypto_lakehouse.catalog.near import did_you_mean, near, with_near
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.ledger import read_ledger
from crypto_lakehouse.lake.store import LakeStore

_NAMED = 10
# The files of this type name the symbols of a market that has it.
_KLINES = "klines_1m"


class UnknownSymbolsError(ValueError):
    """Symbols were asked for that neither the archive nor the ledger knows; the text suggests near ones."""


def check_symbols_exist(
    feed: Feed, source: ArchiveSource, store: LakeStore, symbols: SymbolFilter, listed: Sequence[str], *, for_feed: bool
) -> list[str]:
    """The names and patterns of ``symbols`` that match none of the symbols ``listed`` in the archive for the feed.

    A name among them is one that the ledger has from earlier runs or, unless the symbols were named ``for_feed``
    alone, one of another market or table: settings are for all of these. Raises UnknownSymbolsError where a name is
    neither, or where symbols named for the feed select nothing, ArchiveError where the archive cannot be listed.
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
    """Raises UnknownSymbolsError where symbols were chosen, and none of those that the feed has is among them."""
    listed = sorted(known)
    if symbols != SymbolFilter() and not symbols.select(listed):
        entries = ",".join([*symbols.wanted, *(f"!{name}" for name in symbols.unwanted)])
        close = list(dict.fromkeys(one for name in symbols.wanted for one in near(name, listed)))[:_NAMED]
        hint = f"; {did_you_mean(close)}" if close else ""
        raise UnknownSymbolsError(f"{entries} selects no symbol of {feed.name} in the archive{hint}")


def _other_feeds(feed: Feed) -> Iterator[Feed]:
    """The feeds that name the symbols of each market: its klines, or all where it has none."""
    for (exchange, market, table), other in FEEDS.items():
        names_symbols = table == _KLINES or (exchange, market, _KLINES) not in FEEDS
        if exchange == feed.exchange and names_symbols and other is not feed:
            yield other


def _in_words(unknown: Sequence[str], known: Sequence[str]) -> str:
    more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
    return ", ".join(with_near(name, known) for name in unknown[:_NAMED]) + more
