"""Report of `run.py --check` for a valid configuration: changed settings, and likely mistakes.

Each warning names its setting, the consequence and the remedy.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from app.config import LoadedSettings, Settings
from app.config.addresses import UNIX
from app.config.profiles import profile_defaults
from app.config.settings import GROUPS
from app.services.configuration import similar_setting

LIKENESS_IN_FILE = 0.7  # lower than for the environment: all names in the file are meant for CyberImage
SMALL_DISK_BYTES = 50_000_000_000  # about 30,000 pictures of 1024 x 1024
LIBRARIES = ("HF_", "TORCH_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "PYTORCH_", "TRANSFORMERS_", "DIFFUSERS_", "COMPOSE_")
_SYSTEM_VARIABLES = frozenset({"HOSTNAME", "HOME", "SHELL", "TMPDIR", "LANG", "PATH", "USER", "TERM", "PWD"})


def changes(read: LoadedSettings) -> Iterator[str]:
    """One line for each setting that differs from its default, with the source of its value."""
    settings = read.settings
    profile = profile_defaults(settings.environment, settings.preset)
    defaults = Settings()
    for name, field in ((name, field) for group in GROUPS for name, field in group.model_fields.items()):
        value, usual = getattr(settings, name), getattr(defaults, name)
        if value == usual:
            continue
        source = "" if name in read.given else f", by {_source(settings, name, profile)}"
        yield f"{name.upper()}={_shown(value)} (default {_shown(usual) or 'empty'}{source}): {field.description}"


def warnings_for(read: LoadedSettings, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Warnings about settings that are valid but probably a mistake."""
    settings = read.settings
    yield from _access_warnings(settings)
    yield from _store_warnings(settings) if settings.uses_s3 else _disk_warnings(settings)
    yield from _limit_warnings(settings)
    yield from read.warnings
    yield from _unknown_variables(read, os.environ if environment is None else environment)


def _source(settings: Settings, name: str, profile: Mapping[str, Any]) -> str:
    if name not in profile:
        return "another setting"
    by_preset = name in profile_defaults("", settings.preset)
    return f"PRESET={settings.preset}" if by_preset else f"ENVIRONMENT={settings.environment}"


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "(secret)" if value.get_secret_value() else ""
    if isinstance(value, str) and "://" in value and "@" in value:
        return "(with a password)"
    return str(value).lower() if isinstance(value, bool) else str(value)


def unauthenticated_exposure(settings: Settings) -> str | None:
    """A warning if clients from other machines can use everything without authentication, else None."""
    if is_loopback(settings.host) or settings.auth_mode != "none":
        return None
    return (
        f"HOST={settings.host} lets EVERY client that reaches this machine generate, read and delete: there is no"
        " authentication. Set AUTH_MODE (see docs/SECURITY.md), or bind to 127.0.0.1."
    )


def _access_warnings(settings: Settings) -> Iterator[str]:
    if warning := unauthenticated_exposure(settings):
        yield warning
    if "*" in settings.cors_origin_list:
        yield "CORS_ORIGINS=* lets every web page that a local user visits use this server. Name the origins."
    if settings.webhook_allow_private:
        yield "WEBHOOK_ALLOW_PRIVATE=true lets clients send requests into your network. Use it for trusted clients."
    folder = settings.socket_path.parent if settings.socket_path else None
    if folder is not None and folder.is_dir() and folder.stat().st_mode & 0o002:
        yield f"HOST={settings.host}: every user may write to {folder}, and listen there first. Use a private folder."
    if settings.trusted_proxies and not is_loopback(settings.host):
        yield (
            f"TRUSTED_PROXIES={settings.trusted_proxies} with HOST={settings.host}: clients that bypass the proxy can"
            " forge an address. Make sure that only the proxy can connect."
        )


def _store_warnings(settings: Settings) -> Iterator[str]:
    parts = urlsplit(settings.s3_endpoint_url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        yield "S3_ENDPOINT_URL is http://: whoever is on the way can read all pictures. Use https://."


def is_loopback(host: str) -> bool:
    """True if `host` is reachable from this machine only: a loopback address or name, or a Unix socket."""
    if host.startswith(UNIX):
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost" or _resolves_to_loopback(host)


def _resolves_to_loopback(name: str) -> bool:
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None)}
    except OSError:
        return False
    return all(ip_address(address.partition("%")[0]).is_loopback for address in found)


def _disk_warnings(settings: Settings) -> Iterator[str]:
    free, total = _space(settings.images_dir)
    keeps_all = not (settings.retention_days or settings.retention_max_images or settings.retention_max_bytes)
    if free < settings.disk_floor_bytes:
        yield (
            f"DISK_FLOOR_BYTES={settings.disk_floor_bytes} is more than the {free} bytes free at"
            f" {settings.images_dir}: every job will be refused (disk_full). Free some space or lower it."
        )
    elif keeps_all and free < SMALL_DISK_BYTES:
        yield (
            f"Nothing is ever removed, and {free / 1e9:.0f} GB are free at {settings.images_dir}. Set RETENTION_DAYS,"
            " RETENTION_MAX_IMAGES or RETENTION_MAX_BYTES before the disk fills."
        )
    if settings.retention_max_bytes > total:
        yield f"RETENTION_MAX_BYTES={settings.retention_max_bytes} is more than the whole disk ({total:,} bytes)."


def _space(folder: Path) -> tuple[int, int]:
    """Free and total bytes of the disk that holds `folder`, existing or not."""
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return usage.free, usage.total


def _limit_warnings(settings: Settings) -> Iterator[str]:
    if settings.shutdown_grace_seconds > settings.job_timeout_seconds:
        yield "SHUTDOWN_GRACE_SECONDS is longer than JOB_TIMEOUT_SECONDS, the longest that a job may take at all."
    if settings.rate_limit_generate and not settings.trusted_proxies and not is_loopback(settings.host):
        yield "RATE_LIMIT_GENERATE counts by address; behind a proxy set TRUSTED_PROXIES, or all clients are one."
    if settings.server_threads > 32 and settings.preset == "low":
        yield f"SERVER_THREADS={settings.server_threads} is high for PRESET=low; each thread takes memory."
    if settings.environment == "production" and settings.log_level == "DEBUG":
        yield "LOG_LEVEL=DEBUG with ENVIRONMENT=production fills the log files in minutes. Use INFO."


def _unknown_variables(read: LoadedSettings, environment: Mapping[str, str]) -> Iterator[str]:
    for name in read.unknown:
        if not name.startswith(LIBRARIES):
            meant = similar_setting(name, LIKENESS_IN_FILE)
            yield f"{name} in .env is no setting of CyberImage." + (f" Did you mean {meant}?" if meant else "")
    known = {each.upper() for each in Settings.model_fields}
    for name in sorted(set(environment) - known - set(read.unknown) - _SYSTEM_VARIABLES):
        if not name.startswith((*LIBRARIES, "MODEL_")) and (meant := similar_setting(name)):
            yield f"{name} in the environment is no setting of CyberImage. Did you mean {meant}?"
