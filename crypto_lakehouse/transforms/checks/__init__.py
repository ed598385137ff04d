"""Comparisons of rows with other facts: their inputs, the exchange's klines, the epoch registry."""
