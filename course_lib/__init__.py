"""A small library for one lecture: meta-learning, its two loops and its alternatives."""

__version__ = "1.0.0"
