"""Encodings of prompts, kept for the next call of the same model with the same texts.

A large text encoder costs more than a step of the denoiser, and much more where it waits in main memory and is copied
to the device first. The encodings lie in main memory, so that they take nothing of what the device has to draw with,
and are copied on every use: a pipeline may write into what it gets. A picture is the same to the bit with and without.
"""

from __future__ import annotations

import inspect
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

_PLAIN = (str, int, float, bool, type(None), torch.device, torch.dtype)
_STORED = torch.device("cpu")


class _Unkept(Exception):
    """A value that cannot be compared or stored, such as a picture that is encoded with its prompt."""


@dataclass(frozen=True)
class _Entry:
    """`encodings` in main memory, as nested as they were returned, and the device that they came from."""

    encodings: Any
    device: torch.device | None
    size: int


@dataclass
class PromptCache:
    """Of one loaded model: at most `most_bytes`, the least recently used are dropped. Used by one thread at a time.

    `variant` tells apart what changes the text encoders for one job, such as its LoRAs.
    """

    most_bytes: int
    variant: Hashable = ()
    _counts: Counter[str] = field(default_factory=Counter)
    _entries: OrderedDict[Hashable, _Entry] = field(default_factory=OrderedDict)

    @property
    def bytes(self) -> int:
        return sum(entry.size for entry in self._entries.values())

    def take_counts(self) -> Mapping[str, int]:
        """How many encodings were `computed` and `reused` since the last call."""
        taken, self._counts = self._counts, Counter()
        return taken

    @contextmanager
    def answering(self, pipeline: Any) -> Iterator[None]:
        """Answer the calls of `pipeline.encode_prompt` within the block. Pipelines without it encode as ever."""
        encode = getattr(pipeline, "encode_prompt", None)
        if encode is None or not self.most_bytes:
            yield
            return
        signature = inspect.signature(encode)

        def answer(*arguments: Any, **named: Any) -> Any:
            bound = signature.bind(*arguments, **named).arguments
            return self.encodings((type(pipeline).__name__, bound), lambda: encode(*arguments, **named))

        pipeline.encode_prompt = answer
        try:
            yield
        finally:
            del pipeline.encode_prompt

    def encodings(self, asked: Any, encode: Callable[[], Any]) -> Any:
        """What `encode` returns, or returned when the same was asked before."""
        try:
            key = (self.variant, _comparable(asked))
        except _Unkept:
            return encode()
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            self._counts["reused"] += 1
            return _copied(entry.encodings, entry.device)
        self._counts["computed"] += 1
        encodings = encode()
        self._keep(key, encodings)
        return encodings

    def _keep(self, key: Hashable, encodings: Any) -> None:
        try:
            tensors = list(_tensors(encodings))
        except _Unkept:
            return
        devices = {tensor.device for tensor in tensors}
        size = sum(tensor.nbytes for tensor in tensors)
        if size > self.most_bytes or len(devices) > 1:
            return
        self._entries[key] = _Entry(_copied(encodings, _STORED), next(iter(devices), None), size)
        while self.bytes > self.most_bytes:
            self._entries.popitem(last=False)


def _comparable(value: Any) -> Hashable:
    """`value` as a key. Raises _Unkept for tensors, pictures and what else cannot be compared."""
    if isinstance(value, _PLAIN):
        return type(value).__name__, value  # 1, 1.0 and True are equal, and not the same argument
    if isinstance(value, list | tuple):
        return tuple(_comparable(each) for each in value)
    if isinstance(value, Mapping):
        return tuple(sorted((str(name), _comparable(each)) for name, each in value.items()))
    raise _Unkept


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """All tensors in nested tuples, lists and dictionaries; raises _Unkept for other containers."""
    if isinstance(value, torch.Tensor):
        yield value
    elif type(value) in (tuple, list):
        for each in value:
            yield from _tensors(each)
    elif type(value) is dict:
        yield from _tensors(list(value.values()))
    elif not isinstance(value, _PLAIN):
        raise _Unkept


def _copied(value: Any, device: torch.device | None) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device or value.device, copy=True)
    if isinstance(value, tuple | list):
        return type(value)(_copied(each, device) for each in value)
    if isinstance(value, dict):
        return {name: _copied(each, device) for name, each in value.items()}
    return value
