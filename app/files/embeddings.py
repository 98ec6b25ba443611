"""Embedding files in EMBEDDINGS_DIR: list them, and read what their headers say."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from app.core.embeddings import EmbeddingFile, matrices_of
from app.errors import EmbeddingUnavailable
from app.files.loras import all_files
from app.files.weights import DamagedFile, read_header

LARGEST_BYTES = 100_000_000  # 75 vectors for both encoders of SDXL have less than 1 MB


_MARKS = frozenset("()[]<>\\:")


def names(folder: Path) -> dict[str, Path]:
    """The files by the names that prompts have for them: their stems. Of two with one name the first counts; one with
    signs that have a meaning in prompts cannot be named."""
    found: dict[str, Path] = {}
    for file in all_files(folder):
        if file.is_file() and not _MARKS.intersection(file.stem):
            found.setdefault(file.stem, file)
    return found


def inspect(file: Path) -> EmbeddingFile:
    """What the file holds. Raises EmbeddingUnavailable with the problem."""
    try:
        status = file.stat()
        return _inspected(file, status.st_size, status.st_mtime_ns)
    except DamagedFile as problem:
        raise EmbeddingUnavailable(f"The embedding {file.stem} cannot be used: {problem}.") from None
    except OSError:
        raise EmbeddingUnavailable(f"The embedding {file.stem} cannot be read.") from None


@lru_cache(maxsize=5000)
def _inspected(file: Path, size: int, modified: int) -> EmbeddingFile:
    if size > LARGEST_BYTES:
        raise DamagedFile(f"it has {size:,} bytes; at most {LARGEST_BYTES:,} are supported")
    shapes = read_header(file).shapes
    matrices = matrices_of(shapes)
    if not matrices:
        raise DamagedFile("it holds no vectors of a textual inversion")
    widths = {encoder: shapes[name][-1] for encoder, name in matrices.items()}
    first = shapes[next(iter(matrices.values()))]
    return EmbeddingFile(file.stem, 1 if len(first) == 1 else first[0], widths, size)
