"""The made-up archive and the servers that stand in for an exchange."""
