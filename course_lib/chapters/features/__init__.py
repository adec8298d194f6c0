"""Notebook 05: features and tangent features."""
