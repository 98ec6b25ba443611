"""Changes of memory, in words and as fields."""

from __future__ import annotations

from app.core.memory_use import MemoryChange, MemoryUse, megabytes


def test_without_a_gpu_nothing_is_said_of_its_memory() -> None:
    change = MemoryChange(MemoryUse(1_500_000), MemoryUse(2_400_000))
    assert str(change) == "RSS 2 → 2 MB"
    assert change.fields() == {"rss_before_mb": 2, "rss_after_mb": 2, "vram_before_mb": None, "vram_after_mb": None}
    assert megabytes(None) is None


def test_with_a_gpu() -> None:
    change = MemoryChange(MemoryUse(812_000_000, 0), MemoryUse(5_120_000_000, 4_300_000_000))
    assert str(change) == "RSS 812 → 5120 MB, VRAM 0 → 4300 MB"
