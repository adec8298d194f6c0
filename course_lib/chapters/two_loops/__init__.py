"""Notebook 02: the two loops."""
