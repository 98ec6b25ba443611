"""Families that read Chinese and English: Hunyuan-DiT with BERT and T5, Kolors with ChatGLM."""

from __future__ import annotations

import io
import string
import tempfile
from pathlib import Path

import sentencepiece
import torch
from diffusers import (
    DDPMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    HunyuanDiT2DModel,
    HunyuanDiTPipeline,
    KolorsPipeline,
)
from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig
from transformers import BertConfig, BertModel, BertTokenizer

from tools.tiny_models.encoders import autoencoder, t5_encoder
from tools.tiny_models.sample import Sample
from tools.tiny_models.tokens import t5_tokenizer
from tools.tiny_models.unet_families import sdxl_unet

_WIDTH = 32


def hunyuan_dit() -> DiffusionPipeline:
    """Hunyuan-DiT: BERT and T5 side by side, sizes as conditions, a variance that is thrown away."""
    words, t5 = _bert_tokenizer(), t5_tokenizer()
    bert = BertConfig(
        vocab_size=len(words), hidden_size=_WIDTH, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    transformer = HunyuanDiT2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        cross_attention_dim=_WIDTH,
        cross_attention_dim_t5=_WIDTH,
        pooled_projection_dim=16,
        hidden_size=16,
    )
    return HunyuanDiTPipeline(
        vae=autoencoder(4, flow=False),
        text_encoder=BertModel(bert).eval(),
        tokenizer=words,
        text_encoder_2=t5_encoder(t5, _WIDTH),
        tokenizer_2=t5,
        transformer=transformer.eval(),
        scheduler=DDPMScheduler(prediction_type="v_prediction", beta_schedule="scaled_linear", beta_end=0.02),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _bert_tokenizer() -> BertTokenizer:
    letters = string.ascii_lowercase + string.digits + string.punctuation
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    return BertTokenizer(vocab={token: number for number, token in enumerate(tokens)}, model_max_length=77)


def kolors() -> DiffusionPipeline:
    """Kolors: SDXL's UNet with ChatGLM."""
    tokenizer = _chatglm_tokenizer()
    config = ChatGLMConfig(
        num_layers=2,
        padded_vocab_size=384,
        hidden_size=_WIDTH,
        ffn_hidden_size=_WIDTH,
        kv_channels=16,
        num_attention_heads=2,
        seq_length=512,
        multi_query_attention=True,
        multi_query_group_num=1,
        add_qkv_bias=True,
        original_rope=True,
    )
    return KolorsPipeline(
        vae=autoencoder(4, flow=False),
        text_encoder=_filled(ChatGLMModel(config)).eval(),
        tokenizer=tokenizer,
        unet=sdxl_unet(numbers=6, cross_attention_dim=_WIDTH, transformer_layers_per_block=(1, 2)).eval(),
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.014, beta_schedule="scaled_linear"),
        force_zeros_for_empty_prompt=False,
    )


def _filled(model: ChatGLMModel) -> ChatGLMModel:
    """`model` with numbers of its own: its class leaves them as they were in memory."""
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.ones_(parameter)
        else:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def _chatglm_tokenizer() -> ChatGLMTokenizer:
    """Letters, and bytes for all the rest, in a SentencePiece model."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(string.ascii_letters), model_writer=model, model_type="bpe", vocab_size=360,
        byte_fallback=True, hard_vocab_limit=False, minloglevel=2, num_threads=1,
    )  # fmt: skip
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "tokenizer.model"
    file.write_bytes(model.getvalue())
    tokenizer = ChatGLMTokenizer(str(file))
    tokenizer.folder = folder  # the file is copied when the tokenizer is saved, and removed with it
    return tokenizer


SAMPLES = {
    "hunyuan-dit": Sample(hunyuan_dit, "HunyuanDiTPipeline", always={"use_resolution_binning": False}),
    "kolors": Sample(kolors, "KolorsPipeline", width=64, height=64),
}
