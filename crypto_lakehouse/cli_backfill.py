"""What ``backfill`` does around its runs. The runs themselves are ``orchestration/launch.py``'s work.

Words and exit codes; what a name means is decided in ``pipeline/symbols.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crypto_lakehouse.catalog import feed
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.cli_common import explained, fail, open_lake
from crypto_lakehouse.environment import Environment

if TYPE_CHECKING:
    from crypto_lakehouse.orchestration.launch import Plan


def refuse_unknown_symbols(settings: Environment, wish: Plan, symbols: str) -> None:
    """End with 2 before any run where a name is no symbol of the archive or the ledger, or nothing is selected.

    ``symbols`` are those of the command, else the settings' count; gold is made for all symbols.
    """
    from crypto_lakehouse.orchestration.resources import ArchiveResource
    from crypto_lakehouse.pipeline.symbols import UnknownSymbolsError, check_selection, check_symbols_exist

    layer, *place = wish.assets[0].path
    chosen = SymbolFilter.parse(symbols or settings.symbols)
    if layer != "bronze" or chosen == SymbolFilter():
        return
    of = feed(*place)
    with explained():
        source = ArchiveResource.of(settings).source()
        listed = source.symbols(of)
        try:
            check_symbols_exist(of, source, open_lake(settings), chosen, listed, for_feed=bool(symbols))
            if not symbols:
                check_selection(of, chosen, listed)
        except UnknownSymbolsError as error:
            fail(error, 2)
