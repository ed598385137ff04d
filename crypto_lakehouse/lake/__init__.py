"""The lake: ``storage`` has paths, atomic Parquet writes, the ledger and the quarantine; ``reader`` the public reader.

This package imports no Dagster and uses no network except the storage itself. How rows are computed is in
``transforms``.
"""
