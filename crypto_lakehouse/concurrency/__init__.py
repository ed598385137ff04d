"""Threads that keep order: ``map_ordered`` for the same work on many items, ``prefetch`` to produce items ahead."""
