"""Everything read from the environment and `.env`, once, frozen. Nothing else in the project reads the environment.

One file per group of settings, its heading on the file's first line; `Settings` is all of them. The environment wins
over `.env`. An empty value means "not set". Each field's description is the documentation: the tests hold
`.env.example` and docs/CONFIGURATION.md to it.
"""

from app.config.kinds import ROOT
from app.config.load import Read, load_settings, read_settings
from app.config.settings import Settings

__all__ = ["ROOT", "Read", "Settings", "load_settings", "read_settings"]
