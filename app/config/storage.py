"""Storage"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field, field_validator

from app.config.kinds import LIVE, ROOT, Folder


class Storage(BaseModel):
    database_url: str = Field("", description="SQLAlchemy URL; empty = SQLite in db/cyberimage.db.")
    images_dir: Folder = Field(Path("images"), description="Folder of the pictures, in date folders.")
    videos_dir: Folder = Field(Path("videos"), description="Folder of the videos, in date folders.")
    disk_floor_bytes: int = Field(
        536_870_912,
        ge=0,
        description="Free bytes on the images' disk below which new jobs are refused (disk_full).",
        json_schema_extra=LIVE,
    )

    @field_validator("database_url")
    @classmethod
    def _database(cls, url: str) -> str:
        if not url:
            return f"sqlite:///{ROOT / 'db' / 'cyberimage.db'}"
        if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("use sqlite:///path or postgresql+psycopg://user:password@host/name")
        return url
