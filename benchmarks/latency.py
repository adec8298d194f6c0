"""How long a demo takes from a key press to the new picture, and the kernel's share of it.

    python -m benchmarks.latency                     # the kit's small demo: two panels, 900 x 400 pixels
    python -m benchmarks.latency notebooks/01_adapting_at_test_time.ipynb --changes 30

In the browser: from the key event to the end of the first frame painted with the new picture (decoded: a message
sent in an animation frame arrives after that frame's paint), in headless Chromium, in JupyterLab as ``make lab`` sets
it. In the kernel: ``compute``, ``draw`` and the PNG, without a browser; one step of the slider at a time, as its arrow
keys go. Milliseconds; minimum, median, 95th percentile. A busy machine adds to all but the minimum, so the load
average is printed too.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import nbformat
import numpy as np
import torch
from playwright.sync_api import Locator

from course_lib import chapters
from course_lib.commands.doctor import find_chromium
from course_lib.kit import live
from course_lib.kit.demo import Demo, Slider
from tests.browser import sine_demo
from tests.browser.lab import OVERRIDES, Browser, LabServer

CELL = "from tests.browser import sine_demo\nsine_demo.make()"
WATCH = """frame => { window.pressed = null; window.painted = [];
    document.addEventListener('keydown', event => { window.pressed = event.timeStamp; }, true);
    new MutationObserver(async () => {
        const pressed = window.pressed;
        if (pressed === null) return;
        window.pressed = null;
        await frame.querySelector('img')?.decode().catch(() => 0);  // the site's pictures are SVG
        requestAnimationFrame(() => {
            const painted = new MessageChannel();
            painted.port1.onmessage = () => window.painted.push(performance.now() - pressed);
            painted.port2.postMessage(null); });
    }).observe(frame, {subtree: true, childList: true, attributes: true, attributeFilter: ['src']}); }"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebook", nargs="?", type=Path, help="a notebook of the course; without one the kit's demo")
    parser.add_argument("--changes", type=int, default=30, help="key presses for each slider (default 30)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # as in the thread that draws
    live.loop()  # as in a kernel, all that is loaded is left out of the search for garbage
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; milliseconds")
    print(f"{'':44} {'minimum':>8} {'median':>8} {'95 %':>8}")
    if options.notebook is None:
        _row("kernel, artists moved", _kernel_times(sine_demo.make(), "steps", options.changes))
        _row("kernel, background redrawn", _kernel_times(sine_demo.make(), "steps", options.changes, redraw=True))
    else:
        for demo in _demos(options.notebook):
            for slider in (control for control in demo.controls.values() if isinstance(control, Slider)):
                label = f"kernel, {demo.title[:16]}: {slider.label[:18]}"
                _row(label, _kernel_times(demo, slider.name, options.changes))
    executable = find_chromium()
    if executable is None:
        return print("no Chromium found, so nothing was measured in a browser")
    with tempfile.TemporaryDirectory() as folder:
        name = _place(options.notebook, Path(folder))
        with LabServer(Path(folder), settings=OVERRIDES) as server, Browser(executable) as browser:
            page = browser.open(server, name)
            page.run_all()
            for demo in page.demos():
                demo.box.scroll_into_view_if_needed()
                demo.settled()
                for slider in demo.box.locator(".demo-control:has(input[type=range])").all():
                    label = f"{demo.title[:24]}: {slider.locator('label').inner_text()[:20]}"
                    _row(label, browser_times(demo.box, slider, options.changes))
                    if options.notebook is None:
                        break


def _demos(notebook: Path) -> list[Demo]:
    """The demos that a notebook shows, made anew, but for those that want a reader's answer."""
    cells = nbformat.read(notebook, as_version=4).cells
    names = re.findall(r"(\w+)\.demo\(", "\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    files = [next(Path(chapters.__path__[0]).glob(f"*/{name}.py")) for name in dict.fromkeys(names)]
    made = [importlib.import_module(f"{chapters.__name__}.{f.parent.name}.{f.stem}").demo for f in files]
    return [make() for make in made if not any(map(_is_asked_for, inspect.signature(make).parameters.values()))]


def _is_asked_for(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD


def _kernel_times(demo: Demo, name: str, changes: int, redraw: bool = False) -> np.ndarray:
    demo.reset()
    times = []
    for value in _walk(demo.controls[name], changes):
        if redraw:
            demo.picture.figure.stale = True
        start = time.perf_counter()
        demo.set(**{name: value})
        times.append(time.perf_counter() - start)
    return 1000 * np.array(times)


def _walk(slider: Slider, changes: int) -> list[float]:
    """Where ``changes`` arrow keys take a slider: to its right end, then to its left end, and so on."""
    notches, values = slider.notches(), []
    at, direction = slider.place(slider.default), 1
    for _ in range(changes):
        if not 0 <= at + direction < len(notches):
            direction = -direction
        at += direction
        values.append(notches[at])
    return values


def browser_times(box: Locator, slider: Locator, changes: int) -> np.ndarray:
    """Press arrow keys on a slider one at a time, each after the picture of the last has been painted.

    Nobody asks the page anything meanwhile: on two cores the asking alone made pictures a tenth later.
    """
    page = box.page
    box.locator(".demo-frame").evaluate(WATCH)
    handle = slider.locator("input")
    handle.focus()
    key = "ArrowRight"
    for _ in range(changes):
        low, high, now = handle.evaluate("range => [+range.min, +range.max, range.valueAsNumber]")
        key = "ArrowLeft" if now >= high else "ArrowRight" if now <= low else key
        seen, deadline = page.evaluate("painted.length"), time.monotonic() + 5
        page.keyboard.down(key)
        time.sleep(0.4)
        page.keyboard.up(key)
        while page.evaluate("painted.length") == seen and time.monotonic() < deadline:
            time.sleep(0.1)
    return np.array(page.evaluate("painted"))


def _place(notebook: Path | None, folder: Path) -> str:
    if notebook is not None:
        return Path(shutil.copy(notebook, folder)).name
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    cells = [nbformat.v4.new_code_cell(CELL)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "kit.ipynb")
    return "kit.ipynb"


def _row(label: str, times: np.ndarray) -> None:
    if len(times):
        print(
            f"{label:44} {times.min():8.1f} {np.median(times):8.1f} {np.percentile(times, 95):8.1f}",
            flush=True,
        )
    else:
        print(f"{label:44} no new picture", flush=True)


if __name__ == "__main__":
    main()
