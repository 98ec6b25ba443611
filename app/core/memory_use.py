"""Memory in use by a process, as logs and responses show it."""

from __future__ import annotations

from dataclasses import dataclass


def megabytes(size: int | None) -> int | None:
    """`size` bytes in megabytes (1e6 bytes), rounded; None stays None: not measured."""
    return None if size is None else round(size / 1e6)


@dataclass(frozen=True)
class MemoryUse:
    """Resident memory of a process and its GPU memory, in bytes. `vram_bytes` is None without a GPU."""

    rss_bytes: int
    vram_bytes: int | None = None


@dataclass(frozen=True)
class MemoryChange:
    """Memory before and after something, such as a load or a job."""

    before: MemoryUse
    after: MemoryUse

    def fields(self) -> dict[str, int | None]:
        """Megabytes by name, for structured log lines."""
        return {
            "rss_before_mb": megabytes(self.before.rss_bytes),
            "rss_after_mb": megabytes(self.after.rss_bytes),
            "vram_before_mb": megabytes(self.before.vram_bytes),
            "vram_after_mb": megabytes(self.after.vram_bytes),
        }

    def __str__(self) -> str:
        text = f"RSS {megabytes(self.before.rss_bytes)} → {megabytes(self.after.rss_bytes)} MB"
        if self.before.vram_bytes is None or self.after.vram_bytes is None:
            return text
        return f"{text}, VRAM {megabytes(self.before.vram_bytes)} → {megabytes(self.after.vram_bytes)} MB"
