"""Bronze assets of REST answers, one per feed that the exchange can answer: what the archive does not have.

They exist if LAKEHOUSE_COMPLETION is on, between bronze and silver, and run in the same range.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from crypto_lakehouse.archive.model import ArchiveError, ArchiveSource
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.orchestration.assets.bronze import BronzeConfig
from crypto_lakehouse.orchestration.assets.common import asset_arguments, asset_key, is_forced
from crypto_lakehouse.orchestration.io_manager import (
    NewPartition,
    PartitionStream,
    UnchangedPartition,
    require_partitions,
)
from crypto_lakehouse.orchestration.resources import ArchiveResource, LakeResource, RestResource
from crypto_lakehouse.pipeline.completion.partitions import Completion
from crypto_lakehouse.pipeline.completion.sending import Client, Counts
from crypto_lakehouse.rest.model import RestError
from crypto_lakehouse.schemas.rest import has_answers, rest_schema, rest_table
from crypto_lakehouse.settings import Settings


def is_completed(feed: Feed, settings: Settings) -> bool:
    """Whether the settings complete the feed from REST answers."""
    return settings.completion and has_answers(feed)


def completion_asset(feed: Feed, settings: Settings, policy: dg.BackfillPolicy) -> dg.AssetsDefinition:
    """The bronze asset of the REST answers about a feed."""
    arguments = asset_arguments(
        "bronze",
        feed.market,
        rest_table(feed.table),
        feed.cadence,
        rest_schema(feed),
        f"What the archive does not have of {feed.table}, from the exchange's REST interface.",
        ["python", "parquet"],
        policy,
    )
    bronze = asset_key("bronze", feed.market, feed.table)

    @dg.asset(**arguments, deps=[bronze], pool=f"{feed.exchange}_rest")
    def answers(
        context: dg.AssetExecutionContext,
        config: BronzeConfig,
        lake: LakeResource,
        archive: ArchiveResource,
        rest: RestResource,
    ) -> PartitionStream:
        store, keys = lake.store(), list(context.partition_keys)
        require_partitions(store, bronze, keys)
        source, client = archive.source(feed.exchange), rest.client(feed.exchange)
        return PartitionStream(
            _partitions(completion(feed, settings, source, store, client, config.symbols, is_forced(context)), keys)
        )

    return answers


def completion(
    feed: Feed,
    settings: Settings,
    source: ArchiveSource,
    store: LakeStore,
    client: Client | None,
    symbols: str,
    force: bool,
) -> Completion:
    """The completion of a run. ``symbols`` are those of the run; if empty, those of the settings."""
    return Completion(
        feed=feed,
        source=source,
        store=store,
        client=client,
        symbols=settings.symbols_of(feed.market, symbols),
        now=lambda: datetime.now(UTC),
        force=force,
        files=settings.archive_files,
    )


def _partitions(maker: Completion, keys: list[str]) -> Iterator[NewPartition | UnchangedPartition]:
    try:
        for partition in maker.partitions(keys):
            about = _about(partition.counts)
            if partition.unchanged is not None:
                yield UnchangedPartition(partition.key, partition.unchanged, about)
            else:
                yield NewPartition(partition.key, partition.rows, about, partition.provenance)
    except (ArchiveError, LakeError, RestError) as error:
        raise dg.Failure(f"{maker.feed.name}: {error}") from error


def _about(counts: Counts) -> dict[str, Any]:
    return {
        "requests": counts.requests,
        "answered": counts.answered,
        "empty": counts.empty,
        "refused": counts.refused,
        "refusal_reasons": counts.reasons,
    }
