"""What is right and what is wrong on this machine, in plain words: ``python -m course_lib doctor``.

Each finding is OK, a NOTE (something is missing that the course can do without) or a PROBLEM (something will
not work), with what was found and what to do about it. Nothing outside the standard library is imported
before it is looked at, so that the doctor can also be asked where little is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from course_lib.engine.compiler import compiler_name

OK, NOTE, PROBLEM = "OK", "NOTE", "PROBLEM"

PROJECT = Path(__file__).resolve().parents[2]
DISTRIBUTION = "meta-learning-course"
INSTALL = "make lab, or: pip install -r requirements.txt"
RESTORE = "git checkout course_lib brings it back"
PYTHONS = (3, 10), (3, 13)  # oldest and newest that the pinned packages support
LITTLE_DISK, TOO_LITTLE_DISK = 2e9, 1e8  # bytes: Omniglot and its cache take 0.1 GB, long trainings more
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
CHROMIUM_APPS = ("Chromium.app/Contents/MacOS/Chromium", "Google Chrome.app/Contents/MacOS/Google Chrome")
GET_CHROMIUM = (
    "Debian, Ubuntu: sudo apt install chromium; macOS: brew install --cask chromium; "
    "where it has an unusual place, set CHROMIUM to its path"
)


@dataclass(frozen=True)
class Finding:
    """One thing looked at: its status (OK, NOTE, PROBLEM), what was found, and what to do about it."""

    status: str
    topic: str
    found: str
    todo: str = ""

    def __str__(self) -> str:
        line = f"{self.status:<8} {self.topic:<18} {self.found}"
        return f"{line}\n{'':<27} -> {self.todo}" if self.todo else line


def ok(topic: str, found: str) -> Finding:
    return Finding(OK, topic, found)


def note(topic: str, found: str, todo: str = "") -> Finding:
    return Finding(NOTE, topic, found, todo)


def problem(topic: str, found: str, todo: str) -> Finding:
    return Finding(PROBLEM, topic, found, todo)


def check() -> list[Finding]:
    """Look at everything; a look that itself fails becomes a PROBLEM that says how, and the others go on."""
    findings = []
    for look in LOOKS:
        try:
            findings += look()
        except Exception as error:  # the doctor reports whatever is broken, in whatever way
            topic = look.__name__.replace("_", " ")
            findings.append(problem(topic, f"could not be looked at: {one_line(error)}", INSTALL))
    return findings


def main(argv: list[str] | None = None) -> int:
    """Print the report, or the records of the checkpoints named; 1 if there is a PROBLEM, else 0."""
    parser = argparse.ArgumentParser(prog="python -m course_lib doctor", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", nargs="*", help="names or paths: look at these alone, and print their records")
    names = parser.parse_args(argv).checkpoint
    findings = [finding for name in names for finding in record(name)] if names else check()
    for finding in findings:
        print(finding)
    problems = sum(finding.status == PROBLEM for finding in findings)
    notes = sum(finding.status == NOTE for finding in findings)
    if problems:
        print(f"\n{problems} problem{'s' * (problems > 1)} to mend: follow the arrows, then ask again.")
    elif not names:
        print("\nEverything the course needs is here." + (" The notes are about extras." if notes else ""))
    return 1 if problems else 0


def python() -> Iterator[Finding]:
    """This Python's version, and whether it is an environment of its own."""
    version, where = platform.python_version(), show(Path(sys.prefix))
    oldest, newest = (".".join(map(str, bound)) for bound in PYTHONS)
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        needed = f"the course needs {oldest} to {newest}"
        yield problem("Python", f"{version}; {needed}", f"get one, then {INSTALL}")
    elif sys.prefix == sys.base_prefix and not os.environ.get("CONDA_PREFIX"):
        found = f"{version}, shared with everything else on this machine"
        yield note("Python", found, "make lab creates an environment of the course's own")
    else:
        yield ok("Python", f"{version} in {where}")


