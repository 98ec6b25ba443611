"""Headers of weight files with absurd sizes are refused before memory is allocated."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path

import pytest

from app.files.weights import MOST_TENSORS, DamagedFile, check_gguf, read_header

FLOAT = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def safetensors(path: Path, header: object, data: int = 24, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + b"\0" * data)
    return path


def sparse(path: Path, head: bytes, size: int) -> Path:
    """A sparse file: large, but with little content."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


def test_a_good_one(tmp_path: Path) -> None:
    file = safetensors(tmp_path / "a", {"__metadata__": {"a": "b"}, "x": FLOAT})
    header = read_header(file)
    assert (header.shapes, header.metadata) == ({"x": [2, 3]}, {"a": "b"})


SHAPES: list[object] = [[-1, 3], [2.5], ["2"], [True], [2, None], {}, 3, [2**70], [1] * 2000]
OFFSETS: list[object] = [[24, 0], [-24, 24], [0, 1e300], [0, 24.0], [0], [0, 24, 25], "ab", [True, 24], None, {}]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape)[:20])
def test_a_shape_that_is_none(tmp_path: Path, shape: object) -> None:
    with pytest.raises(DamagedFile, match="header has an invalid entry for x"):
        read_header(safetensors(tmp_path / "a", {"x": FLOAT | {"shape": shape}}))


@pytest.mark.parametrize("offsets", OFFSETS, ids=str)
def test_offsets_that_are_none(tmp_path: Path, offsets: object) -> None:
    with pytest.raises(DamagedFile):
        read_header(safetensors(tmp_path / "a", {"x": FLOAT | {"data_offsets": offsets}}))


@pytest.mark.parametrize(
    "text",
    [b"[" * 1_000_000, b'{"a":' * 500_000, b"\xff" * 100, b"[]", b"7", b'{"x": 7}', b'{"x": {"shape": [1]}}'],
    ids=lambda text: repr(text[:9]),
)
def test_a_header_that_is_no_list_of_tensors(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(DamagedFile):
        read_header(safetensors(tmp_path / "a", text, data=0))


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 99_000_000, 20_000_000])
def test_an_absurd_header_is_not_even_read(tmp_path: Path, length: int) -> None:
    file = sparse(tmp_path / "a", struct.pack("<Q", length), 200_000_000)
    assert peak_of(lambda: read_header(file)) < 1_000_000


def test_more_tensors_than_any_model_has(tmp_path: Path) -> None:
    header = {f"t{number}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for number in range(MOST_TENSORS + 1)}
    with pytest.raises(DamagedFile, match="tensors"):
        read_header(safetensors(tmp_path / "a", header, data=0))


def gguf(version: int = 3, tensors: int = 5, pairs: int = 5) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs)


def test_a_gguf_file(tmp_path: Path) -> None:
    check_gguf(sparse(tmp_path / "a", gguf(), 100_000))
    check_gguf(sparse(tmp_path / "b", gguf(version=2), 100_000))


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (b"", 0),
        (b"GGUF", 4),
        (b"GGML" + gguf()[4:], 100_000),
        (gguf(version=99), 100_000),
        (gguf(version=0x03000000), 100_000),
        (gguf(tensors=2**63), 10**10),
        (gguf(tensors=200_000), 10**10),
        (gguf(pairs=2**64 - 1), 10**10),
        (gguf(pairs=200_000), 10**10),
        (gguf(tensors=5000), 100_000),
        (gguf(pairs=9000), 100_000),
    ],
)
def test_a_gguf_header_that_cannot_be(tmp_path: Path, head: bytes, size: int) -> None:
    file = sparse(tmp_path / "a", head, size)
    assert peak_of(lambda: check_gguf(file)) < 1_000_000


def peak_of(refused: object) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFile):
            refused()  # type: ignore[operator]
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
