"""Kinds of attention are tried on the device, and the runtime of xformers' extension is loaded before it."""

from __future__ import annotations

import ctypes
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch

from app.engines import attention_check
from app.engines.attention_check import attention_problem, attention_problems, preload_cuda_12_runtime

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _preload_anew():
    preload_cuda_12_runtime.cache_clear()
    yield
    preload_cuda_12_runtime.cache_clear()


def test_native_attention_agrees_with_the_plain_computation() -> None:
    assert attention_problems(("native", "flash"), CPU) == {"native": "", "flash": ""}


def test_a_kind_without_a_kernel_has_its_reason() -> None:
    assert attention_problem("xformers", CPU) == "it has no kernels for cpu"
    assert "No viable backend" in attention_problem("cudnn", CPU)


def test_another_result_is_a_problem(monkeypatch) -> None:
    monkeypatch.setitem(attention_check.KINDS, "native", lambda query, key, value: value)
    assert attention_problem("native", CPU).startswith("its result differs from native attention by ")


def test_an_extension_that_does_not_load_is_a_problem(monkeypatch) -> None:
    def broken(*_: torch.Tensor) -> torch.Tensor:
        raise OSError("libcudart.so.12: cannot open shared object file\nmore")

    monkeypatch.setitem(attention_check.KINDS, "native", broken)
    assert attention_problem("native", CPU) == "libcudart.so.12: cannot open shared object file"


def test_the_cuda_12_runtime_is_loaded_for_all_before_xformers(monkeypatch, tmp_path) -> None:
    loaded: list[object] = []
    library = SimpleNamespace(name="libcudart.so.12", locate=lambda: tmp_path / "libcudart.so.12")
    monkeypatch.setattr(metadata, "files", lambda name: [library] if name == "nvidia-cuda-runtime-cu12" else None)
    monkeypatch.setattr(ctypes, "CDLL", lambda path, mode: loaded.append((path, mode)))

    def attention(query, key, value):
        loaded.append("xformers")
        return attention_check._native(query, key, value)

    monkeypatch.setitem(sys.modules, "xformers.ops", SimpleNamespace(memory_efficient_attention=attention))
    query = torch.randn(1, 8, 2, 16)
    attention_check._xformers(query, query, query)
    assert loaded == [(str(tmp_path / "libcudart.so.12"), ctypes.RTLD_GLOBAL), "xformers"]


def test_without_its_package_nothing_is_preloaded(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    assert preload_cuda_12_runtime() is False
