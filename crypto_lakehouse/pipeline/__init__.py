"""Connect archive, lake and transforms: build the partitions of a table, one after another. No Dagster.

Each layer has a module or a folder: ``bronze/``, ``silver.py``, ``gold/``. Their functions take the partition keys of a
run and yield each partition, so the caller decides where rows go and how to show progress. ``fingerprints.py`` decides
for all layers which partitions are up to date. Other modules compare a lake with its sources (``reconcile.py``,
``silver_checks.py``, ``gold/checks.py``), export rows (``export_legacy.py``) and list the archive (``discover.py``).
"""
