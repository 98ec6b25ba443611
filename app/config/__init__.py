"""Settings: everything read from the environment and `.env`, once, frozen. No other module reads the environment.

One file per group of settings, its heading on the file's first line; `Settings` combines them. The environment takes
precedence over `.env`. An empty value means "not set". Field descriptions are the documentation: tests compare
`.env.example` and docs/CONFIGURATION.md with them.
"""

from app.config.kinds import ROOT
from app.config.load import LoadedSettings, load_settings, read_settings
from app.config.settings import Settings
from app.process.places import CODE

__all__ = ["CODE", "ROOT", "LoadedSettings", "Settings", "load_settings", "read_settings"]
