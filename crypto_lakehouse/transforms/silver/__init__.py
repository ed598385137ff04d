"""From parsed rows of an archive file to canonical silver rows: units, times, duplicates."""
