"""The lake: paths, atomic Parquet writes, scans, the ledger, the quarantine, and the public reader (``read.py``).

No Dagster and no network but the storage itself; how rows are made is not known here.
"""
