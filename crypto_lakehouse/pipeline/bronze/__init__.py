"""From archive files to bronze partitions: download, parse, record, store."""
