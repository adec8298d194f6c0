"""What ``python -m course_lib`` runs: each command is a module with a ``main(argv) -> int``."""
