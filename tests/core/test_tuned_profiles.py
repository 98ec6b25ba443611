"""Profiles fill in what a line leaves out; and how a broken one is met."""

from __future__ import annotations

import pytest

from app.config import load_settings
from app.core.catalog_lines import parse_model_line
from app.core.tuned_profiles import Measurement, TunedOptions, TunedProfile, untuned, with_profile
from app.files.tuned_profiles import write_profile
from app.services.tuned_catalog import tuned_catalog


def spec_of(options="{}", repo="models/m"):
    return parse_model_line(f"m;{repo};A model;local;false;{options}")


def profile_of(**options):
    chosen = TunedOptions.model_validate(options)
    return TunedProfile(
        model_id="m",
        repo="models/m",
        revision="r",
        device="cpu",
        software={},
        goal="fastest",
        options=chosen,
        measured_at="2026-11-30T00:00:00Z",
        measurements=(Measurement(options=TunedOptions()),),
    )


def test_a_profile_fills_in_what_the_line_leaves_out():
    spec = spec_of('{"compile": "none"}')
    made = with_profile(spec, profile_of(compile="regional", fuse_qkv=True, cache={"kind": "pyramid"}))
    assert (made.options.compile, made.options.fuse_qkv, made.options.cache.kind) == ("none", True, "pyramid")
    assert (made.tuned, made.tuned_for) == (("cache", "fuse_qkv"), "cpu")
    assert untuned(made).options == spec.options
    assert untuned(made).options.model_fields_set == {"compile"}  # so that it can be tuned again


def test_a_profile_of_another_repository_is_none():
    other = spec_of(repo="models/other")
    assert with_profile(other, profile_of(fuse_qkv=True)) is other


def test_a_profile_that_contradicts_the_line_is_refused():
    with pytest.raises(ValueError, match="fuse_qkv is for weights in 16 or 32 bits"):
        with_profile(spec_of('{"layerwise_casting": true}'), profile_of(fuse_qkv=True))


@pytest.fixture
def settings(tmp_path):
    return load_settings({"MODEL_1": "m;models/m;A model;local;false", "TUNED_PROFILES_DIR": str(tmp_path)}, None)


def test_a_profile_fetches_no_code_that_is_not_allowed(settings, tmp_path):
    write_profile(tmp_path / "m.json", profile_of(attention="flash_hub", fuse_qkv=True))
    assert tuned_catalog(settings).get("m").options.attention is None
    allowed = settings.model_copy(update={"allow_hub_kernels": True})
    assert tuned_catalog(allowed).get("m").options.attention == "flash_hub"


def test_the_catalogue_reads_the_profiles(settings, tmp_path):
    assert tuned_catalog(settings).get("m").tuned == ()
    write_profile(tmp_path / "m.json", profile_of(fuse_qkv=True))
    assert tuned_catalog(settings).get("m").options.fuse_qkv is True
    assert tuned_catalog(settings).get("demo").tuned == ()


@pytest.mark.parametrize("content", ["", "{}", '{"version": 2}', "[" * 100_000])
def test_a_file_that_is_no_profile_is_left_out_with_a_warning(settings, tmp_path, caplog, content):
    (tmp_path / "m.json").write_text(content)
    assert tuned_catalog(settings).get("m").tuned == ()
    assert "m.json is not used" in caplog.text
