"""The jobs of a batch: places, modes, seeds, and all that is wrong at once."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.batches.lines import planned, read_lines
from app.core.batches.plan import Plan
from app.core.batches.request import BatchInput, Lines
from app.core.batches.template import parse
from app.errors import InvalidRequest

WILDCARDS = {"colour": [parse("red"), parse("blue")]}


def plan(most: int = 1000, **body: Any) -> Plan:
    asked = BatchInput.model_validate({"prompt": "a cat", **body})
    return Plan(asked, WILDCARDS, most=most, drawn_seed=1000)


def brief(made: Plan) -> list[tuple[Any, ...]]:
    return [(job.place, job.prompt, job.seed, job.body) for job in made.jobs()]


def guidance(*values: float) -> dict[str, Any]:
    return {"field": "cfg_scale", "values": list(values)}


def test_prompts_change_slowest_and_seeds_fastest() -> None:
    made = plan(prompt="a {cat|dog}", axes=[guidance(1, 2)], seeds=[7, 8], settings={"width": 64})
    assert made.count == 8
    assert [(job.prompt, job.body["settings"]["guidance_scale"], job.seed) for job in made.jobs()] == [
        (prompt, scale, seed) for prompt in ("a cat", "a dog") for scale in (1, 2) for seed in (7, 8)
    ]
    assert all(job.body["settings"]["width"] == 64 for job in made.jobs())
    assert [(axis.field, list(axis.values)) for axis in made.axes] == [
        ("prompt", ["a cat", "a dog"]),
        ("settings.guidance_scale", ["1", "2"]),
        ("settings.seed", ["7", "8"]),
    ]


def test_the_same_input_gives_the_same_list() -> None:
    body: dict[str, Any] = {"prompt": "{a|b} __colour__", "mode": "sampled", "samples": 20, "axes": [guidance(1, 2, 3)]}
    assert brief(plan(**body)) == brief(plan(**body)) != brief(plan(**body, sample_seed=1))
    assert plan(**body).axes[0].field == "sample"


def test_zipped_axes_change_together() -> None:
    made = plan(
        prompt="a {cat|dog}",
        mode="zipped",
        axes=[guidance(1, 2), {"field": "settings.num_inference_steps", "values": [10, 20]}],
    )
    found = [(job.prompt, *job.body["settings"].values()) for job in made.jobs()]
    assert found == [("a cat", 1, 10), ("a cat", 2, 20), ("a dog", 1, 10), ("a dog", 2, 20)]
    assert made.axes[1].field == "settings.guidance_scale, settings.num_inference_steps"
    assert list(made.axes[1].values) == ["1, 10", "2, 20"]
    with pytest.raises(InvalidRequest, match="they have 2, 1"):
        plan(mode="zipped", axes=[guidance(1, 2), {"field": "model_id", "values": ["a"]}])


def test_seeds_one_for_all_some_for_each_and_each_its_own() -> None:
    axes = [guidance(1, 2)]
    assert [job.seed for job in plan(axes=axes).jobs()] == [1000, 1000]
    assert [job.seed for job in plan(axes=axes, settings={"seed": 5}).jobs()] == [5, 5]
    assert [job.seed for job in plan(axes=axes, seeds=2, settings={"seed": 5}).jobs()] == [5, 6, 5, 6]
    assert [job.seed for job in plan(axes=axes, seeds="each").jobs()] == [1000, 1001]
    made = plan(axes=axes, seeds="each", settings={"seed": 5, "num_images": 4})
    assert [job.seed for job in made.jobs()] == [5, 9]
    assert [job.seed for job in plan(seeds=2, settings={"seed": 2**32 - 1}).jobs()][1] < 2**32 - 1


def test_an_axis_of_prompts_of_words_of_lists_and_of_inputs() -> None:
    made = plan(prompt="", axes=[{"field": "prompt", "values": ["a {cat|dog}", "a bird"]}])
    assert [job.prompt for job in made.jobs()] == ["a cat", "a dog", "a bird"]
    made = plan(negative_prompt="no cat", axes=[{"field": "prompt_replace", "values": ["cat", "dog"]}])
    assert [(job.prompt, job.body["negative_prompt"]) for job in made.jobs()] == [
        ("a cat", "no cat"),
        ("a dog", "no dog"),
    ]
    loras = {"settings": {"loras": [{"id": "x", "scale": 1}]}}
    made = plan(**loras, axes=[{"field": "settings.loras.0.scale", "values": [0.5, 1]}])
    assert [job.body["settings"]["loras"] for job in made.jobs()] == [
        [{"id": "x", "scale": 0.5}],
        [{"id": "x", "scale": 1}],
    ]
    made = plan(axes=[{"field": "image", "values": ["a" * 32, "b" * 32]}])
    assert [job.body["image"][0] for job in made.jobs()] == ["a", "b"]


def test_an_explosion_is_told_and_not_expanded() -> None:
    with pytest.raises(InvalidRequest, match=r"1,000,000,000,000 jobs; at most 1,000 .*MAX_BATCH_JOBS"):
        plan(prompt=" ".join(["{a|b|c|d|e|f|g|h|i|j}"] * 12))
    with pytest.raises(InvalidRequest, match=r"1,001 jobs"):
        plan(prompt="{a|b|c|d|e|f|g|h|i|j|k} {a|b|c|d|e|f|g}", axes=[guidance(*range(13))])


def test_what_would_take_long_to_fill_in_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="too many choices"):
        plan(most=10_000, prompt="a" + "{|}" * 6000, mode="sampled", samples=10_000)
    made = plan(prompt="a" * 1000, axes=[{"field": "prompt_replace", "values": ["a", "b" * 1000]}])
    with pytest.raises(InvalidRequest, match="more than 20,000 characters"):
        list(made.jobs())


def test_everything_wrong_is_told_at_once_with_its_place() -> None:
    with pytest.raises(InvalidRequest) as refused:
        plan(
            prompt="a {cat __none__",
            seeds=0,
            axes=[
                {"field": "settings.size", "values": [1]},
                guidance(1),
                guidance(2),
                {"field": "prompt_replace", "values": ["bird", "dog"]},
                {"field": "settings.loras.0.scale", "values": [1]},
                {"field": "__class__", "values": [1]},
                {"field": "model_id", "values": ["a"], "search": "b"},
            ],
        )
    assert [each.field for each in refused.value.errors] == [
        "axes.0.field",
        "axes.5.field",
        "prompt",
        "seeds",
        "axes.2.field",
        "axes.3.search",
        "axes.4.field",
        "axes.6.search",
    ]


@pytest.mark.parametrize("body", [{"prompt": ""}, {"prompt": " \n"}, {"mode": "sampled"}])
def test_what_is_missing_is_said(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        plan(**body)


def lines(text: str, format: str = "csv", base: dict[str, Any] | None = None, most: int = 10) -> list[Any]:
    found = read_lines(Lines.model_validate({"format": format, "text": text}), most=most)
    return [job.body for job in planned([each for each in found if not each.problems], base or {})]


def test_lines_of_csv_and_json() -> None:
    text = '\ufeffprompt,seed,settings.width,scheduler\n"a {cat}, red",5,64,euler\n\nb,,,\n'
    assert lines(text, base={"settings": {"height": 32}}) == [
        {"prompt": "a {cat}, red", "settings": {"height": 32, "seed": 5, "width": 64, "scheduler": "euler"}},
        {"prompt": "b", "settings": {"height": 32}},
    ]
    assert lines('{"prompt": "a"}\n\n{"prompt": "b", "settings": {"seed": 1}}', "jsonl") == [
        {"prompt": "a"},
        {"prompt": "b", "settings": {"seed": 1}},
    ]


def test_lines_hold_line_breaks_and_separators() -> None:
    assert [body["prompt"] for body in lines('prompt\r\n"a\r\nb"\r\nc\u2028d\r\n')] == ["a\nb", "c\u2028d"]
    assert lines('{"prompt": "a\u2028b"}\r\n', "jsonl") == [{"prompt": "a\u2028b"}]


def test_a_bad_line_is_told_by_its_number() -> None:
    found = read_lines(Lines(format="jsonl", text='{"prompt": "a"}\n[1]\n{"a"\n\n{"a": NaN}'), most=9)
    assert [(line.number, bool(line.problems)) for line in found] == [(1, False), (2, True), (3, True), (5, True)]
    found = read_lines(Lines(format="csv", text="prompt,seed\na,1,2\nb,1\n"), most=9)
    assert [(line.number, bool(line.problems)) for line in found] == [(2, True), (3, False)]


@pytest.mark.parametrize(
    "text", ["", "prompt\n", "promt\na", "prompt,prompt\na,b", 'prompt\n"a', "prompt\n" + "a\n" * 11]
)
def test_a_file_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        lines(text)


def test_an_axis_of_sizes_sets_both_sides() -> None:
    made = plan(axes=[{"field": "size", "values": ["64x128", "96 X 64"]}], settings={"width": 8, "strength": 0.5})
    assert [job.body["settings"] for job in made.jobs()] == [
        {"width": 64, "height": 128, "strength": 0.5},
        {"width": 96, "height": 64, "strength": 0.5},
    ]
    assert list(made.axes[0].values) == ["64x128", "96 X 64"]


@pytest.mark.parametrize("wrong", ["64", "64x", "-64x64", "x", 64, None, ["64x64"], "123456x1"])
def test_a_value_that_is_no_size_is_told_at_its_axis(wrong: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        plan(axes=[guidance(1), {"field": "size", "values": ["64x64", wrong]}])
    assert [(each.field, "512x768" in each.message) for each in caught.value.errors] == [("axes.1.values", True)]


def test_sizes_beside_an_axis_of_one_side_are_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        plan(axes=[{"field": "size", "values": ["64x64"]}, {"field": "settings.width", "values": [64]}])
    assert [each.field for each in caught.value.errors] == ["axes.0.field"]
