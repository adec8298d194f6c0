"""Notebook 08: Reptile."""
