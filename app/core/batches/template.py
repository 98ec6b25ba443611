"""Reads prompt templates: `{red|green}`, `{2$$a|b|c}`, `__wildcards__`, comments, in any depth.

    {a|b|}          one of them; an option may be empty
    {3::a|b}        in a random draw a comes three times as often as b
    {2$$a|b|c}      every two of them, in their order, with ", " between
    {1-2$$ and $$a|b|c}   one or two, with another separator
    __colours__     a line of the wildcard file colours.txt, which is a template itself
    # …             from a # that begins a line, or stands between blanks, to the end of the line: a comment
    \\{ \\} \\| \\# \\$ \\_    these characters themselves

Parsing expands nothing: `variants` counts what a template stands for, and makes single ones of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.errors import FieldError, InvalidRequest

LONGEST_TEMPLATE = 20_000  # characters
DEEPEST = 32
SEPARATOR = ", "
_ESCAPED = tuple("{}|#$_")
_WILDCARD = re.compile(r"__(?![_/])([\w-]+(?:/[\w-]+)*?)__(?!_)")
# The lookbehind keeps it from trying each blank of a long row of them.
_COMMENT = re.compile(r"(?m)^[ \t]*#[^\n]*|(?<![ \t])[ \t]+#(?=[ \t]|$)[^\n]*")
_PICK = re.compile(r"\s*(\d{1,4})(?:-(\d{1,4}))?\$\$(?:((?:[^{}|$\\]|\\.)*)\$\$)?")
_WEIGHT = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?)::")


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Wildcard:
    name: str


@dataclass(frozen=True)
class Choice:
    """`least` to `most` of `options`, joined by `separator`."""

    options: tuple[Template, ...]
    weights: tuple[float, ...]
    least: int = 1
    most: int = 1
    separator: str = SEPARATOR


@dataclass(frozen=True)
class Template:
    """Nodes one after the other."""

    nodes: tuple[Node, ...]


Node = Text | Wildcard | Choice
Wildcards = Mapping[str, Sequence[Template]]  # the parsed lines of each file


def parse(template: str, field: str = "prompt") -> Template:
    """The template's nodes. Raises InvalidRequest, which names `field` and the place."""
    if len(template) > LONGEST_TEMPLATE:
        raise _invalid(field, f"has {len(template)} characters; a template may have {LONGEST_TEMPLATE:,}")
    reader = _Reader(_COMMENT.sub("", template), field)
    found = reader.sequence(0)
    if reader.at < len(reader.text):
        raise reader.error("closes a choice that was not opened; write \\} for the character itself")
    return found


def names_of(node: Template) -> set[str]:
    """The wildcard files that the template names itself."""
    found: set[str] = set()
    for each in node.nodes:
        if isinstance(each, Wildcard):
            found.add(each.name)
        elif isinstance(each, Choice):
            found = found.union(*(names_of(option) for option in each.options))
    return found


def size_of(node: Template) -> int:
    """How many parts the template has: making a prompt takes so many steps at most."""
    inner = (size_of(option) for each in node.nodes if isinstance(each, Choice) for option in each.options)
    return len(node.nodes) + sum(inner)


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {message}.", errors=[FieldError(field, message)])


class _Reader:
    """One pass over a template."""

    def __init__(self, text: str, field: str) -> None:
        self.text, self.field, self.at = text, field, 0

    def error(self, message: str) -> InvalidRequest:
        line, column = self.text.count("\n", 0, self.at) + 1, self.at - self.text.rfind("\n", 0, self.at)
        return _invalid(self.field, f"at line {line}, character {column}: {message}")

    def sequence(self, depth: int) -> Template:
        """To the end of the option, or of the text at the top."""
        nodes: list[Node] = []
        text: list[str] = []
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == "}" or (character == "|" and depth):
                break
            node = self._node(character, depth)
            if isinstance(node, str):
                text.append(node)
                continue
            nodes += [Text("".join(text)), node] if text else [node]
            text = []
        return Template((*nodes, Text("".join(text))) if text else tuple(nodes))

    def _node(self, character: str, depth: int) -> Node | str:
        if character == "\\" and self.text[self.at + 1 : self.at + 2] in _ESCAPED:
            self.at += 2
            return self.text[self.at - 1]
        if character == "$" and self.text.startswith("${", self.at):
            raise self.error("variables (${…}) are not supported; write \\$ for the character itself")
        if character == "{":
            return self._choice(depth + 1)
        if character == "_" and (found := _WILDCARD.match(self.text, self.at)):
            self.at = found.end()
            return Wildcard(found[1])
        self.at += 1
        return character

    def _choice(self, depth: int) -> Choice:
        if depth > DEEPEST:
            raise self.error(f"choices may be nested {DEEPEST} deep")
        opened, self.at = self.at, self.at + 1
        least, most, separator = self._pick()
        options, weights = [], []
        while True:
            weights.append(self._weight())
            options.append(self.sequence(depth))
            if self.at >= len(self.text):
                self.at = opened
                raise self.error("this choice is not closed; write \\{ for the character itself")
            self.at += 1
            if self.text[self.at - 1] == "}":
                break
        if not any(weights):
            self.at = opened
            raise self.error("all weights of this choice are 0")
        return Choice(tuple(options), tuple(weights), least, most, separator)

    def _pick(self) -> tuple[int, int, str]:
        found = _PICK.match(self.text, self.at)
        if found is None:
            return 1, 1, SEPARATOR
        least, most = int(found[1]), int(found[2] or found[1])
        if most < least:
            raise self.error(f"{least}-{most} is no range; write the smaller number first")
        self.at = found.end()
        separator = SEPARATOR if found[3] is None else re.sub(r"\\(.)", r"\1", found[3])
        return least, most, separator

    def _weight(self) -> float:
        found = _WEIGHT.match(self.text, self.at)
        if found is None:
            return 1.0
        self.at = found.end()
        return float(found[1])
