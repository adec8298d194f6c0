"""The widgets of a demo: controls above, picture below, and a loop that draws only the newest values."""

from __future__ import annotations

import asyncio
import html
import time
import traceback
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets

from course_lib.kit.controls import Button, Choice, Control, Run, Switch

if TYPE_CHECKING:
    from course_lib.kit.demo import Demo

SETTLE = (
    0.002  # seconds without a further change before computing: messages that wait in the queue arrive first
)
PATIENCE = 0.05  # seconds after which to compute although changes keep arriving
FRAME = 0.04  # seconds between two frames of a long computation: 25 pictures a second
SLOW = 0.3  # seconds of computing after which the next computation is announced

CSS = """<style>
.course-demo { max-width: 100%; border: 1px solid #d0d0d0; border-radius: 6px; padding: 8px 12px;
  --jp-widgets-inline-width: auto; }
.course-demo .demo-title { font-size: 1.15em; font-weight: 600; }
.course-demo .widget-label { text-align: left; flex-shrink: 0; }
.course-demo .demo-controls { display: flex; flex-flow: row wrap; column-gap: 28px; overflow: visible; }
.course-demo .demo-wide { flex: 1 1 380px; max-width: 520px; min-width: 300px; }
.course-demo .demo-full { flex: 1 1 100%; }
.course-demo .demo-wide .widget-readout { min-width: 4em; }
.course-demo .demo-control.widget-checkbox, .course-demo .demo-large-print { width: auto; }
.course-demo .demo-control { margin: 2px; }
.course-demo .drawing-canvas { border: 1px solid #767676; border-radius: 4px; background: white;
  cursor: crosshair; touch-action: none; }
.course-demo .drawing-canvas:focus-visible { outline: 3px solid #E69F00; }
.course-demo .demo-drawing .jupyter-button { padding: 0 8px; }
.course-demo .widget-radio { display: flex; flex-direction: row; align-items: baseline; }
.course-demo .widget-radio-box { display: flex; flex-flow: row wrap; column-gap: 14px; margin: 0; }
.course-demo .jupyter-button { width: auto; padding: 0 14px; }
.course-demo .noUi-handle:focus, .course-demo button:focus-visible, .course-demo input:focus-visible,
.course-demo select:focus-visible { outline: 3px solid #E69F00; outline-offset: 1px; }
.course-demo .demo-picture { max-width: 100%; height: auto; object-fit: contain; align-self: flex-start; }
.course-demo .demo-busy { opacity: 0.6; }
.course-demo .demo-outdated { opacity: 0.35; filter: grayscale(1); }
.course-demo .demo-problem { border-left: 5px solid #D55E00; background: #fff3ec; color: #222;
  padding: 2px 10px; }
.course-demo .demo-problem pre { max-height: 240px; overflow: auto; font-size: 0.85em; }
.course-demo .demo-caption, .course-demo .demo-problem { line-height: 1.4; }
.course-demo .demo-caption .widget-html-content,
.course-demo .demo-problem .widget-html-content { white-space: normal; }
.course-demo.demo-large { --jp-widgets-font-size: 20px; --jp-widgets-inline-height: 38px; }
.course-demo.demo-large .demo-wide { flex-basis: 480px; max-width: 640px; }
.course-demo.demo-large .demo-title, .course-demo.demo-large .demo-caption { font-size: 20px; }
</style>"""


class PictureWidget(ipywidgets.Image):
    """An image with words for screen readers: its tooltip, the accessible name of an img without alt.

    ipywidgets' image has no alt text, and the front end sets a title only on a widget that has a description.
    """

    description = traitlets.Unicode("").tag(sync=True)


