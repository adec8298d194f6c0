"""Words about numbers, for captions, titles and pictures in words."""


def several(count: int, what: str) -> str:
    """So many of something.

    >>> several(1, "step"), several(0, "outer step"), several(1000, "task")
    ('1 step', '0 outer steps', '1,000 tasks')
    """
    return f"{count:,} {what}{'s' * (count != 1)}"
