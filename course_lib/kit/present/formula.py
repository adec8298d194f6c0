"""A formula in the course's TeX as MathML, which browsers show and read aloud by themselves, without a network.

What is known: groups, ^ and _, primes, \\frac, \\sqrt, accents, alphabets, \\text, and the symbols below. A command
that is not known stands there by its name.

>>> mathml(r"\\frac{2}{\\lambda_{\\max}}")
'<math><mfrac><mn>2</mn><msub><mi>λ</mi><mi mathvariant="normal">max</mi></msub></mfrac></math>'
>>> mathml(r"\\theta'_i < x^2")
'<math><msub><mi>θ′</mi><mi>i</mi></msub><mo>&lt;</mo><msup><mi>x</mi><mn>2</mn></msup></math>'
"""

from __future__ import annotations

import html
import re
import unicodedata

TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\d+(?:[.,]\d+)*|'+|\S")
GREEK = dict(
    zip(
        "alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi "
        "varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell partial nabla infty hbar".split(),
        "αβγδϵεζηθικλμνξπρστϕφχψωΓΔΘΛΞΠΣΦΨΩℓ∂∇∞ℏ",
    )
)
SIGNS = {
    "cdot": "·", "times": "×", "approx": "≈", "leq": "≤", "le": "≤", "geq": "≥", "ge": "≥", "neq": "≠", "ne": "≠",
    "ll": "≪", "gg": "≫", "to": "→", "rightarrow": "→", "mapsto": "↦", "leftarrow": "←", "in": "∈", "sim": "∼",
    "propto": "∝", "pm": "±", "mp": "∓", "sum": "∑", "prod": "∏", "int": "∫", "top": "⊤", "dots": "…", "ldots": "…",
    "cdots": "⋯", "mid": "|", "lVert": "‖", "rVert": "‖", "Vert": "‖", "|": "‖", "langle": "⟨", "rangle": "⟩",
    "{": "{", "}": "}", "lbrace": "{", "rbrace": "}", "circ": "∘", "equiv": "≡", "perp": "⊥", "otimes": "⊗",
    "odot": "⊙", "star": "⋆", "ast": "∗", "prime": "′", "Rightarrow": "⇒", "uparrow": "↑", "downarrow": "↓",
    "%": "%", "&": "&", "#": "#", "_": "_", "-": "−", "*": "∗",
}  # fmt: skip
SPACES = {",": "0.17em", ":": "0.22em", ";": "0.28em", " ": "0.3em", "quad": "1em", "qquad": "2em", "!": "-0.17em"}
ACCENTS = {"hat": "^", "widehat": "^", "bar": "‾", "overline": "‾", "tilde": "~", "dot": "˙", "vec": "→"}
ALPHABETS = {"mathcal": "SCRIPT", "mathbb": "DOUBLE-STRUCK", "mathbf": "BOLD", "boldsymbol": "BOLD"}
IGNORED = {"left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "displaystyle", "limits"}


def mathml(tex: str, display: bool = False) -> str:
    """``tex`` without its dollars, as a ``<math>`` element."""
    tokens = TOKEN.findall(tex)[::-1]  # a stack: the next token is last
    row = "".join(_row(tokens))
    return f'<math display="block">{row}</math>' if display else f"<math>{row}</math>"


def _row(tokens: list[str]) -> list[str]:
    """All up to a closing brace, which is taken too."""
    parts: list[str] = []
    while tokens and tokens[-1] != "}":
        if tokens[-1] in "^_'" or tokens[-1].startswith("'"):
            parts.append(_scripts(parts.pop() if parts else "<mrow></mrow>", tokens))
        else:
            parts += _atom(tokens)
    if tokens:
        tokens.pop()
    return parts


def _scripts(base: str, tokens: list[str]) -> str:
    """``base`` with the scripts and primes that follow it."""
    below, above = "", ""
    while tokens and (tokens[-1] in "^_" or tokens[-1].startswith("'")):
        mark = tokens.pop()
        if mark == "_":
            below = _one(tokens)
        elif mark == "^":
            above += _one(tokens)
        elif base.endswith("</mi>"):  # fonts raise the sign by themselves
            base = f"{base[:-5]}{'′' * len(mark)}</mi>"
        else:
            above += f"<mo>{'′' * len(mark)}</mo>"
    above = f"<mrow>{above}</mrow>" if above.count("</m") > 1 and not above.startswith("<mrow>") else above
    if not below and not above:
        return base
    if below and above:
        return f"<msubsup>{base}{below}{above}</msubsup>"
    return f"<msub>{base}{below}</msub>" if below else f"<msup>{base}{above}</msup>"


def _one(tokens: list[str]) -> str:
    """The argument of a command or a script: a group, or one atom."""
    parts = _atom(tokens) if tokens else []
    return parts[0] if len(parts) == 1 else f"<mrow>{''.join(parts)}</mrow>"


def _atom(tokens: list[str]) -> list[str]:
    token = tokens.pop()
    name = token[1:]
    if token == "{":
        parts = _row(tokens)
        return parts if len(parts) == 1 else [f"<mrow>{''.join(parts)}</mrow>"]
    if not token.startswith("\\") or token == "\\":
        kind = "mn" if token[0].isdigit() else "mi" if token.isalpha() else "mo"
        return [f"<{kind}>{html.escape(token.replace('-', '−'), quote=False)}</{kind}>"]
    if name in GREEK:
        return [f"<mi>{GREEK[name]}</mi>"]
    if name in SIGNS:
        return [f"<mo>{html.escape(SIGNS[name], quote=False)}</mo>"]
    if name in SPACES:
        return [f'<mspace width="{SPACES[name]}"></mspace>']
    if name in IGNORED:
        return []
    if name in ("frac", "dfrac", "tfrac"):
        return _frac(tokens)
    if name == "sqrt":
        return [f"<msqrt>{_one(tokens)}</msqrt>"]
    if name in ACCENTS:
        return [f'<mover accent="true">{_one(tokens)}<mo>{ACCENTS[name]}</mo></mover>']
    if name in ALPHABETS:
        return ["".join(f"<mi>{_letter(ALPHABETS[name], letter)}</mi>" for letter in _plain(tokens))]
    words = _plain(tokens) if name in ("text", "mathrm", "operatorname", "textrm", "mathit") else name
    return [f'<mi mathvariant="normal">{html.escape(words, quote=False)}</mi>']


def _frac(tokens: list[str]) -> list[str]:
    return [f"<mfrac>{_one(tokens)}{_one(tokens)}</mfrac>"]


def _plain(tokens: list[str]) -> str:
    """A group's letters as they stand."""
    if not tokens or tokens[-1] != "{":
        return tokens.pop() if tokens else ""
    tokens.pop()
    letters = []
    while tokens and tokens[-1] != "}":
        letters.append(tokens.pop())
    if tokens:
        tokens.pop()
    return "".join(letters)


def _letter(style: str, letter: str) -> str:
    """A letter of an alphabet; some were in Unicode before the others and have shorter names."""
    name = f"{style} {'CAPITAL' if letter.isupper() else 'SMALL'} {letter.upper()}"
    for full in (f"MATHEMATICAL {name}", name):
        try:
            return unicodedata.lookup(full)
        except KeyError:
            continue
    return letter
