"""Progress and warnings of an export to legacy files, and whether it wrote all that was requested.

``cli/main.py`` checks the arguments, ``pipeline/export_legacy.py`` does the export.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from crypto_lakehouse.catalog.near import with_near
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.cli.console import counted, say
from crypto_lakehouse.pipeline.export_legacy import Exported, LegacyExport


def show_export(console: Console, exports: Sequence[LegacyExport], symbols: SymbolFilter) -> bool:
    """Run the exports with a progress bar over their symbols; without a terminal, print a line per symbol.

    Returns True if files were written, for every name and pattern of ``symbols`` in at least one market.
    """
    for export in exports:
        _say_input(console, export)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    done: list[Exported] = []
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("symbols", total=sum(len(export.symbols) for export in exports))
        for export in exports:
            for exported in export.run():
                done.append(exported)
                progress.update(task, advance=1, description=f"{exported.market} {exported.symbol}")
                _say_symbol(console, exported)
    written = [exported for exported in done if exported.written]
    files = counted(sum(len(exported.written) for exported in written), "file")
    say(console, f"{files} of {counted(len(written), 'symbol')} written")
    available = [name for export in exports for name in export.available]
    for name in symbols.unknown(available):
        say(console, f"ERROR no symbol of silver.klines_1m matches {with_near(name, available)} in these days")
    return bool(written) and not symbols.unknown(exported.symbol for exported in written)


def _say_input(console: Console, export: LegacyExport) -> None:
    name = export.market
    if not export.days:
        say(console, f"{name}: no day of this range is in silver.klines_1m. Build it with: {export.build_minutes()}")
        return
    say(console, f"{name}: {counted(len(export.symbols), 'symbol')}, {export.days[0]} to {export.days[-1]}")
    if export.missing_days:
        days = _first_names(export.missing_days)
        text = f"silver.klines_1m has no {days}; their minutes are written without trades"
        say(console, f"warning {name}: {text}. Build them with: {export.build_minutes(export.missing_days)}")
    if export.missing_months:
        months = _first_names(export.missing_months)
        text = f"silver.funding_rates has no {months}; no rates are written for these months"
        say(console, f"warning {name}: {text}. Build them with: {export.build_rates(export.missing_months)}")


def _say_symbol(console: Console, exported: Exported) -> None:
    if not exported.written:
        say(console, f"warning {exported.market} {exported.symbol}: no minute was traded, so no file is written")
    elif not console.is_terminal:
        say(console, f"{exported.market} {exported.symbol}: {counted(len(exported.written), 'file')}")
    for path in exported.removed:
        say(console, f"removed {path}: {exported.symbol} no longer has this segment")


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
