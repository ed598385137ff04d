"""The code version of each layer, which is part of the input fingerprint of its partitions."""

CODE_VERSIONS = {"bronze": "2", "silver": "3", "gold": "6", "compacted": "1"}
"""Raise a layer's number when its rows change for the same sources. The next run then rebuilds its partitions."""
