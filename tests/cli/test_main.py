"""The `cyberimage` command: its subcommands, exit statuses, and the old names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.main import COMMANDS, main
from app.config import ROOT
from app.version import __version__


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"DATABASE_URL": f"sqlite:///{folder}/db.sqlite", "IMAGES_DIR": str(folder / "images"), "PATH": "/"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"Usage: cyberimage {name}" in capsys.readouterr().out


def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "revoke", "first"]) == 2
    assert "'first' is not a valid integer" in capsys.readouterr().err
    assert main(["paint"]) == 2
    assert "No such command 'paint'" in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_a_command_loads_no_other() -> None:
    code = (
        "import sys; from app.cli.main import main; main(['status', '--help']);"
        "heavy = {'torch', 'diffusers', 'flask', 'sqlalchemy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=120)


@pytest.mark.parametrize("module", ["keys", "models"])
def test_the_old_names_go_on_with_a_warning(module: str, tmp_path: Path) -> None:
    done = run("-m", f"app.{module}", "list", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"`python -m app.{module}` is now `cyberimage {module}`" in done.stderr
    assert done.stdout == run("-m", "app.cli", module, "list", folder=tmp_path).stdout


@pytest.mark.parametrize("module", ["backup", "cleanup", "restore"])
def test_every_old_name_is_there(module: str, tmp_path: Path) -> None:
    done = run("-m", f"app.{module}", "--help", folder=tmp_path)
    assert (done.returncode, f"Usage: cyberimage {module}" in done.stdout) == (0, True)


def test_a_shell_completes_it() -> None:
    environment = {
        "_CYBERIMAGE_COMPLETE": "bash_complete",
        "COMP_WORDS": "cyberimage ke",
        "COMP_CWORD": "1",
        "PATH": "/",
    }
    done = subprocess.run(
        [sys.executable, "-m", "app.cli"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["plain,keys"]
