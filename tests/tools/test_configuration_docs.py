"""`Settings`, .env.example and docs/CONFIGURATION.md agree."""

import re

from dotenv import dotenv_values

from app.config import ROOT, Settings, load_settings
from tools.configuration_docs import configuration_page, env_example, sections


def test_the_written_files_are_up_to_date():
    assert (ROOT / "docs" / "CONFIGURATION.md").read_text() == configuration_page(), "run: make docs"
    assert (ROOT / ".env.example").read_text() == env_example(), "run: make docs"


def test_every_setting_is_documented_once():
    documented = [name for _, names in sections() for name in names]
    assert sorted(documented) == sorted(set(Settings.model_fields) - {"model_lines"})


def test_the_example_uncommented_is_a_valid_configuration_equal_to_the_defaults(tmp_path):
    env_file = tmp_path / ".env"
    env_file.write_text(re.sub(r"^# ([A-Z0-9_]+=)", r"\1", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    names = {name for name in dotenv_values(env_file) if name.lower() in Settings.model_fields}
    assert names == {name.upper() for name in Settings.model_fields} - {"MODEL_LINES"}
    assert load_settings({}, env_file).model_dump() == load_settings({}, None).model_dump()
