"""Gold partitions from stored partitions: continuous minutes with the state they carry.

This module decides which partitions a day needs, and which later ones become outdated when it is rebuilt.
``transforms`` computes the rows, ``bars_days.py`` compares bars with them. No Dagster, no writing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from crypto_lakehouse.catalog import Cadence, Market, partition_keys
from crypto_lakehouse.catalog.symbols import ChosenSymbols
from crypto_lakehouse.concurrency.map_ordered import THREADS
from crypto_lakehouse.lake.storage.partitions import (
    collect_partitions,
    find_keys,
    list_keys,
    partition_exists,
    read_partition,
)
from crypto_lakehouse.lake.storage.provenance import Provenance, StoredPartition, stored_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.fingerprints import chosen_symbols, input_fingerprint, is_current, sources_fingerprint
from crypto_lakehouse.pipeline.gold.day_keys import (
    date_of,
    day_span,
    days_between,
    days_near,
    days_of_patience,
    month_of,
)
from crypto_lakehouse.pipeline.gold.minutes import Minutes
from crypto_lakehouse.pipeline.gold.missing import missing_partition, not_chosen
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.klines import KLINES
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.continuous import (
    MISSING_DAYS,
    STATE_COLUMNS,
    Continuous,
    GapRule,
    continuous_minutes,
    has_ended,
    next_state,
    no_state,
    put_back,
    set_aside,
    without_days,
)

MINUTES, FUNDING = "klines_1m", "funding_rates"
CONTINUOUS, GAPS, STATES = TABLES = "continuous_1m", "gaps", "symbol_states"
# The columns that continuous minutes need.
_COLUMNS = [name for name in KLINES.column_names if name not in ("close_time", "source")]
# The provenance facts that name the symbols with funding events after their last trade, and those that trade later.
_WAITING, _TRADED_LATER = "funding_waits_for", "funding_counts_by_later_trades_of"
# The provenance fact that names the gap rule of a day's states and the columns that the next day starts with.
_RULE = "gap_rule"
_ROLLED = ("symbol", "open_time", "open", "close", "base_volume")


@dataclass(frozen=True, slots=True)
class MinutesPartition:
    """One day of ``continuous_1m`` (symbols as a dictionary), ``gaps`` and ``symbol_states``, each in its schema, and
    their provenance by table (``provenances``).

    If the inputs have not changed, ``unchanged`` holds the stored partition of each table, and only ``states`` has
    rows.
    """

    key: str
    rows: pa.Table
    gaps: pl.DataFrame
    states: pl.DataFrame
    provenances: Mapping[str, Provenance] = field(default_factory=dict)
    unchanged: Mapping[str, StoredPartition] = field(default_factory=dict)


def fingerprint(state: pl.DataFrame) -> str:
    """sha256 of a state's rows: days that start from equal states have equal fingerprints of it."""
    rows = state.select(STATE_COLUMNS).sort("symbol", "segment")
    return hashlib.sha256(rows.write_csv().encode()).hexdigest()


