"""Encodes prompts with weights, and longer than CLIP reads at once, for pipelines whose text encoders are all CLIP.

A prompt is cut into parts of 75 tokens, which are encoded one by one and put behind each other; a pipeline attends to
all of them. What a token's weight scales is how far its encoding is from that of an empty prompt at the same place. A
prompt without weights that fits into one part is left to the pipeline: its picture is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from diffusers.utils.torch_utils import get_module_execution_device
from transformers import PreTrainedTokenizerBase

from app.core.embeddings import named_in, split
from app.core.families.lookup import family_of
from app.core.prompt_markup import TOKENS_OF_A_PART, Weighted, has_markup, parts
from app.core.request import GenerationRequest
from app.engines.diffusers.generate.embeddings import Embedding, inserted, vectors_for
from app.engines.diffusers.memory.prompt_cache import PromptCache

_USUAL = 1.0
_PLACEHOLDER = 0  # the id of an embedding's tokens: not that of the end, at which encoders pool


@dataclass(frozen=True)
class _Encoder:
    """A text encoder with its tokenizer, the texts that it reads, and the vectors of the embeddings in them."""

    tokenizer: Any
    model: Any
    prompt: str
    negative_prompt: str
    vectors: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Part:
    """One call of a text encoder: token ids and their weights, filled up to its full length, and the vectors of
    embeddings by their places."""

    ids: list[int]
    weights: list[float]
    vectors: Mapping[int, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Token:
    """A token of a prompt with its weight; `vector` is that of an embedding, whose id has no effect."""

    id: int
    weight: float
    vector: torch.Tensor | None = None


def reads_weights(pipeline: Any) -> bool:
    """Whether weights and long prompts are read for this pipeline's family."""
    family = family_of(type(pipeline).__name__)
    return family is not None and family.prompt_weights


def encoded(
    pipeline: Any,
    request: GenerationRequest,
    arguments: Mapping[str, Any],
    cache: PromptCache,
    embeddings: Sequence[Embedding] = (),
) -> dict[str, Any]:
    """`arguments` of a call with the prompts replaced by their encodings, where the request's prompts have weights, or
    `embeddings`, or are longer than the pipeline would read. In inference mode. Raises EmbeddingIncompatible."""
    if request.prompt_weighting == "off" or not reads_weights(pipeline):
        return dict(arguments)
    encoders = _encoders(pipeline, arguments)
    if embeddings:
        vectors = vectors_for(request.model_id, [each.model for each in encoders], embeddings)
        encoders = [replace(each, vectors=its) for each, its in zip(encoders, vectors, strict=True)]
    if not _any_needed(pipeline, encoders, arguments):
        return dict(arguments)
    kept = {name: value for name, value in arguments.items() if name not in _REPLACED}
    texts = {name: arguments[name] for name in _REPLACED if name in arguments}
    asked = type(pipeline).__name__, "parts", texts, {each.name: each.revision for each in embeddings}
    with torch.inference_mode():
        made: dict[str, Any] = cache.encodings(asked, lambda: _embeddings(pipeline, encoders, arguments))
    return kept | made


def too_long_for_one_call(pipeline: Any, arguments: Mapping[str, Any], request: GenerationRequest) -> bool:
    """Whether a call with several prompts would read less of one than a call of its own."""
    if request.prompt_weighting == "off" or not reads_weights(pipeline):
        return False
    return _any_needed(pipeline, _encoders(pipeline, arguments), arguments)


_REPLACED = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2", "clip_skip")


def _encoders(pipeline: Any, arguments: Mapping[str, Any]) -> list[_Encoder]:
    found = []
    for suffix in ("", "_2"):
        tokenizer, model = (getattr(pipeline, f"{name}{suffix}", None) for name in ("tokenizer", "text_encoder"))
        if not isinstance(tokenizer, PreTrainedTokenizerBase) or model is None:  # SDXL's refiner has the second only
            continue
        prompt = arguments.get(f"prompt{suffix}") or arguments["prompt"]
        found.append(_Encoder(tokenizer, model, prompt, arguments.get("negative_prompt") or ""))
    return found


def _any_needed(pipeline: Any, encoders: Sequence[_Encoder], arguments: Mapping[str, Any]) -> bool:
    if "clip_skip" in arguments and not hasattr(pipeline, "text_encoder_2"):
        return True  # diffusers looks for the last norm where transformers 5 no longer has it
    return any(_needed(each, text) for each in encoders for text in (each.prompt, each.negative_prompt))


def _needed(encoder: _Encoder, text: str) -> bool:
    if has_markup(text) or named_in([text], encoder.vectors):
        return True
    return len(_tokens(encoder.tokenizer, text)) > TOKENS_OF_A_PART


