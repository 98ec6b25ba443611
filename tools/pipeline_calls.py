"""Write app/core/families/pipelines.json: how each pipeline class of the installed diffusers is called.

python -m tools.pipeline_calls          write it
python -m tools.pipeline_calls --check  exit with 1 when it is not that of the installed version

The API needs it to say what a model takes before the model is loaded, without importing diffusers. Only the arguments
that CyberImage reads are kept; siblings are those of diffusers' AutoPipeline classes.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from app.config import ROOT
from app.core.families.calls import READ_ARGUMENTS
from tools import generated

PAGE = ROOT / "app" / "core" / "families" / "pipelines.json"
_TABLES = {"AUTO_IMAGE2IMAGE_PIPELINES_MAPPING": "img2img", "AUTO_INPAINT_PIPELINES_MAPPING": "inpaint"}
_TEXT_TABLE = "AUTO_TEXT2IMAGE_PIPELINES_MAPPING"


def main(check: bool) -> int:
    return generated.write({PAGE: text()}, check=check)


def text() -> str:
    """The file, one line for each class."""
    folder = _diffusers_folder()
    siblings = _siblings(folder / "pipelines" / "auto_pipeline.py")
    calls = _calls(folder / "pipelines")
    lines = [f"{json.dumps(name)}: {json.dumps(calls[name] | siblings.get(name, {}))}" for name in sorted(calls)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _diffusers_folder() -> Path:
    spec = find_spec("diffusers")
    if spec is None or spec.origin is None:
        raise SystemExit("diffusers is not installed; run: make install")
    return Path(spec.origin).parent


def _calls(folder: Path) -> dict[str, dict[str, Any]]:
    """By class, `takes`: the arguments of its call with their defaults, and `requires`: those without a default."""
    classes = {
        found.name: found
        for file in sorted(folder.rglob("pipeline*.py"))
        if "deprecated" not in file.parts
        for found in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(found, ast.ClassDef) and "Pipeline" in found.name
    }
    found_calls = {name: _call_of(found, classes) for name, found in classes.items()}
    return {name: _described(call) for name, call in found_calls.items() if call is not None}


def _call_of(found: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> ast.FunctionDef | None:
    """The class's own `__call__`, or that of its first base that has one."""
    for statement in found.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__call__":
            return statement
    bases = (classes.get(base.id) for base in found.bases if isinstance(base, ast.Name))
    return next((call for base in bases if base is not None and (call := _call_of(base, classes))), None)


def _described(call: ast.FunctionDef) -> dict[str, Any]:
    arguments = call.args.args[1:]
    required = arguments[: len(arguments) - len(call.args.defaults)]
    defaults = dict(zip(arguments[len(required) :], call.args.defaults, strict=True))
    takes = {each.arg: _literal(defaults[each]) for each in defaults if each.arg in READ_ARGUMENTS}
    described: dict[str, Any] = {"takes": dict.fromkeys(each.arg for each in required) | takes}
    if required:
        described["requires"] = [each.arg for each in required]
    return described


def _literal(node: ast.expr) -> Any:
    """A default as JSON; None for what is not a number, a text or a truth value."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return value if isinstance(value, (int, float, str, bool)) else None


def _siblings(file: Path) -> dict[str, dict[str, dict[str, str]]]:
    """By class, the classes of other tasks over the same weights, from the tables of AutoPipeline."""
    module = ast.parse(file.read_text(encoding="utf-8"))
    tables = dict(_tables(module))
    for table, key, name in _late_entries(module):
        tables.setdefault(table, {})[key] = name
    own = {**tables["AUTO_IMAGE2IMAGE_PIPELINES_MAPPING"], **tables[_TEXT_TABLE]}
    found: dict[str, dict[str, dict[str, str]]] = {}
    for key, name in own.items():
        others = {task: tables[table].get(key, name) for table, task in _TABLES.items()}
        others = {task: other for task, other in others.items() if other != name}
        if others and name not in found:
            found[name] = {"siblings": others}
    return found


def _tables(module: ast.Module) -> Iterator[tuple[str, dict[str, str]]]:
    for statement in module.body:
        if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
            continue
        call = statement.value
        if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.List):
            pairs = [ast.unparse(pair) for pair in call.args[0].elts]
            yield statement.targets[0].id, dict(_pair(each) for each in pairs)


def _late_entries(module: ast.Module) -> Iterator[tuple[str, str, str]]:
    """`TABLE["key"] = Class`, for families with a requirement of their own."""
    for node in ast.walk(module):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Name)):
            continue
        target = node.targets[0]
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            yield ast.unparse(target.value), str(target.slice.value), node.value.id


def _pair(text: str) -> tuple[str, str]:
    key, name = text.strip("()").split(", ")
    return str(ast.literal_eval(key)), name


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
