"""One slider behind three doors: from key press to painted picture in JupyterLab, in the presenter and on the site.

    python -m course_lib site build/site
    python -m benchmarks.doors build/site --changes 30

Every slider that the site has recorded, of six demos, at 1280 x 720 in headless Chromium; the doors take turns, so that
a slow moment of the machine falls on all three. Milliseconds, as in benchmarks/latency.py: median and 95th percentile.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
from playwright.sync_api import Browser, Locator, sync_playwright

from benchmarks.latency import browser_times
from course_lib.commands.doctor import find_chromium
from tests.browser.lab import CHROMIUM_FLAGS, ROOT, LabServer, NotebookPage

DEMOS = {  # chapter, demo -> the site's page
    ("adapting", "adapting"): "01_adapting_at_test_time",
    ("features", "tangent_kernel"): "05_features_and_tangent_features",
    ("two_loops", "landscape"): "02_the_two_loops",
    ("what_k_costs", "k_border"): "03_what_k_costs",
    ("task_heads", "wave"): "04_task_heads",
    ("reptile", "reptile_plane"): "08_reptile",
}
SCREEN = {"width": 1280, "height": 720}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("site", type=Path, help="the folder that `python -m course_lib site FOLDER` wrote")
    parser.add_argument("--changes", type=int, default=30, help="key presses for each slider (default 30)")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; milliseconds, median and 95 %")
    print(f"{'':40} {'JupyterLab':>13} {'present':>13} {'site':>13}")
    present = [sys.executable, "-m", "course_lib", "present", "--no-browser", "--port", "0"]
    with tempfile.TemporaryDirectory() as folder, LabServer(Path(folder)) as lab, sync_playwright() as playwright:
        process = subprocess.Popen(present, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            hall = next(line.strip() for line in process.stdout if "http" in line)
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
            boxes = in_jupyterlab(browser, lab, Path(folder))
            for (_, name), page in DEMOS.items():
                site = on_site(browser, options.site / f"{page}.html", name)
                compare(name, (boxes[name], in_present(browser, hall, name), site), options.changes)
        finally:
            process.terminate()


def compare(name: str, doors: tuple[Locator, Locator, Locator], changes: int) -> None:
    """A line for each slider that the last of the doors, the site, has."""
    for slider in doors[-1].locator(".demo-control:has(input[type=range])").all():
        kind = next(
            word for word in slider.get_attribute("class").split() if word.startswith(("demo-slider-", "demo-notches-"))
        )
        label = f"{name}: {slider.locator('label').inner_text()}"
        times = [browser_times(box, box.locator(f".{kind}"), changes) for box in doors]
        cells = [f"{np.median(t):6.0f} {np.percentile(t, 95):6.0f}" if len(t) else f"{'-':>13}" for t in times]
        print(f"{label[:40]:40} {' '.join(cells)}", flush=True)


def in_jupyterlab(browser: Browser, lab: LabServer, folder: Path) -> dict[str, Locator]:
    """The demos in one notebook that has been run."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    sources = [f"from course_lib.chapters.{chapter} import {name}\n{name}.demo()" for chapter, name in DEMOS]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "demos.ipynb")
    page = browser.new_page(viewport=SCREEN)
    page.goto(f"{lab.url}/lab/tree/demos.ipynb?token={lab.token}&reset", timeout=90_000)
    notebook = NotebookPage(page)
    notebook.run_all()
    return {name: demo.box for (_, name), demo in zip(DEMOS, notebook.demos(), strict=True)}


def in_present(browser: Browser, address: str, name: str) -> Locator:
    page = browser.new_context(viewport=SCREEN, bypass_csp=True).new_page()
    page.goto(f"{address}{'&' if '?' in address else '?'}demo={name}")
    box = page.locator("#demo")
    box.locator("img.demo-picture").wait_for(state="attached")
    if page.locator("#question").is_visible():
        page.keyboard.press("PageDown")
    return box


def on_site(browser: Browser, path: Path, name: str) -> Locator:
    page = browser.new_page(viewport=SCREEN)
    page.goto(path.resolve().as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    box = page.locator(f'[data-demo="{name}"]').first
    box.scroll_into_view_if_needed()
    box.locator(".demo-controls").wait_for()
    return box


if __name__ == "__main__":
    main()
