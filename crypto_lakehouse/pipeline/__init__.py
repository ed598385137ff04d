"""Where archive, lake and transforms meet: a table's partitions, made one after the other. No Dagster.

One module per layer; they take the partition keys of a run and yield what each holds, so that the caller
decides where the rows go and how progress is shown. Beside them stand what compares a lake with its sources
(``reconcile``, ``gold_checks``) and what is written for others (``export_legacy``).
"""
