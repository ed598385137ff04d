"""Where a row comes from, and where a file went: the chain from a gold row to the line of a file, and back.

``explain.py`` finds the row that is explained, ``gold.py`` and ``silver.py`` the rows that it was made of, ``files.py``
what ledger and quarantine know of their files. ``model.py`` has the values that are returned, and
``uses.py`` lists the partitions that used a file. Nothing here writes to the lake.
"""
