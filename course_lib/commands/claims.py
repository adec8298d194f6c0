"""The course's claims and their odds: how often each sentence about a result holds, over fresh draws.

python -m course_lib claims                         all of them, as many draws as their tables have
python -m course_lib claims reptile --draws 50 --jobs 2
python -m course_lib claims --first 1000 --draws 8  draws that are in no table, beside those that are
python -m course_lib claims --shipped               what the tables say, without measuring
python -m course_lib claims reptile --save          write the chapter's table; --missing only what it lacks
"""

from __future__ import annotations

import argparse
import pkgutil
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch

from course_lib import chapters
from course_lib.commands import check_names
from course_lib.engine.pool import process_pool
from course_lib.engine.provenance import provenance
from course_lib.kit.claim import Claim, Odds, chance, claims_in, gather, read, table_of, try_once, write
from course_lib.validation import check_count


def claim_modules(names: list[str] | None = None) -> list[ModuleType]:
    """The ``claims.py`` of the chapters called ``names``, or of all.

    Raises:
        ValueError: a chapter that is not there or makes no claims.
    """
    there = [m.name for m in pkgutil.iter_modules(chapters.__path__)]
    there = [name for name in there if find_spec(f"course_lib.chapters.{name}.claims")]
    check_names("chapter with claims", names or (), there)
    return [import_module(f"course_lib.chapters.{name}.claims") for name in there if not names or name in names]


def shipped() -> dict[str, Odds]:
    """The odds in all tables, by the claims' keys."""
    modules = claim_modules()
    return {f"{m.__name__.split('.')[-2]}.{n}": odds for m in modules for n, odds in read(table_of(m)).items()}


def measure(claims: list[Claim], draws: int | None, first: int, jobs: int) -> Iterator[tuple[Claim, Odds]]:
    """Each claim's odds over ``draws`` draws (None: as many as its table has), ``first`` and up."""
    works = [(c, range(first, first + (draws or c.draws))) for c in claims]
    if jobs == 1:
        yield from ((c, gather(try_once(c, draw) for draw in its)) for c, its in works)
        return
    with process_pool(jobs) as pool:
        waiting = [(c, [pool.submit(_try, c.chapter, c.name, draw) for draw in its]) for c, its in works]
        yield from ((c, gather(each.result() for each in its)) for c, its in waiting)


def _try(chapter: str, name: str, draw: int) -> tuple:
    return try_once(getattr(import_module(f"course_lib.chapters.{chapter}.claims"), name), draw)


def describe(claim: Claim, odds: Odds) -> str:
    """A claim, its odds, and its numbers: three lines or so."""
    lines = [f"{claim.key}: held in {odds} draws ({odds.seconds:.2g} s each)", f"    {claim.sentence}"]
    for name in odds.numbers:
        low, high = odds.range(name)
        lines.append(f"    {name}: median {odds.median(name):.4g}, range {low:.4g} to {high:.4g}")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Run the claims and print their odds; 1 if fresh draws speak against a table, else 0.

    Raises:
        ValueError: a chapter or a claim that is not there.
    """
    options = argparse.ArgumentParser(
        prog="python -m course_lib claims", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = options.add_argument
    add("chapters", nargs="*", help="such as reptile, or one claim such as reptile.a_falling_rate_wins (default: all)")
    add("--draws", type=int, help="how many (default: as many as the claim's table has)")
    add("--first", type=int, default=0, help="the first draw; from 1000 on none is in a table")
    add("--jobs", type=int, default=1, help="processes")
    add("--at-most", type=float, default=float("inf"), help="leave out claims whose draws take longer, in seconds")
    add("--shipped", action="store_true", help="print the tables, measure nothing")
    add("--save", action="store_true", help="write the chapters' tables")
    add("--missing", action="store_true", help="only claims that have no table yet")
    args = options.parse_args(argv)
    check_count("jobs", args.jobs, 1)
    if args.draws is not None:
        check_count("draws", args.draws, 1)
    if args.save and (args.draws or args.first):
        options.error("--save measures the draws that the tables have, so it goes with neither --draws nor --first")
    torch.set_num_threads(1)
    surprises, modules = 0, claim_modules([name.split(".")[0] for name in args.chapters])
    there = [claim.key for module in modules for claim in claims_in(module)]
    check_names("claim", [name for name in args.chapters if "." in name], there)
    for module in modules:
        path, table = table_of(module), read(table_of(module))
        chosen = [c for c in claims_in(module) if not args.chapters or {c.chapter, c.key} & set(args.chapters)]
        chosen = [c for c in chosen if not (args.missing and c.name in table)]
        chosen = [c for c in chosen if c.name not in table or table[c.name].seconds <= args.at_most]
        if args.shipped:
            results = [(c, table[c.name]) for c in chosen if c.name in table]
        else:
            results = measure(chosen, args.draws, args.first, args.jobs)
        started = time.perf_counter()
        for claim, odds in results:
            print(describe(claim, odds))
            if args.save:
                record = provenance(f"python -m course_lib claims {claim.key} --save", 0.0, threads=1)
                record["seconds"], started = round(time.perf_counter() - started, 1), time.perf_counter()
                write(path, claims_in(module), {claim.name: odds}, record)
            elif claim.name in table and not args.shipped:
                how_likely = chance(table[claim.name], odds)
                surprises += how_likely < 0.01
                print(f"    the table says {table[claim.name]}; as far off by chance: {how_likely:.2g}")
            sys.stdout.flush()
    return int(surprises > 0)
