"""Reads `.env` files in python-dotenv's format, and reports lines that would be misread."""

from __future__ import annotations

import io
import re
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from app.errors import ConfigurationError

# `MODEL_X="…{\\"fixed_steps\\": 25}"`: some shells double the backslashes of inner quotes, which ends the value for
# python-dotenv. The last quote of a line is left: it does end the value.
_MODEL_LINE = re.compile(r"^\s*(?:export\s+)?MODEL_\w+\s*=\s*\".*$", re.MULTILINE)
_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*(\\[abfnrtv])")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_DOUBLED = re.compile(r'\\\\"(?!\s*(?:#.*)?$)')


def read_env_file(path: Path) -> dict[str, str]:
    """The settings in the file; empty if it does not exist. Raises ConfigurationError for invalid lines."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{path.name}: cannot be read as UTF-8 text ({error})"]) from None
    text = _MODEL_LINE.sub(_undoubled, text)
    problems = [
        f"{_name_of(binding.original.string)}: line {binding.original.line} of {path.name} is invalid;"
        " look for a quote that is not closed, or closed too early"
        for binding in parse_stream(io.StringIO(text))
        if binding.error
    ]
    if problems:
        raise ConfigurationError(problems)
    return {key: value for key, value in dotenv_values(stream=io.StringIO(text)).items() if value is not None}


def misread_lines(path: Path) -> list[tuple[str, str]]:
    """Names of variables whose lines are read differently than written, each with an explanation."""
    if not path.exists():
        return []
    found = []
    for binding in parse_stream(io.StringIO(_MODEL_LINE.sub(_undoubled, path.read_text(encoding="utf-8-sig")))):
        problem = _misreading(binding.key or "", binding.original.string.partition("=")[2].strip())
        if problem and binding.key:
            found.append((binding.key, f"{binding.key} in {path.name}: {problem}"))
    return found


def _misreading(name: str, value: str) -> str | None:
    quoted = _QUOTED.match(value)
    if quoted and (escape := _ESCAPE.search(quoted[0])):
        return f"{escape[1]} in double quotes becomes a control character. Use single quotes, or double the backslash."
    if name.startswith("MODEL_") and value[:1] not in ("'", '"') and re.search(r"\s#", value):
        return "the text after # is read as a comment. Put the value in quotes."
    return None


def _undoubled(line: re.Match[str]) -> str:
    return _DOUBLED.sub(r"\\" + '"', line[0])


def _name_of(line: str) -> str:
    return line.strip().removeprefix("export ").partition("=")[0].strip()[:80] or "?"
