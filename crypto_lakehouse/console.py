"""What the terminal shows while runs go on. Only words and bars: what runs, and why, is decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from crypto_lakehouse.orchestration.launch import Outcome


_NAMED = 20


def follow(console: Console, outcomes: Iterable[Outcome], total: int) -> list[Outcome]:
    """Run them all, with a bar over ``total`` partitions; where there is no terminal, a line for each run."""
    done: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("partitions", total=total)
        for outcome in outcomes:
            done.append(outcome)
            progress.update(task, advance=outcome.partitions, description=outcome.name)
            if not console.is_terminal:
                say(console, f"{outcome.name} {outcome.span}: {'FAILED' if outcome.error else 'done'}")
    return done


def say(console: Console, text: str) -> None:
    """Print words from outside as they are: no markup, no colours, no folded lines."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def summarize(console: Console, outcomes: Iterable[Outcome]) -> bool:
    """Say what came of the runs; whether all are well: no run and no file failed, and no check found
    wrong rows.
    """
    outcomes = list(outcomes)
    made = sum(outcome.partitions for outcome in outcomes if not outcome.error)
    failed = [outcome for outcome in outcomes if outcome.error]
    say(console, f"{made} partitions made in {len(outcomes) - len(failed)} runs; {len(failed)} runs failed")
    for outcome in failed:
        say(console, f"FAILED {outcome.name} {outcome.span}: {outcome.error}")
    for outcome in outcomes:
        if outcome.quarantined_files or outcome.quarantined_rows:
            files, rows = outcome.quarantined_files, outcome.quarantined_rows
            say(console, f"quarantined {outcome.name} {outcome.span}: {files} files, {rows} rows")
        for name in outcome.failed_files[:_NAMED]:
            say(console, f"FAILED file of {outcome.name}: {name}; run again to try again")
        if len(outcome.failed_files) > _NAMED:
            say(console, f"FAILED files of {outcome.name}: and {len(outcome.failed_files) - _NAMED} more, see status")
        for level, found in (("ERROR", outcome.errors), ("warning", outcome.warnings)):
            for text in found:
                say(console, f"check {level} {outcome.name} {outcome.span}: {text}")
    return not any(outcome.error or outcome.errors or outcome.failed_files for outcome in outcomes)
