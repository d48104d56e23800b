"""Curricula written as a string: names with parameters, ``+`` for at once, ``>`` for one after the other.

``+`` binds closer than ``>``, parentheses group, and ``:`` gives a share of the epochs to what stands before it; those
without a share divide the rest equally::

    trd(resolution=16, participation=0.3) + progressive_sharpening
    hrt:0.4 > (trd + progressive_sharpening(kernels=(3, 2, 1)))

Values are numbers, quoted strings or bare words, ``true``, ``false``, ``none``, and tuples in parentheses or brackets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..errors import CurriculumError

__all__ = ["Several", "Single", "parse"]


@dataclass(frozen=True)
class Single:
    """One curriculum, as written.

    Attributes:
        name: its registered name.
        parameters: what stands in the parentheses after it.
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Several:
    """Several curricula: at once, or one after the other.

    Attributes:
        parts: the curricula, in order.
        shares: the share of the epochs that each gets, together 1; empty where they hold at once.
    """

    parts: tuple[Single | Several, ...]
    shares: tuple[float, ...] = ()


_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<word>[^\W\d][\w./-]*)
      | (?P<string>"[^"]*"|'[^']*')
      | (?P<sign>[+>:()\[\],=])""",
    re.VERBOSE,
)
_DEEPEST = 32  # brackets within each other
_LONGEST_NUMBER = 32  # characters; 64 bits have 20 digits, a double 17 and its exponent
_WORDS = {"true": True, "false": False, "none": None, "null": None, "True": True, "False": False, "None": None}


def parse(text: str) -> Single | Several:
    """Read a curriculum expression.

    Raises:
        CurriculumError: it cannot be read; the text points at the character.
    """
    return _Parser(text).expression()


class _Parser:
    """Reads one expression, from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        self.next = 0
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                self.fail("this character has no meaning here", position)
            if match.lastgroup != "space":
                self.tokens.append((str(match.lastgroup), match.group(), position))
            position = match.end()
        self.tokens.append(("end", "", len(text)))
        self.refuse_depth()

    def refuse_depth(self) -> None:
        """Refuse brackets within brackets without end, before each of them takes a call of its own."""
        depth = 0
        for _, value, position in self.tokens:
            depth += (value in ("(", "[")) - (value in (")", "]"))
            if depth > _DEEPEST:
                self.fail(f"brackets are nested more than {_DEEPEST} deep", position)

    def expression(self) -> Single | Several:
        """Read the whole text."""
        parsed = self.sequence()
        if self.kind != "end":
            self.fail(f"expected '+', '>' or the end, not '{self.value}'")
        return parsed

    def sequence(self) -> Single | Several:
        """Read overlays one after the other, with shares."""
        parts, shares = [], []
        start = self.position
        while True:
            parts.append(self.overlaid())
            shares.append(self.share())
            if not self.take(">"):
                break
        if len(parts) == 1:
            if shares[0] is not None:
                self.fail("a share means something only where another curriculum follows, 'hrt:0.4>trd'", start)
            return parts[0]
        return Several(tuple(parts), self.shared_out(shares, start))

    def overlaid(self) -> Single | Several:
        """Read curricula at once."""
        parts = [self.atom()]
        while self.take("+"):
            parts.append(self.atom())
        return parts[0] if len(parts) == 1 else Several(tuple(parts))

    def atom(self) -> Single | Several:
        """Read a name with its parameters, or an expression in parentheses."""
        if self.take("("):
            inner = self.sequence()
            self.expect(")")
            return inner
        if self.kind != "word":
            self.fail("expected the name of a curriculum")
        name = self.advance()
        return Single(name, self.parameters(name) if self.take("(") else {})

    def share(self) -> float | None:
        """Read the number after a colon, if there is one."""
        if not self.take(":"):
            return None
        if self.kind != "number" or not 0 < float(self.value) < 1:
            self.fail("a share of the epochs lies between 0 and 1")
        return float(self.advance())

    def shared_out(self, shares: list[float | None], start: int) -> tuple[float, ...]:
        """Return shares that add up to 1, those not given in equal parts of the rest."""
        given = [share for share in shares if share is not None]
        rest = 1 - sum(given)
        missing = len(shares) - len(given)
        if rest < -1e-6 or (missing == 0) is not (abs(rest) < 1e-6):
            self.fail(f"the shares add up to {sum(given):g} and leave {max(rest, 0):g} for {missing} more", start)
        return tuple(rest / missing if share is None else share for share in shares)

    def parameters(self, owner: str) -> dict[str, Any]:
        """Read ``key=value`` pairs up to the closing parenthesis."""
        found: dict[str, Any] = {}
        while not self.take(")"):
            position = self.position
            if self.kind != "word":
                self.fail(f"expected a parameter of {owner}, as name=value")
            name = self.advance()
            if name in found:
                self.fail(f"{name} is given twice", position)
            if name == "epochs":
                self.fail("the epochs are the training's; a part of it is given its share, 'hrt:0.4>trd'", position)
            self.expect("=")
            found[name] = self.literal()
            if self.value != ")":
                self.expect(",")
        return found

    def literal(self) -> Any:
        """Read a value."""
        if self.kind == "number":
            if len(self.value) > _LONGEST_NUMBER:
                self.fail(f"a number of {len(self.value)} characters means nothing here")
            text = self.advance()
            return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
        if self.kind == "string":
            return self.advance()[1:-1]
        if self.kind == "word":
            word = self.advance()
            return _WORDS.get(word, word)
        for opening, closing in (("(", ")"), ("[", "]")):
            if self.take(opening):
                items = []
                while not self.take(closing):
                    items.append(self.literal())
                    if self.value != closing:
                        self.expect(",")
                return tuple(items)
        self.fail("expected a value: a number, a word, a quoted string, true, false, none, or a tuple of these")

    @property
    def kind(self) -> str:
        return self.tokens[self.next][0]

    @property
    def value(self) -> str:
        return self.tokens[self.next][1]

    @property
    def position(self) -> int:
        return self.tokens[self.next][2]

    def advance(self) -> str:
        value = self.value
        self.next += 1
        return value

    def take(self, sign: str) -> bool:
        if self.kind != "sign" or self.value != sign:
            return False
        self.next += 1
        return True

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            self.fail(f"expected '{sign}'" + (f", not '{self.value}'" if self.value else " before the end"))

    def fail(self, problem: str, position: int | None = None) -> NoReturn:
        """Raise, with a caret under the character."""
        at = self.position if position is None else position
        shown = re.sub(r"\s", " ", self.text)
        raise CurriculumError(f"Cannot read the curriculum: {problem}\n  {shown}\n  {' ' * at}^")
