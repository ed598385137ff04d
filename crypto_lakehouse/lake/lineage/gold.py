"""Steps of gold and silver rows: which rows of which tables each was made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import polars as pl

from crypto_lakehouse.catalog import FEEDS, Feed, partition_key
from crypto_lakehouse.catalog.bars import ActivityBars
from crypto_lakehouse.lake.lineage.files import answers_of, files_of
from crypto_lakehouse.lake.lineage.model import TRACE, SourceFile, Step, StoredIn, trace_of
from crypto_lakehouse.lake.lineage.revisions import revision_notes
from crypto_lakehouse.lake.lineage.silver import FILE_PARTITION, ROW_TIME, USE, bronze_of, stored_rows
from crypto_lakehouse.lake.storage.damage import reading
from crypto_lakehouse.lake.storage.partitions import find_keys, scan
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.gold import LISTING, GoldTable, find_gold_table, split_name
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.schemas.versions import CODE_VERSIONS

PARTITION = "partition"
"""A column that traced rows have besides those of their table: the key of their partition."""

_MINUTES, _STATES, _KLINES, _FUNDING = "continuous_1m", "symbol_states", "klines_1m", "funding_rates"
# Times of rows that one row of these tables states.
_TIMES = {"gaps": ("gap_begin", "gap_end"), _STATES: ("first_time", "last_time")}
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Tracer:
    """Builds the steps of rows of one symbol in one market."""

    store: LakeStore
    exchange: str
    market: str
    symbol: str

    def table_slice(self, layer: str, table: str) -> TableSlice:
        """The slice of a table in this market."""
        return TableSlice(layer, self.exchange, self.market, table)

    def read(self, table_slice: TableSlice, keys: Iterable[str], condition: pl.Expr | None = None) -> pl.DataFrame:
        """Return the rows of the symbol in the stored ones of the partitions ``keys``, with PARTITION."""
        of_symbol = pl.col("symbol") == self.symbol
        chosen = of_symbol if condition is None else of_symbol & condition
        frames = [
            stored_rows(self.store, table_slice, key, chosen).with_columns(pl.lit(key).alias(PARTITION))
            for key in sorted(set(keys))
        ]
        empty = pl.DataFrame(table_slice.schema.empty()).with_columns(pl.lit("").alias(PARTITION))
        return pl.concat([empty, *frames])

    def step(self, table_slice: TableSlice, rows: pl.DataFrame, summary: str = "") -> Step:
        """The step of rows of a table, which have PARTITION."""
        if table_slice.layer == "bronze":
            traced = rows.with_columns(pl.col(PARTITION).alias(FILE_PARTITION), pl.lit("kept").alias(USE))
            return self._bronze(table_slice, traced, summary)
        if table_slice.feed is not None:
            return self._silver(table_slice.feed, rows, summary)
        entry = find_gold_table(table_slice.table)
        assert entry is not None
        return self._gold(table_slice, entry, rows, summary)

    def _bronze(self, table_slice: TableSlice, rows: pl.DataFrame, summary: str = "") -> Step:
        feed = table_slice.feed
        assert feed is not None
        find = answers_of if table_slice.is_of_answers else files_of
        time = pl.col(ROW_TIME) if ROW_TIME in rows.columns else pl.lit(None)
        names = {name: pl.col(name) for name in ("source_key", "source_sha256", "source_line")}
        trace = trace_of(rows, time=time, partition=pl.col(FILE_PARTITION), use=pl.col(USE), **names)
        unused = rows.height - rows.filter(pl.col(USE) == "kept").height
        counted = f"{_count(rows.height, 'row')}{f', {unused} of them not used' if unused else ''}"
        return Step(
            f"bronze.{table_slice.table}",
            summary or counted,
            rows.select(table_slice.schema.column_names),
            trace,
            self._stored(table_slice, rows[FILE_PARTITION]),
            CODE_VERSIONS["bronze"],
            files=find(self.store, feed, rows),
        )

    def _silver(self, feed: Feed, rows: pl.DataFrame, summary: str = "") -> Step:
        table_slice = self.table_slice("silver", feed.table)
        sources = ", ".join(
            f"{count} from {source}" for source, count in sorted(rows["source"].value_counts().iter_rows())
        )
        frames, answers, notes = [], [], []
        for key in rows[PARTITION].unique().sort():
            traced = bronze_of(self.store, feed, key, rows.filter(pl.col(PARTITION) == key).drop(PARTITION))
            frames.append(traced.files)
            answers += [] if traced.answers is None else [traced.answers]
            if not traced.is_same:
                notes.append(
                    f"partition {key} was made from other bronze rows or by other code: the present code makes other"
                    f" rows of the present bronze. Rebuild it with: {table_slice.backfill_command(key, key)}"
                )
            notes += revision_notes(self.store, feed, key, self.symbol)
        trace = trace_of(
            rows,
            time=pl.col(table_slice.schema.time_column),
            partition=pl.col(PARTITION),
            use=pl.lit("kept"),
            source=pl.col("source"),
        )
        return Step(
            f"silver.{feed.table}",
            summary or f"{_count(rows.height, 'row')}{f', {sources}' if sources else ''}",
            rows.drop(PARTITION),
            trace,
            self._stored(table_slice, rows[PARTITION]),
            CODE_VERSIONS["silver"],
            tuple(notes),
            inputs=tuple(self._sources(feed, frames, answers)),
        )

    def _sources(self, feed: Feed, files: Sequence[pl.DataFrame], answers: Sequence[pl.DataFrame]) -> Iterator[Step]:
        """The rows of files, and those of REST answers; tables without any row are left out if the other has some."""
        of_files = [frame for frame in files if frame.height or not answers]
        if of_files:
            yield self._bronze(TableSlice.of_feed("bronze", feed), pl.concat(of_files))
        if answers:
            yield self._bronze(TableSlice.of_answers(feed), pl.concat(answers))

    def _gold(self, table_slice: TableSlice, entry: GoldTable, rows: pl.DataFrame, summary: str) -> Step:
        """Rows of a gold table. Tables of other kinds than those below were made of the symbol's rows of their day."""
        if entry.bars is not None:
            notes, inputs = self._of_bars(entry, rows)
        elif entry.name == _MINUTES:
            notes, inputs = self._of_minutes(rows)
        elif entry.name in _TIMES:
            stated = pl.concat([rows[name] for name in _TIMES[entry.name]]).unique()
            notes, inputs = [], [self._klines(stated)]
        elif entry.is_of_listing:
            tables = ", ".join(table for _, table in map(split_name, entry.inputs))
            notes, inputs = [f"made from what the archive lists and holds of {tables}, not from rows of this lake"], []
        else:
            notes, inputs = [], self._of_days(entry, rows)
        use = (
            pl.when("is_filled").then(pl.lit("filled")).otherwise(pl.lit("traded"))
            if _has_fills(rows)
            else pl.lit("made")
        )
        times = pl.col(table_slice.schema.time_column)
        return Step(
            f"gold.{entry.name}",
            summary or _count(rows.height, "row"),
            rows.drop(PARTITION),
            trace_of(rows, time=times, partition=pl.col(PARTITION), use=use),
            self._stored(table_slice, rows[PARTITION]),
            f"{CODE_VERSIONS['gold']}, of the table {entry.version}",
            tuple(notes),
            inputs=tuple(inputs),
        )

    def _of_bars(self, entry: GoldTable, rows: pl.DataFrame) -> tuple[list[str], list[Step]]:
        windows = list(rows.select("open_time", "close_time", "segment").iter_rows())
        if not windows:
            return [], []
        condition = pl.any_horizontal(
            pl.col("open_time").is_between(first, last) & (pl.col("segment") == segment)
            for first, last, segment in windows
        )
        days = [day for first, last, _ in windows for day in _days(first, last)]
        minutes_slice = self.table_slice("gold", _MINUTES)
        minutes = self.read(minutes_slice, days, condition)
        notes = (
            ["activity counts from the start of the month, so earlier minutes of it decide where the bar opens"]
            if isinstance(entry.bars, ActivityBars)
            else []
        )
        if (expected := int(rows["n_minutes"].sum())) != minutes.height:
            notes.append(
                f"the bars were made of {_count(expected, 'minute')}, and gold.{_MINUTES} now holds {minutes.height}"
            )
        filled = minutes.filter("is_filled").height
        summary = f"{_count(minutes.height, 'minute')}{f', {filled} of them filled' if filled else ''}"
        return notes, [self.step(minutes_slice, minutes, summary)]

    def _of_minutes(self, minutes: pl.DataFrame) -> tuple[list[str], list[Step]]:
        """The candles of minutes, those whose close filled minutes repeat, and the funding events."""
        filled = self._filled_from(minutes)
        notes = [_filled_note(since, times) for since, times in sorted(filled.items(), key=lambda item: item[1][0])]
        candles = minutes.filter("in_archive")["open_time"].to_list()
        origins = [since for since in filled if since is not None]
        inputs = [self._klines(pl.Series(sorted({*candles, *origins}), dtype=pl.Datetime("us", "UTC")))]
        events = minutes.filter(pl.col("has_funding").fill_null(False))["open_time"]
        if (self.exchange, self.market, _FUNDING) in FEEDS and len(events):
            funding = self.table_slice("silver", _FUNDING)
            keys = [partition_key(event.date(), funding.cadence) for event in events]
            at = pl.col("funding_time").dt.truncate("1m").is_in(events.implode())
            inputs.append(self.step(funding, self.read(funding, keys, at)))
        return notes, inputs

    def _filled_from(self, minutes: pl.DataFrame) -> dict[datetime | None, list[datetime]]:
        """The filled ones of minutes by the traded minute whose close they repeat; None if the lake does not say it."""
        filled = minutes.filter("is_filled").select("segment", "open_time", PARTITION)
        found: dict[datetime | None, list[datetime]] = {}
        for key in filled[PARTITION].unique().sort():
            day, before = filled.filter(pl.col(PARTITION) == key), str(date.fromisoformat(key) - _DAY)
            traded = self.read(self.table_slice("gold", _MINUTES), [key], ~pl.col("is_filled"))["segment", "open_time"]
            states = self.read(self.table_slice("gold", _STATES), [before])
            known = pl.concat([states.select("segment", since="last_time"), traded.rename({"open_time": "since"})])
            joined = day.sort("open_time").join_asof(
                known.sort("since"), left_on="open_time", right_on="since", by="segment", check_sortedness=False
            )
            for at, since in joined.select("open_time", "since").iter_rows():
                found.setdefault(since, []).append(at)
        return found

    def _klines(self, times: pl.Series) -> Step:
        klines = self.table_slice("silver", _KLINES)
        days = {str(moment.date()) for moment in times}
        rows = self.read(klines, days, pl.col("open_time").is_in(times.implode()))
        step = self.step(klines, rows)
        missing = len(times) - rows.height
        return replace(step, notes=(*step.notes, f"{missing} of the candles are no longer here")) if missing else step

    def _of_days(self, entry: GoldTable, rows: pl.DataFrame) -> list[Step]:
        """The inputs of a table that is computed day by day: all rows of the symbol on the day, or in its month."""
        steps = []
        for layer, table in map(split_name, entry.inputs):
            if layer == LISTING:
                continue
            table_slice = self.table_slice(layer, table)
            keys = {partition_key(date.fromisoformat(key), table_slice.cadence) for key in rows[PARTITION].unique()}
            steps.append(self._whole(table_slice, sorted(keys)))
        return steps

    def _whole(self, table_slice: TableSlice, keys: Sequence[str]) -> Step:
        """All rows of the symbol in partitions, counted, with their files."""
        stored = list(find_keys(self.store, table_slice, keys))
        paths = [table_slice.partition(key).path for key in stored]
        with reading(self.store, paths):
            of_symbol = scan(self.store, table_slice.schema, paths).filter(pl.col("symbol") == self.symbol)
            count = of_symbol.select(pl.len()).collect().item()
        entry = find_gold_table(table_slice.table) if table_slice.layer == "gold" else None
        feed, inputs = table_slice.feed, []
        if table_slice.layer == "silver" and feed is not None:
            inputs = [self._whole(self.table_slice("bronze", feed.table), keys)]
        elif entry is not None:
            of_days = pl.DataFrame({PARTITION: stored}, schema={PARTITION: pl.String})
            table = self.table_slice("silver", _KLINES)
            inputs = [self._whole(table, stored)] if entry.maker == "continuous" else self._of_days(entry, of_days)
        code = CODE_VERSIONS[table_slice.layer]
        return Step(
            f"{table_slice.layer}.{table_slice.table}",
            f"all {_count(count, 'row')} of the symbol in {_count(len(stored), 'partition')}",
            pl.DataFrame(table_slice.schema.empty()),
            pl.DataFrame(schema=TRACE),
            self._stored(table_slice, stored),
            f"{code}, of the table {entry.version}" if entry else code,
            files=self._files(table_slice, stored) if table_slice.layer == "bronze" else (),
            inputs=tuple(inputs),
        )

    def _files(self, table_slice: TableSlice, keys: Sequence[str]) -> tuple[SourceFile, ...]:
        assert table_slice.feed is not None
        frames = [
            stored_rows(self.store, table_slice, key, pl.col("symbol") == self.symbol)
            .select("source_key", "source_sha256")
            .unique()
            .with_columns(pl.lit(key).alias(FILE_PARTITION), pl.lit(None, pl.Int64).alias("source_line"))
            for key in keys
        ]
        return files_of(self.store, table_slice.feed, pl.concat(frames)) if frames else ()

    def _stored(self, table_slice: TableSlice, keys: Iterable[str]) -> tuple[StoredIn, ...]:
        wanted = sorted(set(keys) - {""})
        written = find_keys(self.store, table_slice, wanted)
        return tuple(StoredIn(key, table_slice.partition(key).path, written.get(key)) for key in wanted)


def _has_fills(rows: pl.DataFrame) -> bool:
    return "is_filled" in rows.columns


def _days(first: datetime, last: datetime) -> list[str]:
    """The UTC days from one time to another, both inclusive."""
    days = (last.date() - first.date()).days
    return [str(first.date() + timedelta(days=n)) for n in range(days + 1)]


def _filled_note(since: datetime | None, times: Sequence[datetime]) -> str:
    minutes = f"{times[0]:%Y-%m-%d %H:%M}" if len(times) == 1 else f"{times[0]:%Y-%m-%d %H:%M} to {times[-1]:%H:%M}"
    what = f"filled: {_count(len(times), 'minute')} ({minutes})"
    if since is None:
        return f"{what}; the lake no longer holds the minute whose close they repeat"
    return f"{what} without trades, prices are the close of {since:%Y-%m-%d %H:%M}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