def _tokens(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
    return ids


def _embeddings(pipeline: Any, encoders: Sequence[_Encoder], arguments: Mapping[str, Any]) -> dict[str, Any]:
    pooled = hasattr(pipeline, "text_encoder_2")
    skipped = arguments.get("clip_skip")
    cut = [(_cut(each, each.prompt), _cut(each, each.negative_prompt)) for each in encoders]
    length = max(len(side) for sides in cut for side in sides)
    positive: list[tuple[torch.Tensor, torch.Tensor]] = []
    negative: list[tuple[torch.Tensor, torch.Tensor]] = []
    for encoder, sides in zip(encoders, cut, strict=True):
        for side, found, skip in zip(sides, (positive, negative), (skipped, None), strict=True):
            found.append(_encode(encoder, _filled(encoder, side, length), skip, penultimate=pooled))
    result = {"prompt_embeds": torch.cat([each for each, _ in positive], dim=-1)}
    result["negative_prompt_embeds"] = torch.cat([each for each, _ in negative], dim=-1)
    if pooled:
        result["pooled_prompt_embeds"] = positive[-1][1]
        result["negative_pooled_prompt_embeds"] = negative[-1][1]
        if "negative_prompt" not in arguments and pipeline.config.get("force_zeros_for_empty_prompt"):
            result |= {name: torch.zeros_like(value) for name, value in result.items() if name.startswith("negative")}
    return result


def _cut(encoder: _Encoder, text: str) -> list[_Part]:
    """The parts of `text`, each of the length that the encoder reads."""
    found: list[_Part] = []
    for part in parts(text):
        tokens = [token for piece in part for token in _read(encoder, piece)]
        for begin in range(0, max(len(tokens), 1), TOKENS_OF_A_PART):
            found.append(_part(encoder, tokens[begin : begin + TOKENS_OF_A_PART]))
    return found


def _read(encoder: _Encoder, piece: Weighted) -> Iterator[_Token]:
    """The tokens of a piece, with those of embeddings at the places of their names."""
    for text, name in split(piece.text, encoder.vectors):
        if name is None:
            yield from (_Token(each, piece.weight) for each in _tokens(encoder.tokenizer, text))
        else:
            yield from (_Token(_PLACEHOLDER, piece.weight, row) for row in encoder.vectors[name])


def _part(encoder: _Encoder, tokens: Sequence[_Token] = ()) -> _Part:
    """As the tokenizer pads: beginning, tokens, end, and the padding token up to the full length."""
    tokenizer = encoder.tokenizer
    missing = TOKENS_OF_A_PART - len(tokens)
    ids = [tokenizer.bos_token_id, *(each.id for each in tokens), tokenizer.eos_token_id]
    weights = [_USUAL, *(each.weight for each in tokens), _USUAL]
    vectors = {place: each.vector for place, each in enumerate(tokens, start=1) if each.vector is not None}
    return _Part(ids + [tokenizer.pad_token_id] * missing, weights + [_USUAL] * missing, vectors)


def _filled(encoder: _Encoder, side: list[_Part], length: int) -> list[_Part]:
    """Empty parts up to `length`: both prompts of a call have as many."""
    return side + [_part(encoder)] * (length - len(side))


def _encode(
    encoder: _Encoder, side: Sequence[_Part], skip: int | None, *, penultimate: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The encodings of all parts behind each other, and the first one's pooled."""
    empty, _ = _hidden(encoder.model, _part(encoder), skip, penultimate=penultimate)
    found, pooled = [], None
    for part in side:
        hidden, its = _hidden(encoder.model, part, skip, penultimate=penultimate)
        pooled = its if pooled is None else pooled
        if any(weight != _USUAL for weight in part.weights):
            weights = torch.tensor(part.weights, device=hidden.device, dtype=hidden.dtype)[None, :, None]
            hidden = empty + (hidden - empty) * weights
        found.append(hidden)
    assert pooled is not None  # there is a part at least
    return torch.cat(found, dim=1), pooled


def _hidden(model: Any, part: _Part, skip: int | None, *, penultimate: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """What the pipeline takes of the encoder's output: SDXL the layer before the last, Stable Diffusion the last, each
    without `skip` more of them."""
    with inserted(model, part.vectors):
        output = model(torch.tensor([part.ids], device=get_module_execution_device(model)), output_hidden_states=True)
    if penultimate:
        return output.hidden_states[-((skip or 0) + 2)], output[0]
    if not skip:
        return output.last_hidden_state, output[0]
    return _final_norm(model)(output.hidden_states[-(skip + 1)]), output[0]


def _final_norm(model: Any) -> Any:
    """The norm after the last layer, whose place differs between versions of transformers."""
    return getattr(model, "text_model", model).final_layer_norm
