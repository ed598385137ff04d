"""Connect archive, lake and transforms: build the partitions of a table, one after another. No Dagster.

Each layer has a module, and so has each gold table that does not come from minutes (``trade_ids``, ``instruments``).
They take the partition keys of a run and yield each partition, so the caller decides where rows go and how to show
progress. ``arrivals``, ``reading``, ``stored_rows`` and ``account`` are parts of bronze; ``unchanged`` decides for all
layers which partitions are up to date. Other modules compare a lake with its sources (``reconcile``,
``gold_checks``), export rows (``export_legacy``) and list the archive (``discover``).
"""
