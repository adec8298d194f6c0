"""Formulas as MathML, which browsers set themselves."""

from __future__ import annotations

import re

OPERATORS = re.compile(r"\\arg\b")
PRIME = re.compile(r"<m([io])>(?:&#x0?2032;|′)</m\1>")
PRIMED = re.compile(r"<msup>(<mi>[^<]*</mi>)<mo>′</mo></msup>")
PRIMED_AND_BELOW = re.compile(r"<msubsup>(<mi>[^<]*</mi>)(<m[in]>[^<]*</m[in]>)<mo>′</mo></msubsup>")


def mathml(tex: str, block: bool = False) -> str:
    """A formula as MathML.

    >>> mathml("x^2").partition("<mrow>")[2]
    '<msup><mi>x</mi><mn>2</mn></msup></mrow></math>'
    >>> mathml("x'_1").partition("<mrow>")[2]
    '<msub><mrow><mi>x</mi><mo>′</mo></mrow><mn>1</mn></msub></mrow></math>'
    """
    from latex2mathml.converter import convert  # here: a notebook's start does not wait for it

    tex = OPERATORS.sub(r"\\operatorname{arg}", tex.strip())
    found = PRIME.sub("<mo>′</mo>", convert(tex, display="block" if block else "inline"))
    found = PRIMED.sub(r"<mrow>\1<mo>′</mo></mrow>", found)  # in many fonts it is high already: raised, it flies away
    return PRIMED_AND_BELOW.sub(r"<msub><mrow>\1<mo>′</mo></mrow>\2</msub>", found)
