"""The tokenizers cover the caption grammar, mark unknown words, and accept any text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import CLIPTokenizer, T5Tokenizer

from tools.demo_model.captions import caption
from tools.demo_model.pictures import HELD_OUT_SEED
from tools.demo_model.scene import sample_scene
from tools.demo_model.words import UNKNOWN_ID, clip_tokenizer, t5_tokenizer, unknown_words

WORDS = ["a", "red", "circle", "on", "blue", "background", "the", "sea", "snow", "capped", "mountains"]


@pytest.fixture(scope="module")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    t5_tokenizer(WORDS).save_pretrained(folder)
    return folder / "tokenizer.json"


def test_unknown_words_are_found_in_order_and_once(tokenizer_json: Path) -> None:
    assert unknown_words(tokenizer_json, "a red dragon, on the Moonbase. Dragon!") == ["dragon", "moonbase"]
    assert unknown_words(tokenizer_json, "A RED Circle, on the blue sea.") == []
    assert unknown_words(tokenizer_json, "snow-capped mountains") == []


def test_a_word_that_only_begins_like_a_known_one_is_unknown(tokenizer_json: Path) -> None:
    assert unknown_words(tokenizer_json, "redwood") == ["redwood"]


@pytest.mark.parametrize("prompt", ["", "   ", "❤️🦄", "漢字 かな", "a\x00b", "word " * 5000, "ｒｅｄ Ｃｉｒｃｌｅ"])
def test_no_prompt_breaks_the_tokenizers(tokenizer_json: Path, prompt: str) -> None:
    unknown_words(tokenizer_json, prompt)
    t5 = T5Tokenizer.from_pretrained(tokenizer_json.parent)
    ids = t5(prompt, padding="max_length", max_length=64, truncation=True).input_ids
    assert len(ids) == 64
    assert max(ids) < len(t5)


def test_case_and_width_fold_after_a_reload(tokenizer_json: Path) -> None:
    t5 = T5Tokenizer.from_pretrained(tokenizer_json.parent)
    plain = t5("a red circle").input_ids
    assert UNKNOWN_ID not in plain
    assert t5("A RED CIRCLE").input_ids == plain == t5("ａ ｒｅｄ Ｃｉｒｃｌｅ").input_ids


def test_clip_tokens_are_whole_words_and_never_the_end_token(tmp_path: Path) -> None:
    clip_tokenizer(WORDS).save_pretrained(tmp_path)
    clip = CLIPTokenizer.from_pretrained(tmp_path)
    assert len(clip("a red circle").input_ids) == 5
    inner = clip("zyx ❤ 漢字 \u0001 red").input_ids[1:-1]
    assert clip.eos_token_id not in inner
    assert clip.bos_token_id not in inner
    assert len(clip("word " * 500, truncation=True, max_length=77).input_ids) == 77


def test_the_built_in_model_knows_every_word_of_the_grammar() -> None:
    tokenizer_json = Path(__file__).parents[2] / "builtin" / "demo" / "tokenizer_2" / "tokenizer.json"
    missed: set[str] = set()
    for seed in range(HELD_OUT_SEED, HELD_OUT_SEED + 150):
        rng = np.random.default_rng(seed)
        missed |= set(unknown_words(tokenizer_json, caption(sample_scene(rng), rng)))
    assert {word for word in missed if not word.endswith("q")} == set()  # made-up words end in q
