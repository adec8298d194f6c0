"""Notebook 01: adapting at test time."""
