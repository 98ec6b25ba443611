"""Embeddings of a request's prompts, as vectors for the text encoders of a pipeline.

They replace the outputs of an encoder's token layer at the places of their words. Neither the vocabulary nor the layer
is changed, so nothing has to be removed afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from app.core.embeddings import OF_SDXL, ONLY, matrices_of, width_problem
from app.engines.diffusers.load.weights import fingerprint
from app.errors import EmbeddingIncompatible, EmbeddingUnavailable
from app.files import embeddings as files

Places = Mapping[int, torch.Tensor]  # vectors by the places of their tokens


@dataclass(frozen=True)
class Embedding:
    """`matrices` by encoder: `clip_l` and `clip_g`, or ONLY. `revision` is a fingerprint of the file."""

    name: str
    matrices: Mapping[str, torch.Tensor]
    revision: str


def read_embeddings(names: Sequence[str], folder: Path) -> list[Embedding]:
    """The embeddings called `names`. Raises EmbeddingUnavailable."""
    known = files.names(folder) if names else {}
    return [_read(name, known.get(name)) for name in names]


def _read(name: str, file: Path | None) -> Embedding:
    if file is None:
        raise EmbeddingUnavailable(f"The embedding {name} is no longer in EMBEDDINGS_DIR.")
    files.inspect(file)
    with safe_open(file, framework="pt", device="cpu") as opened:
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - no mapping
    named = matrices_of({key: list(tensor.shape) for key, tensor in tensors.items()})
    matrices = {encoder: torch.atleast_2d(tensors[key]) for encoder, key in named.items()}
    return Embedding(name, matrices, fingerprint(file.parent, [file]))


def vectors_for(
    model_id: str, encoders: Sequence[Any], embeddings: Sequence[Embedding]
) -> list[dict[str, torch.Tensor]]:
    """The matrices by name, for each of the text encoders. Raises EmbeddingIncompatible."""
    widths = [encoder.get_input_embeddings().weight.shape[1] for encoder in encoders]
    for each in embeddings:
        problem = width_problem({name: matrix.shape[1] for name, matrix in each.matrices.items()}, widths)
        if problem:
            raise EmbeddingIncompatible(f"The embedding {each.name} does not fit {model_id}: {problem}.")
        if not all(torch.isfinite(matrix).all() for matrix in each.matrices.values()):
            raise EmbeddingIncompatible(f"The embedding {each.name} has numbers that are not finite.")
    keys = OF_SDXL if len(encoders) > 1 else (ONLY,)
    return [{each.name: each.matrices[key] for each in embeddings} for key in keys]


@contextmanager
def inserted(encoder: Any, places: Places) -> Iterator[None]:
    """Have the token layer of `encoder` put out the vectors of `places` for the one call within the block."""
    if not places:
        yield
        return

    def replace(layer: Any, given: Any, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        for place, vector in places.items():
            changed[:, place] = vector.to(output)
        return changed

    hook = encoder.get_input_embeddings().register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()
