"""Benchmarks: ratios of medians over interleaved runs, each with its goal. ``make bench`` runs them all."""
