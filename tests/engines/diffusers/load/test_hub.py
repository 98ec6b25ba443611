"""Models of the hub: every error has its code and advice, and downloaded models need no network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.engines.diffusers.load.hub_process import run_cases
from tests.engines.diffusers.load.hub_server import COMMIT, HubServer
from tools.tiny_models.auxiliaries import build_controlnet, build_ip_adapter, build_redux
from tools.tiny_models.lora import make_lora

ROOT = Path(__file__).resolve().parents[4]


def auxiliary_repos(tiny: Path, folder: Path) -> dict[str, Path]:
    """A ControlNet, IP-Adapters and Redux, with files that none needs beside them."""
    net = build_controlnet("sd15", tiny / "sd15", folder / "net")
    (net / "diffusion_pytorch_model_promax.safetensors").write_bytes(b"another layout")
    (net / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"another variant")
    pickled = Path(shutil.copytree(net, folder / "pickled_net", ignore=shutil.ignore_patterns("*.safetensors")))
    (pickled / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    halved = Path(shutil.copytree(pickled, folder / "halved_net"))
    shutil.copy(net / "diffusion_pytorch_model.safetensors", halved / "diffusion_pytorch_model.fp16.safetensors")
    adapter = build_ip_adapter("sd15", tiny / "sd15", folder / "adapter")
    apart = Path(shutil.copytree(adapter, folder / "apart", ignore=shutil.ignore_patterns("image_encoder")))
    return {
        "tiny/net": net,
        "tiny/pickled_net": pickled,
        "tiny/halved_net": halved,
        "tiny/adapter": adapter,
        "tiny/apart": apart,
        "tiny/encoder": adapter / "image_encoder",
        "tiny/redux": build_redux(tiny / "flux", folder / "redux"),
    }


@pytest.fixture(scope="module")
def answers(tiny, tmp_path_factory):
    """What each case of hub_cases.py gave, all in one process against one hub."""
    folder = tmp_path_factory.mktemp("hub")
    pickled = Path(shutil.copytree(tiny / "sd15", folder / "pickled"))
    for weights in pickled.rglob("*.safetensors"):
        weights.rename(weights.with_suffix(".bin"))
    halved = Path(shutil.copytree(tiny / "flux", folder / "fp16"))
    for weights in halved.rglob("*.safetensors"):
        weights.rename(weights.with_name(weights.name.replace(".safetensors", ".fp16.safetensors")))
    shutil.copy(tiny / "sd15-single-file.safetensors", folder / "lonely.safetensors")
    make_lora(tiny / "flux", folder / "lora" / "style.safetensors", strength=3.0)
    make_lora(tiny / "flux", folder / "many" / "a.safetensors", rank=40)
    make_lora(tiny / "flux", folder / "many" / "b.safetensors")
    make_lora(tiny / "flux", folder / "many" / "small.safetensors", rank=1)
    shutil.copy(tiny / "flux/transformer/diffusion_pytorch_model.safetensors", folder / "transformer.safetensors")
    vae = Path(shutil.copytree(tiny / "flux/vae", folder / "vae"))
    (vae / "copy.vae.safetensors").write_bytes(b"another layout")
    more = {"tiny/base": tiny / "flux", "tiny/vae": vae, "tiny/sd15": tiny / "sd15", "tiny/pipeline": tiny / "flux"}
    more |= auxiliary_repos(tiny, folder)
    repos = {"tiny/flux": tiny / "flux", "tiny/sd35": tiny / "sd35", "tiny/pickled": pickled, "tiny/fp16": halved}
    with HubServer(repos | more | {"tiny/lora": folder / "lora", "tiny/loras": folder / "many"}) as hub:
        return run_cases("tests.engines.diffusers.load.hub_cases", folder, hub)


@pytest.mark.parametrize(
    ("case", "error", "code", "transient", "advice"),
    [
        ("gated", "ModelRequiresAuth", "model_requires_auth", False, "Accept its licence"),
        ("private", "ModelRequiresAuth", "model_requires_auth", False, "HF_TOKEN"),
        ("gone", "ModelUnavailable", "model_unavailable", False, "Check the repo in the MODEL_ line"),
        ("nameless", "ModelUnavailable", "model_unavailable", False, "Repo id"),
        ("pickled", "ModelUnavailable", "model_unavailable", False, "Pickles can run code"),
        ("broken", "ModelDownloadFailed", "model_unavailable", True, "answered 500"),
        ("unreachable", "ModelDownloadFailed", "model_unavailable", True, "Check the network"),
        ("unreachable_config", "ModelDownloadFailed", "model_unavailable", True, "Put the JSON and text files"),
        ("lora_of_many", "LoraUnavailable", "lora_unavailable", False, "one of them: tiny/loras/a.safetensors, "),
        ("lora_of_many_again", "LoraUnavailable", "lora_unavailable", False, "several LoRAs"),
        ("lora_without_that_file", "LoraUnavailable", "lora_unavailable", False, "has no file c.safetensors"),
        ("lora_too_large", "LoraUnavailable", "lora_unavailable", False, "at most 50,000 are downloaded"),
        ("lora_gone", "LoraUnavailable", "lora_unavailable", False, "Check the LoRA's name in the request"),
        ("lora_private", "LoraUnavailable", "lora_unavailable", False, "set HF_TOKEN"),
        ("lora_pickled", "LoraUnavailable", "lora_unavailable", False, "Pickles can run code"),
        ("lora_unreachable", "ModelDownloadFailed", "model_unavailable", True, "file into the folder LORAS_DIR"),
        ("lora_offline", "ModelUnavailable", "model_unavailable", False, "file into the folder LORAS_DIR"),
        ("checker_unreachable", "ModelDownloadFailed", "model_unavailable", True, "folder into MODEL_CACHE_DIR"),
        ("base_of_a_gated_repo", "ModelRequiresAuth", "model_requires_auth", False, "tiny/gated is gated"),
        ("net_gone", "ModelUnavailable", "model_unavailable", False, "Check the repo in the MODEL_ line"),
        ("net_pickled", "InputModelUnavailable", "input_model_unavailable", False, "Pickles can run code"),
        (
            "adapter_without_file",
            "InputModelUnavailable",
            "input_model_unavailable",
            False,
            "has no adapter.safetensors",
        ),
        ("vae_that_is_gone", "ModelUnavailable", "model_unavailable", False, "The hub has no tiny/gone"),
        ("vae_that_is_a_lora", "ModelUnavailable", "model_unavailable", False, "tiny/lora has no VAE"),
        ("vae_of_another_family", "ModelUnavailable", "model_unavailable", False, "is one of another family"),
        ("whole_model_of_the_base", "ModelUnavailable", "model_unavailable", False, "HF_HUB_OFFLINE"),
        ("offline", "ModelUnavailable", "model_unavailable", False, "HF_HUB_OFFLINE"),
    ],
)
def test_a_refusal_has_its_code_and_advice(answers, case, error, code, transient, advice):
    answer = answers[case]
    assert (answer["error"], answer["code"], answer["transient"]) == (error, code, transient)
    assert advice in answer["detail"]


def test_a_download_is_reported_and_its_commit_is_the_revision(answers):
    assert answers["first"]["downloading"] is True
    assert answers["first"]["revision"] == COMMIT


@pytest.mark.parametrize("case", ["again", "unreachable_cached", "offline_cached"])
def test_what_was_fetched_once_is_used_without_asking_again(answers, case):
    assert answers[case] == {**answers["first"], "downloading": False}


def test_a_repository_with_weights_in_one_variant_only_is_fetched_in_that(answers):
    assert answers["only_fp16"] == answers["first"]
    assert answers["only_fp16_again"] == answers["again"]


def test_no_pickle_is_ever_fetched(answers):
    assert not [path for path in answers["asked"] if path.endswith(".bin")]


def test_a_file_on_a_base_of_the_hub_draws_as_the_whole_model(answers):
    assert answers["base"]["sum"] == answers["first"]["sum"]
    assert answers["base"]["downloading"]
    own, base = answers["base"]["revision"].split(" + base ")
    assert (own[:15], base) == ("sampled-sha256:", COMMIT)
    assert answers["base_again"] == {**answers["base"], "downloading": False}


def test_a_vae_of_the_hub_is_fetched_and_part_of_the_revision(answers):
    assert answers["base_and_vae"]["sum"] == answers["first"]["sum"]
    assert answers["base_and_vae"]["revision"] == f"{answers['base']['revision']} + vae {COMMIT}"
    assert answers["base_and_vae_again"] == {**answers["base_and_vae"], "downloading": False}
    assert answers["base_offline"] == answers["base_and_vae_again"]
    assert answers["vae_of_a_pipeline"]["sum"] == answers["first"]["sum"]


def test_weights_that_a_model_replaces_are_not_fetched(answers):
    fetched = [path for path in answers["asked"] if path.startswith("GET") and path.endswith(".safetensors")]
    assert not [path for path in fetched if "tiny/base" in path and "/transformer/" in path]
    assert [path for path in fetched if "tiny/base" in path and "/text_encoder/" in path]
    assert not [path for path in fetched if path.endswith("copy.vae.safetensors")]
    pipeline = [path for path in fetched if "tiny/pipeline" in path]
    assert len(pipeline) == 1
    assert "/vae/" in pipeline[0]


def test_a_lora_is_fetched_once(answers):
    assert answers["lora"]["downloading"]
    assert answers["lora"]["sum"] != answers["again"]["sum"]
    assert answers["lora_by_file"]["downloading"]
    assert not answers["lora_cached"]["downloading"]
    assert answers["lora_cached"]["sum"] == answers["lora"]["sum"]
    fetched = [path for path in answers["asked"] if path.startswith("GET") and path.endswith("style.safetensors")]
    assert len(fetched) == 1


def test_of_an_auxiliary_model_only_what_it_needs_is_fetched(answers):
    encoder = "image_encoder/model.safetensors"
    assert answers["net"] == {"weights": ["diffusion_pytorch_model.safetensors"], "downloading": True}
    assert answers["net_again"] == {**answers["net"], "downloading": False}
    assert answers["adapter"]["weights"] == ["adapter.safetensors", encoder]
    assert len(answers["adapter_apart"]["weights"]) == 2
    assert answers["redux"]["weights"] == ["image_embedder/diffusion_pytorch_model.safetensors", encoder]
    fetched = [path for path in answers["asked"] if path.startswith("GET") and path.endswith(".safetensors")]
    assert not [
        path for path in fetched if path.endswith(("promax.safetensors", "fp16.safetensors")) and "/net/" in path
    ]
