"""Invalid headers of safetensors files are refused before they are used."""

from __future__ import annotations

import json
import struct
import tracemalloc

import pytest

from app.errors import LoraUnavailable
from app.files import loras
from app.files.weights import DamagedFile, read_header

GOOD = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def written(tmp_path, header, data=b"\0" * 16):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file = tmp_path / "made-up.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return file


def test_a_sound_header_is_read(tmp_path):
    header = read_header(written(tmp_path, {"__metadata__": {"format": "pt"}, "a": GOOD}))
    assert header.shapes == {"a": [2, 2]}
    assert header.metadata == {"format": "pt"}
    assert read_header(written(tmp_path, {}, b"")).tensors == {}
    fours = {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}  # a kind that is not known here
    assert read_header(written(tmp_path, {"a": fours}, b"\0" * 4)).shapes == {"a": [8]}


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [2, 3]},
        {"shape": [-2, -2]},
        {"shape": [2**40, 2**40]},
        {"shape": [2.0, 2]},
        {"shape": ["2", 2]},
        {"shape": [True, 4]},
        {"shape": [1] * 1000 + [4]},
        {"shape": 4},
        {"dtype": 7},
        {"data_offsets": [16, 0]},
        {"data_offsets": [-16, 16]},
        {"data_offsets": [0, "16"]},
        {"data_offsets": [0]},
        {"data_offsets": [0, 8, 16]},
        {"data_offsets": [0, 1e400]},
    ],
)
def test_what_cannot_be_is_refused(tmp_path, change):
    with pytest.raises(DamagedFile, match=r"has an invalid entry for a|cannot be read|should have"):
        read_header(written(tmp_path, {"a": GOOD | change}))


@pytest.mark.parametrize("header", [b"[" * 100_000, b"{" * 100_000, b"null", b"[]", b'{"a": 1}', b"\xff\xfe{}", b"{}}"])
def test_what_is_no_header_is_refused(tmp_path, header):
    with pytest.raises(DamagedFile, match=r"cannot be read|has an invalid entry"):
        read_header(written(tmp_path, header))


def test_a_header_of_absurd_length_is_not_read(tmp_path):
    file = tmp_path / "made-up.safetensors"
    with file.open("wb") as target:
        target.write(struct.pack("<Q", 90_000_000))
        target.truncate(100_000_000)  # without a byte on the disk
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFile, match=r"its header has 90,000,000 bytes; at most 16,000,000 are supported"):
            read_header(file)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    for length in (2**63, 2**64 - 1):
        file.write_bytes(struct.pack("<Q", length) + b"{}")
        with pytest.raises(DamagedFile, match="is not a safetensors file"):
            read_header(file)


def test_a_lora_with_such_a_header_is_refused_by_its_name(tmp_path):
    name = "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight"
    file = written(tmp_path, {name: GOOD | {"shape": [2**40, 2**40]}})
    with pytest.raises(
        LoraUnavailable, match=r"The LoRA mine cannot be used: its header has an invalid entry for transformer\.single"
    ):
        loras.inspect(file, "mine")
