"""What the terminal shows: runs while they go on, what came of them, and tables. Only words and bars: what runs, and
why, is decided elsewhere.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from crypto_lakehouse import interrupts

if TYPE_CHECKING:
    from crypto_lakehouse.orchestration.launch import Outcome


_NAMED = 20
_ANY_WIDTH = 1_000


def follow(console: Console, outcomes: Iterable[Outcome], total: int) -> list[Outcome]:
    """Run them all, or up to one that is interrupted, with a bar over ``total`` partitions; where there is no
    terminal, a line for each run.
    """
    done: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("partitions", total=total)
        for outcome in outcomes:
            done.append(outcome)
            progress.update(task, advance=outcome.partitions, description=outcome.name)
            if not console.is_terminal:
                how = "interrupted" if outcome.interrupted else "FAILED" if outcome.error else "done"
                say(console, f"{outcome.name} {outcome.span}: {how}")
            if outcome.interrupted:
                break
    return done


def say(console: Console, text: str) -> None:
    """Print words from outside as they are: no markup, no colours, no folded lines."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def show_table(console: Console, names: Sequence[str], values: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns: at a narrow terminal names are folded and values never cut; as they are in a pipe."""
    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        grid.add_column(name, overflow="fold")
    for value in values:
        grid.add_column(value, justify="right", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    wide = console if console.is_terminal else Console(file=console.file, width=_ANY_WIDTH)
    wide.print(grid, highlight=False)


def summarize(console: Console, outcomes: Iterable[Outcome]) -> int:
    """Say what came of the runs; the exit code: 0 where no run and no file failed, and no check found wrong rows; 130
    or 143 where a signal stopped them.
    """
    outcomes = list(outcomes)
    interrupted = [outcome for outcome in outcomes if outcome.interrupted]
    failed = [outcome for outcome in outcomes if outcome.error and not outcome.interrupted]
    well = [outcome for outcome in outcomes if not outcome.error and not outcome.interrupted]
    made = sum(outcome.partitions for outcome in well)
    say(console, f"{made} partitions made in {len(well)} runs; {len(failed)} runs failed")
    for name, some in groupby(outcomes, key=lambda outcome: outcome.name):
        _say_rows(console, name, list(some))
    for outcome in failed:
        say(console, f"FAILED {outcome.name} {outcome.span}: {outcome.error}")
    if runs := [outcome.run_id for outcome in failed if outcome.run_id]:
        home = os.environ.get("DAGSTER_HOME", "")
        say(console, f"every step of a failed run is in Dagster's UI (DAGSTER_HOME={home}), run {', '.join(runs)}")
    for outcome in outcomes:
        if outcome.quarantined_files or outcome.quarantined_rows:
            files, rows = outcome.quarantined_files, outcome.quarantined_rows
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(outcome.reasons.items()))
            say(console, f"quarantined {outcome.name} {outcome.span}: {files} files, {rows} rows ({reasons})")
        for name in outcome.failed_files[:_NAMED]:
            say(console, f"FAILED file of {outcome.name}: {name}; run again to try again")
        if len(outcome.failed_files) > _NAMED:
            say(console, f"FAILED files of {outcome.name}: and {len(outcome.failed_files) - _NAMED} more, see status")
        for level, found in (("ERROR", outcome.errors), ("warning", outcome.warnings)):
            for text in found:
                say(console, f"check {level} {outcome.name} {outcome.span}: {text}")
    for outcome in interrupted:
        say(console, f"interrupted in {outcome.name} {outcome.span}: repeat the command to go on; what is made stays")
    if interrupted:
        return interrupts.exit_code()
    return int(any(one.error or one.errors or one.failed_files for one in outcomes))


def say_late_signal(console: Console, code: int) -> None:
    """Say of a signal that came when no run was left to stop that nothing was left out."""
    if (number := interrupts.received()) and code != interrupts.exit_code():
        say(console, f"{signal.Signals(number).name} came when all runs were finished: nothing was left out")


def _say_rows(console: Console, name: str, outcomes: Sequence[Outcome]) -> None:
    """How many rows each table of a plan has, and what the archive lacks of it."""
    rows = Counter[str]()
    for outcome in outcomes:
        rows.update(outcome.rows)
    if rows:
        told = ", ".join(f"{table} {count:,}" for table, count in rows.items())
        say(console, f"rows of {name}: {told}" if any(rows.values()) else f"no rows of {name}")
    for symbol in sorted(set().union(*(outcome.unmatched for outcome in outcomes))):
        say(console, f"warning: no symbol of {name} matches {symbol} in the archive")
    if any(rows[table] == 0 for table in rows if table.startswith("bronze.")):
        bad = any(outcome.failed_files or outcome.quarantined_files for outcome in outcomes)
        why = "" if bad else ": the archive has no file of these symbols and dates"
        say(console, f"warning: every bronze partition of {name} is empty{why}")
