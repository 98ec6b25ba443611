"""The container and systemd files agree with the settings and with each other."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from app.cli.common import EXIT_DAMAGED
from app.cli.worker import EXIT_CONFIGURATION, EXIT_RECYCLE
from app.config import ROOT, Settings, load_settings
from app.core.catalog_limits import catalog_of
from app.core.torch_builds import CPU_BUILD, CUDA_BUILDS

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
CACHES = {"TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"}
LIBRARIES = {"PATH", "HOME", "PYTHONUNBUFFERED", *CACHES}  # variables of programs that are not settings
CACHE_VOLUME = "/data/cache"
FOLDERS = {"images_dir", "videos_dir", "model_cache_dir", "log_dir"}


def instructions(name: str) -> list[str]:
    """The arguments of every `name` instruction of the last stage."""
    text = re.sub(r"\\\n", " ", DOCKERFILE.rpartition("\nFROM ")[2])
    return [line.partition(" ")[2].strip() for line in text.splitlines() if line.startswith(f"{name} ")]


def image_environment() -> dict[str, str]:
    pairs = (pair for line in instructions("ENV") for pair in shlex.split(line))
    return dict(pair.split("=", 1) for pair in pairs)


def unit(path: Path) -> dict[str, list[str]]:
    lines = (line for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    found: dict[str, list[str]] = {}
    for line in lines:
        found.setdefault(line.partition("=")[0], []).append(line.partition("=")[2])
    return found


def settings_of(environment: dict[str, str]) -> Settings:
    """Valid, and every name in capitals that is none of a program's own is a setting."""
    ours = {name: value for name, value in environment.items() if name not in LIBRARIES}
    unknown = {name for name in ours if name.lower() not in Settings.model_fields} - {"ENV_FILE"}
    assert not unknown
    return load_settings({name: value for name, value in ours.items() if name != "ENV_FILE"}, None)


def kept_folders(settings: Settings) -> Iterator[str]:
    yield str(Path(settings.database_url.removeprefix("sqlite:///")).parent)
    for name in FOLDERS:
        yield str(getattr(settings, name))


def test_the_image_s_settings_are_valid_and_all_that_is_kept_lies_in_volumes() -> None:
    settings = settings_of(image_environment())
    assert settings.host == "0.0.0.0"
    (volumes,) = instructions("VOLUME")
    assert set(yaml.safe_load(volumes)) == {*kept_folders(settings), CACHE_VOLUME}
    made = next(line for line in instructions("RUN") if "install -d" in line)
    assert {*kept_folders(settings), CACHE_VOLUME} <= set(made.split())
    assert str(settings.upgrade_backup_folder).startswith("/data/db/")


def test_the_image_s_port_is_the_default_and_is_the_one_that_is_exposed_and_checked() -> None:
    assert instructions("EXPOSE") == [str(Settings().port)]
    assert image_environment()["PORT"] == str(Settings().port)
    (check,) = instructions("HEALTHCHECK")
    assert "/health'" in check
    assert "os.environ['PORT']" in check


