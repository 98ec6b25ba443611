"""OmniGen: one transformer for words, pictures sent and the picture drawn."""

from __future__ import annotations

from diffusers import (
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    OmniGenPipeline,
    OmniGenTransformer2DModel,
)

from app.engines.diffusers.load.processors import prepare_pipeline
from tools.tiny_models.encoders import autoencoder
from tools.tiny_models.sample import PROMPT, Input, Sample
from tools.tiny_models.tokens import llama_tokenizer


def omnigen() -> DiffusionPipeline:
    """OmniGen v1: a language model's blocks; pictures stand in the prompt by their number."""
    prepare_pipeline("OmniGenPipeline")
    tokenizer = llama_tokenizer()
    transformer = OmniGenTransformer2DModel(
        in_channels=4,
        hidden_size=16,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=32,
        num_layers=1,
        pad_token_id=tokenizer.pad_token_id,
        vocab_size=len(tokenizer),
        time_step_dim=4,
        pos_embed_max_size=32,
        rope_scaling={"long_factor": [1, 2], "short_factor": [1, 2]},
    )
    return OmniGenPipeline(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True, num_train_timesteps=1),
        vae=autoencoder(4, flow=False),
        tokenizer=tokenizer,
    )


_EDIT = {"prompt": f"<img><|image_1|></img> {PROMPT}", "input_images": [Input.PICTURE]}
SAMPLES = {"omnigen": Sample(omnigen, "OmniGenPipeline", {"txt2img": {}, "edit": _EDIT})}
