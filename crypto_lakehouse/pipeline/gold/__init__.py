"""From silver to gold partitions: minutes, bars, trade ids, instruments."""
