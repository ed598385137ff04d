"""The gold asset ``witnesses``: daily against monthly files of klines, from the archive itself."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from crypto_lakehouse.archive.model import ArchiveError
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeError
from crypto_lakehouse.orchestration.assets.common import GoldGroup, gold_arguments, is_forced
from crypto_lakehouse.orchestration.io_manager import NewPartition, PartitionStream, UnchangedPartition
from crypto_lakehouse.orchestration.resources import ArchiveResource, LakeResource
from crypto_lakehouse.pipeline.gold.witnesses import Witnesses, compared_feeds
from crypto_lakehouse.pipeline.symbols import UnknownSymbolsError
from crypto_lakehouse.settings import RawRetention


class WitnessesConfig(dg.Config):
    """``symbols`` (names, patterns, exclusions) and ``tables`` (names with commas) limit the run; empty means those of
    the settings. Stored rows of others stay.
    """

    symbols: str = ""
    tables: str = ""


def witnesses_asset(group: GoldGroup) -> dg.AssetsDefinition:
    """The comparison of a market's files. Its own job runs it: it fetches monthly files that nothing else needs."""
    market, settings = group.market, group.settings

    @dg.asset(**gold_arguments(group, ["polars", "parquet"]), pool=f"{market.exchange}_archive")
    def witnesses(
        context: dg.AssetExecutionContext, config: WitnessesConfig, lake: LakeResource, archive: ArchiveResource
    ) -> PartitionStream:
        store, tables = lake.store(), config.tables.split(",") if config.tables else list(group.feeds)
        maker = Witnesses(
            market,
            compared_feeds([feed for table, feed in group.feeds.items() if table in tables]),
            archive.source(market.exchange),
            store,
            RawStore(store, market.exchange, keep=settings.raw_retention is RawRetention.KEEP),
            settings.symbols_of(market, config.symbols),
            named_for_feed=bool(config.symbols),
            force=is_forced(context),
        )
        return PartitionStream(_partitions(maker, list(context.partition_keys)))

    return witnesses


def _partitions(maker: Witnesses, keys: list[str]) -> Iterator[NewPartition | UnchangedPartition]:
    try:
        for day in maker.days(keys):
            about: dict[str, Any] = {"unknown_symbols": maker.unknown} if maker.unknown else {}
            if day.unchanged is not None:
                yield UnchangedPartition(day.key, day.unchanged, about)
            else:
                yield NewPartition(day.key, day.rows, about, day.provenance)
    except (ArchiveError, LakeError) as error:
        raise dg.Failure(f"witnesses of {maker.market.exchange}/{maker.market.name}: {error}") from error
    except UnknownSymbolsError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
