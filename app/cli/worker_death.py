"""Records how a worker died: python -m app.cli.worker_death WORKER_ID STATUS [oom]

Started by the supervisor, which uses no database itself, so that no trouble with one can take it down.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from app.cli.common import EXIT_CONFIGURATION
from app.config import read_settings
from app.core.deaths import Death
from app.errors import ConfigurationError
from app.monitoring.logs import configure_logging
from app.process.os_limits import keep_files_private
from app.services.ops.worker_deaths import record_death


def main(arguments: Sequence[str]) -> int:
    keep_files_private()
    worker_id, status, *more = arguments
    try:
        settings = read_settings().settings
        configure_logging(settings, "run")
        record_death(settings, worker_id, Death(int(status), out_of_memory="oom" in more))
    except ConfigurationError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return EXIT_CONFIGURATION
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
