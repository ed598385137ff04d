"""Comparisons of rows with what else is known about them."""
