"""Engines are chosen by source, and torch is imported only when a local engine is created."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from app.engines.registry import engine_factories, engine_for
from app.errors import ConfigurationError, ModelUnavailable

ROOT = Path(__file__).resolve().parents[2]


def test_hub_and_local_models_share_one_engine(settings, spec_of):
    factories = engine_factories(settings)
    local = engine_for(spec_of("flux"), factories)
    assert engine_for(spec_of("flux").model_copy(update={"source": "huggingface"}), factories) is local


def test_a_source_without_an_engine_is_refused(settings, spec_of):
    spec = spec_of("flux").model_copy(update={"source": "replicate"})
    with pytest.raises(ModelUnavailable, match="'replicate', which no engine here runs"):
        engine_for(spec, engine_factories(settings))


def test_a_gpu_that_is_not_there_is_a_configuration_error(settings, spec_of):
    with pytest.raises(ConfigurationError, match="'cuda:99' does not exist"):
        engine_for(spec_of("flux"), engine_factories(dataclasses.replace(settings, device="cuda:99")))


def test_the_contract_and_the_registry_import_no_torch():
    code = (
        "import sys, pathlib; import app.engines.base, app.engines.registry as r, app.engines.base as s;"
        "r.engine_factories(s.EngineSettings(root=pathlib.Path(), model_cache_dir=pathlib.Path()));"
        "sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_runtime_of_xformers_is_loaded_before_diffusers_imports_it():
    code = (
        "import sys, pathlib; from app.engines import attention_check, base, registry;"
        "seen = []; attention_check.preload_cuda_12_runtime = lambda: seen.append('xformers' in sys.modules);"
        "settings = base.EngineSettings(root=pathlib.Path(), model_cache_dir=pathlib.Path());"
        "registry.engine_factories(settings)['local'](); sys.exit(seen != [False])"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
