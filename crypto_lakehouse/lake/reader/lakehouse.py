"""The public reader: ``Lakehouse``, with which notebooks, programs and other packages read the lake.

This module opens the lake. The public methods are in ``methods/``, by subject, with their documentation; each calls a
module of this folder: rows in ``rows.py`` (the choice of files in ``scan.py``), bars computed on demand in ``bars.py``,
matrices in ``panel.py``, joins in ``align.py``, streams of rows in ``stream.py``, instruments in ``universe.py``,
symbols and coverage in ``contents.py``, earlier times of the lake in ``versions.py``, DuckDB in ``sql.py``, argument
checks in ``arguments.py`` and ``request.py``; pictures are in ``lake/pictures``, the origin of rows in
``lake/lineage``. Locations and credentials are in ``storage/store.py``. Nothing here writes to the lake or imports
Dagster; pandas and DuckDB are imported on first use.
"""

from __future__ import annotations

import os

from crypto_lakehouse.lake.reader.listing import lake_html
from crypto_lakehouse.lake.reader.methods.bars import BarMethods
from crypto_lakehouse.lake.reader.methods.contents import ContentMethods
from crypto_lakehouse.lake.reader.methods.lineage import LineageMethods
from crypto_lakehouse.lake.reader.methods.matrices import MatrixMethods
from crypto_lakehouse.lake.reader.methods.named import NamedMethods
from crypto_lakehouse.lake.reader.methods.pictures import PictureMethods
from crypto_lakehouse.lake.reader.methods.rows import RowMethods
from crypto_lakehouse.lake.reader.methods.sql import SqlMethods
from crypto_lakehouse.lake.reader.methods.streams import StreamMethods
from crypto_lakehouse.lake.reader.methods.tables import TableMethods
from crypto_lakehouse.lake.reader.methods.universe import UniverseMethods
from crypto_lakehouse.lake.reader.methods.versions import VersionMethods
from crypto_lakehouse.lake.reader.versions import AsOf, open_as_of
from crypto_lakehouse.lake.storage.store import LakeStore


class Lakehouse(
    PictureMethods,
    RowMethods,
    NamedMethods,
    StreamMethods,
    BarMethods,
    MatrixMethods,
    UniverseMethods,
    ContentMethods,
    LineageMethods,
    SqlMethods,
    TableMethods,
    VersionMethods,
):
    """A lake, opened for reading.

    Credentials come from boto3's chain: the ``AWS_*`` variables, then the profile AWS_PROFILE (or ``default``) in the
    AWS configuration files. Opening a location without a lake is not an error; the first method that reads it raises
    MissingLakeError.

    Parameters
    ----------
    uri
        A folder or ``s3://bucket/prefix``. Default: LAKEHOUSE_LAKE_URI, else ``./lake``.
    s3_endpoint_url
        The endpoint of an S3 service other than AWS. Default: LAKEHOUSE_S3_ENDPOINT_URL, else boto3's chain. The
        region is LAKEHOUSE_S3_REGION, else boto3's chain.
    as_of
        A time (UTC), or the text of ``snapshot``: all methods read the lake as it was then. Default: the present.

    Examples
    --------
    This lake was built from the sample archive, whose prices are made up. So was ``lake`` in the examples of methods.

    >>> from crypto_lakehouse import Lakehouse
    >>> lake = Lakehouse("./lake")
    >>> bars = lake.read("gold.bars_1h", market="um", symbols="BTCUSDT", start="2024-12-31", end="2025-01-01")
    >>> bars[["open_time", "close", "complete"]].head(2)
                      open_time    close  complete
    0 2024-12-31 00:00:00+00:00  96643.4      True
    1 2024-12-31 01:00:00+00:00  96684.3      True
    """

    def __init__(
        self,
        uri: str | os.PathLike[str] | None = None,
        *,
        s3_endpoint_url: str | None = None,
        as_of: AsOf | None = None,
    ):
        # The same variables and defaults as in settings.py, which imports more and validates every setting.
        location = os.fspath(uri) if uri is not None else os.environ.get("LAKEHOUSE_LAKE_URI") or "./lake"
        endpoint = s3_endpoint_url or os.environ.get("LAKEHOUSE_S3_ENDPOINT_URL") or None
        region = os.environ.get("LAKEHOUSE_S3_REGION") or None
        store = LakeStore.open(location, s3_endpoint_url=endpoint, s3_region=region)
        self._store = store if as_of is None else open_as_of(store, as_of)

    def __repr__(self) -> str:
        moment = self._store.as_of
        return (
            f"Lakehouse({self.uri!r})" if moment is None else f"Lakehouse({self.uri!r}, as_of='{moment.isoformat()}')"
        )

    def _repr_html_(self) -> str:
        return lake_html(self._store)

    @property
    def uri(self) -> str:
        """The location of the lake, without credentials."""
        return self._store.uri