def test_the_image_runs_as_an_unprivileged_user() -> None:
    user = instructions("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert f"--uid {user.partition(':')[0]}" in DOCKERFILE
    assert instructions("ENTRYPOINT") == ['["python", "run.py"]']


def test_everything_that_running_needs_goes_into_the_image_and_nothing_private() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    wanted = {line[1:] for line in lines if line.startswith("!")}
    assert {"app", "builtin", "run.py", "worker.py", "requirements.txt"} <= wanted
    assert all((ROOT / name).exists() for name in wanted)
    local = [spec.repo for spec in catalog_of(Settings()) if spec.source == "local"]
    assert local
    assert all(Path(repo).parts[0] in wanted for repo in local)
    assert not wanted & {".env", ".git", "db", "images", "videos", "logs", "models"}
    imported = "import sys, app.server.gunicorn_app, app.cli.run; print(*{n.split('.')[0] for n in sys.modules})"
    shown = subprocess.run(
        [sys.executable, "-c", imported], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert not {"tools", "tests", "bench"} & set(shown.split())


@pytest.mark.parametrize("name", ["cyberimage", "cyberimage-cpu"])
def test_each_service_agrees_with_the_image(name: str) -> None:
    service = COMPOSE["services"][name]
    environment = {key: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", str(value)) for key, value in service["environment"].items()}
    assert {key: value for key, value in image_environment().items() if key not in ("PATH", "HOME")} == environment
    settings = settings_of(environment)
    mounted = dict(volume.split(":") for volume in service["volumes"])
    assert set(mounted.values()) == {*kept_folders(settings), CACHE_VOLUME}
    assert set(mounted) == set(COMPOSE["volumes"])
    (port,) = service["ports"]
    assert port.startswith("127.0.0.1:")
    assert port.endswith(f":{settings.port}")
    assert int(service["stop_grace_period"].removesuffix("s")) > settings.shutdown_grace_seconds + 15
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True


def test_the_gpu_service_asks_for_gpus_and_the_cpu_one_for_its_own_build() -> None:
    gpu, cpu = COMPOSE["services"]["cyberimage"], COMPOSE["services"]["cyberimage-cpu"]
    assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert "profiles" not in gpu
    assert cpu["profiles"] == ["cpu"]
    assert cpu["build"]["args"]["DEVICE"] == "cpu"
    assert "deploy" not in cpu
    for device in ("gpu", "gpu-cuda12", "cpu"):
        assert f" AS base-{device}\n" in DOCKERFILE


def test_each_base_says_which_driver_its_torch_needs_and_installs_that_torch() -> None:
    """An older base would let a container start on a driver that cannot run the CUDA of torch."""
    bases = dict(
        re.findall(r"^FROM nvidia/cuda:(\d+\.\d+)\.\d+-base-ubuntu\S+ AS base-(\S+)$", DOCKERFILE, re.MULTILINE)
    )
    assert bases == {
        ".".join(map(str, build.cuda)): name for build, name in zip(CUDA_BUILDS, ("gpu", "gpu-cuda12"), strict=True)
    }
    for build in (*CUDA_BUILDS, CPU_BUILD):
        wanted = " ".join(f"-r {lock}" for lock in ("locks/run.txt", *build.locks))
        assert f"--require-hashes {wanted};" in DOCKERFILE
    assert "--no-deps --require-hashes -r locks/no-deps.txt \\\n" in DOCKERFILE


def test_models_can_be_compiled_in_the_container() -> None:
    """Triton needs a C compiler with Python's headers, and a writable folder from which code may be loaded."""
    assert {"gcc", "libc6-dev", "python3-dev"} <= set(DOCKERFILE.split())
    for name in CACHES:
        assert image_environment()[name].startswith(f"{CACHE_VOLUME}/")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_runs_what_there_is_with_valid_settings_and_may_write_there(path: Path) -> None:
    service = unit(path)
    settings = settings_of(dict(line.split("=", 1) for line in service["Environment"]))
    (start,) = service["ExecStart"]
    assert (ROOT / start.split()[1]).exists()
    assert start.split()[0] == f"{service['WorkingDirectory'][0]}/.venv/bin/python"
    assert service["User"] == ["cyberimage"]
    assert service["ProtectSystem"] == ["strict"]
    writable = (f"/var/lib/{service['StateDirectory'][0]}", f"/var/log/{service['LogsDirectory'][0]}")
    kept = kept_folders(settings) if "run.py" in start else [str(settings.model_cache_dir), str(settings.log_dir)]
    assert all(folder.startswith(writable) for folder in kept)
    assert int(service["TimeoutStopSec"][0]) > settings.shutdown_grace_seconds + 15
    assert service["RestartPreventExitStatus"] == [f"{EXIT_CONFIGURATION} {EXIT_DAMAGED}"]
    assert "-HUP $MAINPID" in service["ExecReload"][0]
    if "worker.py" in start:
        assert service["Restart"] == ["always"]
        assert str(EXIT_RECYCLE) in path.read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for path in UNITS:
        text = path.read_text().replace("/opt/cyberimage/.venv/bin/python", sys.executable)
        (tmp_path / path.name).write_text(text.replace("WorkingDirectory=/opt/cyberimage", f"WorkingDirectory={ROOT}"))
    finished = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / path.name) for path in UNITS)],
        capture_output=True,
        text=True,
    )
    assert (finished.returncode, finished.stderr) == (0, "")


def test_hadolint_has_nothing_to_say() -> None:
    program = Path(sys.executable).with_name("hadolint")
    finished = subprocess.run([program, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (finished.returncode, finished.stdout) == (0, "")


def test_make_knows_each_target_and_says_what_it_does() -> None:
    text = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert {"lint", "test", "build", "run", "clean", "stop", "logs", "reload"} <= set(phony.split())
    for target in phony.split():
        assert re.search(rf"^{target}:", text, re.MULTILINE), target
        shown = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert shown.returncode == 0, shown.stderr
