"""Completion: what silver is missing is requested from the exchange's REST interface, and its answers are stored."""
