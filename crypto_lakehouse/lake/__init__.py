"""The lake: paths, atomic Parquet writes, scans, the ledger, the quarantine, and the public reader (``read.py``).

This package imports no Dagster and uses no network except the storage itself. How rows are computed is in
``transforms``.
"""
