"""The assets, by layer and kind of table; ``common.py`` holds what they share."""
