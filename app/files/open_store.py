"""Opens the media store that the settings name."""

from __future__ import annotations

from app.config import Settings
from app.errors import ConfigurationError
from app.files.folder_store import FolderStore
from app.files.media_store import MediaStore

FOLDER = "folder"


def open_media_store(settings: Settings, name: str | None = None) -> MediaStore:
    """The store that `name` says as MEDIA_STORE does, by default that of MEDIA_STORE. Raises ConfigurationError."""
    name = name or settings.media_store
    if name != FOLDER:
        return _s3_store(settings, name)
    settings.images_dir.mkdir(parents=True, exist_ok=True)
    return FolderStore(settings.images_dir, settings.videos_dir)


def _s3_store(settings: Settings, name: str) -> MediaStore:
    from app.files.s3.client import S3Access, S3Calls, is_installed  # here: most installations need no part of it
    from app.files.s3.store import S3Store

    if not is_installed():
        raise ConfigurationError([f"MEDIA_STORE={name}: run `pip install -r requirements-s3.txt` first."])
    bucket, _, prefix = name.removeprefix("s3://").partition("/")
    public = settings.s3_public_endpoint_url
    return S3Store(
        bucket,
        f"{prefix}/" if prefix else "",
        S3Calls(S3Access.of(settings).client),
        patience=settings.s3_retry_seconds,
        make_public_client=S3Access.of(settings, public).client if public else None,
    )
