"""What the commands have in common: open the installation, do the work, say plainly what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable

from app.config import load_settings
from app.errors import ConfigurationError, CyberImageError
from app.process.os_limits import keep_files_private
from app.services.context import AppContext, open_context
from app.services.ops.private_files import protect_files

EXIT_FAILED, EXIT_CONFIGURATION = 1, 2


def run_command(work: Callable[[AppContext], None], failure_prefix: str = "") -> int:
    """Do `work` on the installation that the settings name, and give the exit status. `lament` begins the sentence
    about a failure."""
    keep_files_private()
    try:
        settings = load_settings()
        protect_files(settings)
        context = open_context(settings)
        work(context)
        context.close()
    except ConfigurationError as error:
        print("The configuration is wrong:", *error.problems, sep="\n  ", file=sys.stderr)
        return EXIT_CONFIGURATION
    except (CyberImageError, OSError) as error:
        print(f"{failure_prefix}{error}", file=sys.stderr)
        return EXIT_FAILED
    return 0
