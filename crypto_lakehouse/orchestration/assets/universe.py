"""The gold asset ``instruments``: the instruments of a market, from the listing of its archive alone."""

from collections.abc import Iterator
from datetime import date

import dagster as dg
import polars as pl

from crypto_lakehouse.archive.model import ArchiveError
from crypto_lakehouse.catalog import Market
from crypto_lakehouse.lake.storage.provenance import Provenance, stored_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.assets.common import GoldGroup, gold_arguments, is_forced
from crypto_lakehouse.orchestration.io_manager import NewPartition, PartitionStream, UnchangedPartition
from crypto_lakehouse.orchestration.pictures import instruments_markdown
from crypto_lakehouse.orchestration.resources import ArchiveResource, LakeResource
from crypto_lakehouse.pipeline.fingerprints import is_current
from crypto_lakehouse.pipeline.gold.instruments import INSTRUMENTS, instrument_partitions, instruments_fingerprint
from crypto_lakehouse.schemas.slices import TableSlice


def instruments_asset(group: GoldGroup) -> dg.AssetsDefinition:
    """The instruments of a market. They need no other table: the newest partition covers all days before it."""
    market = group.market

    @dg.asset(**gold_arguments(group, ["polars", "parquet"]), pool=f"{market.exchange}_archive")
    def instruments(context: dg.AssetExecutionContext, lake: LakeResource, archive: ArchiveResource) -> PartitionStream:
        return PartitionStream(
            _partitions(lake.store(), archive, market, list(context.partition_keys), is_forced(context))
        )

    return instruments


def _partitions(
    store: LakeStore, archive: ArchiveResource, market: Market, keys: list[str], force: bool
) -> Iterator[NewPartition | UnchangedPartition]:
    try:
        for key, rows in instrument_partitions(archive.source(market.exchange), market, keys):
            facts = {
                "listed_instruments": int((rows["last_day"] == date.fromisoformat(key)).sum()),
                "relistings": int((rows["listing"] > 1).sum()),
                "renamed": rows["renamed_to"].count(),
                "contract_types": _counts(rows),
            }
            shown = {"preview": dg.MetadataValue.md(instruments_markdown(rows))}
            provenance = Provenance(instruments_fingerprint(rows), facts)
            stored = stored_partition(store, TableSlice.of_market("gold", market, INSTRUMENTS).partition(key))
            if stored is not None and is_current(stored, provenance.input_fingerprint, []) and not force:
                yield UnchangedPartition(key, stored, shown)
            else:
                yield NewPartition(key, rows, shown, provenance)
    except ArchiveError as error:
        raise dg.Failure(f"instruments of {market.exchange}/{market.name}: {error}") from error


def _counts(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows["contract_type"].value_counts().sort("contract_type").iter_rows())
