"""Notebook 09: Omniglot."""
