"""REST answers: their bytes to rows, rows to the columns of the archive's files, and what is missing to requests."""
