"""Claims: sentences about results, with their odds.

A claim is a function of a draw, the seed of everything random in it; it says whether the sentence held there, and the
numbers that a reader may want:

    @claim("At k = 1 MAML ends at the lowest point of its own landscape")
    def maml_reaches_the_bottom(draw):
        above = ...
        return above < 1e-3, {"above": above}

They stand in a chapter's ``claims.py``. ``python -m course_lib claims`` runs them; what a long run found ships as the
chapter's ``claims.json``. A notebook quotes it, with the claim's key in a comment that no page shows:

    in 19 of 20 draws<!--two_loops.maml_reaches_the_bottom-->
    0.003<!--two_loops.maml_reaches_the_bottom.above--> above it     (the median; "0.001 to 0.01" is the range)

``misquotes`` says where such words differ from the tables.
"""

from __future__ import annotations

import json
import math
import re
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from course_lib.engine.files import write_whole

DRAWS = 20


@dataclass(frozen=True)
class Claim:
    """One sentence and the function that tries it. Its ``key`` is the chapter and its name."""

    sentence: str
    check: Callable[[int], tuple[bool, dict[str, float]]]
    draws: int

    @property
    def name(self) -> str:
        return self.check.__name__

    @property
    def chapter(self) -> str:
        return self.check.__module__.split(".")[-2]

    @property
    def key(self) -> str:
        return f"{self.chapter}.{self.name}"

    def __call__(self, draw: int) -> tuple[bool, dict[str, float]]:
        """Whether the sentence held in ``draw``, and its numbers.

        Raises:
            TypeError: the claim does not return (held, {name: number}).
        """
        found = self.check(draw)
        if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict)):
            raise TypeError(f"the claim {self.key} must return (held, {{name: number}}), not {found!r}")
        return bool(found[0]), {name: float(value) for name, value in found[1].items()}


def claim(sentence: str, *, draws: int = DRAWS) -> Callable[[Callable], Claim]:
    """Make a function of a draw a claim; ``draws`` of them are in the shipped table, 0 and up."""
    return lambda check: Claim(sentence, check, draws)


def claims_in(module) -> list[Claim]:
    """The claims of a chapter's ``claims.py``, in the order they stand there."""
    return [thing for thing in vars(module).values() if isinstance(thing, Claim)]


# Odds ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Odds:
    """What some draws gave: ``held`` [draws], ``numbers`` {name: [draws]}, and the median seconds of a draw."""

    held: list[bool]
    numbers: dict[str, list[float]]
    seconds: float

    def __str__(self) -> str:
        return f"{sum(self.held)} of {len(self.held)}"

    def median(self, name: str) -> float:
        return statistics.median(self.numbers[name])

    def range(self, name: str) -> tuple[float, float]:
        return min(self.numbers[name]), max(self.numbers[name])

    def quartiles(self, name: str) -> tuple[float, float]:
        low, _, high = statistics.quantiles(self.numbers[name], n=4, method="inclusive")
        return low, high


def try_once(claim: Claim, draw: int) -> tuple[bool, dict[str, float], float]:
    """Whether it held, its numbers, the seconds it took."""
    started = time.perf_counter()
    return *claim(draw), time.perf_counter() - started


def gather(tries: Iterable[tuple[bool, dict[str, float], float]]) -> Odds:
    """The odds of some tries.

    >>> str(gather([(True, {"gap": 0.1}, 0.0), (False, {"gap": 0.3}, 0.0)]))
    '1 of 2'
    """
    held, numbers, seconds = zip(*tries)
    return Odds(list(held), {n: [of[n] for of in numbers] for n in numbers[0]}, statistics.median(seconds))


def chance(shipped: Odds, fresh: Odds) -> float:
    """How likely odds at least as far off as the ``fresh`` ones are, in [0, 1], after what the shipped draws gave.

    The probability that one draw holds is Beta(m + 1, n - m + 1) distributed after m of n (a uniform prior), so that
    the number that holds among r new ones is beta-binomial.

    >>> round(chance(gather([(True, {}, 0.0)] * 20), gather([(False, {}, 0.0)] * 2)), 4)
    0.0079
    """
    m, n, k, r = sum(shipped.held), len(shipped.held), sum(fresh.held), len(fresh.held)
    log_beta = lambda a, b: math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    a, b = m + 1, n - m + 1
    mass = [math.comb(r, j) * math.exp(log_beta(j + a, r - j + b) - log_beta(a, b)) for j in range(r + 1)]
    return min(1.0, 2 * min(sum(mass[: k + 1]), sum(mass[k:])))


# The shipped tables ----------------------------------------------------------------------------------------------


def table_of(module) -> Path:
    """Where the table of a chapter's ``claims.py`` is."""
    return Path(module.__file__).with_suffix(".json")


