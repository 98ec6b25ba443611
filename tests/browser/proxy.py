"""Debian's nginx as a reverse proxy that serves a server under the path /cyberimage/."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.browser.harness import free_port
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
        proxy_buffering off;                     # event streams
        proxy_read_timeout 660s;                 # calls of /v1 wait for their picture
        client_max_body_size 64m;
    }
"""
PASSED_ON = LOCATION.replace("5050/;", "5050; ").replace("proxy_set_header X-Forwarded-Prefix /cyberimage;", "")
_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 404 "nothing of ours"; }}
{location}
    }}
}}
"""


def find_nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class Proxy:
    """Proxy of the server at `url`. `close` stops it."""

    def __init__(self, folder: Path, server_port: int, location: str) -> None:
        nginx = find_nginx()
        assert nginx is not None
        folder.mkdir()
        port = free_port()
        self.origin = f"http://127.0.0.1:{port}"
        self.url = self.origin + PATH
        file = folder / "nginx.conf"
        location = location.replace("127.0.0.1:5050", f"127.0.0.1:{server_port}")
        file.write_text(_CONFIGURATION.format(folder=folder, port=port, location=location))
        with (folder / "said.txt").open("wb") as said:
            self._process = subprocess.Popen([nginx, "-c", str(file), "-p", str(folder)], stderr=said, stdout=said)
        wait_until((folder / "nginx.pid").exists, "nginx did not start")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
