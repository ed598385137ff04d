"""Compiled loops over arrays, and the conversions between rows and arrays."""
