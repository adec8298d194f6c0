"""Experiments too slow for a notebook cell: each file is a command that writes its small result beside itself."""
