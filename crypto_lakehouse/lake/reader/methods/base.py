"""What all groups of methods of ``Lakehouse`` use."""

from __future__ import annotations

from crypto_lakehouse.lake.reader.versions import AsOf, open_as_of
from crypto_lakehouse.lake.storage.store import LakeStore


class Methods:
    """A group of methods of ``Lakehouse``, which opens the store."""

    _store: LakeStore

    def _at(self, as_of: AsOf | None) -> LakeStore:
        """The store of a time or snapshot; None means the one that was opened."""
        return self._store if as_of is None else open_as_of(self._store, as_of)