class Panel:
    """The widgets of ``demo``, in ``box``."""

    def __init__(self, demo: Demo):
        self.demo = demo
        self.error: Exception | None = None  # what the error box shows
        self._version = self._drawn = 0  # of the values: set by controls, and in the picture
        self._stopped = self._quiet = False
        self._task: asyncio.Task | None = None
        self._seconds = 0.0  # what the last computation took
        label_width = (
            f"{0.55 * max([8, *(len(_label(control)) for control in demo.controls.values())]) + 1:.0f}em"
        )
        self.widgets = {name: self._make(control, label_width) for name, control in demo.controls.items()}
        self.stop = _button(
            "stop", "Stop the computation and keep the picture as it is", "demo-stop", icon="stop"
        )
        self.stop.disabled = True
        self.stop.on_click(lambda _: self._stop())
        self.reset = _button(
            "reset", "Every control back to where it was at first", "demo-reset", icon="undo"
        )
        self.reset.on_click(lambda _: self._reset())
        self.large = _classed(
            ipywidgets.Checkbox(False, description="large print", indent=False), "demo-large-print"
        )
        self.large.observe(lambda change: self._enlarge(change["new"]), "value")
        self.picture = _classed(PictureWidget(value=demo.png, format="png"), "demo-picture")
        self.caption = _classed(ipywidgets.HTML(), "demo-caption")
        self.problem = _classed(ipywidgets.HTML(), "demo-problem")
        buttons = [widget for widget in self.widgets.values() if isinstance(widget, ipywidgets.Button)]
        others = [widget for widget in self.widgets.values() if not isinstance(widget, ipywidgets.Button)]
        stop = [self.stop] if any(isinstance(control, Run) for control in demo.controls.values()) else []
        title = _classed(ipywidgets.HTML(CSS + html.escape(demo.title)), "demo-title")
        self.box = _classed(
            ipywidgets.VBox(
                [
                    title,
                    _classed(ipywidgets.Box(others), "demo-controls"),
                    _classed(
                        ipywidgets.Box([*buttons, *stop, self.reset, self.large]),
                        "demo-controls",
                        "demo-toolbar",
                    ),
                    self.problem,
                    self.picture,
                    self.caption,
                ]
            ),
            "course-demo",
        )
        self.match_widgets()
        self._publish()

    def refresh(self) -> None:
        """Show the demo's values now, to the last frame, for a cell or a test: an error is raised."""
        self._version += 1
        self._drawn = self._version
        self.match_widgets()
        try:
            self.demo._show_last_frame()
        except Exception as error:
            self._explain(error)
            raise
        self._publish()

    # From controls to picture ------------------------------------------------------------------------------

    def _changed(self, name: str, value: Any) -> None:
        """A control moved: note the value, and let the loop that draws know."""
        if self._quiet:
            return
        self.demo.accept({name: value})
        self._update()

    def _update(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel, so no later: a script or a test
            return self.refresh()
        self._version += 1
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._follow())

    async def _follow(self) -> None:
        """Draw until the picture shows the newest values."""
        while self._drawn != self._version:
            await self._settle()
            version, self._stopped = self._version, False
            if self._seconds > SLOW:
                self.picture.add_class("demo-busy")
            started = time.perf_counter()
            try:
                await self._play(version)
            except Exception as error:
                self._explain(error)
            self._seconds = time.perf_counter() - started
            self.picture.remove_class("demo-busy")
            self.stop.disabled = True
            self._drawn = max(self._drawn, version)  # a cell may have shown newer values meanwhile

    async def _settle(self) -> None:
        """Let the changes that wait in the kernel's queue arrive, so that only the newest is computed."""
        deadline = time.perf_counter() + PATIENCE
        seen = -1
        while seen != self._version and time.perf_counter() < deadline:
            seen = self._version
            await asyncio.sleep(SETTLE)

    async def _play(self, version: int) -> None:
        """Draw one computation's frames until it ends, a control moves or the stop button is pressed."""
        frames = self.demo.frames()
        shown_at, waiting = 0.0, None
        try:
            for number, data in enumerate(frames):
                waiting = data
                if time.perf_counter() - shown_at < FRAME:
                    continue
                self.demo.show(data)
                self._publish()
                waiting, shown_at = None, time.perf_counter()
                self.stop.disabled = number == 0
                await asyncio.sleep(0.001)  # let the kernel hear the controls
                if self._version != version or self._stopped:
                    return
        finally:
            frames.close()
        if waiting is not None:
            self.demo.show(waiting)
            self._publish()

    def _publish(self) -> None:
        """Send what the demo shows to the browser."""
        words = html.escape(self.demo.alt)
        with self.picture.hold_sync():
            self.picture.value, self.picture.tooltip = self.demo.png, self.demo.alt
        self.caption.value = f'<div role="status" aria-live="polite">{words}</div>'
        if self.error is not None:
            self.picture.remove_class("demo-outdated")
        self.error = None
        self.problem.value, self.problem.layout.display = "", "none"

    def _explain(self, error: Exception) -> None:
        """Say in words what failed and how to go on; the last picture stays, dimmed."""
        self.error = error
        words = html.escape(str(error) or type(error).__name__)
        where = html.escape("".join(traceback.format_exception(error)))
        self.problem.value = (
            f'<div role="alert"><b>The picture could not be drawn ({type(error).__name__}):</b> {words}<br>'
            "The dimmed picture shows the last values that worked. "
            "Move a control back, or press <b>reset</b>."
            f"<details><summary>Where it happened</summary><pre>{where}</pre></details></div>"
        )
        self.problem.layout.display = None
        self.picture.add_class("demo-outdated")

    # Buttons -----------------------------------------------------------------------------------------------

    def _pressed(self, control: Button | Run) -> None:
        value = True if isinstance(control, Run) else self.demo.values[control.name] + 1
        self._changed(control.name, value)

    def _reset(self) -> None:
        self.demo.accept(self.demo.defaults())
        self.match_widgets()
        self._update()

    def _stop(self) -> None:
        self._stopped = True

    def _enlarge(self, large: bool) -> None:
        error = self.error
        try:
            self.demo.set_large_print(large)
        except Exception as error:
            self._explain(error)
            raise
        (self.box.add_class if large else self.box.remove_class)("demo-large")
        self._publish()
        if error is not None:  # the picture is still an older one
            self._explain(error)

    # Making widgets ----------------------------------------------------------------------------------------

    def _make(self, control: Control, label_width: str) -> ipywidgets.Widget:
        widget = control.widget()
        widget.description, widget.tooltip = _label(control), control.help
        kind = type(control).__name__.lower()
        _classed(widget, "demo-control", f"demo-{kind}-{control.name}")
        if isinstance(control, (Button, Run)):
            widget.on_click(lambda _: self._pressed(control))
        else:
            widget.observe(lambda change: self._changed(control.name, change["new"]), "value")
            if hasattr(widget, "style") and not isinstance(control, Switch):
                widget.style.description_width = label_width
                words = "".join(str(option) for option in getattr(control, "options", ()))
                widget.add_class(
                    "demo-full" if isinstance(control, Choice) and len(words) > 30 else "demo-wide"
                )
        return widget

    def match_widgets(self) -> None:
        """Move the widgets to the demo's values without being called back."""
        self._quiet = True
        try:
            for name, widget in self.widgets.items():
                if not isinstance(widget, ipywidgets.Button):
                    widget.value = self.demo.values[name]
        finally:
            self._quiet = False


def _label(control: Control) -> str:
    return control.label or control.name.replace("_", " ")


def _classed(widget: ipywidgets.Widget, *names: str) -> ipywidgets.Widget:
    for name in names:
        widget.add_class(name)
    return widget


def _button(text: str, tooltip: str, name: str, icon: str) -> ipywidgets.Button:
    return _classed(ipywidgets.Button(description=text, tooltip=tooltip, icon=icon), name)
