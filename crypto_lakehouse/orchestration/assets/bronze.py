"""Bronze assets, one per feed: the rows of the archive's files."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import dagster as dg

from crypto_lakehouse.archive.model import ArchiveError, ArchiveSource
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.orchestration.assets.common import asset_arguments, is_forced
from crypto_lakehouse.orchestration.io_manager import NewPartition, PartitionStream, UnchangedPartition
from crypto_lakehouse.orchestration.resources import ArchiveResource, LakeResource
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.pipeline.bronze.recorder import Counts
from crypto_lakehouse.pipeline.symbols import UnknownSymbolsError
from crypto_lakehouse.schemas import bronze_schema
from crypto_lakehouse.settings import RawRetention, Settings

T = TypeVar("T")


class BronzeConfig(dg.Config):
    """``symbols`` (names, patterns, exclusions) limits the run to some symbols; stored rows of others stay."""

    symbols: str = ""


def bronze_asset(feed: Feed, settings: Settings, policy: dg.BackfillPolicy) -> dg.AssetsDefinition:
    """The bronze asset of a feed."""
    arguments = asset_arguments(
        "bronze",
        feed.market,
        feed.table,
        feed.cadence,
        bronze_schema(feed),
        feed.description,
        ["python", "parquet"],
        policy,
    )

    @dg.asset(**arguments, pool=f"{feed.exchange}_archive")
    def bronze(
        context: dg.AssetExecutionContext, config: BronzeConfig, lake: LakeResource, archive: ArchiveResource
    ) -> PartitionStream:
        ingest = bronze_ingest(
            feed, settings, archive.source(feed.exchange), lake.store(), config.symbols, is_forced(context)
        )
        return PartitionStream(_partitions(ingest, list(context.partition_keys)))

    return bronze


def bronze_ingest(
    feed: Feed, settings: Settings, source: ArchiveSource, store: LakeStore, symbols: str, force: bool
) -> BronzeIngest:
    """The ingest of a run. ``symbols`` are those of the run; if empty, those of the settings."""
    return BronzeIngest(
        feed=feed,
        source=source,
        store=store,
        raw=RawStore(store, feed.exchange, keep=settings.raw_retention is RawRetention.KEEP),
        symbols=settings.symbols_of(feed.market, symbols),
        now=lambda: datetime.now(UTC),
        force=force,
        named_for_feed=bool(symbols),
        files=settings.archive_files,
    )


def _partitions(ingest: BronzeIngest, keys: list[str]) -> Iterator[NewPartition | UnchangedPartition]:
    for partition in _explained(ingest, ingest.partitions(keys)):
        if partition.unchanged is not None:
            yield UnchangedPartition(partition.key, partition.unchanged, _about(ingest, partition.counts))
        else:
            yield NewPartition(
                partition.key,
                _explained(ingest, partition.rows),
                partial(_about, ingest, partition.counts),
                partition.provenance,
            )


def _explained(ingest: BronzeIngest, items: Iterable[T]) -> Iterator[T]:
    try:
        yield from items
    except (ArchiveError, LakeError) as error:
        raise dg.Failure(f"{ingest.feed.name}: {error}") from error
    except UnknownSymbolsError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _about(ingest: BronzeIngest, counts: Counts) -> dict[str, Any]:
    return {
        **({"unknown_symbols": ingest.unknown} if ingest.unknown else {}),
        "files": counts.files,
        "quarantined_files": counts.quarantined_files,
        "quarantined_rows": counts.quarantined_rows,
        "quarantine_reasons": counts.reasons,
        "failed_files": counts.failed,
    }
