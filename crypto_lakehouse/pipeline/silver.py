"""Bronze partitions to silver partitions: which transform cleans which table, and what it refused, recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl

from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.lake.origin import Origin, StoredPartition, stored_partition
from crypto_lakehouse.lake.partitions import find_keys
from crypto_lakehouse.lake.pieces import read_pieces
from crypto_lakehouse.lake.quarantine import record_rejected
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.pipeline.ahead import ahead
from crypto_lakehouse.pipeline.neighbours import Neighbourhood, neighbour_keys
from crypto_lakehouse.pipeline.unchanged import UNKNOWN, is_current, made_from, sources_fingerprint
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.transforms.book import clean_book_depth, clean_book_ticker
from crypto_lakehouse.transforms.clean import Cleaned
from crypto_lakehouse.transforms.funding import clean_funding_rates
from crypto_lakehouse.transforms.futures import clean_liquidations, clean_open_interest
from crypto_lakehouse.transforms.klines import clean_klines, clean_price_klines
from crypto_lakehouse.transforms.options import clean_option_summaries, clean_volatility_index
from crypto_lakehouse.transforms.trades import clean_agg_trades, clean_trades

CLEANERS: dict[str, Callable[[pl.DataFrame, Feed, date, date], Cleaned]] = {
    "klines": clean_klines,
    "agg_trades": clean_agg_trades,
    "trades": clean_trades,
    "funding_rates": clean_funding_rates,
    "price_klines": clean_price_klines,
    "open_interest": clean_open_interest,
    "book_depth": clean_book_depth,
    "book_ticker": clean_book_ticker,
    "liquidations": clean_liquidations,
    "volatility_index": clean_volatility_index,
    "option_summaries": clean_option_summaries,
}

# Cleaned frames that wait for the writer, so that reading and cleaning overlap with encoding.
_FRAMES_AHEAD = 1


@dataclass(slots=True)
class SilverPartition:
    """One partition in the feed's silver schema, and how many bronze rows were refused, by reason.

    ``rows`` are frames in order, made while they are taken, once; ``reasons`` and ``origin()`` are right at their
    end. Where nothing is new, ``unchanged`` is what is stored, ``rows`` are its own, and none need be taken.
    """

    key: str
    made_from: str
    neighbourhood: Neighbourhood
    rows: Iterator[pl.DataFrame] = field(default_factory=lambda: iter(()))
    reasons: dict[str, int] = field(default_factory=dict)
    unchanged: StoredPartition | None = None

    def origin(self) -> Origin:
        """What it was made from, with what was refused as ``quarantined_rows`` and ``quarantine_reasons``; where rows
        lie outside of their file's day, with ``rows_from_neighbours`` and ``rows_to_neighbours``.
        """
        if self.unchanged is not None:
            return self.unchanged.origin
        moved = {
            "rows_from_neighbours": self.neighbourhood.taken,
            "rows_to_neighbours": self.neighbourhood.left,
        }
        facts = {
            "quarantined_rows": sum(self.reasons.values()),
            "quarantine_reasons": self.reasons,
            **{name: count for name, count in moved.items() if count},
        }
        return Origin(self.made_from, facts)


def silver_partition(feed: Feed, key: str, store: LakeStore, now: datetime, remake: bool = False) -> SilverPartition:
    """Clean one stored bronze partition; what it refuses goes to the quarantine with its reason.

    Rows of it that lie in the files of a neighbouring partition are taken from there, and such rows of its own files
    left to the neighbour. It is cleaned in pieces of whole symbols, and of whole primary keys where a symbol is large.
    Taking the rows raises MissingPartition if there is no bronze partition. One that is stored as it would be made is
    left as it is, unless ``remake``.
    """
    where = (feed.table, feed.exchange, feed.market.name, key)
    around, inputs, source = _sources(feed, key, store)
    part = SilverPartition(key, source, around)
    stored = None if remake else stored_partition(store, "silver", *where)
    if is_current(stored, source, inputs):
        part.unchanged = stored
        part.rows = read_pieces(store, "silver", *where, order=silver_schema(feed).id_column)
    else:
        part.rows = ahead(_cleaned(feed, part, store, now), _FRAMES_AHEAD)
    return part


def overtaken(feed: Feed, keys: Sequence[str], store: LakeStore, now: datetime) -> Iterator[SilverPartition]:
    """Stored partitions next to ``keys``, which a run has made, that are out of date by these keys' files: rebuilt.

    So that no stored partition depends on which of its neighbours was made first. The outermost of ``keys``
    themselves are looked at too, because another run may have stored their neighbours meanwhile.
    """
    ours = set(keys)
    outer = {key for key in keys if not ours.issuperset(neighbour_keys(feed, key))}
    near = sorted(outer.union(*(neighbour_keys(feed, key) for key in outer)))
    for key in stale(feed, near, store):
        yield silver_partition(feed, key, store, now)


def stale(feed: Feed, keys: Sequence[str], store: LakeStore) -> list[str]:
    """Those of ``keys`` whose stored silver is of other files, or versions of files, than bronze holds now.

    Where a footer does not say what a partition was made from, times are compared. Partitions of which bronze or silver
    does not exist are none of them, nor are those of types whose rows never lie in the files of a neighbour.
    """
    neighbours = {other for key in keys for other in neighbour_keys(feed, key)}
    if not neighbours:
        return []
    near = sorted(neighbours.union(keys))
    place = (feed.table, feed.exchange, feed.market.name)
    bronze, silver = find_keys(store, "bronze", *place, near), find_keys(store, "silver", *place, keys)
    found = []
    for key in (key for key in keys if key in bronze and key in silver):
        around, inputs, source = _sources(feed, key, store)
        stored = stored_partition(store, "silver", *place, key)
        if stored is None or source == UNKNOWN:
            sources = (key, *(other.key for other in around.neighbours))
            is_stale = any(bronze.get(one, silver[key]) > silver[key] for one in sources)
        else:
            is_stale = not is_current(stored, source, inputs)
        if is_stale:
            found.append(key)
    return found


def _sources(feed: Feed, key: str, store: LakeStore) -> tuple[Neighbourhood, list[StoredPartition | None], str]:
    """The neighbours that hold rows of a partition, all stored partitions that it is made from, and the fingerprint of
    these.
    """
    around = Neighbourhood.of(feed, key, store)
    bronze = stored_partition(store, "bronze", feed.table, feed.exchange, feed.market.name, key)
    inputs = [bronze, *(one.stored for one in around.neighbours)]
    return around, inputs, sources_fingerprint("silver", silver_schema(feed), [made_from(one) for one in inputs])


def _cleaned(feed: Feed, part: SilverPartition, store: LakeStore, now: datetime) -> Iterator[pl.DataFrame]:
    first, end = parse_partition(part.key, feed.cadence)
    for bronze in _pieces(feed, part.neighbourhood, store):
        cleaned = CLEANERS[feed.schema](bronze, feed, first, end)
        if cleaned.rejected.height:
            rejected = cleaned.rejected.with_columns(
                pl.lit(feed.table).alias("table"), pl.lit("silver").alias("layer"), pl.lit(part.key).alias("period")
            )
            record_rejected(store, feed, part.key, rejected.to_dicts(), now)
            for reason, count in cleaned.rejected.group_by("reason").len().iter_rows():
                part.reasons[reason] = part.reasons.get(reason, 0) + count
        yield cleaned.rows
    part.reasons = dict(sorted(part.reasons.items()))


def _pieces(feed: Feed, around: Neighbourhood, store: LakeStore) -> Iterator[pl.DataFrame]:
    pieces = around.pieces(store)
    if silver_schema(feed).archive_symbol == "symbol":
        return pieces
    # Silver is in order of another symbol than bronze, so it is cleaned as a whole.
    whole = list(pieces)
    return iter([pl.concat(whole)] if whole else [])
