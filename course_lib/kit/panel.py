"""The widget of a demo in a notebook, and the kernel round it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import anywidget
import traitlets
from IPython import get_ipython

from course_lib.kit import front
from course_lib.kit.live import Live


class Panel(Live, anywidget.AnyWidget):
    """The widget of ``demo``: ``declaration`` is what stays, ``state`` and ``png`` what each picture changes."""

    _esm = front.script() + (front.HERE / "widget.js").read_text(encoding="utf-8")
    _css = front.style()
    declaration = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    png = traitlets.Bytes().tag(sync=True)

    def __init__(self, demo: Any):
        Live.__init__(self, demo)
        anywidget.AnyWidget.__init__(self, declaration=self.declare(), state=self.now(), png=demo.png)
        self.on_msg(lambda _, message, buffers: self.hear(message))
        answer_at_once(self)

    def shown_in_cell(self) -> dict:
        """The mime bundle of the widget; what the same cell showed when it ran before is closed."""
        _close_earlier_runs(self._demo)
        return self._repr_mimebundle_()[0]

    def publish(self) -> None:
        """Send what the demo shows to the page, in one message."""
        with self.hold_sync():
            self.state, self.png = self.now(), self._demo.png
        answer_at_once(self)

    def close(self) -> None:
        self.end()
        self.layout.close()  # a widget of its own
        super().close()


def answer_at_once(widget: anywidget.AnyWidget) -> None:
    """ipykernel hands what a page sends to the loop that last wrote to its widget: for one just made, to the cell that
    made it, and behind all cells that wait. Without this note it goes where the page asks, beside them."""
    vars(widget.comm).pop("_reply_subshell_id", None)


# The kernel round it ----------------------------------------------------------------------------------------


_shown: dict[str, tuple[int, list]] = {}  # by cell: the number of its run, and the demos it showed


def _shell() -> Any:
    shell = get_ipython()
    return shell if hasattr(shell, "kernel") else None


def _close_earlier_runs(demo: Any) -> None:
    """Close what the running cell showed when it ran before; a demo shown by no cell that is known stays."""
    shell = _shell()
    cell = shell and shell.get_parent().get("metadata", {}).get("cellId")
    if not cell:
        return
    _end_runs_at_interrupt(shell)
    this, (run, demos) = shell.displayhook.prompt_count, _shown.get(cell, (0, []))
    if run != this:
        for earlier in demos:
            if earlier is not demo:
                earlier.close()
        getattr(shell.history_manager, "outputs", {}).pop(run, None)  # IPython keeps every picture ever shown
        demos = []
    _shown[cell] = this, [*demos, demo]


@lru_cache(maxsize=1)
def _end_runs_at_interrupt(shell: Any) -> None:
    """The kernel's interrupt ends live runs, whether it meets a running cell or none."""

    def end_runs(*_: Any) -> None:
        for _, demos in _shown.values():
            for demo in demos:
                demo.stop()

    def after_cell(result: Any) -> None:
        if isinstance(result.error_in_exec, KeyboardInterrupt):
            end_runs()

    shell.events.register("post_run_cell", after_cell)
    if hasattr(shell.kernel, "saved_sigint_handler"):  # what SIGINT does while no cell runs: nothing, until now
        shell.kernel.saved_sigint_handler = lambda number, frame: end_runs()