def packages() -> Iterator[Finding]:
    """Every requirement: there, and at the version the course was tested with."""
    from packaging.requirements import Requirement

    try:
        ranges = {r.name: r for r in map(Requirement, metadata.requires(DISTRIBUTION) or [])}
    except metadata.PackageNotFoundError:
        ranges = {}
        yield problem("course_lib", "is not installed: notebooks would not find it", INSTALL)
    pins = dict(ranges)
    if (PROJECT / "requirements.txt").exists():
        lines = (PROJECT / "requirements.txt").read_text().splitlines()
        pinned = (Requirement(line) for line in lines if line and line[0] not in "#-")
        pins.update((r.name, r) for r in pinned if r.marker is None or r.marker.evaluate())
    agree = 0
    for name, pin in pins.items():
        allowed = ranges.get(name, pin)
        for_tests = "extra" in str(allowed.marker)
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            status, use = (NOTE, "only the tests use it") if for_tests else (PROBLEM, "the course uses it")
            yield Finding(status, name, f"is not installed; {use}", INSTALL)
            continue
        if pin.specifier.contains(version, prereleases=True):
            agree += 1
        elif allowed.specifier.contains(version, prereleases=True):
            yield note(name, f"{version}; tested with {pin.specifier}", f"if something looks odd: {INSTALL}")
        else:
            yield problem(name, f"{version}; the course needs {allowed.specifier}", INSTALL)
    yield Finding(OK if agree else NOTE, "packages", f"{agree} of {len(pins)} at the versions tested with")


def torch_device() -> Iterator[Finding]:
    """PyTorch, its threads, and the devices it can compute on (each is really asked for a product)."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = f"{torch.__version__}; CPU cores: {cores}; threads in one operation: {torch.get_num_threads()}"
    yield ok("PyTorch", found)
    devices = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for device, there in devices.items():
        if there:
            name = torch.cuda.get_device_name() if device == "cuda" else "Apple GPU"
            try:
                ones = torch.ones(2, 2, device=device)
                worked = (ones @ ones).sum().item() == 8
                found = f"{name} {'computes' if worked else 'computes wrongly'}"
            except RuntimeError as error:
                worked, found = False, f"{name} fails: {one_line(error)}"
            todo = "" if worked else "update its driver, or use --device cpu"
            yield Finding(OK if worked else PROBLEM, f"device {device}", found, todo)
    if not any(devices.values()) and shutil.which("nvidia-smi"):
        todo = "pytorch.org/get-started tells which build fits; everything also runs on the CPU"
        yield note("device cuda", "this machine has NVIDIA's tools, but this PyTorch sees no GPU", todo)


def autograd() -> Iterator[Finding]:
    """The gradient through one step of gradient descent, which is what the course is about.

    With L = a theta^2 / 2 one step gives theta' = (1 - alpha a) theta, so that dL(theta') / dtheta is
    a (1 - alpha a)^2 theta; without the second derivative one factor (1 - alpha a) would be missing.
    """
    import torch

    a, alpha, theta = 3.0, 0.1, torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    (inner,) = torch.autograd.grad(a * theta**2 / 2, theta, create_graph=True)
    (meta,) = torch.autograd.grad(a * (theta - alpha * inner) ** 2 / 2, theta)
    expected = a * (1 - alpha * a) ** 2 * theta.item()
    if abs(meta.item() - expected) < 1e-12:
        yield ok("meta-gradient", f"{meta.item():.4f} through an inner step, as the formula says")
    else:
        yield problem("meta-gradient", f"{meta.item():.4f}, not {expected:.4f}", f"reinstall: {INSTALL}")


def jupyter() -> Iterator[Finding]:
    """JupyterLab, its half of the widgets, and the Python that notebooks will run in."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    from jupyter_core.paths import jupyter_path

    for extension, use in (("@jupyter-widgets/jupyterlab-manager", "widgets"), ("anywidget", "live demos")):
        homes = [Path(folder) / extension / "package.json" for folder in jupyter_path("labextensions")]
        home = next((home for home in homes if home.is_file()), None)
        if home is None:
            yield problem(use, f"JupyterLab's extension {extension} is not installed", INSTALL)
        else:
            yield ok(use, f"{extension} {json.loads(home.read_text())['version']}")
    try:
        command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        yield problem("kernel", "Jupyter knows no Python kernel", INSTALL)
        return
    if command in ("python", "python3", sys.executable):  # Jupyter takes bare names to mean its own
        yield ok("kernel", "notebooks run in this very Python")
    else:
        found = f"plain `jupyter lab` runs notebooks in another Python: {show(Path(command))}"
        yield note("kernel", found, "use make lab, or JUPYTER_PREFER_ENV_PATH=1 jupyter lab notebooks/")


def data() -> Iterator[Finding]:
    """Omniglot: each archive really read, nothing downloaded."""
    from course_lib.engine import omniglot_files as files

    for archive in files.ARCHIVES:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                drawings = files.load(archive, download=False)
            except files.OmniglotMissing:
                found = f"no {archive.filename} here, and both archives are needed; drawn glyphs stand in and say so"
                yield note("Omniglot", found, "python -m course_lib data downloads it")
            except files.OmniglotDamaged as error:
                todo = "make it readable" if isinstance(error, files.OmniglotUnreadable) else "delete the damaged file"
                yield problem("Omniglot", str(error), f"{todo}; drawn glyphs can stand in")
            else:
                yield ok("Omniglot", f"{archive.name}: {len(drawings.names)} characters")
        yield from (note("Omniglot", str(warning.message)) for warning in said)


