"""The demo kit: controls, ``compute``, and a picture in which each artist stands beside what moves it.

How a demo is declared. One file of a chapter, named as its key:

    import numpy as np
    from course_lib.kit import plots
    from course_lib.kit.demo import Button, Choice, Slider, declare

    STARTS = {"random": "random weights", "maml": "MAML"}            # value -> what a person reads

    def compute(values):                       # values.steps, values.start, ...: what the controls say
        ...                                    # train, adapt, measure: pure, no widget, no Matplotlib, nothing global
        return {"x": x, "fits": fits, "error": error}                 # arrays, tensors, numbers, words

    def picture(fig, show):                    # called once; d has the data and the controls' values: d.error, d.steps
        left, right = fig.subplots(1, 2)
        left.set(xlabel="x", ylabel="y", xlim=(-5, 5), ylim=(-5, 5))
        show.line(left, "x", lambda d: d.fits[d.steps], color=plots.BLUE, end="adapted", pin=True)
        show.title(left, lambda d: f"From {STARTS[d.start]} the error is {d.error:.2g}")

    def words(d):                              # the picture in a sentence or two, with its numbers
        return f"After {d.steps} steps the error is {d.error:.2f}."

    demo = declare("Adapting at test time",
                   [Choice("start", STARTS, "maml", "start from"),
                    Slider("steps", 0, 50, 10, "inner steps k"),
                    Slider("inner_lr", 1e-4, 1.0, 0.01, "inner rate α", log=True),
                    Button("new_task", "another task")],              # its value counts its presses: a seed
                   compute, picture, words,
                   hint="A large inner rate diverges; lower α.",
                   views={"from random weights": {"start": "random"}, "too long a step": {"inner_lr": 0.3}})

    demo()                                     # in a notebook: live, or its picture where no kernel runs
    demo(steps=3, start="random")              # a preset, which reset returns to
    demo().render(steps=4)                     # PNG bytes, no widget
    check(demo())                              # in a test: every control at its ends

What to know:

* ``show`` has line, points, paths, scatter, arrows, level, mark, band, bars, image, title, text, limits, series,
  handle and also: see ``course_lib.kit.show``. What it moves is drawn over saved pixels (a few ms); a new limit or
  tick redraws all (about 30 ms), so fix limits, or step them with ``plots.nice_ceiling``.
* Words stand at the lines' ends (``end=``), on reference lines (``show.level``), in regions (``plots.name_region``): no
  legend. The title is the sentence to take away.
* NaN or infinity in the data is shown as words, naming the entries, with your ``hint``; the old picture stays, dimmed.
  Entries that may diverge as part of the story are named in ``may_diverge=("losses",)``.
* A long computation is a generator: ``yield`` a data dict every 50 ms or so and each is a frame; any new change, or
  the stop button, ends it at the next frame. Start it with ``Run("train", "train MAML live")``: ``values.train`` is
  True for the computation that the press started and False in all others (yield the initial picture then). A training
  that a slider chooses is kept as far as it came: ``course_lib.kit.growing``.
* ``show.handle(axes, x, y, moves=...)`` makes points that are dragged or clicked, and moves the controls named.
* ``Several("methods", METHODS)`` hides one by one: ``shown=lambda d: "maml" in d.methods``.
* compute and picture run in a thread beside the kernel's, so that a demo answers while a cell runs: neither may set
  rcParams, thread counts or warnings filters.
* An exception is raised where a cell or a test called, and shown in the demo's error box where a person moved a
  control.
* CSS classes for tests: ``.course-demo``, ``.demo-picture``, ``.demo-caption``, ``.demo-problem``, ``.demo-reset``,
  ...; every control has ``.demo-control`` and one of its own such as ``.demo-slider-steps``,
  ``.demo-button-new_task``.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import numpy as np

from course_lib.engine.run import one_thread
from course_lib.kit.controls import Button, Choice, Control, Notches, Run, Several, Slider, Switch
from course_lib.kit.corners import check
from course_lib.kit.panel import Panel
from course_lib.kit.picture import Picture, smaller
from course_lib.kit.touch import Point, Points

__all__ = [
    "Button", "Choice", "Demo", "NonFiniteError", "Notches", "Point", "Points", "Run", "Several", "Slider", "Switch",
    "check", "declare",
]  # fmt: skip

STILL_RATIO = 2.0  # pixels a point of the picture that a notebook keeps


class NonFiniteError(ValueError):
    """The data of a demo holds NaN or infinity where its picture needs numbers."""


class Data(dict):
    """What ``compute`` returned and the controls' values, as entries and as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"The data have no {name!r}; they have {list(self)}.") from None


