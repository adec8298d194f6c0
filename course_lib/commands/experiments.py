"""Remake the tables of results that the chapters ship, seed by seed.

    python -m course_lib experiments                    whatever is missing
    python -m course_lib experiments reptile union      of two chapters
    python -m course_lib experiments reptile/race --afresh --jobs 2

Stopped, a run goes on from where it was; --afresh keeps what this very commit has measured. A table's record says how
many seconds of a core it took.
"""

from __future__ import annotations

import argparse
import pkgutil
from importlib import import_module

import torch

from course_lib import chapters
from course_lib.commands import check_names
from course_lib.engine import provenance
from course_lib.kit.experiment import Experiment
from course_lib.validation import check_count


def all_experiments() -> dict[str, Experiment]:
    """Every chapter's experiments by their names, such as "reptile/race"."""
    names = [m.name for m in pkgutil.walk_packages(chapters.__path__, "course_lib.chapters.") if not m.ispkg]
    modules = [import_module(name) for name in names if ".experiments." in name]
    found = [m.runs for m in modules if isinstance(getattr(m, "runs", None), Experiment)]
    return {experiment.name: experiment for experiment in found}


def main(argv: list[str]) -> int:
    """Measure and write; 0.

    Raises:
        ValueError: an experiment or a chapter that is not there.
    """
    options = argparse.ArgumentParser(
        prog="python -m course_lib experiments", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    options.add_argument("names", nargs="*", help="chapters, or experiments such as reptile/race (default: all)")
    options.add_argument("--afresh", action="store_true", help="measure again what other commits measured")
    options.add_argument("--jobs", type=int, default=1, help="processes")
    args = options.parse_args(argv)
    check_count("jobs", args.jobs, 1)
    found = all_experiments()
    check_names("experiment", args.names, dict.fromkeys([*(name.split("/")[0] for name in found), *found]))
    chosen = [e for name, e in found.items() if not args.names or {name, name.split("/")[0]} & set(args.names)]
    torch.set_num_threads(1)  # the networks are tiny
    here = provenance.commit()
    clean = here != "unknown" and not here.endswith("+")
    for experiment in chosen:
        made_here = clean and experiment.path.exists() and experiment.table["record"]["commit"] == here
        for line in experiment.run(args.jobs, args.afresh and not made_here):
            print(line, flush=True)
        seconds = experiment.table["record"]["seconds"]
        print(f"{experiment.name}: {len(experiment.rows())} rows, {seconds:.0f} s of a core in all")
    return 0
