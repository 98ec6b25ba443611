"""Debian's nginx as a reverse proxy that serves a server under the path /cyberimage/."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.browser.harness import free_port
from tests.nginx import command
from tests.waiting import wait_until

PATH = "/cyberimage"
# The location block as docs/DEPLOYMENT.md has it, which a test compares.
LOCATION = """\
    location /cyberimage/ {
        proxy_pass http://127.0.0.1:5050/;       # with the slash: /cyberimage is taken off
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Prefix /cyberimage;
        proxy_read_timeout 660s;                 # calls of /v1 wait for their picture
        client_max_body_size 64m;
    }
"""
PASSED_ON = LOCATION.replace("5050/;", "5050; ").replace("proxy_set_header X-Forwarded-Prefix /cyberimage;", "")
_SERVER = """\
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 404 "nothing of ours"; }}
{location}
    }}
"""


class Proxy:
    """Proxy of the server at `url`. `close` stops it."""

    def __init__(self, folder: Path, server_port: int, location: str) -> None:
        folder.mkdir()
        port = free_port()
        self.origin = f"http://127.0.0.1:{port}"
        self.url = self.origin + PATH
        location = location.replace("127.0.0.1:5050", f"127.0.0.1:{server_port}")
        arguments = command(folder, _SERVER.format(port=port, location=location))
        with (folder / "said.txt").open("wb") as said:
            self._process = subprocess.Popen(arguments, stderr=said, stdout=said)
        wait_until((folder / "nginx.pid").exists, "nginx did not start")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
