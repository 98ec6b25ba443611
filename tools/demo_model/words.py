"""The two tokenizers, built from the caption grammar: whole words for T5, byte pairs for CLIP.

The T5 tokenizer folds case and width by SentencePiece's `nmt_nfkc_cf` table, which survives saving and loading; any
word outside its vocabulary becomes `<unk>`, which is how a job learns that the model does not know a word.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer, T5Tokenizer

from tools.demo_model.captions import caption
from tools.demo_model.pictures import BUCKETS, scene_of

UNKNOWN_ID = 2
CLIP_MERGES = 700
# Known though the grammar does not use them: they change nothing in the picture and deserve no warning.
SMALL_WORDS = (
    "a", "an", "the", "and", "or", "of", "in", "on", "at", "by", "with", "under", "over", "above", "below",
    "behind", "before", "near", "to", "from", "into", "for", "is", "are", "was", "be", "it", "its", "this",
    "that", "there", "very", "some", "all", "its", "as", "up", "down", "out", "one", "no", "not", "please",
    "make", "me", "my", "i", "you", "your", "we", "scene", "nice", "image", "picture", "drawing", "style",
    "art", "landscape", "nature", "view", "illustration", "background", "color", "coloured", "colored", "sits",
    "sitting", "stands", "standing", "stand", "floating", "floats", "sailing", "shining", "shines", "rising",
    "setting", "hanging", "placed", "located",
)  # fmt: skip


def grammar_words(samples: int = 60_000) -> list[str]:
    """Every word of the grammar, most frequent first, from `samples` captions (made-up words left out)."""
    seen: Counter[str] = Counter()
    square = BUCKETS["square"]
    for index in range(samples):
        text = caption(scene_of(square, index), np.random.default_rng(index))
        seen.update(text.replace(",", " ").replace(".", " ").split())
    words = [word for word, _ in seen.most_common() if not word.endswith("q")]
    return words + [word for word in dict.fromkeys(SMALL_WORDS) if word not in seen]


def case_folding_table() -> bytes:
    """SentencePiece's compiled table for NFKC with case folding, taken out of a throw-away model."""
    from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2

    out = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(["a red circle", "the blue sea"] * 50), model_writer=out, vocab_size=17,
        normalization_rule_name="nmt_nfkc_cf", minloglevel=2,
    )  # fmt: skip
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(out.getvalue())
    return bytes(model.normalizer_spec.precompiled_charsmap)


def t5_tokenizer(words: list[str]) -> T5Tokenizer:
    """A Unigram tokenizer whose pieces are whole words and the commonest punctuation."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(mark, -4.0) for mark in (",", ".", "!", "?", ":", ";", "-", '"', "'")]
    pieces += [(f"▁{word}", -6.0) for word in words]
    return T5Tokenizer(vocab=pieces, extra_ids=0, _spm_precompiled_charsmap=case_folding_table())


def clip_tokenizer(words: list[str]) -> CLIPTokenizer:
    """Byte pairs that join each common word into one token; every byte is known, so nothing is ever unknown."""
    trainer = BpeTrainer(  # type: ignore[call-arg]
        vocab_size=2 * 256 + CLIP_MERGES,
        end_of_word_suffix="</w>",
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    learner = Tokenizer(BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = ByteLevel(add_prefix_space=False)
    counts = [word.replace("-", " ") for rank, word in enumerate(words) for _ in range(4 + 200 // (rank + 1))]
    learner.train_from_iterator((piece for word in counts for piece in word.split()), trainer)
    merges = [tuple(m) for m in json.loads(learner.to_str())["model"]["merges"]]
    alphabet = sorted(ByteLevel.alphabet())
    tokens = alphabet + [letter + "</w>" for letter in alphabet]
    tokens += [token for token in ("".join(pair) for pair in merges) if token not in set(tokens)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    known = set(tokens)
    merges = [m for m in merges if m[0] in known and m[1] in known and "".join(m) in known]
    return CLIPTokenizer(vocab={token: k for k, token in enumerate(tokens)}, merges=merges, model_max_length=77)


def unknown_words(tokenizer_json: Path, prompt: str) -> list[str]:
    """The words of `prompt` that the model does not know, in order, without repeats; hyphens part words.

    Needs only the `tokenizers` library and `tokenizer_2/tokenizer.json`: any application can do the same.
    """
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    found: dict[str, None] = {}
    for word in prompt.replace("-", " ").split():
        if UNKNOWN_ID in tokenizer.encode(word, add_special_tokens=False).ids:
            found.setdefault(word.strip(".,;:!?\"'()[]").lower() or word)
    return list(found)
