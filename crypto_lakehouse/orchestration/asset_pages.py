"""Additions to the page of an asset in Dagster's UI: links to the code that computes its rows, how to read them, and
from which columns of other assets its columns are made.

``explained`` is applied to all assets at once, so a new table needs nothing here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cache, partial
from typing import Any

import dagster as dg

from crypto_lakehouse.catalog import DEFAULT_EXCHANGE, Cadence, feed, find_market, parse_partition, partition_key
from crypto_lakehouse.lake.storage.compaction import compact_month
from crypto_lakehouse.lake.storage.paths import COMPACTED
from crypto_lakehouse.orchestration.gold import MAKERS
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.pipeline.completion.partitions import Completion
from crypto_lakehouse.schemas.column_lineage import gold_columns
from crypto_lakehouse.schemas.gold import find_gold_table, split_name
from crypto_lakehouse.schemas.rest import has_answers, rest_table
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.column_lineage import silver_columns
from crypto_lakehouse.transforms.gold.tables import functions_of
from crypto_lakehouse.transforms.rest.archive_rows import endpoint_columns
from crypto_lakehouse.transforms.silver.cleaners import cleaner_of

READ_METADATA = "how_to_read"
COLUMN_LINEAGE = "dagster/column_lineage"


def explained(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The assets with links to code, a line of Python that reads their rows, and the lineage of their columns."""
    keys = frozenset(key for asset in assets for key in asset.keys)
    return [asset.map_asset_specs(partial(_explained, keys=keys)) for asset in assets]


def _explained(spec: dg.AssetSpec, keys: frozenset[dg.AssetKey]) -> dg.AssetSpec:
    layer, exchange, market, table = spec.key.path
    lineage = _column_lineage(layer, exchange, market, table, keys)
    metadata = {
        **({COLUMN_LINEAGE: lineage} if lineage.deps_by_column else {}),
        "dagster/code_references": dg.CodeReferencesMetadataValue(
            code_references=_references(_code(layer, exchange, market, table))
        ),
        READ_METADATA: dg.MetadataValue.md(f"```python\n{read_line(layer, exchange, market, table)}\n```"),
    }
    return spec.merge_attributes(metadata=metadata)


def _column_lineage(
    layer: str, exchange: str, market: str, table: str, keys: frozenset[dg.AssetKey]
) -> dg.TableColumnLineage:
    """The columns of the assets ``keys`` that each column of a silver or gold table is made of."""
    made_of: dict[str, list[tuple[str, str]]] = {}
    if layer == "silver":
        own = feed(exchange, market, table)
        answered = endpoint_columns(own) if has_answers(own) else {}
        for column, sources in silver_columns(own).items():
            made_of[column] = [(f"bronze.{table}", source) for source in sources]
            made_of[column] += [(f"bronze.{rest_table(table)}", answered[each]) for each in sources if each in answered]
    elif layer == "gold" and (entry := find_gold_table(table)) is not None:
        made_of = gold_columns(entry)
    deps = {
        column: [
            dg.TableColumnDep(asset_key=key, column_name=source)
            for name, source in sources
            for key in [dg.AssetKey([split_name(name)[0], exchange, market, split_name(name)[1]])]
            if key in keys
        ]
        for column, sources in made_of.items()
    }
    return dg.TableColumnLineage(deps_by_column={column: found for column, found in deps.items() if found})


def read_line(layer: str, exchange: str, market: str, table: str) -> str:
    """The Python that reads the first partition of a table."""
    first, end = _first_partition(layer, exchange, market, table)
    # Readers use month files by themselves.
    layer_read = TableSlice.with_months(exchange, market, table).layer if layer == COMPACTED else layer
    arguments = "" if exchange == DEFAULT_EXCHANGE else f'exchange="{exchange}", '
    arguments += f'market="{market}", start="{first}", end="{end}"'
    return f'Lakehouse().read("{layer_read}.{table}", {arguments})'


def _first_partition(layer: str, exchange: str, market: str, table: str) -> tuple[date, date]:
    if layer == "gold":
        first = find_market(exchange, market).first_date
        return first, first + timedelta(days=1)
    entry = find_gold_table(table)
    own = table if layer == COMPACTED else TableSlice(layer, exchange, market, table).completed_table
    table_feed = feed(exchange, market, entry.sources[0] if entry else own)
    cadence = Cadence.MONTHLY if layer == COMPACTED else table_feed.cadence
    return parse_partition(partition_key(table_feed.first_date, cadence), cadence)


def _code(layer: str, exchange: str, market: str, table: str) -> Callable[..., Any]:
    """The function or class that computes the rows of a table."""
    if layer == "bronze":
        return Completion if TableSlice(layer, exchange, market, table).is_of_answers else BronzeIngest
    if layer == COMPACTED:
        return compact_month
    if layer == "silver":
        return cleaner_of(feed(exchange, market, table))
    entry = find_gold_table(table)
    assert entry is not None
    return MAKERS[entry.maker].code or functions_of(table).rows


@cache
def _references(code: Callable[..., Any]) -> list[Any]:
    path = inspect.getsourcefile(code)
    if path is None:
        return []
    _, line = inspect.getsourcelines(code)
    return [dg.LocalFileCodeReference(file_path=path, line_number=line, label=code.__qualname__)]
