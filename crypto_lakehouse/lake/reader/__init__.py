"""How a lake is read: the Lakehouse, scans, SQL, bars, descriptions, status."""
