"""Storage"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, field_validator

from app.config.kinds import LIVE, ROOT, Folder, PathText, expanded_path


class Storage(BaseModel):
    database_url: str = Field("", description="SQLAlchemy URL; empty = SQLite in db/cyberimage.db.")
    upgrade_backups: int = Field(
        3,
        ge=0,
        le=100,
        description="How many copies of the database made before upgrades are kept; 0 = none is made.",
    )
    upgrade_backup_dir: PathText = Field(
        "", description="Folder of those copies; empty = backups, next to SQLite's file or in db."
    )
    images_dir: Folder = Field(Path("images"), description="Folder of the pictures, in date folders.")
    videos_dir: Folder = Field(Path("videos"), description="Folder of the videos, in date folders.")
    file_mode: Literal["private", "group"] = Field(
        "private",
        description="Access to database, logs, media, backups and downloads on this machine: private = the user that"
        " runs CyberImage, group = that user's group too. Existing files are changed at start.",
    )
    disk_floor_bytes: int = Field(
        536_870_912,
        ge=0,
        description="Free bytes on the images' disk below which new jobs are refused (disk_full); with 0, those that"
        " do not fit.",
        json_schema_extra=LIVE,
    )

    @property
    def upgrade_backup_folder(self) -> Path:
        if self.upgrade_backup_dir:
            return ROOT / self.upgrade_backup_dir
        if self.database_url.startswith("sqlite:///"):
            return (ROOT / self.database_url.removeprefix("sqlite:///")).parent / "backups"
        return ROOT / "db" / "backups"

    @property
    def sqlite_path(self) -> Path | None:
        """The file of a SQLite database."""
        _, found, path = self.database_url.partition("sqlite:///")
        return ROOT / path.partition("?")[0] if found else None

    @field_validator("database_url")
    @classmethod
    def _database(cls, url: str) -> str:
        if not url:
            return f"sqlite:///{ROOT / 'db' / 'cyberimage.db'}"
        if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("use sqlite:///path or postgresql+psycopg://user:password@host/name")
        scheme, found, path = url.partition("sqlite:///")
        return f"{scheme}{found}{expanded_path(Path(path))}" if found and path[:1] in ("~", "$") else url
