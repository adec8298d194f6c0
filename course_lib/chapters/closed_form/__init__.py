"""Notebook 07: closed-form heads."""
