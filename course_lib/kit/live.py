"""A demo that is moved from a page, and the thread that draws for it.

The page (``front/panel.js``) sends what a person did; the thread takes it, computes only the newest values, draws, and
publishes the picture with all that the page shows beside it. JupyterLab delivers messages in the kernel's main thread
or in a second one (a subshell), and a cell may be running in the first: so nothing is done where a message arrives, and
nothing that threads share is set here. All demos of a process share one thread, and take turns between frames.
"""

from __future__ import annotations

import asyncio
import gc
import html
import threading
import time
import traceback
from functools import lru_cache
from typing import Any

import torch

from course_lib.kit import links
from course_lib.kit.controls import Run
from course_lib.kit.touch import Points, nudged, touched

FRAME = 0.04  # seconds between two frames of a long computation: 25 pictures a second


class Live:
    """``demo`` on a page. Whoever shows it says in ``publish`` how the state and the picture get there."""

    def __init__(self, demo: Any):
        self._demo = demo
        self.error: Exception | None = None  # what the error box shows
        self._version = self._drawn = 0  # of the values: asked for, and in the picture
        self._stopped = self._closed = self._running = self._pinned = self._large = self._repaint = False
        self._news = False  # whether a picture was drawn that the page has not got
        self._fit: tuple[float | None, float, float | None] = None, 2.0, None
        self._heard: tuple[str, int] = "", 0
        self._last: dict[tuple, int] = {}  # the number of the last message about each thing that moves
        self._task: asyncio.Task | None = None

    def publish(self) -> None:
        """Bring ``state()`` and the demo's picture to the page."""
        raise NotImplementedError

    def end(self) -> None:
        """Draw no more."""
        self._closed = self._stopped = True

    # What a person did --------------------------------------------------------------------------------------

    def hear(self, message: dict) -> None:
        """Take a message of the page, in whichever thread it arrives, and let the drawing thread act on it."""
        if not self._closed:
            loop().call_soon_threadsafe(self._act, message)

    def _act(self, message: dict) -> None:
        view, number, what = message.get("view", ""), message.get("n", 0), message["do"]
        about = view, what, str(message.get("name", message.get("handle", "")))
        late = number < self._last.get(about, 0)  # it waited behind a cell, and a newer one was faster
        self._last[about] = max(number, self._last.get(about, 0))
        self._heard = view, max(number, self._heard[1] if view == self._heard[0] else 0)
        if late and what in ("set", "drag", "fit"):
            return
        try:
            getattr(self, f"_do_{what}")(message)
        except Exception as error:  # a point outside of what its control can have
            self.error = error
            return self._publish()
        busy = self._task is not None and not self._task.done()
        if what in ("fit", "large", "pin", "stop"):  # the same data
            if busy:
                self._repaint = True  # if the picture is drawn already, in the size before
            else:
                self._redraw()
            return
        self._version, self._stopped = self._version + 1, False
        if not busy:
            self._task = asyncio.get_running_loop().create_task(self._follow())

    def _do_set(self, message: dict) -> None:
        control = self._demo.controls[message["name"]]
        self._demo.accept({control.name: control.heard(message["to"])})

    def _do_press(self, message: dict) -> None:
        name, run = message["name"], isinstance(self._demo.controls[message["name"]], Run)
        self._demo.accept({name: True if run else self._demo.values[name] + 1})

    def _do_drag(self, message: dict) -> None:
        xy, inside = self._demo.picture.at(message["handle"], *message["to"])
        if inside or message["index"] is not None:  # a point stops at the border; a click beyond it sets none
            self._demo.accept(touched(self._demo, message["handle"], message["index"], xy))

    def _do_nudge(self, message: dict) -> None:
        xy = nudged(self._demo, message["handle"], message["index"], *message["by"])
        self._demo.accept(touched(self._demo, message["handle"], message["index"], xy))

    def _do_take(self, message: dict) -> None:
        self._demo.accept(touched(self._demo, message["handle"], message["index"], None))

    def _do_view(self, message: dict) -> None:
        self._demo.accept(self._demo.views[message["name"]])

    def _do_reset(self, message: dict) -> None:
        self._demo.accept(self._demo.start)

    def _do_stop(self, message: dict) -> None:
        self._stopped = True

    def _do_pin(self, message: dict) -> None:
        self._pinned = message["to"]
        with self._demo.lock:
            self._demo.picture.pin(self._pinned)

    def _do_large(self, message: dict) -> None:
        self._large = message["to"]

    def _do_fit(self, message: dict) -> None:
        self._fit = message["width"], message["ratio"], message.get("height")

    # From values to picture ---------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Draw until the picture shows the newest values."""
        while self._drawn != self._version and not self._closed:
            version = self._version
            try:
                await self._play(version)
            except Exception as error:
                self.error, self._news = error, True
            self._news, self._running = self._news or self._running, False
            if self._repaint:
                self._redraw()
            elif self._news:
                self._publish()
            self._drawn = max(self._drawn, version)  # a cell may have shown newer values meanwhile

    async def _play(self, version: int) -> None:
        """Draw one computation's frames until it ends, a control moves or the stop button is pressed.

        The page is heard before time is spent on a picture, but for the first one, which a drag across a slow
        computation is to show, and before it is spent on the next frame.
        """
        frames = self._demo.frames()
        shown_at, waiting = 0.0, None
        over = lambda: self._version != version or self._stopped
        try:
            for number, data in enumerate(frames):
                waiting = data
                if number:
                    await asyncio.sleep(0)
                if over():
                    return
                if time.perf_counter() - shown_at >= FRAME:
                    self._show(data)
                    waiting, shown_at, self._running = None, time.perf_counter(), number > 0
                    self._publish()
                    await asyncio.sleep(0)
                    if over():
                        return
        finally:
            frames.close()
            if waiting is not None and self._version == version and not self._closed:
                self._show(waiting)

    def refresh(self) -> None:
        """Show the demo's values now, to the last frame, for a cell or a test: an error is raised."""
        self._version, self._stopped = self._version + 1, False
        self._drawn = self._version
        try:
            self._demo.show_last_frame()
            self.error = None
        except Exception as error:
            self.error = error
            raise
        finally:
            self._publish()

    def wait(self, seconds: float = 60.0) -> None:
        """Block until the picture shows what was heard; for tests. TimeoutError if it does not."""
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop()).result(seconds)
        if self._task is not None:
            done = asyncio.run_coroutine_threadsafe(_outcome(self._task), loop())
            done.result(seconds)

    def _show(self, data: Any) -> None:
        self._repaint = False
        with self._demo.lock:
            if not self._closed:
                self._demo.picture.fit(*self._fit, large=self._large)
                self._demo.show(data)
        self.error, self._news = None, True

    def _redraw(self) -> None:
        """The same data, in the size and print that the page now wants."""
        self._repaint = False
        try:
            with self._demo.lock:
                if not self._closed:
                    self._demo.picture.fit(*self._fit, large=self._large).paint()
        except Exception as error:
            self.error = error
        self._publish()

    # What the page shows ------------------------------------------------------------------------------------

    def _publish(self) -> None:
        self._news = False
        with self._demo.lock:
            if not self._closed:
                self.publish()

    def declare(self) -> dict:
        """What stays, for the page; the demo has a picture."""
        demo = self._demo
        kinds = [type(control) for control in demo.controls.values()]
        return {
            "title": demo.title,
            "key": demo.key,
            "controls": [control.describe() for control in demo.controls.values()],
            "views": list(demo.views),
            "play": demo.play,
            "size": [100 * inches for inches in demo.size],
            "start": _places(demo, demo.start),
            "hidden": list(demo.hidden),
            "runs": Run in kinds,
            "pins": bool(demo.picture.show.pins),
            "clicks": [
                number
                for number, handle in enumerate(demo.picture.show.handles)
                if isinstance(handle.moves, str) and isinstance(demo.controls[handle.moves], Points)
            ],
        }

    def now(self) -> dict:
        """What belongs to the picture on show."""
        demo = self._demo
        return {
            "words": demo.alt,
            "at": _places(demo, demo.values),
            "texts": {name: control.text(demo.values[name]) for name, control in demo.controls.items()},
            "handles": demo.picture.handles() if demo.data else [],
            "link": links.write(demo),
            "call": demo.call,
            "view": next((name for name, values in demo.views.items() if values == demo.values), ""),
            "running": self._running,
            "pinned": self._pinned,
            "large": self._large,
            "problem": _in_words(self.error) if self.error else "",
            "note": "",
            "heard": list(self._heard),
        }