def declare(
    title: str,
    controls: Sequence[Control],
    compute: Callable[[SimpleNamespace], Any],
    picture: Callable,
    words: Callable[[Data], str],
    **options: Any,
) -> Callable[..., Demo]:
    """``demo(**preset) -> Demo``: the function that a chapter's file ends with. The arguments are those of ``Demo``."""

    def demo(*, hide: str | Sequence[str] = (), **preset: Any) -> Demo:
        return Demo(title, controls, compute, picture, words, preset=preset, hide=hide, **options)

    presets = ", ".join(control.name for control in controls if not isinstance(control, Run))
    opens = f"Where it opens, and where reset returns to, can be set: {presets}. ``hide`` names controls not to show."
    demo.__doc__ = f"{title}.\n\n{opens}"
    demo.__module__ = compute.__module__
    return demo


class Demo:
    """One live demo: the values of its controls, the data computed from them, and the picture of the data.

    Args:
        title: what stands above the picture.
        controls: in the order shown.
        compute: values (a namespace with one attribute per control) to a dict of data, or a generator of them.
        picture: fills an empty figure and declares with ``show`` what moves: ``picture(figure, show)``.
        words: the picture in words, from the data.
        size: width and height of the picture in inches; 100 points each.
        hint: what to do when the result is not finite.
        may_diverge: names of data entries that may hold NaN or infinity.
        views: {name: {control: value}}: settings worth seeing, as buttons in the order of the story.
        play: the slider that the play button sweeps; the first one unless given.
        key: its name in links; that of the file it is declared in unless given.
        typed: what makes it, before its settings in brackets; ``KEY.demo`` unless given.
        preset: where it opens instead of at the controls' defaults.
        hide: controls that the page does not show, as names or as in links: ``hide="phase,noise"``.
    """

    def __init__(
        self,
        title: str,
        controls: Sequence[Control],
        compute: Callable[[SimpleNamespace], Any],
        picture: Callable,
        words: Callable[[Data], str],
        size: tuple[float, float] = (9.0, 4.0),
        hint: str = "",
        may_diverge: Sequence[str] = (),
        views: Mapping[str, Mapping[str, Any]] | None = None,
        play: str = "",
        key: str = "",
        typed: str = "",
        preset: Mapping[str, Any] | None = None,
        hide: str | Sequence[str] = (),
    ):
        self.title, self.hint, self.size = title, hint, size
        self.key = key or compute.__module__.rpartition(".")[2]
        self.typed = typed or f"{self.key}.demo"
        self.controls = {control.name: control for control in controls}
        if len(self.controls) < len(controls):
            raise ValueError(f"The controls of {title!r} need names of their own, got {[c.name for c in controls]}.")
        self.may_diverge = frozenset(may_diverge)
        self.compute, self.make_picture, self.words = compute, picture, words
        sliders = [name for name, control in self.controls.items() if isinstance(control, (Slider, Notches))]
        self.play = play or (sliders[0] if sliders else "")
        self.start = {name: control.default for name, control in self.controls.items()}
        self.start |= self.cleaned(preset or {})
        self.views = {name: self.start | self.cleaned(changes) for name, changes in (views or {}).items()}
        self.hidden = tuple(filter(None, hide.split(","))) if isinstance(hide, str) else tuple(hide)
        self.cleaned({name: self.start.get(name) for name in self.hidden})
        self.values = dict(self.start)
        self.lock = threading.RLock()  # one picture is drawn at a time, by a cell or by a moved control
        self.picture: Picture | None = None
        self.data: Data | None = None  # what the picture shows
        self.alt = ""  # the picture in words
        self._panel: Panel | None = None

    def __repr__(self) -> str:
        return f"<{self.title}: {self.call}>"

    @property
    def call(self) -> str:
        """What one types to open this demo where it stands now."""
        defaults = {name: control.default for name, control in self.controls.items()}
        changed = {name: value for name, value in self.values.items() if value != defaults[name]}
        return f"{self.typed}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    # Values, data, picture ----------------------------------------------------------------------------------

    def cleaned(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Checked values; TypeError for a name that is no control, ValueError for a value that one cannot have."""
        unknown = changes.keys() - self.controls.keys()
        if unknown:
            raise TypeError(f"{sorted(unknown)}: no such control in {self.title!r}; it has {list(self.controls)}.")
        return {name: self.controls[name].clean(value) for name, value in changes.items()}

    def accept(self, changes: Mapping[str, Any]) -> None:
        """Take new values for some controls, checked, without computing anything."""
        changes = self.cleaned(changes)
        for name, control in self.controls.items():
            if isinstance(control, Points) and changes.keys() & set(control.until):
                changes = {name: None} | changes
            elif isinstance(control, Button) and control.sets and changes.get(name, 0) > self.values[name]:
                changes = self.cleaned(control.sets(changes[name])) | changes
        self.values |= changes

    def set(self, **changes: Any) -> Demo:
        """Set some controls and show the result (the last frame of a long computation); an error is raised.

        Raises:
            TypeError: a name that is no control of this demo.
            ValueError: a value that a control cannot have.
            NonFiniteError: the result holds NaN or infinity.
        """
        self.accept(changes)
        if self._panel is None:
            self.show_last_frame()
        else:
            self._panel.refresh()
        return self

    def reset(self) -> Demo:
        """Every control back to where the demo opened."""
        return self.set(**self.start)

    def render(self, **changes: Any) -> bytes:
        """``set(**changes)``, then the picture as PNG bytes."""
        return self.set(**changes).png

    @property
    def png(self) -> bytes:
        return self.picture.png()

    def frames(self) -> Iterator[Data]:
        """What ``compute`` makes of the present values: one data dict, or one per ``yield``; each checked."""
        now = dict(self.values)
        self.values |= {name: False for name, control in self.controls.items() if isinstance(control, Run)}
        result = self.compute(SimpleNamespace(**now))
        if isinstance(result, Mapping):
            yield self._finite(Data(now | result))
        elif hasattr(result, "__next__"):
            with closing(result):
                for data in result:
                    yield self._finite(Data(now | data))
        else:
            raise TypeError(
                f"compute() of {self.title!r} must return a dict (or yield dicts), got {type(result).__name__}."
            )

    def show(self, data: Data) -> None:
        """Draw ``data``: afterwards ``picture``, ``alt`` and ``data`` belong together."""
        with self.lock:
            if self.picture is None:
                self.picture = Picture(self.make_picture, self.size)
            self.picture.draw(data)
            self.alt, self.data = str(self.words(data)), data

    def show_last_frame(self) -> None:
        """Compute to the end and draw that."""
        data = None
        with one_thread():
            for data in self.frames():
                pass
        if data is None:
            raise ValueError(f"compute() of {self.title!r} is a generator that yielded nothing to draw.")
        self.show(data)

    def _finite(self, data: Data) -> Data:
        """``data``; NonFiniteError, in words, if a number that ``compute`` returned is NaN or infinite."""
        bad = [
            f"{name} ({wrong} of {count} values)" if count > 1 else name
            for name, entry in data.items()
            if name not in self.may_diverge
            for wrong, count in [_count_nonfinite(entry)]
            if wrong
        ]
        if bad:
            now = ", ".join(
                f"{control.label or name} = {control.text(self.values[name])}"
                for name, control in self.controls.items()
                if not isinstance(control, (Button, Run))
            )
            raise NonFiniteError(f"not a finite number: {', '.join(bad)}, at {now}. {self.hint}".strip())
        return data

    # In a notebook ------------------------------------------------------------------------------------------

    @property
    def panel(self) -> Panel:
        """The widget; made when first asked for."""
        if self._panel is None:
            if self.data is None:
                self.picture = Picture(self.make_picture, self.size).fit(ratio=STILL_RATIO)
                self.show_last_frame()
            self._panel = Panel(self)
        return self._panel

    def stop(self) -> None:
        """End a live run where it is."""
        if self._panel is not None:
            self._panel.hear({"do": "stop"})

    def close(self) -> None:
        """End what runs and let go of widget, picture and data; shown again, it opens anew where it stood."""
        if self._panel is not None:
            self._panel.close()
        with self.lock:
            if self.picture is not None:
                self.picture.close()
            self._panel = self.picture = self.data = None

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        """The live widget, and beside it the picture and its words for places where no kernel runs."""
        view = self.panel.shown_in_cell()
        if self.picture.figure.dpi < 100 * STILL_RATIO:  # it was shown elsewhere before
            self.picture.fit(ratio=STILL_RATIO).paint()
        width, height = (round(100 * inches) for inches in self.size)
        still = {"text/plain": f"{self!r}\n{self.alt}", "image/png": base64.b64encode(smaller(self.png)).decode()}
        return view | still, {"image/png": {"alt": self.alt, "width": width, "height": height}}


def _count_nonfinite(entry: Any) -> tuple[int, int]:
    """(how many numbers in ``entry`` are NaN or infinite, how many there are); words count for nothing."""
    if hasattr(entry, "detach"):
        entry = entry.detach().cpu().numpy()
    if isinstance(entry, Mapping):
        entry = list(entry.values())
    if isinstance(entry, (list, tuple)):
        counts = [_count_nonfinite(item) for item in entry]
        return sum(wrong for wrong, _ in counts), sum(count for _, count in counts)
    numbers = np.asarray(entry)
    if numbers.dtype.kind not in "fc":
        return 0, numbers.size
    return int((~np.isfinite(numbers)).sum()), numbers.size
