"""The league table: every method that has a checkpoint, on the same new tasks, beside the published numbers.

    python -m course_lib league omniglot        5 and 20 ways, 1 and 5 shots, normalised together or not
    python -m course_lib league sinusoid        error after 0, 1, 5, 10 steps
    python -m course_lib league glyphs          as for Omniglot, on drawn glyphs: no data, no network
    python -m course_lib league papers          networks of the papers' recipes, judged on Omniglot as they split it
    python -m course_lib league omniglot --ways 5 --shots 1 --tasks 10000       one kind of task, more of them

Nothing is trained unless ``--train`` asks for what is missing. A row is written as soon as it is measured, and
a row that is there for the same weights is not measured again. What was not measured is not in the table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from course_lib import checkpoints
from course_lib.chapters.omniglot import league, league_figure
from course_lib.commands import train
from course_lib.engine import recipes
from course_lib.validation import check_count


def parser() -> argparse.ArgumentParser:
    table = argparse.ArgumentParser(
        prog="python -m course_lib league",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = table.add_argument
    add("family", choices=league.SERVED_BY)
    add("--checkpoints", nargs="+", help="names or paths (default: all that ship; on glyphs Omniglot's too)")
    add("--tasks", type=int, default=600)
    add("--seed", type=int, default=0, help="of the test tasks")
    add("--ways", type=int, help="only tasks of so many ways")
    add("--shots", type=int, help="only tasks of so many shots")
    add("--train", action="store_true", help="train what is missing, by recipe")
    add("--afresh", action="store_true", help="measure again what is in the table")
    add("--out", type=Path, default=league.FOLDER, help="folder for the table and its picture")
    return table


def main(argv: list[str]) -> int:
    """Measure what is not in the table yet, write the table and its picture; 0."""
    options = parser()
    args = options.parse_args(argv)
    family = args.family
    check_count("tasks", args.tasks, 1)
    if args.train and family == "papers":
        options.error("the papers' recipes are long: train one by one, `train omniglot --recipe paper-maml-5way1shot`")
    if args.train:
        train_missing(family)
    names = args.checkpoints or [n for n in checkpoints.available() if n.split("/")[0] in league.SERVED_BY[family]]
    of_sines = family == "sinusoid"
    for name in names:
        trained_on = checkpoints.task_settings(checkpoints.read_record(name))["class"]
        if (trained_on == "SinusoidTasks") != of_sines:
            options.error(f"{name} was trained on {trained_on}, so it has no place in the table of {family}")
    cells = [
        cell
        for cell in (league.SINE_CELLS if of_sines else league.IMAGE_CELLS)
        if not (family == "papers" and cell.within_alphabet)  # its characters come from all alphabets
        and args.ways in (None, cell.ways)
        and args.shots in (None, cell.shots)
    ]
    if not cells:
        asked = f"{args.ways or 'any'} ways and {args.shots or 'any'} shots"
        options.error(f"the table of {family} has no tasks of {asked}")
    path = args.out / f"league_{family}.csv"
    weights = {name: checkpoints.fingerprint(name) for name in names}
    rows = [row for row in league.read(path) if row["weights"] == weights.get(row["checkpoint"], row["weights"])]
    if args.afresh:  # what this call does not measure stays
        rows = [row for row in rows if league.cell_of(row) not in cells or row["checkpoint"] not in ("", *names)]
    for row in league.measure(family, cells, names, args.tasks, args.seed, rows):
        print(league.summary(row), flush=True)
        rows.append(row)
        league.write(path, rows)
    if not names:
        print(f"no checkpoint for {family} here; --train makes them, --checkpoints names others", file=sys.stderr)
    rows = league.read(path)  # as words, also what was measured just now: the same table gives the same picture
    picture = league_figure.save(family, rows, league.read(league.PUBLISHED), args.out)
    print(f"{len(rows)} rows in {path}; picture in {picture}")
    if family == "glyphs":
        for transductive in ("yes", "no"):
            omniglot = league.read(league.FOLDER / "league_omniglot.csv")
            rho, count = league.rank_agreement(rows, omniglot, transductive)
            print(f"5-way 1-shot, transductive: {transductive}: {count} rows rank as on Omniglot with rho = {rho:.2f}")
    return 0


def train_missing(family: str) -> None:
    """A checkpoint for every two-core recipe of the family that has none; a run that was stopped goes on."""
    known = recipes.SINUSOID if family == "sinusoid" else recipes.TWO_CORES
    for name in known:
        out = checkpoints.FOLDER / family / name
        if f"{family}/{name}" not in checkpoints.available():
            resume = ["--resume"] * train.state_file(out).exists()
            if train.main([family, "--recipe", name, "--out", str(out), *resume]):
                raise SystemExit(f"{family}/{name} was not trained to its end, so the table was not made")
