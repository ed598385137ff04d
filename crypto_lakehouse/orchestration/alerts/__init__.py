"""Alerts: what is wrong in a deployment, which of it is new, and messages about it."""
