"""The jobs of a batch: which values the holes of a request take, job by job. The same input gives the same list.

Every job has a place, its number in the loops over the axes: the prompts of the template change slowest, then the axes
in their order, and the seeds change fastest. Nothing is made before the number of jobs is known to be allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from app.core.batches.axes import REPLACE, SIZE, Axis, AxisChoice, label_of, own_field, with_value
from app.core.batches.draws import Draws
from app.core.batches.request import MOST_SEEDS, BatchInput
from app.core.batches.template import LONGEST_TEMPLATE, Wildcards, parse
from app.core.batches.variants import Counts, Variants, told
from app.core.json_values import MOST_PROBLEMS
from app.core.lru_cache import LRUCache
from app.core.resolve import DRAWN_SEED_MAX
from app.errors import FieldError, InvalidRequest

PROMPT = "prompt"
SEED = "settings.seed"
MOST_STEPS = 10_000_000  # parts of templates that are filled in, over all jobs
LONGEST_PROMPT = LONGEST_TEMPLATE  # characters, while words are replaced; what is accepted is much shorter
MOST_TEMPLATE_CHARS = 100_000  # of all templates together: each is read more than once
_KEPT = 256  # of what jobs share: with more keys than that, it is made anew


@dataclass(frozen=True)
class PlannedJob:
    """One job: `body` is its request but for prompt and seed. Jobs with the same `key` have the same `body`, None for
    one of its own. `where` names the job in an error."""

    place: int
    body: Mapping[str, Any]
    prompt: str | None
    seed: int | None
    key: tuple[int, ...] | None
    where: str


@dataclass(frozen=True)
class _Prompts:
    """The prompts of one or more templates, one after the other."""

    parts: Sequence[Variants]

    @cached_property
    def count(self) -> int:
        return sum(part.count for part in self.parts)

    def nth(self, number: int) -> str:
        for part in self.parts:
            if number < part.count:
                return part.nth(number)
            number -= part.count
        raise IndexError(number)

    def draw(self, draws: Draws) -> str:
        return self.parts[draws.below(len(self.parts))].draw(draws)


@dataclass(frozen=True)
class _Loop:
    """One of the nested loops: the axes in it, by number, which change together. None is the template's own prompts."""

    axes: tuple[int | None, ...]
    count: int


