"""Options of acceleration: what a catalogue line and the settings may say, and the sentences for what they may not."""

from __future__ import annotations

from typing import get_args

import pytest

from app.config import ROOT, load_settings
from app.config import acceleration as configured
from app.core.acceleration import ATTENTION_NAMES, Compile, StepCache, parse_step_cache
from app.core.catalog_limits import catalog_of
from app.core.catalog_lines import parse_model_line
from app.core.families.lookup import FAMILIES
from app.errors import ConfigurationError


def line(options: str, source: str = "local") -> str:
    return f"m;models/m;A model;{source};false;{options}"


def settings(**given):
    return load_settings(given, None)


def test_a_line_may_choose_everything_that_accelerates():
    options = parse_model_line(
        line(
            '{"compile": "regional", "cache": {"kind": "first-block", "threshold": 0.08}, "attention": "_native_cudnn",'
            ' "fuse_qkv": true, "vae_channels_last": true}'
        )
    ).options
    assert (options.compile, options.attention, options.fuse_qkv, options.vae_channels_last) == (
        "regional",
        "_native_cudnn",
        True,
        True,
    )
    assert options.cache == StepCache(kind="first-block", threshold=0.08)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ('{"compile": "all"}', "compile: Input should be 'none', 'regional' or 'full'"),
        ('{"cache": {"kind": "teacache"}}', "cache.kind: Input should be"),
        ('{"cache": {"kind": "first-block", "threshold": 0}}', "cache.threshold: Input should be greater than 0"),
        (
            '{"cache": {"kind": "first-block", "interval": 3}}',
            "of kind first-block has no interval; it takes thr",
        ),
        (
            '{"cache": {"kind": "taylorseer", "interval": 1}}',
            "cache.interval: Input should be greater than or equal",
        ),
        (
            '{"cache": {"kind": "none", "threshold": 0.1}}',
            "of kind none has no threshold; it takes nothing",
        ),
        ('{"cache": {"kind": "mag", "ratios": []}}', "cache.ratios: Tuple should have at least 1 item"),
        ('{"attention": "flash5"}', "attention: Input should be 'auto', 'native'"),
        ('{"fuse_qkv": true, "layerwise_casting": true}', "fuse_qkv is for weights in 16 or 32 bits"),
        ('{"fuse_qkv": true, "quantization": "torchao-int8-dynamic"}', "fuse_qkv is for weights in 16 or 32 bits"),
        ('{"kind": "upscaler", "compile": "full"}', "compile is for models that draw here"),
    ],
)
def test_a_wrong_option_is_refused_with_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        parse_model_line(line(options))


def test_a_model_at_a_provider_has_none_of_it():
    with pytest.raises(ValueError, match="cache is for models that draw here"):
        parse_model_line(line('{"cache": {"kind": "first-block"}}', "replicate"))


def test_the_step_cache_of_all_models_is_a_kind_and_a_strength():
    assert parse_step_cache("") is None
    assert parse_step_cache("first-block") == StepCache(kind="first-block")
    assert parse_step_cache("first-block: 0.08") == StepCache(kind="first-block", threshold=0.08)
    assert parse_step_cache("taylorseer:4") == StepCache(kind="taylorseer", interval=4)
    for wrong, sentence in (
        ("teacache", "there is no step cache 'teacache'"),
        ("mag:9", "mag: threshold: Input should"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            catalog_of(settings(STEP_CACHE=wrong))
        assert refused.value.problems[0].startswith(f"STEP_CACHE: {sentence}")


def test_kernels_of_the_hub_want_permission():
    with pytest.raises(ConfigurationError, match="m: the kernels flash_hub are code of the hub"):
        catalog_of(settings(MODEL_1=line('{"attention": "flash_hub"}')))
    allowed = settings(MODEL_1=line('{"attention": "flash_hub"}'), ALLOW_HUB_KERNELS="true")
    assert catalog_of(allowed).get("m").options.attention == "flash_hub"
    with pytest.raises(ConfigurationError, match="ATTENTION_BACKEND: sage_hub downloads code"):
        settings(ATTENTION_BACKEND="sage_hub")


def test_compiled_code_is_kept_with_the_models_or_where_it_is_said():
    assert settings(MODEL_CACHE_DIR="/m").library_environment()["TORCHINDUCTOR_CACHE_DIR"] == "/m/compiled"
    assert settings(COMPILE_CACHE_DIR="/c").library_environment()["TORCHINDUCTOR_CACHE_DIR"] == "/c"


def test_the_preset_fast_compiles_and_the_others_do_not():
    assert (settings(PRESET="fast").compile, settings(PRESET="fast").vae_channels_last) == ("regional", True)
    for other in ("low", "balanced", "high"):
        chosen = settings(PRESET=other)
        assert (chosen.compile, chosen.step_cache, chosen.fuse_qkv, chosen.vae_channels_last) == (
            "none",
            "",
            False,
            False,
        )


def test_the_documentation_lists_the_caches_of_all_pipelines():
    text = (ROOT / "docs" / "SPEED.md").read_text()
    table = text.partition("<!-- step caches")[2].partition("<!-- /step caches")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ") and "`" in line]
    listed = {f"{name}Pipeline": kinds.replace("`", "") for names, kinds in rows for name in names.split(", ")}
    assert listed == {name: ", ".join(kinds) for each in FAMILIES for name, kinds in each.step_caches.items()}


def test_settings_and_lines_know_the_same_names():
    assert get_args(configured.Attention) == ATTENTION_NAMES
    assert get_args(configured.Compile) == get_args(Compile)
