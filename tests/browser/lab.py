"""A real JupyterLab in a real Chromium: open a notebook, run it, move what moves, look at the pictures.

with LabServer(folder) as server, Browser(executable) as browser:
    notebook = browser.open(server, "01.ipynb")
    notebook.run_all()
    for demo in notebook.demos():
        for control in demo.controls():
            demo.move(control)
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from playwright.sync_api import Locator, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]
OVERRIDES = json.loads((ROOT / "tools" / "jupyterlab_overrides.json").read_text())  # what `make lab` sets
SETTINGS = OVERRIDES | {"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}  # all cells in the page
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
FOLDER_OF_SCREENSHOTS = os.environ.get("COURSE_SCREENSHOTS")
SECOND = 1000  # playwright counts milliseconds


def write_notebook(path: Path, *cells: str) -> None:
    """A notebook with these code cells."""
    cells = [nbformat.v4.new_code_cell(source) for source in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), path)


class LabServer:
    """JupyterLab of the running environment on ``folder``, with settings and kernels' files of its own, and with
    ``progress`` a file in which its kernels keep what a reader has solved. With ``settings=OVERRIDES`` it is a
    reader's, which spares itself the cells out of sight."""

    def __init__(self, folder: Path, progress: Path | None = None, settings: dict = SETTINGS):
        self.folder, self.token, self.progress, self.settings = Path(folder), secrets.token_hex(16), progress, settings
        self._home = tempfile.TemporaryDirectory(prefix="lab-home-")

    def __enter__(self) -> LabServer:
        home = Path(self._home.name)
        for plugin, settings in self.settings.items():
            path = home / "settings" / f"{plugin.replace(':', '/')}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(settings))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        places = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "IPYTHONDIR": "ipython",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        }
        environment = os.environ | {name: str(home / place) for name, place in places.items()}
        environment |= {"COURSE_PROGRESS": str(self.progress)} if self.progress else {}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.log = home / "lab.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "jupyterlab",
                    "--no-browser",
                    "--allow-root",
                    "--ip=127.0.0.1",
                    f"--port={port}",
                    "--ServerApp.port_retries=0",
                    f"--IdentityProvider.token={self.token}",
                    f"--ServerApp.root_dir={self.folder}",
                    "--LabApp.expose_app_in_browser=True",
                    "--LabApp.news_url=",
                    "--KernelSpecManager.ensure_native_kernel=True",
                ],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()  # the server ends its kernels on the way out
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._home.cleanup()

    def _wait_until_up(self, patience: float = 90.0) -> None:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"JupyterLab ended at once:\n{self.log.read_text()[-3000:]}")
            try:
                return self.api("GET", "api/status") and None
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        raise TimeoutError(f"JupyterLab did not answer in {patience} s:\n{self.log.read_text()[-3000:]}")

    def api(self, method: str, path: str) -> object:
        request = urllib.request.Request(
            f"{self.url}/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            body = reply.read()
        return json.loads(body) if body else None

    def end_kernels(self) -> None:
        for session in self.api("GET", "api/sessions"):
            self.api("DELETE", f"api/sessions/{session['id']}")


class Browser:
    """Headless Chromium with a new profile."""

    def __init__(self, executable: str, width: int = 1400, height: int = 1000):
        self.executable, self.size = executable, {"width": width, "height": height}

    def __enter__(self) -> Browser:
        self._playwright = sync_playwright().start()
        self.chromium = self._playwright.chromium.launch(executable_path=self.executable, args=CHROMIUM_FLAGS)
        self._page = self._server = None
        return self

    def __exit__(self, *_: object) -> None:
        self.chromium.close()
        self._playwright.stop()

    def open(self, server: LabServer, path: str) -> NotebookPage:
        """The notebook at ``path``, in place of the one before, unless the page of that was closed."""
        if self._page is None or self._page.is_closed() or self._server is not server:
            self._page, self._server = self.chromium.new_page(viewport=self.size), server
            address = f"{server.url}/lab/tree/{urllib.parse.quote(path)}?token={server.token}&reset"
            self._page.goto(address, timeout=90 * SECOND)
        else:
            self._page.evaluate(
                """path => {
                [...jupyterapp.shell.widgets('main')].forEach(widget => widget.dispose());
                void jupyterapp.commands.execute('docmanager:open', {path}); }""",
                path,
            )
        return NotebookPage(self._page)


class NotebookPage:
    """A notebook that is open in JupyterLab."""

    def __init__(self, page: Page):
        self.page = page
        self.page.set_default_timeout(30 * SECOND)
        self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook").wait_for(timeout=90 * SECOND)
        self.page.wait_for_function(
            """() => {
            window.panel = [...window.jupyterapp?.shell.widgets('main') ?? []].find(w => w.sessionContext);
            return panel?.sessionContext.isReady && panel.sessionContext.session?.kernel; }""",
            timeout=90 * SECOND,
        )
        self.page.evaluate("void jupyterapp.commands.execute('notebook:expand-all-headings')")  # "Deeper" too

    def run_all(self, patience: float = 300.0) -> None:
        """Run every cell from a clean page; AssertionError with the error's text if a cell fails."""
        deadline, asked = time.monotonic() + patience, 0.0
        self.page.evaluate("void jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
        while True:
            state = self.page.evaluate("""() => {
                const cells = [...panel.content.widgets].filter(c => c.model.type === 'code'
                                                                     && c.model.sharedModel.source.trim());
                const outputs = cells.flatMap(({model: {outputs}}) =>
                    Array.from({length: outputs.length}, (_, index) => outputs.get(index)));
                return {left: cells.filter(c => c.model.executionCount === null).length,
                        started: cells.some(c => c.promptNode?.textContent.includes('*')
                                                 || c.model.executionCount !== null),
                        idle: panel.sessionContext.session?.kernel?.status === 'idle',
                        errors: outputs.filter(o => o.type === 'error').map(o => o.toJSON())
                                   .map(o => [o.ename, o.evalue, ...o.traceback].join('\\n'))}; }""")
            assert not state["errors"], "a cell failed:\n" + "\n".join(state["errors"])
            if not state["left"] and state["idle"]:
                return
            assert time.monotonic() < deadline, f"{state['left']} cells have not run after {patience} s"
            if not state["started"] and time.monotonic() - asked > 10:  # "run all" is lost before the kernel listens
                asked = time.monotonic()
                self.page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
            time.sleep(0.3)

    @contextmanager
    def cell_below(self, source: str) -> Iterator[None]:
        """A cell below all others, which has begun to run; afterwards it is interrupted and deleted."""
        self.page.evaluate(
            """async source => {
            panel.content.activeCellIndex = panel.content.widgets.length - 1;
            await jupyterapp.commands.execute('notebook:insert-cell-below');
            panel.content.activeCell.model.sharedModel.setSource(source);
            void jupyterapp.commands.execute('notebook:run-cell'); }""",
            source,
        )
        yield
        self.page.evaluate("""async () => {
            await panel.sessionContext.session.kernel.interrupt();
            panel.content.activeCellIndex = panel.content.widgets.length - 1;
            await jupyterapp.commands.execute('notebook:delete-cell'); }""")

    def demos(self) -> list[LiveDemo]:
        boxes = self.page.locator(".course-demo")
        return [LiveDemo(self.page, boxes.nth(index)) for index in range(boxes.count())]

    def close(self) -> None:
        self.page.close()


class LiveDemo:
    """One demo on the page. Pictures are told apart by their bytes."""

    def __init__(self, page: Page, box: Locator):
        self.page, self.box = page, box
        self.img = box.locator("img.demo-picture")
        self.img.wait_for()

    @property
    def title(self) -> str:
        return self.box.locator(".demo-title").inner_text().strip()

    @property
    def words(self) -> str:
        """The picture in words, as a screen reader gets it."""
        return self.img.get_attribute("alt")

    @property
    def problem(self) -> str:
        """What the error box says; empty while it is hidden."""
        box = self.box.locator(".demo-problem")
        return box.inner_text().strip() if box.is_visible() else ""

    def controls(self) -> list[Locator]:
        found = self.box.locator(".demo-control")
        return [found.nth(index) for index in range(found.count())]

    def control(self, kind: str, name: str) -> Locator:
        return self.box.locator(f".demo-{kind}-{name}")

    def button(self, name: str) -> Locator:
        return self.box.get_by_role("button", name=name, exact=True)

    def picture(self) -> str:
        """A fingerprint of the picture's bytes."""
        return self.img.evaluate("""async img => {
            const digest = await crypto.subtle.digest('SHA-1', new TextEncoder().encode(img.src));
            return [...new Uint8Array(digest)].map(b => b.toString(16).padStart(2, '0')).join(''); }""")

    def wait_until(self, holds: Callable[[], bool], patience: float = 20.0) -> None:
        """Wait until something holds; AssertionError with what the demo says if it never does."""
        deadline = time.monotonic() + patience
        while not holds():
            assert time.monotonic() < deadline, f"{self.title!r} says {self.words!r}, problem {self.problem!r}"
            time.sleep(0.05)

    def settled(self, pause: float = 0.25, patience: float = 90.0) -> str:
        """The picture once it has the size of its room, every answer has come and none has for ``pause`` seconds."""
        still = self.box.evaluate(
            """async (box, [pause, patience]) => {
            const image = box.querySelector("img.demo-picture"), begun = performance.now();
            let last = image.src, since = begun;
            while (performance.now() - since < pause) {
                if (performance.now() - begun > patience) return false;
                await new Promise(done => setTimeout(done, 20));
                const busy = box.dataset.pending === "true" || box.querySelector(".demo-stop:enabled");
                if (busy || !image.parentNode.style.width || image.src !== last)
                    [last, since] = [image.src, performance.now()];
            }
            return true; }""",
            [pause * SECOND, patience * SECOND],
        )
        assert still, f"{self.title!r}: the picture keeps changing"
        return self.picture()

    def is_slider(self, control: Locator) -> bool:
        return control.locator("input[type=range]").count() > 0

    def keys(self, control: Locator) -> list[str]:
        """The keys that move a control, the likeliest first."""
        if self.is_slider(control):
            at = int(control.locator("input").input_value())
            return ["ArrowLeft", "ArrowRight"] if at > 0 else ["ArrowRight", "ArrowLeft"]
        return ["Space"]

    def focus(self, control: Locator) -> None:
        """Put the keyboard on a control: on a radio button that is not chosen, on a pad's button."""
        inside = ("input[type=range]", "input[type=radio]:not(:checked)", "input[type=checkbox]", ".drawing-clear")
        parts = [control.locator(part).first for part in inside if control.locator(part).count()]
        (parts or [control])[0].focus()

    def reset(self, pause: float = 0.25) -> str:
        """Press reset and return the picture that stays."""
        self.box.locator(".demo-reset").click()
        return self.settled(pause)

    def move(self, control: Locator, pause: float = 0.25) -> None:
        """Move a control by keyboard; AssertionError if no new picture comes, or an error box."""
        before, name = self.settled(pause), control.get_attribute("class")
        for key in self.keys(control):
            self.focus(control)
            self.page.keyboard.press(key)
            if self.settled(pause) != before or self.settled(1) != before or self.problem:
                break
        assert not self.problem, f"{self.title!r}, {name}: {self.problem}"
        assert self.picture() != before, f"{self.title!r}: {name} does not change the picture"

    def drag(self, control: Locator, to: float, steps: int = 40) -> None:
        """Drag a slider's handle with the mouse to the part ``to`` (0 to 1) of its track."""
        control.scroll_into_view_if_needed()
        track = control.locator("input").bounding_box()
        part = control.locator("input").evaluate("input => input.valueAsNumber / input.max")
        place = lambda part: track["x"] + 11 + part * (track["width"] - 22)
        y = track["y"] + track["height"] / 2
        self.page.mouse.move(place(part), y)
        self.page.mouse.down()
        self.page.mouse.move(place(to), y, steps=steps)
        self.page.mouse.up()
