"""The two text encoders and their training: read a caption's attributes first, be frozen afterwards.

Padding is made harmless by construction in the T5 encoder: one reserved channel marks padding, one marks real words,
and a fixed pair of query and key rows keeps every word from looking at padding. Padding positions come out as one
constant vector whatever the prompt, so the picture does not depend on `max_sequence_length`.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from tools.demo_model import checkpoint
from tools.demo_model.captions import caption
from tools.demo_model.labels import ATTRIBUTES, label
from tools.demo_model.optim import MuonAdamW, set_rate
from tools.demo_model.pictures import BUCKETS, scene_of
from tools.demo_model.words import clip_tokenizer, grammar_words, t5_tokenizer

WIDTH = 128
HEAD = 32
REAL, PADDING = 126, 127  # reserved channels of the T5 residual stream
PADDING_SIZE = 2000.0
TOKENS = 48  # training length; prompts are far shorter, and longer ones work the same


def build_t5(vocabulary: int) -> T5EncoderModel:
    """An untrained T5 encoder of two layers."""
    config = T5Config(
        vocab_size=vocabulary, d_model=WIDTH, d_kv=HEAD, d_ff=2 * WIDTH, num_layers=2, num_heads=4, dropout_rate=0.0,
        relative_attention_num_buckets=24, relative_attention_max_distance=48, feed_forward_proj="gated-gelu",
        is_encoder_decoder=False, use_cache=False, pad_token_id=0, eos_token_id=1, tie_word_embeddings=False,
    )  # fmt: skip
    return T5EncoderModel(config)


def build_clip(vocabulary: int, end: int) -> CLIPTextModel:
    """An untrained CLIP text model of two layers."""
    config = CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=77, projection_dim=WIDTH, bos_token_id=end - 1,
        eos_token_id=end, pad_token_id=end,
    )  # fmt: skip
    return CLIPTextModel(config)


@torch.no_grad()
def separate_padding(model: T5EncoderModel) -> None:
    """Impose the reserved channels; called after every update of the weights."""
    table = model.shared.weight
    table[:, REAL], table[:, PADDING] = 1.0, 0.0
    table[0] = 0.0
    table[0, PADDING] = PADDING_SIZE
    for block in model.encoder.block:
        attention = block.layer[0].SelfAttention
        attention.o.weight[[REAL, PADDING]] = 0.0
        block.layer[1].DenseReluDense.wo.weight[[REAL, PADDING]] = 0.0
        for row in range(0, attention.q.weight.shape[0], HEAD):
            attention.q.weight[row], attention.k.weight[row] = 0.0, 0.0
            attention.q.weight[row, REAL] = 6.0
            attention.k.weight[row, PADDING] = -6.0


class Reader(nn.Module):
    """Linear heads from the pooled CLIP vector and from every T5 position to all attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = [len(options) for options in ATTRIBUTES.values()]
        self.pooled = nn.Linear(WIDTH, sum(self.sizes))
        self.tokens = nn.Linear(WIDTH, sum(self.sizes))

    def forward(self, pooled: Tensor, tokens: Tensor, mask: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """pooled (n, d), tokens (n, t, d), mask (n, t), labels (n, attributes) → (loss, right (n, 2, attributes))."""
        loss = pooled.new_zeros(())
        right = []
        by_clip = self.pooled(pooled).split(self.sizes, -1)
        by_token = self.tokens(tokens).split(self.sizes, -1)
        for k, (one, each) in enumerate(zip(by_clip, by_token, strict=True)):
            target = labels[:, k]
            loss = loss + F.cross_entropy(one, target)
            spread = F.cross_entropy(each.transpose(1, 2), target[:, None].expand(-1, each.shape[1]), reduction="none")
            loss = loss + (spread * mask).sum() / mask.sum()
            first = (each * mask[..., None]).sum(1)
            right.append(torch.stack([one.argmax(-1) == target, first.argmax(-1) == target], 1))
        return loss / len(self.sizes), torch.stack(right, 2)


class TextCorpus:
    """Captions already split into ids: T5 (n, TOKENS) and CLIP (n, 77), with labels (n, attributes)."""

    def __init__(self, t5_ids: Tensor, clip_ids: Tensor, labels: Tensor):
        self.t5_ids, self.clip_ids, self.labels = t5_ids, clip_ids, labels


def tokenize(texts: list[str], t5: object, clip: object, length: int = TOKENS) -> tuple[Tensor, Tensor]:
    """(T5 ids (n, length), CLIP ids (n, 77)), padded and cut exactly as the pipeline does."""
    options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
    t5_ids = t5(texts, max_length=length, **options).input_ids  # type: ignore[operator]
    clip_ids = clip(texts, max_length=77, **options).input_ids  # type: ignore[operator]
    return t5_ids, clip_ids


def corpus(count: int, first: int, t5: object, clip: object) -> TextCorpus:
    """`count` captions of training scenes from index `first`."""
    square = BUCKETS["square"]
    scenes = [scene_of(square, first + k) for k in range(count)]
    texts = [caption(scene, np.random.default_rng((first + k, 1))) for k, scene in enumerate(scenes)]
    t5_ids, clip_ids = tokenize(texts, t5, clip)
    return TextCorpus(t5_ids, clip_ids, torch.tensor([label(scene) for scene in scenes]))


def train(folder: Path, steps: int = 1200, batch: int = 96, rate: float = 3e-3, captions: int = 60_000) -> None:
    """Build the tokenizers and train both encoders into `folder`/text.pt; does nothing when it is there."""
    if (folder / "text.pt").exists():
        return
    torch.manual_seed(11)
    words = grammar_words(captions)
    t5_tok, clip_tok = t5_tokenizer(words), clip_tokenizer(words)
    t5_tok.save_pretrained(folder / "tokenizer_2")
    clip_tok.save_pretrained(folder / "tokenizer")
    data = corpus(captions, 0, t5_tok, clip_tok)
    print(f"text: {len(t5_tok)} words, {len(clip_tok)} byte pairs, {captions} captions", flush=True)
    t5, clip, reader = build_t5(len(t5_tok)), build_clip(len(clip_tok), len(clip_tok) - 1), Reader()
    named = [*t5.named_parameters(), *clip.named_parameters(), *reader.named_parameters()]
    matrices = [p for n, p in named if p.ndim == 2 and "layer" in n and "relative" not in n]
    chosen = {id(p) for p in matrices}
    rest = list({id(p): p for _, p in named if id(p) not in chosen}.values())
    optimizer = MuonAdamW(matrices, rest, lr=rate)
    started = time.time()
    for step in range(steps):
        set_rate(optimizer, rate * min(1.0, (step + 1) / 40, (steps - step) / (0.4 * steps)))
        separate_padding(t5)
        rows = torch.randint(0, captions, (batch,), generator=torch.Generator().manual_seed(step))
        loss, right = reading_loss(t5, clip, reader, data, rows)
        loss.backward()
        nn.utils.clip_grad_norm_(matrices + rest, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 99:
            scores = right.float().mean(0)
            print(f"text {step + 1} loss {float(loss):.4f} clip {scores[0].mean():.4f} t5 {scores[1].mean():.4f} "
                  f"{time.time() - started:.0f}s", flush=True)  # fmt: skip
    separate_padding(t5)
    checkpoint.save(
        folder / "text.pt", {"t5": t5.state_dict(), "clip": clip.state_dict(), "reader": reader.state_dict()}
    )


def reading_loss(
    t5: T5EncoderModel, clip: CLIPTextModel, reader: Reader, data: TextCorpus, rows: Tensor
) -> tuple[Tensor, Tensor]:
    """The reader's loss and hits on the given rows of the corpus."""
    ids = data.t5_ids[rows]
    longest = int((ids != 0).sum(1).max()) + 2
    ids = ids[:, :longest]
    clip_ids = data.clip_ids[rows]
    end = int(clip_ids[0, -1])
    clip_ids = clip_ids[:, : int((clip_ids != end).sum(1).max()) + 2]
    with torch.autocast("cpu", torch.bfloat16):
        tokens = t5(input_ids=ids).last_hidden_state
        pooled = clip(input_ids=clip_ids).pooler_output
    return reader(pooled.float(), tokens.float(), (ids != 0).float(), data.labels[rows])


def load(folder: Path) -> tuple[T5EncoderModel, CLIPTextModel]:
    """The trained encoders in `folder`, frozen."""
    from transformers import CLIPTokenizer, T5Tokenizer

    state = checkpoint.load(folder / "text.pt")
    if state is None:
        raise FileNotFoundError(folder / "text.pt")
    clip_tok = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    t5, clip = (
        build_t5(len(T5Tokenizer.from_pretrained(folder / "tokenizer_2"))),
        build_clip(len(clip_tok), len(clip_tok) - 1),
    )
    t5.load_state_dict(state["t5"])
    clip.load_state_dict(state["clip"])
    return t5.eval().requires_grad_(False), clip.eval().requires_grad_(False)
