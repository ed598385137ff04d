"""SQL over the lake in assets of your own: a resource of dagster-duckdb.

``build_defs`` does not add it, because importing DuckDB makes every command start later and no asset of the platform
needs it. ``docs/workflows/own-assets.md`` shows how to use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import duckdb
from dagster_duckdb import DuckDBResource

from crypto_lakehouse.lake.reader.sql import open_connection
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.settings import Settings

_MEMORY = ":memory:"


class LakeDuckDBResource(DuckDBResource):
    """DuckDB over the lake: the connection of ``lake.duckdb()``, wherever a DuckDBResource is expected.

    The connection is a database in memory with a view of each table and the functions of ``lake.sql``. It cannot read
    or write any file, so an asset returns its rows, and they are stored as those of any other asset.

    Parameters
    ----------
    lake
        The lake.
    """

    database: str = _MEMORY
    lake: LakeResource

    @classmethod
    def from_settings(cls, settings: Settings | None = None) -> Self:
        """Return the resource for the lake of the settings; None loads them from environment variables."""
        return cls(lake=LakeResource.from_settings(settings or Settings.load()))

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a connection; the views show the files that exist now. It is closed at the end of the block.

        Raises MissingLakeError if there is no lake, ValueError if the resource names a database or settings of one.
        """
        if self.database != _MEMORY or self.connection_config:
            raise ValueError(
                "LakeDuckDBResource opens a database in memory: leave out database and connection_config, and set"
                " LAKEHOUSE_SQL_MEMORY to limit its memory"
            )
        with open_connection(self.lake.store()) as connection:
            yield connection
