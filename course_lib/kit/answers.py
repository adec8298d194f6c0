"""Answers to exercises: the course's own behind a button, the reader's own kept as source for a later notebook."""

from __future__ import annotations

import dis
import inspect
import linecache
import math
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import ipywidgets
import torch

from course_lib.kit.panel import answer_at_once


class Reveal:
    """Something to read behind a button: out of sight on every host until a person asks for it."""

    def __init__(self, text: str, label: str = "Show a solution"):
        self.text, self.label = text, label

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        button = ipywidgets.Button(description=self.label, layout=ipywidgets.Layout(width="auto"))
        below = ipywidgets.Output()

        def toggle(_: Any) -> None:
            shown = {"output_type": "display_data", "data": {"text/markdown": self.text}, "metadata": {}}
            below.outputs = () if below.outputs else (shown,)
            button.description = "Hide it" if below.outputs else self.label

        button.on_click(toggle)
        answer_at_once(button)
        words = f"*{self.label}: a button, where the notebook runs.*"
        return {
            **ipywidgets.VBox([button, below])._repr_mimebundle_(),
            "text/markdown": words,
            "text/plain": words.strip("*"),
        }


def source_of(answer: Callable) -> str:
    """The source of a function, "" where there is none."""
    try:
        return textwrap.dedent(inspect.getsource(answer)).strip()
    except (OSError, TypeError):
        return ""


def source_to_keep(answer: FunctionType) -> str:
    """The source of a function after that of the functions of its own notebook that it calls; "" where it has none.

    What else of that notebook it needs, such as numbers, classes and imports, is not kept.
    """
    sources: dict[FunctionType, str] = {}

    def collect(function: FunctionType) -> None:
        sources[function] = source_of(function)
        for name in names_in(function.__code__):
            other = function.__globals__.get(name)
            if inspect.isfunction(other) and other.__module__ == answer.__module__ and other not in sources:
                collect(other)

    collect(answer)
    own = sources.pop(answer)
    return "\n\n\n".join(filter(None, [*sources.values(), own])) if own else ""


def names_in(code: CodeType) -> Iterator[str]:
    """The names of globals in a function, and in the functions inside it."""
    yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from names_in(inner)


def function_from(source: str) -> Any:
    """The last function that the kept ``source`` defines, with what notebooks import; ``...`` if it fails."""
    names: dict[str, Any] = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "math": math}
    names["functional_call"] = torch.func.functional_call
    linecache.cache["<your answer>"] = (len(source), None, source.splitlines(keepends=True), "<your answer>")
    try:
        exec(compile(source, "<your answer>", "exec"), names)  # the reader wrote it, in a notebook of their own
    except Exception:
        return ...
    return next((thing for thing in reversed(names.values()) if inspect.isfunction(thing)), ...)
