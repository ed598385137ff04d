"""``python -m crypto_lakehouse.cli.document``."""

from crypto_lakehouse.cli.document import main

raise SystemExit(main())
