"""Output of --check: each changed setting with its source, each warning with a remedy, no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.run import main
from app.config import LoadedSettings, read_settings
from app.services.ops.config_check import changes, warnings_for


def read(tmp_path: Path, **environment: str) -> LoadedSettings:
    return read_settings({"IMAGES_DIR": str(tmp_path / "not" / "there"), **environment}, None)


def warnings_of(tmp_path: Path, **environment: str) -> str:
    return "\n".join(warnings_for(read(tmp_path, **environment), environment))


def test_the_defaults_differ_in_nothing() -> None:
    assert list(changes(read_settings({}, None))) == []


def test_each_change_has_its_default_and_source(tmp_path: Path) -> None:
    lines = "\n".join(changes(read(tmp_path, PRESET="low", PREVIEWS="true", PORT="99", ENVIRONMENT="production")))
    assert "PORT=99 (default 5050): Port of the API." in lines
    assert "MAX_LOADED_MODELS=1 (default 0, by PRESET=low)" in lines
    assert "LOG_FORMAT=json (default text, by ENVIRONMENT=production)" in lines
    assert "PREVIEWS" not in lines


def test_no_secret_is_shown(tmp_path: Path) -> None:
    lines = "\n".join(changes(read(tmp_path, HF_TOKEN="hf_abc", DATABASE_URL="postgresql+psycopg://me:pw@host/name")))
    assert "HF_TOKEN=(secret)" in lines
    assert "DATABASE_URL=(with a password)" in lines
    assert "hf_abc" not in lines
    assert "pw" not in lines.replace("password", "")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"HOST": "0.0.0.0"}, "no authentication"),
        ({"HOST": "::"}, "no authentication"),
        ({"CORS_ORIGINS": "*"}, "every web page"),
        ({"WEBHOOK_ALLOW_PRIVATE": "true"}, "into your network"),
        ({"HOST": "0.0.0.0", "TRUSTED_PROXIES": "1"}, "forge an address"),
        ({"DISK_FLOOR_BYTES": str(10**18)}, "every job will be refused"),
        ({"RETENTION_MAX_BYTES": str(10**18)}, "more than the whole disk"),
        ({"JOB_TIMEOUT_SECONDS": "5"}, "SHUTDOWN_GRACE_SECONDS is longer"),
        ({"LOG_LEVEL": "DEBUG", "ENVIRONMENT": "production"}, "LOG_LEVEL=DEBUG"),
        ({"PRESET": "low", "SERVER_THREADS": "200"}, "SERVER_THREADS=200"),
        ({"LEASE_SECOND": "4"}, "Did you mean LEASE_SECONDS?"),
    ],
)
def test_each_warning_is_given(tmp_path: Path, environment: dict[str, str], words: str) -> None:
    assert words in warnings_of(tmp_path, **environment)
    assert words not in warnings_of(tmp_path)


def test_everything_kept_on_a_small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.ops.config_check._space", lambda folder: (10**10, 10**11))
    assert "Nothing is ever removed, and 10 GB are free" in warnings_of(tmp_path)
    assert "Nothing is ever removed" not in warnings_of(tmp_path, RETENTION_DAYS="30")


def test_an_unknown_name_in_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PROT=99\nFAVOURITE_COLOUR=red\nHF_ENDPOINT=x\nMODEL_A=a;b;c;local;false\n")
    found = list(warnings_for(read_settings({"IMAGES_DIR": str(tmp_path)}, tmp_path / ".env"), {}))
    names = [line.partition(" in .env")[0] for line in found if " in .env" in line]
    assert names == ["PROT", "FAVOURITE_COLOUR"]
    assert any("Did you mean PORT?" in line for line in found)


def test_run_py_check_explains_and_refuses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PRESET", "low")
    monkeypatch.setenv("HOST", "0.0.0.0")
    assert main(["--check"]) == 0
    said = capsys.readouterr().out
    assert "VAE_TILING=true" in said
    assert "no authentication" in said
    assert said.endswith("The configuration is fine.\n")
    monkeypatch.setenv("PORT", "many")
    monkeypatch.setenv("MODEL_BAD", "a;b")
    assert main(["--check"]) == 2
    said = capsys.readouterr().err
    assert "PORT: " in said
    assert "MODEL_BAD: " in said
