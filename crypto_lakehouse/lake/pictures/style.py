"""Colours that both renderers share."""

from __future__ import annotations

RISING, FALLING = "#26a69a", "#ef5350"
FUNDING = "#5c6bc0"
FILLED, GAP, NO_BARS = "#f2a900", "#d1495b", "#9aa5b1"
GRID, TEXT = "#e6e9ed", "#333a44"

STATES = {
    "there": "#4c9f70",
    "filled": "#f2c14e",
    "missing in the lake": "#d1495b",
    "missing in the archive": "#9aa5b1",
    "quarantined": "#7b52ab",
}
"""The states of coverage, and the colour of each."""

LINES = ("#4c78a8", "#e45756", "#54a24b", "#b279a2", "#f58518")
"""Colours of lines, one for each symbol."""

CORRELATION = [(0.0, "#b2182b"), (0.25, "#ef8a62"), (0.5, "#f7f7f7"), (0.75, "#67a9cf"), (1.0, "#2166ac")]
"""From -1 through 0 to 1."""
