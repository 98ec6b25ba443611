"""The memory that one part of a model (text encoder, denoiser, VAE) takes in each form of its weights.

Pure: numbers and bytes. The numbers are read from the headers of the files, or stand in a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "full",
    "float8",
    "bitsandbytes-8bit",
    "bitsandbytes-4bit",
    "torchao-int8",
    "torchao-float8",
    "torchao-int8-dynamic",
    "torchao-float8-dynamic",
    "gguf",
]

DENOISERS = ("transformer", "unet")  # and transformer_2, …
LARGE_ENCODER = 1_000_000_000  # numbers from which a text encoder is worth a smaller form
STORED_BYTES: Mapping[Kind, float] = {  # per number of a linear layer, scales included
    "float8": 1.0,
    "bitsandbytes-8bit": 1.02,
    "bitsandbytes-4bit": 0.57,
    "torchao-int8": 1.02,
    "torchao-float8": 1.02,
    "torchao-int8-dynamic": 1.02,
    "torchao-float8-dynamic": 1.02,
}
_LEAST_WORKING_BYTES = 1_000_000_000  # of a denoiser on a GPU: workspaces of kernels, activations
_ENCODER_WORKING_BYTES = 256_000_000
_NUMBERS_PER_PIXEL = 1024  # the VAE at full size: about four tensors of 256 channels at a time
_CHUNK_NUMBERS_PER_PIXEL = 2048  # a video's VAE decodes a few frames at a time,
_FRAME_NUMBERS_PER_PIXEL = 8  # and collects all of them
_TILE_PIXELS, _VIDEO_TILE_PIXELS = (
    512 * 512,
    256 * 256,
)  # of an image's VAE, as load/offload.py sets it, and of a video's
_NUMBERS_PER_TOKEN = 16  # times the width of the denoiser: feed-forward, query, key, value, residual


@dataclass(frozen=True)
class PartShape:
    """Numbers of weights of a part: all, `castable` of which are in linear layers and convolutions that can be stored
    in fewer bits; `blocks` of its two largest repeated blocks, `outside` of the rest, `layer` of the largest tensor.

    A number takes `item` bytes; `kept_bytes` belong to tensors that keep a width of their own. `mapped`: the files hold
    what is loaded, so that their pages are mapped and no memory is allocated until the weights are moved. `width` is
    that of a transformer's tokens, `token_side` the pixels a side that a token stands for. `decodes_in_float32`: the
    VAE is widened to run. `gguf_bytes`: the size of the GGUF file it is loaded from.
    """

    name: str
    numbers: int
    castable: int
    blocks: int
    outside: int
    layer: int
    item: int = 2
    kept_bytes: int = 0
    mapped: bool = True
    width: int = 0
    token_side: int = 16
    decodes_in_float32: bool = False
    gguf_bytes: int = 0

    @property
    def is_denoiser(self) -> bool:
        return self.name.startswith(DENOISERS)

    @property
    def is_large_encoder(self) -> bool:
        return self.name.startswith("text_encoder") and self.numbers >= LARGE_ENCODER

    def bytes_of(self, kind: Kind) -> int:
        """Size of the weights in memory."""
        if kind == "gguf":
            return self.gguf_bytes
        if kind == "full":
            return self.numbers * self.item + self.kept_bytes
        castable = min(self.castable, self.numbers)
        return int(castable * STORED_BYTES[kind]) + (self.numbers - castable) * self.item + self.kept_bytes

    def share(self, numbers: int, kind: Kind) -> int:
        """Bytes of `numbers` of its numbers, as large as the average one."""
        return int(self.bytes_of(kind) * min(1.0, numbers / self.numbers)) if self.numbers else self.bytes_of(kind)

    def loading_bytes(self, kind: Kind) -> int:
        """Main memory allocated at the peak of loading it, when it stays there."""
        if kind.startswith("bitsandbytes"):  # quantised on the GPU, tensor by tensor
            return self.layer * self.item
        if kind == "gguf":
            return self.gguf_bytes
        return self.resting_bytes(kind) if self.mapped else max(self.bytes_of("full"), self.bytes_of(kind))

    def passing_bytes(self, kind: Kind) -> int:
        """Main memory allocated at the peak of loading it straight to the GPU, if possible tensor by tensor."""
        if kind == "full" or (kind == "float8" and self.mapped):
            return self.layer * self.item
        return self.loading_bytes(kind)

    def resting_bytes(self, kind: Kind) -> int:
        """Main memory allocated after loading it, before it is moved: what is not mapped from its files."""
        if not self.mapped or kind == "gguf":
            return self.bytes_of(kind)
        return 0 if kind == "full" else int(min(self.castable, self.numbers) * STORED_BYTES[kind])


@dataclass(frozen=True)
class PictureSize:
    """The size of a picture or video that memory is reckoned for."""

    width: int = 1024
    height: int = 1024
    frames: int = 1

    @property
    def pixels(self) -> int:
        return self.width * self.height


def working_bytes(part: PartShape, kind: Kind, size: PictureSize, *, tiled: bool = False) -> int:
    """Estimated memory on a GPU that `part` takes beside its weights while it runs; `tiled`: the VAE works in tiles."""
    widened = part.layer * part.item if kind not in ("full", "gguf") else 0  # a layer in the width it computes in
    if part.is_denoiser:
        frames = -(-size.frames // 4)
        tokens = frames * -(-size.width // part.token_side) * -(-size.height // part.token_side)
        return widened + max(_LEAST_WORKING_BYTES, tokens * part.width * _NUMBERS_PER_TOKEN * 2)
    if not part.name.startswith("vae"):
        return widened + _ENCODER_WORKING_BYTES
    item = 4 if part.decodes_in_float32 else part.item
    more = part.numbers * (item - part.item)
    return widened + more + max(_ENCODER_WORKING_BYTES, _decoding_numbers(size, tiled) * item)


def tiles_help(size: PictureSize) -> bool:
    """Whether a picture of this size is larger than the tile of a VAE."""
    return size.pixels > (_VIDEO_TILE_PIXELS if size.frames > 1 else _TILE_PIXELS)


def _decoding_numbers(size: PictureSize, tiled: bool) -> int:
    """Numbers in memory while the VAE decodes: of a video a few frames at a time, beside all that are decoded."""
    if size.frames == 1:
        return (min(size.pixels, _TILE_PIXELS) if tiled else size.pixels) * _NUMBERS_PER_PIXEL
    at_a_time = min(size.pixels, _VIDEO_TILE_PIXELS) if tiled else size.pixels
    return at_a_time * _CHUNK_NUMBERS_PER_PIXEL + size.pixels * _FRAME_NUMBERS_PER_PIXEL * size.frames
