"""Tokenizers with a vocabulary of single characters, so that nothing has to be downloaded."""

from __future__ import annotations

import string

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPTokenizer,
    GemmaTokenizer,
    LlamaTokenizer,
    Qwen2Tokenizer,
    T5Tokenizer,
    TokenizersBackend,
)

CLIP_LENGTH = 77  # tokens, as every CLIP text encoder has


def clip_tokenizer(pad_token: str = "<|endoftext|>", length: int = CLIP_LENGTH) -> CLIPTokenizer:
    """A CLIP tokenizer whose tokens are bytes, each once inside a word and once at its end: 514 tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], pad_token=pad_token, model_max_length=length)


def t5_tokenizer() -> T5Tokenizer:
    """A T5 tokenizer whose tokens are the printable ASCII characters and the mark of a word's start."""
    characters = string.ascii_letters + string.digits + string.punctuation
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocabulary += [(character, -3.0) for character in characters]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=512)


def gemma_tokenizer() -> GemmaTokenizer:
    """A Gemma tokenizer (Sana's) whose tokens are bytes and the mark of a space."""
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return GemmaTokenizer(vocab=vocabulary, merges=[], model_max_length=300)


_QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_QWEN_MARKS = ("im_start", "im_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad")
_MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'system' %}[SYSTEM_PROMPT]{% elif message.role == 'user' %}[INST]{% endif %}"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% else %}[IMG]{% endif %}{% endfor %}{% endif %}"
    "{% if message.role == 'system' %}[/SYSTEM_PROMPT]{% elif message.role == 'user' %}[/INST]{% endif %}"
    "{% endfor %}"
)
_MISTRAL_MARKS = ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]", "[IMG_BREAK]", "[IMG_END]")


def qwen_tokenizer() -> Qwen2Tokenizer:
    """A Qwen tokenizer whose tokens are bytes, with the marks of turns and of pictures, and a chat template."""
    marks = [f"<|{name}|>" for name in _QWEN_MARKS]
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>", *marks]
    return Qwen2Tokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=[],
        extra_special_tokens=marks,
        chat_template=_QWEN_TEMPLATE,
        model_max_length=4096,
    )


def llama_tokenizer(padding_side: str = "left") -> LlamaTokenizer:
    """A Llama tokenizer whose tokens are bytes and the mark of a space."""
    tokens = ["<unk>", "<s>", "</s>", "<pad>", "▁", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return LlamaTokenizer(
        vocab=vocabulary, merges=[], pad_token="<pad>", padding_side=padding_side, model_max_length=2048
    )


def mistral_tokenizer() -> TokenizersBackend:
    """The tokenizer of Mistral Small (FLUX.2's): bytes, and the marks of turns and of pictures."""
    tokens = ["<unk>", "<s>", "</s>", "<pad>", *_MISTRAL_MARKS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    return TokenizersBackend(
        tokenizer_object=_of_bytes(tokens),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=list(_MISTRAL_MARKS),
        padding_side="left",
        chat_template=_MISTRAL_TEMPLATE,
        model_max_length=2048,
    )


def glm_tokenizer() -> TokenizersBackend:
    """The tokenizer of GLM (CogView4's): bytes, and the marks that GLM begins with."""
    tokens = ["<|endoftext|>", "[gMASK]", "<sop>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = _of_bytes(tokens)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[gMASK] <sop> $A", special_tokens=[("[gMASK]", 1), ("<sop>", 2)]
    )
    return TokenizersBackend(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=["[gMASK]", "<sop>"],
        padding_side="left",
        model_max_length=1024,
    )


_GLM_IMAGE_TEMPLATE = (
    "{% for message in messages %}{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% else %}<|begin|><|image|><|end|>{% endif %}{% endfor %}{% endfor %}"
)


def glm_image_tokenizer() -> TokenizersBackend:
    """The tokenizer of GLM-Image's language model: bytes, and the marks of pictures and of their grids."""
    marks = {"image_token": "<|image|>", "grid_bos_token": "<sop>", "grid_eos_token": "<eop>"}
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>", "<|begin|>", "<|end|>", *marks.values()]
    return TokenizersBackend(
        tokenizer_object=_of_bytes(tokens),
        bos_token="<|begin|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={**marks, "end_token": "<|end|>"},
        padding_side="left",
        chat_template=_GLM_IMAGE_TEMPLATE,
        model_max_length=2048,
    )


def _of_bytes(tokens: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
