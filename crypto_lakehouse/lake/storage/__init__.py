"""How a lake is stored: paths, Parquet, partitions, ledger, quarantine, integrity."""
