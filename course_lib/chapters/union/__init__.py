"""Notebook 06: the union of tasks, negative inner rates."""
