"""``LakeParquetIOManager``: it stores the outputs of assets as Parquet partitions and loads inputs as LazyFrames.

This module holds Dagster's side: the partitions of a run, their metadata, and clear failures. ``lake`` decides where
files are and how they are published.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa

from crypto_lakehouse import interrupts
from crypto_lakehouse.concurrency.map_ordered import map_ordered
from crypto_lakehouse.lake.storage.partitions import InvalidRows, Rows, list_keys, scan_partitions, write_partition
from crypto_lakehouse.lake.storage.provenance import PartitionInfo, Provenance, StoredPartition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.pictures import PREVIEW_SYMBOLS, preview_markdown, preview_picture
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.pipeline.revisions import record_revisions
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.frames import Frame

_PREVIEW_ROWS = 200_000
_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_NOTES = 15.0


@dataclass(frozen=True, slots=True)
class NewPartition:
    """A partition that an asset built: its key, its rows, and metadata that cannot be computed from the rows.

    ``rows`` may be frames that are computed while they are written. Then ``metadata`` and ``provenance`` may be
    functions that are called after the last frame. The facts of the provenance become metadata as well.
    """

    key: str
    rows: Rows
    metadata: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(default_factory=dict)
    provenance: Provenance | Callable[[], Provenance] | None = None


@dataclass(frozen=True, slots=True)
class UnchangedPartition:
    """A stored partition whose inputs have not changed, with metadata that its footer does not hold."""

    key: str
    stored: StoredPartition
    metadata: Mapping[str, Any] = field(default_factory=dict)


class PartitionStream:
    """An iterator over partitions, wrapped because Dagster would iterate a bare generator itself.

    ``at_once`` partitions are written in parallel: more than one only if the rows of one do not need those of others.
    ``independent`` partitions are stored even if the rows of another one do not fit the table. Partitions of a stream
    are not, if what follows a partition relies on it.
    """

    def __init__(
        self, partitions: Iterable[NewPartition | UnchangedPartition], at_once: int = 1, independent: bool = False
    ) -> None:
        self._partitions, self.at_once, self.independent = partitions, at_once, independent

    def __iter__(self) -> Iterator[NewPartition | UnchangedPartition]:
        return iter(self._partitions)


def slice_of(asset_key: dg.AssetKey) -> TableSlice:
    """The slice that an asset holds."""
    return TableSlice(*asset_key.path)


class LakeParquetIOManager(dg.ConfigurableIOManager):
    """Stores the partitions of a run, each atomically, and loads any range of them lazily.

    Takes a ``PartitionStream``, a mapping of partition key to frame, or, if the run has one partition, one frame. Fails
    if an asset returns a key that is not in the run, or does not return one that is. A partition whose rows do not fit
    the schema or the primary key is not published. If partitions are independent, the others are stored and recorded,
    then the step fails and names it. Each partition gets its own metadata: rows, bytes, symbols, min and max time where
    known, URI, and a preview with a picture if it was written, or the flag ``unchanged`` if it was not.
    """

    lake: dg.ResourceDependency[LakeResource]

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write every partition of the run. Raises dg.Failure on keys outside of the run, repeated or missing keys, and
        on rows that do not fit.
        """
        with interrupts.deferred():
            self._store_all(context, obj)

    def _store_all(self, context: dg.OutputContext, obj: Any) -> None:
        expected = list(context.asset_partition_keys)
        missing = set(expected)
        store = self.lake.store()
        table_slice = slice_of(context.asset_key)
        logged = noted = time.monotonic()
        stream = self._stream(expected, obj)

        def expected_partitions() -> Iterator[NewPartition | UnchangedPartition]:
            for partition in stream:
                interrupts.ask()
                if partition.key not in missing:
                    raise dg.Failure(
                        f"{context.asset_key.to_user_string()} returned partition {partition.key}, which is not in this"
                        " run or was returned before; it was not written",
                        allow_retries=False,
                    )
                missing.discard(partition.key)
                yield partition

        refused: dict[str, InvalidRows] = {}
        metadata_of: dict[str, dict[str, Any]] = {}

        def stored(
            partition: NewPartition | UnchangedPartition,
        ) -> tuple[str, PartitionInfo | None, dict[str, Any], str]:
            if isinstance(partition, UnchangedPartition):
                return partition.key, partition.stored.info, _unchanged(partition), ", unchanged"
            try:
                # A preview of each partition would take longer than writing a small one.
                with_preview = partition.key == expected[-1]
                return partition.key, *store_partition(store, table_slice, partition, with_preview), ""
            except InvalidRows as error:
                if not stream.independent:
                    raise dg.Failure(str(error), allow_retries=False) from error
                refused[partition.key] = error
                return partition.key, None, {}, ""

        done = map_ordered(stored, expected_partitions(), stream.at_once)
        for number, (key, info, metadata, how) in enumerate(done, start=1):
            if info is None:
                context.log.error(f"{key} was not published: {refused[key]}")
                continue
            metadata_of[key] = metadata
            context.step_context.add_asset_metadata(metadata, context.asset_key, key)
            if not how and (reasons := metadata.get("quarantine_reasons")):
                context.log.warning(f"{key}: refused {reasons}")
            # Dagster stores each log line as a record, which takes longer than a small partition.
            if number == len(expected) or time.monotonic() - logged > _SECONDS_BETWEEN_LINES:
                logged = time.monotonic()
                text = f"{info.rows:,} rows of {info.symbols} symbols{how}"
                context.log.info(f"{key} ({number} of {len(expected)}): {text}")
            # Dagster records the partitions of a step when it ends; until then these notes show its progress.
            if number < len(expected) and time.monotonic() - noted > _SECONDS_BETWEEN_NOTES:
                noted = time.monotonic()
                progress = f"{number} of {len(expected)} partitions are stored; they are recorded when the step ends"
                context.log_event(dg.AssetObservation(context.asset_key, progress, {"stored": number}, key))
        if refused:
            # A step that fails records no partition, so those that are stored are recorded here.
            for key, metadata in metadata_of.items():
                context.log_event(dg.AssetMaterialization(context.asset_key, partition=key, metadata=metadata))
            first, error = min(refused.items())
            others = " The others are stored." if metadata_of else ""
            raise dg.Failure(
                f"{len(refused)} of {len(expected)} partitions of {context.asset_key.to_user_string()} do not fit the"
                f" table and were not published: {', '.join(sorted(refused))}.{others} {first}: {error}",
                allow_retries=False,
            ) from error
        if missing:
            raise dg.Failure(
                f"{context.asset_key.to_user_string()} did not return {len(missing)} partitions of this run,"
                f" first {min(missing)}; those that it returned are stored",
                allow_retries=False,
            )

    @staticmethod
    def _stream(expected: list[str], obj: Any) -> PartitionStream:
        if isinstance(obj, PartitionStream):
            return obj
        if isinstance(obj, Mapping):
            return PartitionStream((NewPartition(key, rows) for key, rows in obj.items()), independent=True)
        if isinstance(obj, pl.DataFrame) and len(expected) == 1:
            return PartitionStream([NewPartition(expected[0], obj)])
        raise dg.Failure(
            f"cannot store a {type(obj).__name__} for {len(expected)} partitions: return a PartitionStream,"
            " a mapping of partition key to frame, or one frame for one partition",
            allow_retries=False,
        )

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame:
        """A LazyFrame over the upstream partitions, with the Hive columns.

        Raises dg.Failure, without retry, if an upstream partition is missing. A day that is not over is missing too:
        Dagster leaves it out of the keys.
        """
        keys = list(context.asset_partition_keys)
        if not keys:
            requested = context.partition_key if context.has_partition_key else "the requested range"
            raise dg.Failure(
                f"{context.asset_key.to_user_string()} has no partition for {requested}: its days are not over (UTC)",
                allow_retries=False,
            )
        store = self.lake.store()
        require_partitions(store, context.asset_key, keys)
        return scan_partitions(store, slice_of(context.asset_key), keys)