def _places(demo: Any, values: dict) -> dict:
    """Of every control that keeps a value: its place among the notches, or what stands for it on the page."""
    return {name: c.place(values[name]) for name, c in demo.controls.items() if not isinstance(c, Run)}


def _in_words(error: Exception) -> str:
    """What failed and how to go on, as HTML."""
    where = html.escape("".join(traceback.format_exception(error)))
    return (
        f"<b>The picture could not be drawn ({type(error).__name__}):</b> {html.escape(str(error))}<br>"
        "The dimmed picture shows the last values that worked. Move a control back, or press <b>reset</b>."
        f"<details><summary>Where it happened</summary><pre>{where}</pre></details>"
    )


async def _outcome(task: asyncio.Task) -> None:
    await asyncio.wait([task])


@lru_cache(maxsize=1)
def loop() -> asyncio.AbstractEventLoop:
    """The loop in which all demos are drawn, in a thread of its own.

    PyTorch's operations use one core there, as in ``one_thread``. The number belongs to the thread that sets it, and to
    those that start later, for which it is set back.

    Whatever is in memory by now, most of it the modules of PyTorch, is left out of Python's search for circles of
    garbage from here on: to look through it took a fifth of a second once in a hundred pictures.
    """
    gc.freeze()
    loop, ready, before = asyncio.new_event_loop(), threading.Event(), torch.get_num_threads()

    def run() -> None:
        torch.get_num_threads()  # a thread that has not asked takes the number of others at its first operation
        torch.set_num_threads(1)
        ready.set()
        loop.run_forever()

    threading.Thread(target=run, name="demos", daemon=True).start()
    ready.wait()
    torch.set_num_threads(before)
    return loop
