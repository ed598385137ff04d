"""Benchmarks: ratios of medians over interleaved runs, each with its goal. ``make bench`` runs them all."""

# First, as in every process of the platform: it configures the memory allocator of Arrow.
import crypto_lakehouse  # noqa: F401
