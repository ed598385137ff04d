"""What every test shares: the traceability plugin and pytest's own plugin-testing kit.

Fixtures that one layer alone needs belong in that layer's folder, not here.
"""

pytest_plugins = ["pytester", "crypto_lakehouse_tests.traceability"]
