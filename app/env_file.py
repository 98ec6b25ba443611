"""Read a `.env` file: python-dotenv's format, with nothing in it passed over in silence."""

from __future__ import annotations

import io
import re
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from app.errors import ConfigurationError

# `MODEL_X="…{\\"fixed_steps\\": 25}"`: some shells and notes double the backslashes of the quotes inside, and the quote
# then ends the value for python-dotenv. Not the last one of a line: that one does end it.
_MODEL_LINE = re.compile(r"^\s*(?:export\s+)?MODEL_\w+\s*=\s*\".*$", re.MULTILINE)
_DOUBLED = re.compile(r'\\\\"(?!\s*(?:#.*)?$)')


def read_env_file(path: Path) -> dict[str, str]:
    """The settings of the file; none when there is no such file. Raises ConfigurationError for lines it cannot read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{path.name}: cannot be read as UTF-8 text ({error})"]) from None
    text = _MODEL_LINE.sub(lambda line: _DOUBLED.sub(r"\\" + '"', line[0]), text)
    problems = [
        f"{_name_of(binding.original.string)}: line {binding.original.line} of {path.name} is not understood;"
        " look for a quote that is not closed, or closed too early"
        for binding in parse_stream(io.StringIO(text))
        if binding.error
    ]
    if problems:
        raise ConfigurationError(problems)
    return {key: value for key, value in dotenv_values(stream=io.StringIO(text)).items() if value is not None}


def _name_of(line: str) -> str:
    return line.strip().removeprefix("export ").partition("=")[0].strip()[:80] or "?"
