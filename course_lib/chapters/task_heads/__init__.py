"""Notebook 04: task heads."""