class ContinuousMinutes:
    """Compute days of a market's continuous minutes from its silver minutes, funding rates and earlier days.

    A day starts from the state after all silver days before it, whether their gold exists or not; stored states only
    avoid reading those days again. Of the days after it a day uses one fact: which symbols with funding events after
    their last trade are traded again. A stored day whose inputs have not changed is skipped, unless ``force``.
    """

    def __init__(self, store: LakeStore, market: Market, rule: GapRule, force: bool = False) -> None:
        self._store, self._market, self._rule, self._force = store, market, rule, force
        self._silver_minutes = TableSlice.of_market("silver", market, MINUTES)
        self._silver_funding = TableSlice.of_market("silver", market, FUNDING)
        self._gold_states = TableSlice.of_market("gold", market, STATES)
        # The last funding rates read, because days of a month share them: month, modification time, fingerprint, rows.
        self._rates: tuple[str, datetime, str, pl.DataFrame] | None = None

    def days(self, keys: Sequence[str]) -> Iterator[MinutesPartition]:
        """Yield the days ``keys``, in order of time. Raises MissingPartition if a day is missing from silver."""
        silver, ordered = self._silver(), sorted(keys)
        stored_days = sorted(silver)
        state, before = no_state(), ""
        with closing(self._minutes()) as minutes:
            for number, key in enumerate(ordered):
                if not before or days_between(stored_days, before, key):
                    state = self._state_before(key)
                else:
                    state = self._rolled(state, before, key, stored_days)
                partition = self._unchanged(key, state)
                if partition is None:
                    # If one day needs a rebuild, the next days usually do too.
                    minutes.begin(day for day in ordered[number : number + 1 + THREADS] if day in silver)
                    partition = self._make(key, state, minutes)
                state, before = partition.states, key
                yield partition

    def up_to_date(self, keys: Sequence[str]) -> set[str]:
        """Those of the days ``keys`` that ``days`` would leave unchanged, if it leaves the states of the others."""
        stored_days, current = sorted(self._silver()), set()
        state, before = no_state(), ""
        for key in sorted(keys):
            if not before or days_between(stored_days, before, key):
                state = self._state_before(key)
            else:
                state = self._rolled(state, before, key, stored_days)
            if partition := self._unchanged(key, state):
                current.add(key)
            elif not partition_exists(self._store, self._gold_states.partition(key)):
                return current
            state, before = partition.states if partition else self._stored(key), key
        return current

    def stale_successors(self, last: MinutesPartition) -> Iterator[MinutesPartition]:
        """Rebuild the stored days after ``last`` whose starting state has changed.

        So no stored day depends on the order in which its neighbours were built. This checks all later days, because
        an interrupted run may have rebuilt only the first of them.
        """
        silver, stored = self._silver(), list_keys(self._store, self._gold_states)
        stored_days = sorted(silver)
        state, before = last.states, last.key
        with closing(self._minutes()) as minutes:
            for key in sorted(k for k in stored if k > last.key and k in silver):
                state = self._rolled(state, before, key, stored_days)
                states = read_partition(self._store, self._gold_states.partition(key))
                if _prior(states) == fingerprint(state):
                    state = states
                else:
                    partition = self._make(key, state, minutes)
                    state = partition.states
                    yield partition
                before = key

    def resumed(self, keys: Sequence[str]) -> Iterator[MinutesPartition]:
        """Rebuild the stored days before ``keys`` whose last funding events count, or no longer count, by the trades of
        ``keys``.
        """
        near = {day for key in keys for day in days_near(key, -days_of_patience(self._rule))}
        with closing(self._minutes()) as minutes:
            for key in sorted(near.difference(keys)):
                if self._counts_other_funding(key):
                    yield self._make(key, self._state_before(key), minutes)

    def out_of_line(self, keys: Sequence[str]) -> list[str]:
        """Those of the stored days ``keys`` whose starting state has changed since they were built, or for which later
        trades make other funding events count.
        """
        silver, state, before, outdated = self._silver(), no_state(), "", []
        stored_days = sorted(silver)
        for key in sorted(keys):
            if key not in silver:
                continue
            if before:
                state = self._rolled(self._after(state, before), before, key, stored_days)
            else:
                state = self._state_before(key)
            prior = _prior(read_partition(self._store, self._gold_states.partition(key)))
            if prior != fingerprint(state) or self._counts_other_funding(key):
                outdated.append(key)
            before = key
        return outdated

    def _unchanged(self, key: str, state: pl.DataFrame) -> MinutesPartition | None:
        """The stored day, if this state and its other inputs have not changed since it was built."""
        if self._force or not partition_exists(self._store, self._gold_states.partition(key)):
            return None
        inputs = self._inputs(key)
        waiting, _ = self._waiting(key)
        expected = self._input_fingerprint(
            fingerprint(state), *map(input_fingerprint, inputs), *self._traded_after(key, waiting)
        )
        stored = {}
        for table, provenance in expected.items():
            partition = stored_partition(self._store, TableSlice.of_market("gold", self._market, table).partition(key))
            if partition is None or not is_current(partition, provenance, inputs):
                return None
            stored[table] = partition
        states = read_partition(self._store, self._gold_states.partition(key))
        provenances = {table: partition.provenance for table, partition in stored.items()}
        return MinutesPartition(key, schema_of("gold", CONTINUOUS).empty(), _empty(GAPS), states, provenances, stored)

    def _input_fingerprint(self, prior: str, *sources: str) -> dict[str, str]:
        """The input fingerprint of each table's partition, from the fingerprints of the starting state (``prior``) and
        of the input partitions (``sources``).
        """
        inputs = [repr(self._rule), prior, *sources]
        return {table: sources_fingerprint("gold", schema_of("gold", table), inputs) for table in TABLES}

    def _inputs(self, key: str) -> list[StoredPartition | None]:
        """The day's silver minutes and, if stored, its funding rates."""
        month = month_of(key)
        inputs = [stored_partition(self._store, self._silver_minutes.partition(key))]
        if partition_exists(self._store, self._silver_funding.partition(month)):
            inputs.append(stored_partition(self._store, self._silver_funding.partition(month)))
        return inputs

    def _make(self, key: str, state: pl.DataFrame, minutes: Minutes[tuple[pa.Table, Provenance]]) -> MinutesPartition:
        if not partition_exists(self._store, self._silver_minutes.partition(key)):
            raise missing_partition(self._store, self._silver_minutes.partition(key))
        (rows, provenance), funding = minutes.take(key), self._funding(key)
        chosen = ChosenSymbols.of_facts(provenance.facts)
        present, aside = set_aside(state.select(STATE_COLUMNS), not_chosen(state["symbol"], rows, chosen))

        def with_trades_of(traded_later: Sequence[str]) -> Continuous:
            return continuous_minutes(
                rows,
                None if funding is None else funding[1],
                present,
                day_span(key),
                self._rule,
                traded_later=traded_later,
                inverse=self._market.inverse,
            )

        result = with_trades_of([])
        traded_later = self._traded_after(key, result.waiting)
        if traded_later:
            result = with_trades_of(traded_later)
        prior = fingerprint(state)
        after = put_back(result.state, aside)
        ended = has_ended(after, day_span(key)[1], self._rule)
        states = after.with_columns(ended, prior=pl.lit(prior))
        facts = {
            "filled_minutes": pc.sum(result.table["is_filled"]).as_py() or 0,
            "gaps": result.gaps.height,
            "gaps_of_missing_days": int((result.gaps["reason"] == MISSING_DAYS).sum()),
            "untraded_symbols": result.untraded,
            _WAITING: result.waiting,
            _TRADED_LATER: traded_later,
        }
        facts_of: dict[str, dict[str, object]] = {CONTINUOUS: facts, STATES: {_RULE: self._made_by()}}
        sources = self._input_fingerprint(
            prior, provenance.input_fingerprint, *([] if funding is None else [funding[0]]), *traded_later
        )
        provenances = {table: Provenance(source, facts_of.get(table, {})) for table, source in sources.items()}
        return MinutesPartition(key, result.table, result.gaps, states, provenances)

    def _waiting(self, key: str) -> tuple[list[str], list[str]]:
        """Symbols with funding events after their last trade of a stored day, and those of them that were known to be
        traded later.
        """
        stored = stored_partition(self._store, TableSlice.of_market("gold", self._market, CONTINUOUS).partition(key))
        facts = stored.provenance.facts if stored else {}
        return facts.get(_WAITING, []), facts.get(_TRADED_LATER, [])

    def _counts_other_funding(self, key: str) -> bool:
        waiting, traded_later = self._waiting(key)
        return self._traded_after(key, waiting) != traded_later

    def _traded_after(self, key: str, symbols: Sequence[str]) -> list[str]:
        """Those of the symbols that are traded within the patience of the gap rule after a day, in whole days."""
        if not symbols:
            return []
        days = days_near(key, days_of_patience(self._rule))
        stored = sorted(find_keys(self._store, self._silver_minutes, days))
        is_traded = pl.col("symbol").is_in(symbols) & (pl.col("base_volume") > 0)
        rows = collect_partitions(
            self._store,
            self._silver_minutes,
            stored,
            lambda rows: rows.filter(is_traded).select("symbol"),
        )
        return sorted(rows["symbol"].unique())

    def _state_before(self, key: str) -> pl.DataFrame:
        silver = {k: at for k, at in self._silver().items() if k < key}
        stored = {k: at for k, (_, at) in list_keys(self._store, self._gold_states).items()}
        # Read again the first day whose state is missing or older than its silver, and all days after it.
        outdated = [k for k in sorted(silver) if k not in stored or stored[k] < silver[k]]
        known = sorted(k for k in silver if not outdated or k < outdated[0])
        # A state of another gap rule, or of a version with other columns, cannot be used.
        while known and not self._is_by_this_rule(known[-1]):
            known.pop()
        state, before = (self._stored(known[-1]), known[-1]) if known else (no_state(), "")
        return self._rolled(state, before, key, sorted(silver))

    def _is_by_this_rule(self, key: str) -> bool:
        stored = stored_partition(self._store, self._gold_states.partition(key))
        return stored is not None and stored.provenance.facts.get(_RULE) == self._made_by()

    def _made_by(self) -> str:
        return f"{self._rule!r}: {', '.join(STATE_COLUMNS)}"

    def _rolled(self, state: pl.DataFrame, before: str, key: str, stored_days: Sequence[str]) -> pl.DataFrame:
        """The state at the start of the day ``key``, from ``state`` at the end of the day ``before``.

        ``before`` is the last known day; it is empty if no day is known. ``stored_days`` are those of silver, sorted.
        """
        state = state.select(STATE_COLUMNS)
        for day in [*days_between(stored_days, before, key), key]:
            if before:
                state = without_days(state, len(partition_keys(date_of(before), date_of(day), Cadence.DAILY)) - 1)
            if day != key:
                state = self._after(state, day)
            before = day
        return state

    def _after(self, state: pl.DataFrame, day: str) -> pl.DataFrame:
        chosen = chosen_symbols(stored_partition(self._store, self._silver_minutes.partition(day)))
        rows = collect_partitions(self._store, self._silver_minutes, [day], lambda minutes: minutes.select(_ROLLED))
        present, aside = set_aside(state, not_chosen(state["symbol"], rows, chosen))
        return put_back(next_state(rows, present, self._rule), aside)

    def _minutes(self) -> Minutes[tuple[pa.Table, Provenance]]:
        return Minutes(self._store, self._silver_minutes, _COLUMNS, lambda rows, provenance: (rows, provenance))

    def _silver(self) -> dict[str, datetime]:
        return {k: at for k, (_, at) in list_keys(self._store, self._silver_minutes).items()}

    def _stored(self, key: str) -> pl.DataFrame:
        return read_partition(self._store, self._gold_states.partition(key)).select(STATE_COLUMNS)

    def _funding(self, key: str) -> tuple[str, pl.DataFrame] | None:
        """The input fingerprint of the funding rates of the day's month, and their rows."""
        month = month_of(key)
        modified = find_keys(self._store, self._silver_funding, [month]).get(month)
        if modified is None:
            return None
        if self._rates is None or self._rates[:2] != (month, modified):
            partition = self._silver_funding.partition(month)
            # Read the fingerprint before the rows: if the rows are newer, the next run sees it and rebuilds the day.
            source = input_fingerprint(stored_partition(self._store, partition))
            self._rates = month, modified, source, read_partition(self._store, partition)
        return self._rates[2:]


def _prior(states: pl.DataFrame) -> str:
    return str(states["prior"][0]) if states.height else fingerprint(no_state())


def _empty(table: str) -> pl.DataFrame:
    return pl.DataFrame(schema_of("gold", table).empty())
