"""Where archive, lake and transforms meet: a table's partitions, made one after the other. No Dagster.

One module per layer, and one each for the gold tables that are not made of minutes (``trade_ids``,
``instruments``); they take the partition keys of a run and yield what each holds, so that the caller decides
where the rows go and how progress is shown. ``arrivals``, ``reading``, ``stored_rows`` and ``account`` are parts of
bronze; ``unchanged`` tells all layers what need not be made. Beside them stand what compares a lake with its
sources (``reconcile``, ``gold_checks``), what is written for others (``export_legacy``), and what the archive has
(``discover``).
"""
