"""Packages that people use with our frames and exports, as they come from the registry; ``make clients`` runs these."""
