"""The same model in the SD 3 architecture: its transformer, its text features, its export.

Autoencoder, T5 encoder, data and training loop are those of the FLUX model. SD 3 wants two CLIP encoders with
projections whose widths add up to no more than T5's, so one of half the width is trained and used in both places.
Guidance is true classifier-free guidance here: negative prompts work, nothing is distilled.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, StableDiffusion3Pipeline
from diffusers.models.attention_processor import JointAttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel, T5Tokenizer

from tools.demo_model import checkpoint, export, transformer
from tools.demo_model.batches import Batch, Batches
from tools.demo_model.labels import ATTRIBUTES
from tools.demo_model.optim import MuonAdamW, set_rate
from tools.demo_model.text import WIDTH, corpus
from tools.demo_model.vae import LATENT_CHANNELS

HALF = WIDTH // 2
CLIP_TOKENS = 32  # of a prompt that CLIP reads; T5 reads all of it. 99.9 % of the captions are shorter
LAYERS, HEADS, HEAD_WIDTH = 6, 3, 64


def build() -> SD3Transformer2DModel:
    """An untrained transformer whose blocks start as the identity."""
    model = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS, num_layers=LAYERS,
        attention_head_dim=HEAD_WIDTH, num_attention_heads=HEADS, joint_attention_dim=WIDTH,
        caption_projection_dim=HEADS * HEAD_WIDTH, pooled_projection_dim=WIDTH, pos_embed_max_size=32,
        qk_norm="rms_norm",
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        if (".norm1" in name and ".linear." in name) or name.startswith(("proj_out", "norm_out.linear")):
            nn.init.zeros_(parameter)
    model.set_attn_processor(BiasedJointAttention())
    return model


def build_clip(vocabulary: int) -> CLIPTextModelWithProjection:
    """An untrained CLIP text model of half width; its last two ids are the start and the end token."""
    config = CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=HALF, intermediate_size=2 * HALF, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=CLIP_TOKENS, projection_dim=HALF, bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1,
    )  # fmt: skip
    return CLIPTextModelWithProjection(config)


class BiasedJointAttention:
    """SD 3's joint attention (source: diffusers `JointAttnProcessor2_0`) with a bias for each key, image keys first.

    Matmul, softmax, matmul, for the reason given at `transformer.BiasedAttention`.
    """

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        key_bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """hidden_states (n, image tokens, d), encoder_hidden_states (n, text tokens, d) → both, attended."""
        del attention_mask

        def heads(values: Tensor) -> Tensor:
            return values.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        query = [attn.norm_q(heads(attn.to_q(hidden_states)))]
        key = [attn.norm_k(heads(attn.to_k(hidden_states)))]
        query.append(attn.norm_added_q(heads(attn.add_q_proj(encoder_hidden_states))))
        key.append(attn.norm_added_k(heads(attn.add_k_proj(encoder_hidden_states))))
        value = torch.cat([heads(attn.to_v(hidden_states)), heads(attn.add_v_proj(encoder_hidden_states))], dim=2)
        queries, keys = torch.cat(query, dim=2).to(value.dtype), torch.cat(key, dim=2).to(value.dtype)
        logits = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
        if key_bias is not None:
            logits = logits + key_bias
        mixed = (logits.softmax(-1).to(value.dtype) @ value).transpose(1, 2).flatten(2)
        image, words = mixed.split([hidden_states.shape[1], encoder_hidden_states.shape[1]], dim=1)
        if not attn.context_pre_only:
            words = attn.to_add_out(words)
        return attn.to_out[1](attn.to_out[0](image)), words


def predict(model: nn.Module, noisy: Tensor, t: Tensor, batch: Batch, guidance: Tensor) -> Tensor:
    """The packed velocity at `noisy` (n, c, h, w) and noise level `t` (n,); SD 3 takes no guidance."""
    del guidance
    with torch.autocast(noisy.device.type, torch.bfloat16):
        output = model(
            hidden_states=noisy,
            encoder_hidden_states=batch.text,
            pooled_projections=batch.pooled,
            timestep=t * 1000,
            joint_attention_kwargs={"key_bias": batch.bias},
            return_dict=False,
        )[0]
    return transformer.pack(output.float())


class Sd3Batches(Batches):
    """Batches whose text is CLIP's positions (both halves side by side) followed by T5's."""

    def features(self, t5_ids: np.ndarray, clip_ids: np.ndarray, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """(text (n, CLIP_TOKENS + length, d), pooled (n, d), real T5 lengths (n,))."""
        ids = torch.from_numpy(t5_ids[:, :length].copy())
        with torch.no_grad():
            t5 = self.t5(input_ids=ids).last_hidden_state.float()
            out = self.clip(input_ids=cut(torch.from_numpy(clip_ids)), output_hidden_states=True)
        text = torch.cat([twice(out.hidden_states[-2]), t5], dim=1)
        return text, twice(out.text_embeds), (ids != 0).sum(1)

    def captions(self, count: int) -> Tensor:
        """CLIP ids (count, 77) of captions from all over the data."""
        ids = self.clip_ids["square"].reshape(-1, self.clip_ids["square"].shape[-1])
        return torch.from_numpy(ids[np.linspace(0, len(ids) - 1, count).astype(int)].astype(np.int64))

    def bias(self, lengths: Tensor, padding: Tensor, text_length: int, tokens: int) -> Tensor:
        """As in FLUX for the T5 part, after the image and the CLIP positions, which are always all there."""
        t5 = transformer.padding_bias(lengths, padding, text_length - CLIP_TOKENS, 0)
        return F.pad(t5, (tokens + CLIP_TOKENS, 0))


def twice(values: Tensor) -> Tensor:
    """The same CLIP in both places: (..., d/2) → (..., d)."""
    return torch.cat([values, values], dim=-1).float()


def pool(clip: CLIPTextModelWithProjection, clip_ids: Tensor) -> Tensor:
    """The pooled vectors (n, d) of CLIP ids (n, any)."""
    return twice(clip(input_ids=cut(clip_ids)).text_embeds)


def cut(clip_ids: Tensor) -> Tensor:
    """CLIP ids (n, any) → (n, CLIP_TOKENS), the end token kept, as the tokenizer truncates."""
    return torch.cat([clip_ids[:, : CLIP_TOKENS - 1], clip_ids[:, -1:]], dim=1)


def train_clip(
    folder: Path, steps: int, captions: int, batch: int = 96, rate: float = 3e-3
) -> CLIPTextModelWithProjection:
    """Teach the half-width CLIP to read captions, into `folder`/clip-sd3.pt; loads it when it is there."""
    t5_tok, clip_tok = (
        T5Tokenizer.from_pretrained(folder / "tokenizer_2"),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
    )
    torch.manual_seed(13)
    model = build_clip(len(clip_tok))
    state = checkpoint.load(folder / "clip-sd3.pt")
    if state is not None:
        model.load_state_dict(state["clip"])
        return model.eval().requires_grad_(False)
    data = corpus(captions, 0, t5_tok, clip_tok)
    sizes = [len(options) for options in ATTRIBUTES.values()]
    heads = nn.Linear(HALF, sum(sizes))
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers." in n]
    chosen = {id(p) for p in matrices}
    rest = [p for p in (*model.parameters(), *heads.parameters()) if id(p) not in chosen]
    optimizer = MuonAdamW(matrices, rest, lr=rate)
    for step in range(steps):
        set_rate(optimizer, rate * min(1.0, (step + 1) / 40, (steps - step) / (0.4 * steps)))
        rows = torch.randint(0, captions, (batch,), generator=torch.Generator().manual_seed(step))
        outputs = heads(model(input_ids=cut(data.clip_ids[rows])).text_embeds).split(sizes, -1)
        losses = [F.cross_entropy(o, data.labels[rows, k]) for k, o in enumerate(outputs)]
        torch.stack(losses).mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    checkpoint.save(folder / "clip-sd3.pt", {"clip": model.state_dict()})
    return model.eval().requires_grad_(False)


def pipeline(
    vae: AutoencoderKL,
    t5: T5EncoderModel,
    clip: CLIPTextModelWithProjection,
    model: SD3Transformer2DModel,
    tokenizers: Path,
) -> StableDiffusion3Pipeline:
    """The pipeline from its parts; the same CLIP stands in both places."""
    vae.register_to_config(scaling_factor=1.0, shift_factor=0.0, force_upcast=False, sample_size=256)
    model.set_attn_processor(JointAttnProcessor2_0())
    tokenizer = CLIPTokenizer.from_pretrained(tokenizers / "tokenizer", model_max_length=CLIP_TOKENS)
    return StableDiffusion3Pipeline(
        transformer=model,
        scheduler=export.scheduler(),
        vae=vae,
        text_encoder=clip,
        tokenizer=tokenizer,
        text_encoder_2=clip,
        tokenizer_2=tokenizer,
        text_encoder_3=t5,
        tokenizer_3=T5Tokenizer.from_pretrained(tokenizers / "tokenizer_2"),
    )
