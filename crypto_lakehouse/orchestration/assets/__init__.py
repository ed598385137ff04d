"""The assets, one module per layer; what they have in common is in ``common.py``."""
