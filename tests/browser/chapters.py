"""Every notebook in a real JupyterLab in a real Chromium: two files of tests share them.

All cells are run, and none may fail (nbval runs them where there is no Chromium: see tests/conftest.py). With
COURSE_SCREENSHOTS=FOLDER set, a picture of every demo goes into that folder, to be looked at.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.browser.lab import FOLDER_OF_SCREENSHOTS, ROOT, NotebookPage

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ROOM = 599  # points of height that JupyterLab leaves a notebook in a window of 1280 x 720
CUT_OFF = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"
IDLE = {  # a control that changes nothing where its demo opens, since it belongs to another of its states
    ("The support set trains, the query set judges", "maml"),  # it opens with random weights
    ("Networks on both sides of zero", "test_lr"),  # it opens with networks as they are
    ("Where a head points the body", "body"),  # it opens with an untrained one
    ("Reptile beside MAML in the same time", "budget"),  # of the live race
}


def every_demo_fits_and_moves(notebook: NotebookPage, name: str, every: bool) -> None:
    """Each demo of an open notebook has words and fits the room in both print sizes, and in large print its first
    control, or ``every`` one, changes its picture. (The chapters' tests try all at their ends.)"""
    demos = notebook.demos()
    for demo in demos:
        assert demo.words and not demo.problem
        assert demo.box.locator("label, .demo-button-face, legend").evaluate_all(CUT_OFF) == []
    for size in ("normal", "large"):
        if size == "large":
            for demo in demos:
                demo.button("large print").click()
        for pause in (0, 0.4):  # the room is measured anew 0.3 s after a picture, when its words stand
            time.sleep(pause)
            for demo in demos:
                demo.settled(pause=0.05)
        for number, demo in enumerate(demos):
            assert demo.box.bounding_box()["height"] <= ROOM, f"{demo.title} in {size} print"
            if FOLDER_OF_SCREENSHOTS:
                demo.box.screenshot(path=Path(FOLDER_OF_SCREENSHOTS) / f"{name}_{number}_{size}.png")
    for demo in demos:
        busy = [c for c in demo.controls() if (demo.title, c.get_attribute("class").split("-")[-1]) not in IDLE]
        for before, control in enumerate(busy if every else busy[:1]):
            if before:
                demo.reset(pause=0.05)
            demo.move(control, pause=0.05)
