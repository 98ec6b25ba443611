"""A published picture in another format, as façades are asked for; the stored file stays as it is."""

from __future__ import annotations

from app.core.output import Output
from app.core.picture_formats import PictureFormat
from app.services.context import AppContext
from app.services.media import gallery


def picture_bytes(context: AppContext, output: Output, format: PictureFormat, quality: int) -> bytes:
    """The file of `output` in `format`; `quality` is 1 to 100, of lossy formats. Raises ImageNotFound."""
    content = gallery.open_file(context, output).read_bytes()
    return content if output.mime_type == f"image/{format}" else reencoded(content, format, quality)


def reencoded(content: bytes, format: PictureFormat, quality: int) -> bytes:
    """A picture of ours in `format`."""
    from app.files.images import reencode  # Pillow uses much memory: imported only where it is needed

    return reencode(content, format, quality)
