"""The server keeps to its own OpenAPI document, whatever is sent: schemathesis makes up the requests.

EXAMPLES=200 makes it a long run (`make api-test`). Event streams are left out, for they do not end; tests/api has them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.server import HostileServer

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
CONFIG = Path(__file__).with_name("schemathesis.toml")
# Rules outside the schema: an Idempotency-Key of another request, an invalid cursor, an unknown model.
NOT_CHECKED = "positive_data_acceptance"
EXAMPLES = int(os.environ.get("EXAMPLES", "4"))


@pytest.mark.timeout(7200 if EXAMPLES > 10 else 600)
def test_no_request_breaks_the_server_or_its_document(server: HostileServer, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            f"--config-file={CONFIG}",
            "run",
            f"{server.url}/openapi.json",
            "--exclude-path-regex=/events$",
            "--checks=all",
            f"--exclude-checks={NOT_CHECKED}",
            "--phases=examples,coverage,fuzzing",
            f"--max-examples={EXAMPLES}",
            "--request-timeout=30",
            "--seed=1",
            "--continue-on-failure",
            "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-12_000:]
    cases = re.search(r"([\d,]+) generated", said)
    assert cases, said
    assert int(cases[1].replace(",", "")) > 300
    assert server.is_well()
