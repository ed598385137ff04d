"""Where archive, lake and transforms meet: a table's partitions, made one after the other. No Dagster.

One module per layer. Each function takes the partition keys of a run and yields what each holds, so
that the caller decides where the rows go and how progress is shown.
"""
