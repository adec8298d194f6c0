"""Notebook 03: what k costs."""
