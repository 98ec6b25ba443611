"""Settings: the environment overrides `.env`, empty means unset, all mistakes are reported, no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.config import ROOT, Settings, load_settings
from app.config.profiles import ENVIRONMENTS, PRESETS
from app.errors import ConfigurationError


def env_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / ".env"
    path.write_bytes(text.encode())
    return path


def test_without_anything_the_defaults_stand() -> None:
    settings = load_settings({}, None)
    assert (settings.host, settings.port, settings.workers, settings.default_model_id) == (
        "127.0.0.1",
        5050,
        "auto",
        "demo",
    )
    assert settings.database_url == f"sqlite:///{ROOT}/db/cyberimage.db"
    assert settings.images_dir == ROOT / "images"
    assert settings.model_lines == {}


def test_a_missing_env_file_is_no_error(tmp_path: Path) -> None:
    assert load_settings({}, tmp_path / "nothing").port == 5050


def test_the_environment_wins_over_the_file_and_the_caller_over_both(tmp_path: Path) -> None:
    path = env_file(tmp_path, "PORT=6000\nHOST=0.0.0.0\nLOG_LEVEL=DEBUG\n")
    settings = load_settings({"PORT": "7000", "LOG_LEVEL": "ERROR"}, path, log_level="WARNING")
    assert (settings.port, settings.host, settings.log_level) == (7000, "0.0.0.0", "WARNING")


def test_an_empty_value_means_not_set_and_an_empty_one_of_the_environment_hides_the_file_s(tmp_path: Path) -> None:
    path = env_file(tmp_path, "PORT=\nHOST=''\nMAX_ATTEMPTS=7\nMODEL_X=\n")
    settings = load_settings({"MAX_ATTEMPTS": "", "MODEL_Y": "  "}, path)
    assert (settings.port, settings.host, settings.max_attempts) == (5050, "127.0.0.1", 3)
    assert settings.model_lines == {}


def test_the_file_is_read_as_people_write_it(tmp_path: Path) -> None:
    lines = ["\ufeffHOST = '::1' # loopback", "export PORT=6000", "", "# IMAGES_DIR=/x", "NOT_OURS=1"]
    text = "\r\n".join([*lines, 'CORS_ORIGINS="http://a, http://b "', ""])
    settings = load_settings({}, env_file(tmp_path, text))
    assert (settings.host, settings.port, settings.cors_origin_list) == ("::1", 6000, ["http://a", "http://b"])
    assert settings.images_dir == ROOT / "images"


def test_a_file_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"HOST=\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"\.env"):
        load_settings({}, path)


def test_settings_that_begin_like_models_are_no_models() -> None:
    settings = load_settings(
        {"MODEL_CACHE_DIR": "/weights", "MODEL_A": "a;b;c;local;false", "DEFAULT_MODEL_ID": "a"}, None
    )
    assert settings.model_cache_dir == Path("/weights")
    assert settings.model_lines == {"MODEL_A": "a;b;c;local;false"}


def test_relative_folders_start_at_the_project_s(tmp_path: Path) -> None:
    settings = load_settings({"IMAGES_DIR": "pictures", "LOG_DIR": str(tmp_path)}, None)
    assert (settings.images_dir, settings.log_dir) == (ROOT / "pictures", tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "many"),
        ("WORKERS", "some"),
        ("WORKERS", "-1"),
        ("LEASE_SECONDS", "0"),
        ("LEASE_SECONDS", "nan"),
        ("JOB_TIMEOUT_SECONDS", "inf"),
        ("LOG_LEVEL", "LOUD"),
        ("DATABASE_URL", "mysql://somewhere/else"),
        ("PROMPT_MAX_CHARS", "0"),
        ("FACADES", "openai,comfyui"),
    ],
)
def test_an_invalid_value_is_reported_with_its_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({name: value}, None)
    assert all(problem.startswith(f"{name}: ") for problem in refused.value.problems)
    assert "Traceback" not in str(refused.value)


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({"PORT": "x", "LOG_FORMAT": "xml"}, None)
    assert sorted(problem.partition(":")[0] for problem in refused.value.problems) == ["LOG_FORMAT", "PORT"]


def test_a_heartbeat_too_near_the_lease_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="LEASE_SECONDS"):
        load_settings({"LEASE_SECONDS": "8", "HEARTBEAT_SECONDS": "5"}, None)


def test_secrets_are_shown_nowhere() -> None:
    settings = load_settings({"HF_TOKEN": "hf_secret"}, None)
    assert "hf_secret" not in repr(settings)
    assert settings.library_environment()["HF_TOKEN"] == "hf_secret"
    with pytest.raises(ConfigurationError) as refused:
        load_settings({"DATABASE_URL": "mysql://user:password@host/name"}, None)
    assert "password" not in str(refused.value).replace("user:password@host/name", "", 1)  # ours is only an example


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load_settings({}, None).port = 1  # type: ignore[misc]
    assert Settings.model_config["frozen"]


def test_a_mistake_in_one_setting_does_not_hide_one_between_two_others() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({"PORT": "x", "HEARTBEAT_SECONDS": "40", "ENVIRONMENT": "production", "CORS_ORIGINS": "*"}, None)
    assert {problem.partition(":")[0] for problem in refused.value.problems} >= {"PORT", "LEASE_SECONDS"}
    with pytest.raises(ConfigurationError) as refused:
        load_settings({"LOG_LEVEL": "x", "ENVIRONMENT": "production", "CORS_ORIGINS": "*"}, None)
    assert {problem.partition(":")[0] for problem in refused.value.problems} == {"LOG_LEVEL", "CORS_ORIGINS"}


def test_a_preset_sets_defaults_and_an_explicit_setting_wins() -> None:
    low = load_settings({"PRESET": "low"}, None)
    assert (low.vae_tiling, low.max_loaded_models, low.previews) == (True, 1, False)
    assert load_settings({"PRESET": "low", "PREVIEWS": "true", "VAE_TILING": "false"}, None).vae_tiling is False
    assert load_settings({"PRESET": "low"}, None, max_loaded_models=3).max_loaded_models == 3


def test_production_logs_for_machines_and_refuses_what_is_too_open() -> None:
    assert load_settings({"ENVIRONMENT": "production"}, None).log_format == "json"
    assert load_settings({"ENVIRONMENT": "production", "LOG_FORMAT": "text"}, None).log_format == "text"
    for name, value in {"CORS_ORIGINS": "https://a.example, *", "WEBHOOK_ALLOW_PRIVATE": "true"}.items():
        assert load_settings({name: value}, None)
        with pytest.raises(ConfigurationError, match=name):
            load_settings({name: value, "ENVIRONMENT": "production"}, None)


@pytest.mark.parametrize("profile", [*ENVIRONMENTS.values(), *PRESETS.values()], ids=[*ENVIRONMENTS, *PRESETS])
def test_what_profiles_set_are_valid_settings(profile) -> None:
    assert set(profile) <= set(Settings.model_fields)
    settings = Settings(**profile)
    assert {name: getattr(settings, name) for name in profile} == dict(profile)


@pytest.mark.parametrize(
    ("written", "served"),
    [
        (None, {"openai", "a1111", "mcp"}),
        ("a1111", {"a1111"}),
        (" OpenAI , a1111 ", {"openai", "a1111"}),
        ("none", set()),
    ],
)
def test_facades_are_named(written: str | None, served: set[str]) -> None:
    environment = {} if written is None else {"FACADES": written}
    assert load_settings(environment, None).facade_names == served
