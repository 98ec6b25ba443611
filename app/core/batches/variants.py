"""What a template stands for: how many prompts, the one at a place, and random ones, without making the others.

`Variants` numbers the prompts of a template as nested loops would, the first choice changing slowest. The count is
exact however large it is, and prompt number n is made from n alone, so that a template of 10^12 prompts costs nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import prod

from app.core.batches.draws import Draws
from app.core.batches.template import Choice, Node, Template, Text, Wildcard, Wildcards, size_of
from app.errors import FieldError, InvalidRequest

MOST_DIGITS = 60  # of a count that is told; a larger one is "more than 10^60"
MOST_CELLS = 1_000_000  # of the tables of one request
_CAP: int = 10**MOST_DIGITS


class Counts:
    """What was counted of templates that share `wildcards`; kept by the ids of their parts, which are kept, too."""

    def __init__(self, wildcards: Wildcards | None = None) -> None:
        self.wildcards: Wildcards = wildcards or {}
        self.kept: list[Template] = []
        self.cells = MOST_CELLS  # of tables that may still be made
        self.lines: dict[str, Sequence[int]] = {}  # by wildcard: how many prompts there are up to each line
        self.counts: dict[int, int] = {}
        self.ends: dict[int, Sequence[int]] = {}
        self.picks: dict[int, Sequence[Template]] = {}
        self.tables: dict[int, Sequence[Sequence[int]]] = {}


class Variants:
    """The prompts of `template`; those of one request share `counts`. Raises InvalidRequest, naming `field`, for a
    wildcard that is not there, or names itself."""

    def __init__(self, template: Template, counts: Counts | None = None, field: str = "prompt") -> None:
        self._known = counts or Counts()
        self._known.kept.append(template)
        self._template = template
        self._wildcards = self._known.wildcards
        self._field = field
        self._open: list[str] = []
        self.size = size_of(template)
        try:
            self.count = self._count(template)
        except RecursionError:
            raise self._invalid("nests choices and wildcards too deep") from None

    def nth(self, number: int) -> str:
        """Prompt `number`, from 0."""
        return _tidy(self._nth(self._template, number))

    def draw(self, draws: Draws) -> str:
        """A prompt by chance: each choice by its weights, each wildcard evenly."""
        return _tidy(self._draw(self._template, draws))

    # --- count

    def _count(self, template: Template) -> int:
        if id(template) not in self._known.counts:
            counts = (self._count_node(node) for node in template.nodes)
            self._known.counts[id(template)] = min(prod(counts), _CAP)
        return self._known.counts[id(template)]

    def _count_node(self, node: Node) -> int:
        if isinstance(node, Text):
            return 1
        if isinstance(node, Wildcard):
            return self._count_wildcard(node.name)
        if (node.least, node.most) == (1, 1):
            return min(self._ends_of(node)[-1], _CAP)
        table = self._table(node)
        return min(sum(table[0][picked] for picked in range(node.least, self._most(node) + 1)), _CAP)

    def _count_wildcard(self, name: str) -> int:
        if name in self._known.lines:
            return self._known.lines[name][-1] if self._known.lines[name] else 0
        if name not in self._wildcards:
            raise self._invalid(f"names the wildcard __{name}__, which is not in WILDCARDS_DIR")
        if name in self._open:
            loop = " → ".join([*self._open[self._open.index(name) :], name])
            raise self._invalid(f"cannot be expanded: the wildcards name each other in a circle ({loop})")
        self._open.append(name)
        self._known.lines[name] = list(accumulate(self._count(line) for line in self._wildcards[name]))
        self._open.pop()
        return self._count_wildcard(name)

    def _ends_of(self, choice: Choice) -> Sequence[int]:
        """How many prompts there are up to each option."""
        if id(choice) not in self._known.ends:
            self._known.ends[id(choice)] = list(accumulate(self._count(option) for option in choice.options))
        return self._known.ends[id(choice)]

    def _options(self, choice: Choice) -> Sequence[Template]:
        """Of `{2$$__colours__}` the lines of the file, so that two of them are taken."""
        if id(choice) in self._known.picks:
            return self._known.picks[id(choice)]
        options: list[Template] = []
        for option in choice.options:
            lone = option.nodes[0] if len(option.nodes) == 1 else None
            if isinstance(lone, Wildcard):
                self._count_wildcard(lone.name)  # that it is there
                options += self._wildcards[lone.name]
            else:
                options.append(option)
        self._known.picks[id(choice)] = options
        return options

    def _most(self, choice: Choice) -> int:
        return min(choice.most, len(self._options(choice)))

    def _table(self, choice: Choice) -> Sequence[Sequence[int]]:
        """`table[i][k]`: in how many ways `k` of the options from `i` on can be written."""
        if id(choice) in self._known.tables:
            return self._known.tables[id(choice)]
        options, most = self._options(choice), self._most(choice)
        if choice.least > len(options):
            raise self._invalid(f"takes {choice.least} of {len(options)} options; take fewer")
        self._known.cells -= len(options) * (most + 1)
        if self._known.cells < 0:
            raise self._invalid(f"takes {most} of {len(options)} options, which is too many to count; take fewer")
        rows = [[1] + [0] * most]
        for option in reversed(options):
            number, after = self._count(option), rows[-1]
            taken = (after[k] + number * after[k - 1] for k in range(1, most + 1))
            rows.append([1, *(min(each, _CAP) for each in taken)])
        table = rows[::-1]
        self._known.tables[id(choice)] = table
        return table

    # --- make

    def _nth(self, template: Template, number: int) -> str:
        parts = []
        for node in reversed(template.nodes):
            count = self._count_node(node)
            number, own = divmod(number, count)
            parts.append(self._nth_node(node, own))
        return "".join(reversed(parts))

    def _nth_node(self, node: Node, number: int) -> str:
        if isinstance(node, Text):
            return node.text
        if isinstance(node, Wildcard):
            return self._nth_of(self._wildcards[node.name], self._known.lines[node.name], number)
        if (node.least, node.most) == (1, 1):
            return self._nth_of(node.options, self._ends_of(node), number)
        table = self._table(node)
        for picked in range(node.least, self._most(node) + 1):
            if number < table[0][picked]:
                return node.separator.join(self._nth_pick(node, table, picked, number))
            number -= table[0][picked]
        raise IndexError(number)

    def _nth_of(self, options: Sequence[Template], ends: Sequence[int], number: int) -> str:
        place = bisect_right(ends, number)
        return self._nth(options[place], number - (ends[place - 1] if place else 0))

    def _nth_pick(self, choice: Choice, table: Sequence[Sequence[int]], picked: int, number: int) -> list[str]:
        """Pick number `number` of all that take `picked` options: those with the first option come first."""
        parts: list[str] = []
        for place, option in enumerate(self._options(choice)):
            if not picked:
                break
            rest = table[place + 1][picked - 1]
            with_it = self._count(option) * rest
            if number < with_it:
                own, number = divmod(number, rest)
                parts.append(self._nth(option, own))
                picked -= 1
            else:
                number -= with_it
        return parts

    def _draw(self, template: Template, draws: Draws) -> str:
        return "".join(self._draw_node(node, draws) for node in template.nodes)

    def _weights(self, choice: Choice) -> Sequence[float]:
        """Those of the options that stand for a prompt; evenly, if all of these weigh nothing."""
        counts = [self._count(option) for option in choice.options]
        weights = [weight if count else 0.0 for weight, count in zip(choice.weights, counts, strict=True)]
        return weights if any(weights) else [float(count > 0) for count in counts]

    def _draw_node(self, node: Node, draws: Draws) -> str:
        if isinstance(node, Text):
            return node.text
        if isinstance(node, Wildcard):
            lines = self._wildcards[node.name]
            return self._draw(lines[draws.below(len(lines))], draws)
        if (node.least, node.most) == (1, 1):
            return self._draw(node.options[draws.weighted(self._weights(node))], draws)
        options, number = self._options(node), node.least + draws.below(self._most(node) - node.least + 1)
        return node.separator.join(self._draw(options[place], draws) for place in draws.some(number, len(options)))

    def _invalid(self, message: str) -> InvalidRequest:
        return InvalidRequest(f"{self._field} {message}.", errors=[FieldError(self._field, message)])


def _tidy(text: str) -> str:
    """Without the doubled blanks that empty options and comments leave."""
    if "  " not in text:
        return text.strip()
    return "\n".join(" ".join(word for word in line.split(" ") if word) for line in text.split("\n")).strip()


def told(count: int) -> str:
    """A count for people."""
    return f"more than 10^{MOST_DIGITS}" if count >= _CAP else f"{count:,}"
