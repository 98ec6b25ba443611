"""Run in a process of its own with HF_ENDPOINT and HF_HOME set: huggingface_hub reads them when it is imported.

Prints one JSON object: what each case gave, an error's class, code and message, or facts of the picture.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import urllib.request
from pathlib import Path

import huggingface_hub.constants

from app.core.catalog import ModelSpec
from app.core.request import GenerationRequest, LoraChoice
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.load.auxiliaries import locate_auxiliary
from app.errors import GenerationError
from tests.engines.diffusers.generate.control import Recorder
from tests.engines.diffusers.load.hub_process import shorten_retries


def attempt(
    repo: str,
    *,
    requires_auth: bool = False,
    source: str = "huggingface",
    lora: str | None = None,
    checker: str = "",
    **options: str,
) -> dict[str, object]:
    fields = {"id": "model", "name": "model", "repo": repo, "description": "", "source": source}
    spec = ModelSpec.model_validate(fields | {"requires_auth": requires_auth, "options": options})
    request = GenerationRequest(
        model_id="model",
        prompt="a red cat",
        num_inference_steps=1,
        width=32,
        height=32,
        seed=1,
        loras=() if lora is None else (LoraChoice(id=lora),),
    )
    folder = Path(sys.argv[1])
    settings = EngineSettings(
        root=folder,
        model_cache_dir=folder,
        loras_dir=folder / "loras",
        lora_max_bytes=50_000,
        safety_checker=checker,
    )
    engine, control = DiffusersEngine(settings), Recorder()
    try:
        generation = engine.generate(spec, request, control)
    except GenerationError as error:
        return {"error": type(error).__name__, "code": error.code, "transient": error.transient, "detail": error.detail}
    return {
        "revision": generation.versions["revision"],
        "sum": int(generation.images[0].pixels.sum()),
        "downloading": "downloading_model" in control.phases(),
    }


def locate(repo: str, **options: str) -> dict[str, object]:
    """Where an auxiliary model's files are, without loading them."""
    fields = {"id": "aux", "name": "aux", "repo": repo, "description": "", "source": "huggingface"}
    spec = ModelSpec.model_validate(fields | {"options": options})
    folder, control = Path(sys.argv[1]), Recorder()
    try:
        found = locate_auxiliary(spec, EngineSettings(root=folder, model_cache_dir=folder), control)
    except GenerationError as error:
        return {"error": type(error).__name__, "code": error.code, "transient": error.transient, "detail": error.detail}
    names = sorted(f"{file.parent.name}/{file.name}" for file in found.weights)
    return {
        "weights": [name.removeprefix(f"{found.folder.name}/") for name in names],
        "downloading": bool(control.reports),
    }


def main() -> None:
    logging.disable(logging.CRITICAL)
    shorten_retries()
    results = {
        "gated": attempt("tiny/gated", requires_auth=True),
        "private": attempt("tiny/private", requires_auth=True),
        "gone": attempt("tiny/gone"),
        "broken": attempt("tiny/broken"),
        "pickled": attempt("tiny/pickled"),
        "nameless": attempt("no such name!"),
        "first": attempt("tiny/flux"),
        "again": attempt("tiny/flux"),
        "only_fp16": attempt("tiny/fp16"),
        "only_fp16_again": attempt("tiny/fp16"),
        "lora": attempt("tiny/flux", lora="tiny/lora"),
        "lora_of_many": attempt("tiny/flux", lora="tiny/loras"),
        "lora_by_file": attempt("tiny/flux", lora="tiny/loras/b.safetensors"),
        "lora_by_other_file": attempt("tiny/flux", lora="tiny/loras/small.safetensors"),
        "lora_of_many_again": attempt("tiny/flux", lora="tiny/loras"),
        "lora_without_that_file": attempt("tiny/flux", lora="tiny/loras/c.safetensors"),
        "lora_too_large": attempt("tiny/flux", lora="tiny/loras/a.safetensors"),
        "lora_gone": attempt("tiny/flux", lora="tiny/gone"),
        "lora_private": attempt("tiny/flux", lora="tiny/private"),
        "lora_pickled": attempt("tiny/flux", lora="tiny/pickled"),
    }
    file = {"repo": "transformer.safetensors", "source": "local"}
    results |= {
        "base": attempt(**file, base="tiny/base"),
        "base_again": attempt(**file, base="tiny/base"),
        "base_and_vae": attempt(**file, base="tiny/base", vae="tiny/vae"),
        "base_and_vae_again": attempt(**file, base="tiny/base", vae="tiny/vae"),
        "base_of_a_gated_repo": attempt(**file, base="tiny/gated"),
        "vae_that_is_gone": attempt(**file, base="tiny/base", vae="tiny/gone"),
        "vae_that_is_a_lora": attempt(**file, base="tiny/base", vae="tiny/lora"),
        "vae_of_a_pipeline": attempt("tiny/flux", vae="tiny/pipeline"),
        "vae_of_another_family": attempt("tiny/flux", vae="tiny/sd15"),
    }
    adapter = {"kind": "ip-adapter", "family": "sd15", "file": "adapter.safetensors"}
    results |= {
        "net": locate("tiny/net", kind="controlnet"),
        "net_again": locate("tiny/net", kind="controlnet"),
        "net_in_halves": locate("tiny/halved_net", kind="controlnet"),
        "net_gone": locate("tiny/gone", kind="controlnet"),
        "net_pickled": locate("tiny/pickled_net", kind="controlnet"),
        "adapter": locate("tiny/adapter", **adapter, image_encoder="image_encoder"),
        "adapter_apart": locate("tiny/apart", **adapter, image_encoder="tiny/encoder"),
        "adapter_without_file": locate("tiny/net", **adapter, image_encoder="tiny/encoder"),
        "redux": locate("tiny/redux", kind="redux"),
    }
    with urllib.request.urlopen(f"{os.environ['HF_ENDPOINT']}/close"):
        pass
    results["unreachable"] = attempt("tiny/sd35")
    results["unreachable_cached"] = attempt("tiny/flux")
    results["lora_cached"] = attempt("tiny/flux", lora="tiny/lora")
    results["lora_unreachable"] = attempt("tiny/flux", lora="tiny/another")
    results["checker_unreachable"] = attempt("tiny/flux", checker="tiny/checker")
    results["unreachable_config"] = attempt("lonely.safetensors", source="local")
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    results["offline"] = attempt("tiny/sd35")
    results["lora_offline"] = attempt("tiny/flux", lora="tiny/another")
    results["base_offline"] = attempt(**file, base="tiny/base", vae="tiny/vae")
    results["whole_model_of_the_base"] = attempt("tiny/base")
    results["offline_cached"] = attempt("tiny/flux")
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main()
