"""The peak of main memory while a model is loaded is the planned one, measured from outside its process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from transformers import T5Config, T5EncoderModel

from app.config import ROOT

MEGABYTE = 2**20
NOISE = 12 * MEGABYTE  # the allocator, and what a thread of the tokenizer takes
PARTS = ("transformer", "text_encoder_2")


@pytest.fixture(scope="module")
def wide(tiny, tmp_path_factory):
    """FLUX with wide parts of 290 and 330 MB in bfloat16, by the dtype of its files. It is loaded, and never draws."""

    def make(dtype: torch.dtype) -> Path:
        folder = Path(shutil.copytree(tiny / "flux", tmp_path_factory.mktemp("wide") / "flux"))
        for part in PARTS:
            for weights in (folder / part).glob("*.safetensors"):
                weights.unlink()
        with torch.device("meta"):
            denoiser = FluxTransformer2DModel(
                num_layers=2,
                num_single_layers=4,
                attention_head_dim=128,
                num_attention_heads=8,
                joint_attention_dim=256,
                pooled_projection_dim=64,
                axes_dims_rope=(16, 56, 56),
            )
            config = T5Config(d_model=1024, num_heads=16, d_ff=2816, num_layers=10, feed_forward_proj="gated-gelu")
            encoder = T5EncoderModel(config)
        for part, model in zip(PARTS, (denoiser, encoder), strict=True):
            filled = model.to(dtype).to_empty(device="cpu")
            for tensor in (*filled.parameters(), *filled.buffers()):
                tensor.data.fill_(0.01)
            filled.save_pretrained(folder / part, safe_serialization=True)
        return folder

    made: dict[torch.dtype, Path] = {}
    return lambda dtype: made.setdefault(dtype, made.get(dtype) or make(dtype))


@pytest.fixture(scope="module")
def loads(tiny):
    """Sends a line to the process that loads, and returns its answer, or what waits for it."""
    command = [sys.executable, "-m", "tests.engines.diffusers.memory.peak_process", str(tiny / "flux")]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "begun\n"

        def send(line, wait=True):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            return process.stdout.readline() if wait else process.stdout.readline

        yield send
        process.stdin.close()


@pytest.mark.parametrize(
    ("stored", "loaded", "cast", "least_megabytes"),
    [
        pytest.param(torch.bfloat16, "bfloat16", (), 0, id="16 bit, mapped from the files"),
        pytest.param(torch.float32, "bfloat16", (), 500, id="16 bit, converted"),
        pytest.param(torch.bfloat16, "bfloat16", PARTS, 220, id="float8, converted from mapped files"),
        pytest.param(torch.float32, "bfloat16", PARTS, 280, id="float8, converted twice"),
        pytest.param(torch.bfloat16, "bfloat16", ("transformer",), 130, id="only the denoiser in float8"),
    ],
)
def test_loading_peaks_as_planned(wide, loads, stored, loaded, cast, least_megabytes):
    word, pid, planned = loads(" ".join((str(wide(stored)), loaded, *cast))).split()
    assert word == "ready"
    before = highest = allocated(pid)
    told = loads("load", wait=False)
    while (now := allocated(pid)) is not None:
        highest = max(highest, now)
    assert told().split() == ["loaded", "FluxPipeline"]
    peak = highest - before
    assert int(planned) >= least_megabytes * MEGABYTE
    assert peak <= 1.1 * int(planned) + NOISE
    assert peak >= 0.8 * int(planned) - NOISE  # on a busy machine the top may pass between two looks


def allocated(pid: str) -> int | None:
    """Bytes of memory that a process has allocated; pages of files are not counted. None when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")]
    return int(sizes[0]) * 1024 if sizes else None