def shipped_checkpoints() -> Iterator[Finding]:
    """Every trained network that ships with the course, loaded."""
    from course_lib import checkpoints

    names = checkpoints.available()
    for name in names:
        try:
            checkpoints.load(name)
        except Exception as error:  # a damaged file can fail in many ways
            yield problem("checkpoint", f"{name}: {one_line(error)}", RESTORE)
    if not names:
        yield problem("checkpoints", "none found; the demos show networks trained before", RESTORE)
    else:
        yield ok("checkpoints", f"{len(names)} known")


def record(name: str) -> Iterator[Finding]:
    """One checkpoint, and all that its record says of how it was made."""
    from course_lib import checkpoints

    try:
        told = json.dumps(checkpoints.load(name)[2], indent=2)
        yield ok("checkpoint", f"{name}, weights {checkpoints.fingerprint(name)}\n{told}")
    except (OSError, ValueError) as error:
        yield problem("checkpoint", str(error), RESTORE if name in checkpoints.available() else "train it again")


def folders() -> Iterator[Finding]:
    """Whether a real file can be written wherever the course writes; and the space left."""
    from jupyter_core.paths import jupyter_runtime_dir

    from course_lib.engine.omniglot_files import cache_folder

    places = {
        "project folder": (PROJECT, "move or clone the project to a folder of yours"),
        "cache folder": (cache_folder(), "make it writable, or the data set is read anew each time"),
        "temporary folder": (Path(tempfile.gettempdir()), "set TMPDIR to a folder of yours"),
        "Jupyter's folder": (Path(jupyter_runtime_dir()), "set JUPYTER_RUNTIME_DIR to a folder of yours"),
    }
    for topic, (folder, todo) in places.items():
        error = write_error(folder)
        if error:
            status = NOTE if topic == "cache folder" else PROBLEM
            yield Finding(status, topic, f"{show(folder)}: {error}", todo)
        else:
            yield ok(topic, "writable")
    free = shutil.disk_usage(PROJECT).free
    status = PROBLEM if free < TOO_LITTLE_DISK else NOTE if free < LITTLE_DISK else OK
    yield Finding(status, "disk", f"{free / 1e9:.1f} GB free", "" if status == OK else "make room")


def compiler() -> Iterator[Finding]:
    """A C++ compiler that compiles: what ``compile=True`` needs on a CPU."""
    name = compiler_name()
    todo = "only compile=True needs it. Debian, Ubuntu: sudo apt install g++; macOS: xcode-select --install"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "works.cpp"
        source.write_text("#include <cmath>\nint main() { return std::sqrt(0.0); }\n")
        try:
            command = [name, "-c", source.name]
            works = subprocess.run(command, cwd=folder, capture_output=True, timeout=60).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            works = False
    if works:
        yield ok("C++ compiler", f"{name} compiles")
    else:
        found = f"{name} does not compile" if shutil.which(name) else f"{name} is not there"
        yield note("C++ compiler", found, todo)


def browser() -> Iterator[Finding]:
    """A Chromium for the browser tests."""
    path = find_chromium()
    if path:
        yield ok("Chromium", show(Path(path)))
    elif named := os.environ.get("CHROMIUM"):
        yield note("Chromium", f"CHROMIUM names {named}, which is no program", "correct it or unset it")
    else:
        yield note("Chromium", "none; only the browser tests use it", GET_CHROMIUM)


LOOKS: tuple[Callable[[], Iterable[Finding]], ...] = (
    *(python, packages, torch_device, autograd, jupyter, folders),
    *(shipped_checkpoints, data, compiler, browser),
)


def find_chromium() -> str | None:
    """Path of a Chromium or Chrome: what CHROMIUM names, or one on the PATH or among macOS's applications."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    apps = (Path("/Applications") / app for app in CHROMIUM_APPS)
    return next(filter(None, map(shutil.which, (*CHROMIUMS, *map(str, apps)))), None)


def write_error(folder: Path) -> str:
    """Why no file can be written into ``folder`` (made if missing), in the system's words; '' if one can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        return f"cannot be written to ({error.strerror})"
    return ""


def show(path: Path) -> str:
    """``path`` from the project folder or from the home folder, where it lies inside."""
    for base, prefix in ((PROJECT, ""), (Path.home(), "~/")):
        if path.is_relative_to(base):
            return prefix + str(path.relative_to(base))
    return str(path)


def one_line(error: BaseException) -> str:
    """The kind of ``error`` and the first line it says."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
