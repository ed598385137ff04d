"""Output on the terminal: progress of runs, their summary, and tables. What runs, and why, is decided elsewhere."""

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
    from crypto_lakehouse.orchestration.runs import Outcome


_NAMED = 20
_ANY_WIDTH = 1_000


def follow(console: Console, outcomes: Iterable[Outcome], total: int) -> list[Outcome]:
    """Run all outcomes with a progress bar over ``total`` partitions; without a terminal, print a line per run.

    A run that does one of several steps advances the bar by its part of them.
    """
    done: list[Outcome] = []
    completed = 0.0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("partitions", total=total)
        for outcome in outcomes:
            done.append(outcome)
            completed += outcome.partitions / (outcome.step.count if outcome.step else 1)
            # Thirds add up to a little less than one, and the bar shows whole partitions.
            progress.update(task, completed=round(completed, 3), description=outcome.name)
            if not console.is_terminal:
                how = "interrupted" if outcome.interrupted else "FAILED" if outcome.error else "done"
                what = f" ({', '.join(outcome.step.tables)})" if outcome.step else ""
                say(console, f"{outcome.name} {outcome.span}{what}: {how}")
    return done


def counted(count: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "file"), counted(1200, "row")
    ('1 file', '1,200 rows')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def say(console: Console, text: str) -> None:
    """Print ``text`` unchanged: no markup, no colours, no folded lines."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def show_table(console: Console, names: Sequence[str], values: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns. A narrow terminal folds names and never cuts values; a pipe gets full-width lines."""
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
    """Print a summary of the runs and return the exit code.

    The code is 0 if no run and no file failed and no check found wrong rows, 130 or 143 if a signal stopped the runs,
    else 1.
    """
    outcomes = list(outcomes)
    interrupted = [outcome for outcome in outcomes if outcome.interrupted]
    failed = [outcome for outcome in outcomes if outcome.error and not outcome.interrupted]
    succeeded = [outcome for outcome in outcomes if not outcome.error and not outcome.interrupted]
    partitions = sum(outcome.partitions for outcome in succeeded if outcome.is_last_step)
    done = f"{counted(partitions, 'partition')} done in {counted(len(succeeded), 'run')}"
    say(console, f"{done}; {counted(len(failed), 'run')} failed")
    for name, group in groupby(outcomes, key=lambda outcome: outcome.name):
        _say_rows(console, name, list(group))
    for outcome in failed:
        say(console, f"FAILED {outcome.name} {outcome.span}: {outcome.error}")
    if runs := [outcome.run_id for outcome in failed if outcome.run_id]:
        home = os.environ.get("DAGSTER_HOME", "")
        say(console, f"for the steps of failed runs open Dagster's UI (DAGSTER_HOME={home}), run {', '.join(runs)}")
    for outcome in outcomes:
        if outcome.quarantined_files or outcome.quarantined_rows:
            files, rows = outcome.quarantined_files, outcome.quarantined_rows
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(outcome.reasons.items()))
            counts = (
                f"{counted(files, 'file')}, {counted(rows, 'row')} ({reasons}); quarantine.rejected has the reasons"
            )
            say(console, f"quarantined {outcome.name} {outcome.span}: {counts}")
        for name in outcome.failed_files[:_NAMED]:
            say(console, f"FAILED file of {outcome.name}: {name}; repeat the command to try again")
        if len(outcome.failed_files) > _NAMED:
            say(console, f"FAILED files of {outcome.name}: and {len(outcome.failed_files) - _NAMED} more, see status")
        for level, texts in (("ERROR", outcome.errors), ("warning", outcome.warnings)):
            for text in texts:
                say(console, f"check {level} {outcome.name} {outcome.span}: {text}")
    for outcome in interrupted:
        say(
            console,
            f"interrupted in {outcome.name} {outcome.span}: repeat the command to continue; what is stored stays",
        )
    if any(outcome.banned for outcome in outcomes):
        say(console, "stopped: the exchange refuses all requests, so no further run starts")
    if interrupted:
        return interrupts.exit_code()
    return int(any(outcome.error or outcome.errors or outcome.failed_files for outcome in outcomes))


def say_failed_checks(console: Console, failed: Iterable[tuple[bool, str]]) -> int:
    """Print what checks of an earlier run found, each with whether it is an error; return the exit code."""
    code = 0
    for is_error, text in failed:
        code = max(code, int(is_error))
        say(console, f"check {'ERROR' if is_error else 'warning'} of an earlier run: {text}")
    return code


def say_late_signal(console: Console, code: int) -> None:
    """Report a signal that came after all runs were finished: it skipped nothing."""
    if (number := interrupts.received()) and code != interrupts.exit_code():
        say(console, f"{signal.Signals(number).name} came after all runs were finished: nothing was skipped")


def _say_rows(console: Console, name: str, outcomes: Sequence[Outcome]) -> None:
    """Print the rows of each table of a plan, and what the archive does not have."""
    # Not at the top: the help of commands stays quick.
    from crypto_lakehouse.schemas.rest import REST_SUFFIX

    rows = Counter[str]()
    for outcome in outcomes:
        rows.update(outcome.rows)
    if rows:
        counts = ", ".join(f"{table} {count:,}" for table, count in rows.items())
        say(console, f"stored rows of {name}: {counts}" if any(rows.values()) else f"no rows of {name}")
    for symbol in sorted(set().union(*(outcome.unmatched for outcome in outcomes))):
        say(console, f"warning: no symbol of {name} matches {symbol} in the archive")
    if any(rows[table] == 0 for table in rows if table.startswith("bronze.") and not table.endswith(REST_SUFFIX)):
        bad = any(outcome.failed_files or outcome.quarantined_files for outcome in outcomes)
        why = "" if bad else ": the archive has no file of these symbols and dates"
        say(console, f"warning: every bronze partition of {name} is empty{why}")
