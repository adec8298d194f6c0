"""The demo kit: sliders around two plain functions, with a picture that follows the hand.

How to add a demo. Write one file with four plain functions and a ``Demo``:

    from types import SimpleNamespace
    import numpy as np
    from course_lib import plots
    from course_lib.kit.demo import Button, Choice, Demo, Slider, Switch

    def compute(values):                       # values.steps, values.inner_lr, ...: what the controls say
        ...                                    # train, adapt, measure: pure, no widget, no Matplotlib
        return {"x": x, "fit": fit, "error": error}           # arrays, tensors, numbers, words

    def figure(fig):                           # called once with an empty Figure
        left, right = fig.subplots(1, 2)
        left.set(xlabel="x", ylabel="y", xlim=(-5, 5), ylim=(-5, 5), title="The task")
        fit, = left.plot([], [], color=plots.BLUE, label="adapted")
        left.legend()
        return SimpleNamespace(left=left, fit=fit)             # every artist that will move

    def draw(artists, data):                   # called for each new picture: move artists, no training
        artists.fit.set_data(data["x"], data["fit"])

    def alt(data):                             # a sentence or two: what the picture shows, with its numbers
        return f"After {data['steps']} steps the error is {data['error']:.2f}."

    demo = Demo("Adapting at test time",
                controls=[Slider("steps", 0, 50, 10, "inner steps k"),
                          Slider("inner_lr", 1e-4, 1.0, 0.01, "inner rate alpha", log=True),
                          Choice("start", {"random": "random", "MAML": "maml"}, "maml", "start from"),
                          Switch("show_truth", True, "show the true curve"),
                          Button("new_task", "another task")],          # its value counts its presses: a seed
                compute=compute, figure=figure, draw=draw, alt=alt,
                hint="A large inner rate diverges; lower alpha.")

    demo                                       # in a notebook: live, or its picture where no kernel runs
    demo.render(steps=3)                       # PNG bytes, no widget
    check(demo)                                # in a test: every control at its ends

What to know:

* Artists that ``figure`` returns are moved over saved pixels (a few ms). ``draw`` may set anything else too,
  such as a limit, a title, a tick, a legend's text: the whole figure is then drawn again (about 100 ms) and
  never stale. So fix limits where you can, step them with ``plots.nice_ceiling`` and set them with
  ``plots.set_limits``, which leaves an unchanged limit alone. A title that changes each time belongs among
  the artists (``title=left.title``).
* Hide with ``artist.set_visible(False)``; do not create artists in ``draw``: they pile up.
* NaN or infinity anywhere in the data is shown as words, naming the entries, with your ``hint``; the old
  picture stays, dimmed. Entries that may diverge as part of the story are named in
  ``may_diverge=("losses",)``; draw what is finite.
* A long computation is a generator: ``yield`` a data dict every 50 ms or so and each is a frame; any new
  change, or the stop button, ends it at the next frame. Start it with ``Run("train", "train MAML live")``:
  ``values.train`` is True for the computation that the press started and False in all others (yield the
  initial picture then).
* A fast drag never queues: only the newest values are computed.
* An exception in ``compute``, ``draw`` or ``alt`` is raised where a cell or a test called, and shown in the
  demo's error box, with its traceback folded, where a person moved a control.
* CSS classes for tests: ``.course-demo``, ``.demo-picture``, ``.demo-caption``, ``.demo-problem``,
  ``.demo-reset``, ``.demo-stop``, ``.demo-large-print``; every control has ``.demo-control`` and one of its
  own such as ``.demo-slider-steps``, ``.demo-choice-start``, ``.demo-button-new_task``.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from course_lib.kit.controls import Button, Choice, Control, Notches, Run, Slider, Switch
from course_lib.kit.panel import Panel
from course_lib.kit.picture import Picture

__all__ = ["Button", "Choice", "Demo", "NonFiniteError", "Notches", "Run", "Slider", "Switch", "check"]

Data = Mapping[str, Any]


class NonFiniteError(ValueError):
    """The data of a demo holds NaN or infinity where its picture needs numbers."""


class Demo:
    """Controls, ``compute(values) -> data`` and ``draw(artists, data)``, joined to a live picture.

    Args:
        title: what stands above the controls.
        controls: ``Slider``, ``Notches``, ``Choice``, ``Switch``, ``Button``, ``Run``, in the order shown.
        compute: values (a namespace with one attribute per control) to data, or a generator of data.
        figure: fills an empty Matplotlib figure and returns its artists.
        draw: moves the artists to show the data.
        alt: the picture in words, from the data.
        size: width and height of the picture in inches; 100 pixels each, 130 in large print.
        hint: what to do when the result is not finite.
        may_diverge: names of data entries that may hold NaN or infinity.
    """

    def __init__(
        self,
        title: str,
        controls: Sequence[Control],
        compute: Callable[[SimpleNamespace], Any],
        figure: Callable[[Figure], Any],
        draw: Callable[[Any, Data], None],
        alt: Callable[[Data], str],
        size: tuple[float, float] = (9.0, 4.0),
        hint: str = "",
        may_diverge: Sequence[str] = (),
    ):
        self.title, self.hint, self.size = title, hint, size
        self.controls = {control.name: control for control in controls}
        if len(self.controls) < len(controls):
            raise ValueError(
                f"The controls of {title!r} need names of their own, got {[c.name for c in controls]}."
            )
        self.compute, self.may_diverge = compute, frozenset(may_diverge)
        self._figure, self._draw, self._alt = figure, draw, alt
        self.values = self.defaults()
        self.picture: Picture | None = None
        self.data: Data | None = None  # what the picture shows
        self.png, self.alt = b"", ""  # the picture, in bytes and in words
        self._panel: Panel | None = None

    def defaults(self) -> dict[str, Any]:
        """The value of each control before anyone touched it."""
        return {name: control.default for name, control in self.controls.items()}

    # Without a widget --------------------------------------------------------------------------------------

    def set(self, **changes: Any) -> Demo:
        """Set some controls and show the result (the last frame of a long computation); an error is raised.

        Raises:
            KeyError: a name that is no control of this demo.
            ValueError: a value outside a control's range.
            NonFiniteError: the result holds NaN or infinity.
        """
        self.accept(changes)
        if self._panel is None:
            self._show_last_frame()
        else:
            self._panel.refresh()
        return self

    def render(self, **changes: Any) -> bytes:
        """``set(**changes)``, then the picture as PNG bytes."""
        return self.set(**changes).png

    def reset(self) -> Demo:
        """Every control back to its default."""
        return self.set(**self.defaults())

    def accept(self, changes: Mapping[str, Any]) -> None:
        """Take new values for some controls, checked, without computing anything."""
        unknown = changes.keys() - self.controls.keys()
        if unknown:
            raise KeyError(
                f"{sorted(unknown)}: no such control in {self.title!r}; it has {list(self.controls)}."
            )
        self.values |= {name: self.controls[name].clean(value) for name, value in changes.items()}

    def frames(self) -> Iterator[Data]:
        """What ``compute`` makes of the present values: one data dict, or one per ``yield``; each checked."""
        values = SimpleNamespace(**self.values)
        self.values |= {name: False for name, control in self.controls.items() if isinstance(control, Run)}
        result = self.compute(values)
        if isinstance(result, Mapping):
            self._require_finite(result)
            yield result
        elif hasattr(result, "__next__"):
            with closing(result):
                for data in result:
                    self._require_finite(data)
                    yield data
        else:
            raise TypeError(
                f"compute() of {self.title!r} must return a dict (or yield dicts), "
                f"got {type(result).__name__}."
            )

    def show(self, data: Data) -> None:
        """Draw ``data``: afterwards ``png``, ``alt`` and ``data`` belong together."""
        if self.picture is None:
            self.picture = Picture(self._figure, self.size)
        self.picture.draw(self._draw, data)
        self.png, self.alt, self.data = self.picture.png(), str(self._alt(data)), data

    def set_large_print(self, large: bool) -> None:
        """Make the picture anew, in the size of the lecture hall or of the screen, with the same data."""
        self.picture = Picture(self._figure, self.size, large)
        if self.data is not None:
            self.show(self.data)

    def corners(self) -> Iterator[dict[str, Any]]:
        """Settings worth testing: defaults, each control at each of its ends alone, and all low, all high."""
        yield self.defaults()
        for name, control in self.controls.items():
            yield from (self.defaults() | {name: end} for end in control.ends if end != control.default)
        for side in (0, -1):
            yield {name: control.ends[side] for name, control in self.controls.items()}

    def _show_last_frame(self) -> None:
        data = None
        for data in self.frames():
            pass
        if data is None:
            raise ValueError(f"compute() of {self.title!r} is a generator that yielded nothing to draw.")
        self.show(data)

    def _require_finite(self, data: Data) -> None:
        """Raise NonFiniteError, in words, if a number in ``data`` is NaN or infinite."""
        bad = [
            f"{name} ({wrong} of {count} values)" if count > 1 else name
            for name, entry in data.items()
            if name not in self.may_diverge
            for wrong, count in [_count_nonfinite(entry)]
            if wrong
        ]
        if bad:
            now = ", ".join(
                f"{control.label or name} = {self.values[name]}"
                for name, control in self.controls.items()
                if not isinstance(control, (Button, Run))
            )
            raise NonFiniteError(f"not a finite number: {', '.join(bad)}, at {now}. {self.hint}".strip())

    # In a notebook -----------------------------------------------------------------------------------------

    @property
    def panel(self) -> Panel:
        """The widgets; made when first asked for."""
        if self._panel is None:
            if self.data is None:
                self._show_last_frame()
            self._panel = Panel(self)
        return self._panel

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        """The live widget, and beside it the picture and its words for places where no kernel runs."""
        view = self.panel.box._repr_mimebundle_()
        height, width = self.picture.pixels.shape[:2]
        bundle = {
            **view,
            "text/plain": f"{self.title}. {self.alt}",
            "image/png": base64.b64encode(smaller(self.png)).decode(),
        }
        return bundle, {"image/png": {"alt": self.alt, "width": width, "height": height}}


def smaller(png: bytes) -> bytes:
    """The same picture with the size, not the speed, of the encoding in mind: it is kept in a file."""
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).save(out, "png", optimize=True)
    return out.getvalue()


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


def check(demo: Demo, frames: int = 3) -> None:
    """Take a demo to all its corners; AssertionError says where it fails. Long computations run a few frames.

    At each corner: data finite, picture not empty, words not empty, the same data drawn twice gives the same
    picture. At the first and last corners, too: the picture moved over saved pixels equals one drawn in full,
    and the words and limits of the figure are those of a fresh figure that never showed anything else. Last,
    in both print sizes, nothing sticks out of the picture.
    """
    demo.reset()
    corners = list(demo.corners())
    for index, corner in enumerate([*corners, demo.defaults()]):
        try:
            demo.accept(corner)
            for _, data in zip(range(frames), demo.frames()):
                demo.show(data)
        except Exception as error:
            raise AssertionError(f"{demo.title!r} fails at {corner}: {error}") from error
        picture, shown = demo.picture, demo.picture.pixels.copy()
        assert demo.alt.strip(), f"{demo.title!r} has no alt text at {corner}"
        assert len(np.unique(shown.view(np.uint32))) > 2, f"{demo.title!r} shows an empty picture at {corner}"
        picture.draw(demo._draw, demo.data)
        assert (picture.pixels == shown).all(), (
            f"{demo.title!r}: drawing twice at {corner} changes the picture"
        )
        if index == 0 or index >= len(corners) - 1:
            picture.paint(afresh=True)
            picture.paint(afresh=True)  # the second lets the layout settle
            kept = picture.pixels.copy()
            picture.paint()
            assert (picture.pixels == kept).all(), f"{demo.title!r}: saved pixels are stale at {corner}"
            fresh = Picture(demo._figure, demo.size)
            fresh.draw(demo._draw, demo.data)
            assert picture.words() == fresh.words(), (
                f"{demo.title!r}: at {corner} the figure keeps words or limits "
                f"of an earlier picture:\n{picture.words()}\n{fresh.words()}"
            )
    for large in (False, True):
        sticking_out = Picture(demo._figure, demo.size, large).draw(demo._draw, demo.data).sticking_out()
        assert not sticking_out, (
            f"{demo.title!r}, large print {large}: cut off at the {', '.join(sticking_out)}"
        )
    demo.reset()
