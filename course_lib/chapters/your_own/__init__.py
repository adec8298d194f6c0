"""Notebook 10: your own tasks."""
