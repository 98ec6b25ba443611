"""nginx for tests: where it is, and a configuration that keeps all that it writes in a folder of its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_CONFIGURATION = """\
daemon off;
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}
}}
"""


def find_nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def command(folder: Path, http: str) -> list[str]:
    """Write a configuration with the text `http` in its http block; returns what starts nginx with it."""
    nginx = find_nginx()
    assert nginx is not None
    user = "user root;\n" if os.geteuid() == 0 else ""  # which owns the folder of what is buffered
    file = folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(folder=folder, http=http, user=user))
    return [nginx, "-c", str(file), "-p", str(folder)]