def require_partitions(store: LakeStore, asset_key: dg.AssetKey, keys: Sequence[str]) -> None:
    """Raises dg.Failure, without retry, that names missing partitions and the command that builds them."""
    table_slice = slice_of(asset_key)
    stored = list_keys(store, table_slice)
    missing = [key for key in keys if key not in stored]
    if missing:
        names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise dg.Failure(
            f"{asset_key.to_user_string()} has no partition for {len(missing)} keys: {names}."
            f" Build them first: {table_slice.backfill_command(missing[0], missing[-1])}",
            allow_retries=False,
        )


def store_partition(
    store: LakeStore, table_slice: TableSlice, partition: NewPartition, with_preview: bool = True
) -> tuple[PartitionInfo, dict[str, Any]]:
    """Write one partition. Returns its facts, and its metadata for Dagster: rows, bytes, symbols, min and max time,
    URI, the metadata of the asset and, if asked for, a preview and a picture.
    """
    shown: list[pl.DataFrame] = []
    symbols = PREVIEW_SYMBOLS if with_preview else -1
    rows = partition.rows
    if isinstance(rows, pl.DataFrame | pa.Table):
        # A whole frame is passed on as a frame, because that is written with one thread less.
        list(_watched([rows], shown, symbols))
    else:
        rows = _watched(rows, shown, symbols)
    info = write_partition(store, table_slice.partition(partition.key), rows, partition.provenance)
    provenance = partition.provenance() if callable(partition.provenance) else partition.provenance
    metadata = {
        **_described(info),
        **(_preview(shown, info.symbols) if with_preview else {}),
        **(provenance.facts if provenance else {}),
        **(partition.metadata() if callable(partition.metadata) else partition.metadata),
        **(record_revisions(store, table_slice.partition(partition.key)) if info.replaced else {}),
    }
    return info, metadata


def _preview(frames: Sequence[pl.DataFrame], symbols: int) -> dict[str, Any]:
    picture = preview_picture(frames)
    return {
        "preview": dg.MetadataValue.md(preview_markdown(frames, symbols)),
        **({"picture": dg.MetadataValue.md(picture)} if picture else {}),
    }


def _unchanged(partition: UnchangedPartition) -> dict[str, Any]:
    stored = partition.stored
    return {**_described(stored.info), "unchanged": True, **stored.provenance.facts, **partition.metadata}


def _described(info: PartitionInfo) -> dict[str, Any]:
    return {
        "dagster/partition_row_count": info.rows,
        "bytes": info.bytes,
        "symbols": info.symbols,
        **{
            name: time.isoformat()
            for name, time in (("min_time", info.min_time), ("max_time", info.max_time))
            # Unknown for no rows, and for bronze, whose times are as the file has them.
            if time is not None
        },
        "uri": dg.MetadataValue.path(info.uri),
    }


def _watched(frames: Iterable[Frame], shown: list[pl.DataFrame], symbols_shown: int) -> Iterator[Frame]:
    """Pass the frames on, and copy the first ones to ``shown`` until it has more than ``symbols_shown`` symbols."""
    symbols: set[str] = set()
    height = 0
    for frame in frames:
        interrupts.ask()
        if len(symbols) <= symbols_shown and height < _PREVIEW_ROWS:
            rows = frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)
            shown.append(rows.cast({pl.Categorical: pl.String}))
            symbols.update(shown[-1]["symbol"].unique())
            height += rows.height
        yield frame
