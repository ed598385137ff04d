"""What every test shares: the traceability plugin, pytest's own plugin-testing kit, and hypothesis' settings.

Fixtures that one layer alone needs belong in that layer's folder, not here.
"""

from hypothesis import settings

pytest_plugins = ["pytester", "crypto_lakehouse_tests.traceability"]

# Machines differ, and speed is the benchmarks' business.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")