class Plan:
    """The jobs of `asked`. Raises InvalidRequest, with all that is wrong with the holes, or that there are more than
    `most` jobs. `drawn_seed` is used where the request has none."""

    def __init__(self, asked: BatchInput, wildcards: Wildcards, *, most: int, drawn_seed: int) -> None:
        self._asked = asked
        self._base = asked.base()
        self._problems: list[FieldError] = []
        self._fields = [self._field(number, axis) for number, axis in enumerate(asked.axes)]
        self._prompts = self._read_prompts(wildcards)
        self._seeds = self._read_seeds(drawn_seed)
        self._check_values()
        self._raise_problems()
        self._loops = self._nest()
        self.count = self._samples() if asked.mode == "sampled" else self._product()
        if self.count > most:
            message = f"would be {told(self.count)} jobs; at most {most:,} are allowed (MAX_BATCH_JOBS)"
            raise InvalidRequest(f"The batch {message}.", errors=[FieldError("body", message)])
        if self.count * max(part.size for part in self._prompts.parts) > MOST_STEPS:
            message = f"has too many choices to be filled in for {self.count:,} jobs; use fewer of either"
            raise InvalidRequest(f"prompt {message}.", errors=[FieldError("prompt", message)])

    # --- what the holes are

    def _field(self, number: int, axis: AxisChoice) -> str:
        try:
            return own_field(axis.field)
        except InvalidRequest as error:
            self._add(f"axes.{number}.field", error)
            return ""

    def _add(self, place: str, error: InvalidRequest) -> None:
        self._problems += [FieldError(place, each.message) for each in error.errors]

    def _read_prompts(self, wildcards: Wildcards) -> _Prompts:
        """Of an axis of prompts, else of the prompt."""
        templates = {"prompt": self._asked.prompt}
        if PROMPT in self._fields:
            number = self._fields.index(PROMPT)
            values = self._asked.axes[number].values
            templates = {f"axes.{number}.values.{place}": value for place, value in enumerate(values)}  # type: ignore[misc]
            if self._asked.prompt:
                self._problems.append(FieldError("prompt", "is sent beside an axis of prompts; send one of them"))
        if sum(len(each) for each in templates.values() if isinstance(each, str)) > MOST_TEMPLATE_CHARS:
            message = f"have together more than {MOST_TEMPLATE_CHARS:,} characters; write fewer or shorter ones"
            self._problems.append(FieldError("prompt", f"templates {message}"))
            return _Prompts([])
        parts, counts = list[Variants](), Counts(wildcards)
        for field, template in templates.items():
            try:
                if not isinstance(template, str) or not template.strip():
                    raise InvalidRequest(errors=[FieldError(field, "must be a text that describes the picture")])
                parts.append(Variants(parse(template, field), counts, field))
                if not parts[-1].count:
                    raise InvalidRequest(errors=[FieldError(field, "stands for no prompt: a wildcard has no lines")])
            except InvalidRequest as error:
                self._add(field, error)
        return _Prompts(parts)

    def _read_seeds(self, drawn_seed: int) -> Sequence[int] | None:
        """The seeds of the innermost loop; None for a seed for each job."""
        asked, settings = self._asked, self._asked.settings
        sent = settings.seed if settings.seed is not None and settings.seed >= 0 else None
        if asked.seeds is not None and SEED in self._fields:
            self._problems.append(FieldError("seeds", "is sent beside an axis of seeds; send one of them"))
        if isinstance(asked.seeds, list):
            if not 0 < len(asked.seeds) <= MOST_SEEDS:
                self._problems.append(FieldError("seeds", f"must be 1 to {MOST_SEEDS:,}"))
            return asked.seeds
        self._first_seed = drawn_seed if sent is None else sent
        if asked.seeds == "each":
            return None
        number = 1 if asked.seeds is None else asked.seeds
        if not 0 < number <= MOST_SEEDS:
            self._problems.append(FieldError("seeds", f"must be 1 to {MOST_SEEDS:,}"))
            return [self._first_seed]
        return [self._seed_number(place) for place in range(number)]

    def _seed_number(self, place: int) -> int:
        """Seed number `place`: the pictures of one job have seeds of their own, so that it is not the next number."""
        seed = self._first_seed + place * self._asked.settings.num_images
        return seed if seed <= DRAWN_SEED_MAX else seed % (DRAWN_SEED_MAX + 1)

    def _check_values(self) -> None:
        for number, (axis, field) in enumerate(zip(self._asked.axes, self._fields, strict=True)):
            if field and field != REPLACE and self._fields.index(field) < number:
                self._problems.append(FieldError(f"axes.{number}.field", f"{field} is an axis already"))
            if field == REPLACE:
                self._check_replace(number, axis)
            elif axis.search is not None:
                self._problems.append(FieldError(f"axes.{number}.search", f"is for an axis of {REPLACE}"))
            elif field == SIZE:
                self._check_sizes(number, axis)
            elif field and field != PROMPT:
                try:
                    with_value(self._base, field, axis.values[0])
                except InvalidRequest as error:
                    self._add(f"axes.{number}.field", error)

    def _check_sizes(self, number: int, axis: AxisChoice) -> None:
        if {"settings.width", "settings.height"} & set(self._fields):
            self._problems.append(FieldError(f"axes.{number}.field", "is sent beside an axis of width or height"))
        try:
            for value in axis.values:
                with_value({}, SIZE, value)
        except InvalidRequest as error:
            self._add(f"axes.{number}.values", error)

    def _check_replace(self, number: int, axis: AxisChoice) -> None:
        if not all(isinstance(value, str) for value in axis.values):
            self._problems.append(FieldError(f"axes.{number}.values", "must be texts"))
            return
        search = _searched(axis)
        texts = [self._asked.prompt, self._asked.negative_prompt or ""]
        texts += [str(value) for each in self._asked.axes if each.field == PROMPT for value in each.values]
        if not search or not any(search in text for text in texts):
            self._problems.append(FieldError(f"axes.{number}.search", f"{search!r} is not in the prompt"))

    def _raise_problems(self) -> None:
        if self._problems:
            found = self._problems[:MOST_PROBLEMS]
            raise InvalidRequest("; ".join(f"{each.field}: {each.message}" for each in found), errors=found)

    # --- how they are filled

    def _count(self, axis: int | None) -> int:
        if axis is None or self._fields[axis] == PROMPT:
            return self._prompts.count
        return len(self._asked.axes[axis].values)

    def _nest(self) -> Sequence[_Loop]:
        own: list[int | None] = [] if PROMPT in self._fields else [None]
        numbers = list(range(len(self._fields)))
        if self._asked.mode == "zipped" and numbers:
            counts = {self._count(number) for number in numbers}
            if len(counts) > 1:
                lengths = ", ".join(told(self._count(number)) for number in numbers)
                message = f"must have as many values as each other to be zipped; they have {lengths}"
                raise InvalidRequest(f"axes {message}.", errors=[FieldError("axes", message)])
            return [*(_Loop((each,), self._count(each)) for each in own), _Loop(tuple(numbers), counts.pop())]
        return [_Loop((each,), self._count(each)) for each in [*own, *numbers]]

    def _product(self) -> int:
        return prod(loop.count for loop in self._loops) * len(self._seeds or "1")

    def _samples(self) -> int:
        if self._asked.samples is None:
            message = "is required with mode sampled: how many jobs to draw"
            raise InvalidRequest(f"samples {message}.", errors=[FieldError("samples", message)])
        return self._asked.samples * len(self._seeds or "1")

    @cached_property
    def axes(self) -> Sequence[Axis]:
        """Those with more than one value, and those that were asked for."""
        if self._asked.mode == "sampled":
            samples = self.count // len(self._seeds or "1")
            found = [Axis("sample", [str(number + 1) for number in range(samples)])]
        else:
            found = [self._axis(loop) for loop in self._loops if loop.count > 1 or loop.axes != (None,)]
        if self._seeds is not None and len(self._seeds) > 1:
            found.append(Axis(SEED, [str(seed) for seed in self._seeds]))
        return found

    def _axis(self, loop: _Loop) -> Axis:
        fields = [PROMPT if axis is None else self._fields[axis] for axis in loop.axes]
        labels = (", ".join(self._label(axis, place) for axis in loop.axes) for place in range(loop.count))
        return Axis(", ".join(fields), list(labels))

    def _label(self, axis: int | None, place: int) -> str:
        if axis is None or self._fields[axis] == PROMPT:
            return label_of(self._prompts.nth(place))
        return label_of(self._asked.axes[axis].values[place])

    def jobs(self) -> Iterator[PlannedJob]:
        """All jobs, in the order of their places."""
        seeds = self._seeds or (None,)
        for outer, values in enumerate(self._drawn() if self._asked.mode == "sampled" else self._nested()):
            prompt, key, body = self._fill(values)
            for inner, seed in enumerate(seeds):
                place = outer * len(seeds) + inner
                own = self._seed_of(place, seed)
                yield PlannedJob(place, body, prompt, own, key, f"jobs.{place}")

    def _seed_of(self, place: int, seed: int | None) -> int | None:
        if SEED in self._fields:
            return None
        return self._seed_number(place) if seed is None else seed

    def _nested(self) -> Iterator[Mapping[int | None, int | str]]:
        for number in range(prod(loop.count for loop in self._loops)):
            places: dict[int | None, int | str] = {}
            for loop in reversed(self._loops):
                number, own = divmod(number, loop.count)
                places |= dict.fromkeys(loop.axes, own)
            yield places

    def _drawn(self) -> Iterator[Mapping[int | None, int | str]]:
        draws = Draws(self._asked.sample_seed)
        for _ in range(self._asked.samples or 0):
            drawn: dict[int | None, int | str] = {}
            for loop in self._loops:
                (axis,) = loop.axes
                prompts = axis is None or self._fields[axis] == PROMPT
                drawn[axis] = self._prompts.draw(draws) if prompts else draws.below(loop.count)
            yield drawn

    def _fill(self, values: Mapping[int | None, int | str]) -> tuple[str, tuple[int, ...], Mapping[str, Any]]:
        prompt, places = "", dict[int, int]()
        for axis, value in values.items():
            if axis is None or self._fields[axis] == PROMPT:
                prompt = value if isinstance(value, str) else self._nth_prompt(value)
            elif isinstance(value, int):
                places[axis] = value
        key = tuple(places[axis] for axis in sorted(places))
        return self._replaced(prompt, places), key, self._body(key, places)

    def _nth_prompt(self, number: int) -> str:
        """Prompts repeat for all that changes faster."""
        if (prompt := self._known_prompts.get(number)) is None:
            prompt = self._prompts.nth(number)
            self._known_prompts.put(number, prompt)
        return prompt

    @cached_property
    def _known_prompts(self) -> LRUCache[int, str]:
        return LRUCache(_KEPT)

    def _replaced(self, text: str, places: Mapping[int, int]) -> str:
        for axis, place in places.items():
            if self._fields[axis] == REPLACE:
                choice = self._asked.axes[axis]
                search, value = _searched(choice), str(choice.values[place])
                if len(text) + text.count(search) * len(value) > LONGEST_PROMPT:
                    message = f"makes prompts of more than {LONGEST_PROMPT:,} characters"
                    raise InvalidRequest(f"The axis {message}.", errors=[FieldError(f"axes.{axis}.values", message)])
                text = text.replace(search, value)
        return text

    def _body(self, key: tuple[int, ...], places: Mapping[int, int]) -> Mapping[str, Any]:
        if (body := self._bodies.get(key)) is None:
            body = self._base
            for axis, place in places.items():
                if self._fields[axis] != REPLACE:
                    body = with_value(body, self._fields[axis], self._asked.axes[axis].values[place])
            negative = body.get("negative_prompt")
            if isinstance(negative, str):
                body = {**body, "negative_prompt": self._replaced(negative, places)}
            self._bodies.put(key, body)
        return body

    @cached_property
    def _bodies(self) -> LRUCache[tuple[int, ...], Mapping[str, Any]]:
        return LRUCache(_KEPT)


def _searched(axis: AxisChoice) -> str:
    return axis.search if axis.search is not None else str(axis.values[0])