def read(path: Path) -> dict[str, Odds]:
    """The odds in a table by the claims' names; {} where there is none."""
    if not path.exists():
        return {}
    return {name: Odds(row["held"], row["numbers"], row["seconds"]) for name, row in _claims(path).items()}


def write(path: Path, claims: Iterable[Claim], odds: dict[str, Odds], record: dict) -> None:
    """Write the table of a chapter: of each of its ``claims`` that has ``odds``, with the record of its run."""
    old = _claims(path) if path.exists() else {}
    rows = {}
    for each in claims:
        if each.name in odds:
            of = odds[each.name]
            numbers = {name: [float(f"{v:.6g}") for v in values] for name, values in of.numbers.items()}
            row = {"sentence": each.sentence, "held": of.held, "numbers": numbers}
            rows[each.name] = row | {"seconds": float(f"{of.seconds:.3g}"), "record": record}
        elif each.name in old:
            rows[each.name] = old[each.name]
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    write_whole(path, f"{{\n{lines}\n}}\n")


def _claims(path: Path) -> dict[str, dict]:
    return json.loads(path.read_text("utf-8"))


# Quotations ------------------------------------------------------------------------------------------------------

COMMENT = re.compile(r"<!--\s*(?P<chapter>[a-z_]+)\.(?P<claim>\w+)(?:\.(?P<number>\w+))?(?P<spread> quartiles)?\s*-->")
NUMBER = r"[-\u2212]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?"
ODDS = re.compile(r"(\d+) of (\d+)[^\d<]{0,40}$")
ONE, TWO = re.compile(rf"({NUMBER})[^\d<]{{0,20}}$"), re.compile(rf"({NUMBER})\W* to \W*({NUMBER})[^\d<]{{0,20}}$")


def quoted(text: str) -> set[str]:
    """The keys of the claims that a text quotes.

    >>> quoted("in 3 of 20 draws<!--reptile.order-->")
    {'reptile.order'}
    """
    return {f"{found['chapter']}.{found['claim']}" for found in COMMENT.finditer(text)}


def misquotes(text: str, tables: dict[str, Odds]) -> list[str]:
    """What ``text`` says otherwise than the tables, {"chapter.claim": odds}: a sentence each; [] if nothing.

    >>> tables = {"reptile.order": Odds([True, False], {"gap": [0.11, 0.33]}, 0.0)}
    >>> misquotes("in 1 of 2 draws<!--reptile.order-->, by 0.2<!--reptile.order.gap-->", tables)
    []
    >>> misquotes("in 2 of 2 draws<!--reptile.order-->", tables)
    ["'in 2 of 2 draws' quotes reptile.order, whose table says 1 of 2"]
    """
    wrong, start = [], 0
    for found in COMMENT.finditer(text):
        before, start = text[max(start, found.start() - 160) : found.start()].split("\n")[-1], found.end()
        key, number = f"{found['chapter']}.{found['claim']}", found["number"]
        said = before[-60:].strip()
        if key not in tables:
            wrong.append(f"{said!r} quotes {key}, which no table has")
        elif number is None:
            odds = ODDS.search(before)
            if odds is None or odds.groups() != (str(sum(tables[key].held)), str(len(tables[key].held))):
                wrong.append(f"{said!r} quotes {key}, whose table says {tables[key]}")
        elif number not in tables[key].numbers:
            wrong.append(f"{said!r} quotes {number!r} of {key}, which has {list(tables[key].numbers)}")
        else:
            two, one = TWO.search(before), ONE.search(before)
            spread = tables[key].quartiles if found["spread"] else tables[key].range
            values = spread(number) if two else (tables[key].median(number),)
            shown = two.groups() if two else one.groups() if one else ()
            if not shown or not all(_rounds_to(value, words) for value, words in zip(values, shown)):
                told = " to ".join(f"{value:.4g}" for value in values)
                wrong.append(f"{said!r} quotes {number!r} of {key}, whose table says {told}")
    return wrong


def _rounds_to(value: float, words: str) -> bool:
    """Whether ``value`` is the number in ``words`` to the digits shown there; zeros at an integer's end may be round.

    >>> _rounds_to(0.1249, "0.12"), _rounds_to(1234.0, "1,200"), _rounds_to(0.13, "0.12")
    (True, True, False)
    """
    words = words.replace(",", "").replace("\u2212", "-")
    mantissa, _, exponent = words.partition("e")
    decimals = len(mantissa.partition(".")[2])
    if not decimals:
        decimals = -(len(mantissa) - len(mantissa.rstrip("0"))) if mantissa.strip("-0") else 0
    return abs(value - float(words)) <= 0.5000001 * 10.0 ** (int(exponent or 0) - decimals)
