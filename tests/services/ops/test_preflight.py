"""Startup checks: can the address be bound, can the folders be written."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from app.cli.run import main
from app.config import Settings, load_settings
from app.services.ops.config_check import is_loopback, unauthenticated_exposure
from app.services.ops.preflight import startup_problems


def settings(tmp_path: Path, **given: str) -> Settings:
    places = {name: str(tmp_path / name) for name in ("IMAGES_DIR", "VIDEOS_DIR", "LOG_DIR", "MODEL_CACHE_DIR")}
    return load_settings({**places, "DATABASE_URL": f"sqlite:///{tmp_path}/db/x.db", "PORT": "0", **given}, None)


def problems_of(tmp_path: Path, **given: str) -> str:
    return "\n".join(startup_problems(settings(tmp_path, **given)))


def test_nothing_is_in_the_way(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "0.0.0.0", f"unix:{tmp_path}/run/api.sock"):
        assert problems_of(tmp_path, HOST=host) == ""
    assert list(tmp_path.iterdir()) == []  # it only looks


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"PORT={port}: another program listens on it" in problems_of(tmp_path, PORT=port)


def test_an_address_that_is_another_machine_s(tmp_path: Path) -> None:
    assert "HOST=192.0.2.1: this machine has no such address" in problems_of(tmp_path, HOST="192.0.2.1")
    assert "HOST=no.such.invalid: this name has no address" in problems_of(tmp_path, HOST="no.such.invalid")


def test_a_socket_that_is_taken_and_one_that_was_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert "another program listens there" in problems_of(tmp_path, HOST=f"unix:{path}")
    assert problems_of(tmp_path, HOST=f"unix:{path}") == ""
    (tmp_path / "file").touch()
    assert "this file is not a socket" in problems_of(tmp_path, HOST=f"unix:{tmp_path}/file")


@pytest.mark.parametrize("name", ["IMAGES_DIR", "VIDEOS_DIR", "LOG_DIR", "MODEL_CACHE_DIR"])
def test_a_folder_that_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    assert f"{name}={tmp_path}/file/x: {tmp_path}/file is not a folder" in problems_of(
        tmp_path, **{name: f"{tmp_path}/file/x"}
    )


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    for name in ("IMAGES_DIR", "LOG_DIR", "DATABASE_URL"):
        assert f"{name}=" in problems_of(tmp_path)


def test_unauthenticated_exposure(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "[::1]", "localhost", "127.5.5.5", f"unix:{tmp_path}/x"):
        assert unauthenticated_exposure(settings(tmp_path, HOST=host)) is None, host
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        warning = unauthenticated_exposure(settings(tmp_path, HOST=host)) or ""
        assert "EVERY client" in warning, host
    assert not is_loopback("no.such.invalid")


def test_check_prints_startup_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOG_DIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("PORT", str(other.getsockname()[1]))
        assert main(["--check"]) == 2
    said = capsys.readouterr().out
    assert "This cannot work here:" in said
    assert "The configuration is fine" not in said
