"""What all groups of methods of ``Lakehouse`` use."""

from __future__ import annotations

from crypto_lakehouse.lake.storage.store import LakeStore


class Methods:
    """A group of methods of ``Lakehouse``, which opens the store."""

    _store: LakeStore
