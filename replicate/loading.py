"""Read ``paper.yaml`` strictly: every mistake is one line with file, line and what was expected."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from replicate.errors import UserError, near_misses

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from replicate.manifest import Manifest

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):  # type: ignore[misc]
    """The C loader, stricter: a key that stands twice is an error, and ``1e-3`` is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen and key.value != "<<":
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key.value!r} stands twice", key.start_mark
                    )
                seen.add(key.value)
        built: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return built


# YAML 1.1 reads 1e-3 as text, since it has no dot; people mean the number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def shown(path: Path) -> str:
    """The path as people know it: relative to the working folder when it lies below it."""
    try:
        return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)
    except OSError:  # the working folder was deleted
        return str(path)


def read_yaml(path: Path) -> Any:
    """The YAML content of a file; ``UserError`` with file and line when it is broken or unreadable."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{shown(path)}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{shown(path)}: is not UTF-8 text (byte {error.start})") from error
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(_broken(path, text, error)) from error


def _broken(path: Path, text: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    if mark is None:
        return f"{shown(path)}: broken YAML: {problem}"
    lines = text.splitlines()
    line = min(mark.line, max(len(lines) - 1, 0))
    quoted = f", at {lines[line].strip()[:60]!r}" if lines and lines[line].strip() else ""
    return f"{shown(path)}:{mark.line + 1}: broken YAML: {problem}{quoted}"


def load_manifest(path: Path) -> Manifest:
    """The manifest in ``path``; the first mistake and the number of others as one ``UserError``."""
    from pydantic import ValidationError

    from replicate.manifest import Manifest

    value = read_yaml(path)
    if not isinstance(value, dict):
        raise UserError(f"{shown(path)}:1: expected a mapping of keys, got {_name(value)}")
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=_BASE)
        lines = sorted({line for each in error.errors() for line in _explain(root, each)})
        first, more = lines[0], len(lines) - 1
        also = f" (and {more} more)" if more else ""
        raise UserError(f"{shown(path)}:{first[0]}: {first[1]}{also}") from error


def _explain(root: yaml.Node | None, error: ErrorDetails) -> Iterable[tuple[int, str]]:
    """(line, text) of one validation error; a cross-reference check may name several things at once."""
    loc = [part for part in error["loc"] if part != "[key]"]
    where = _dotted(loc)
    if error["type"] == "value_error":
        for problem in str(error.get("ctx", {}).get("error", error["msg"])).split("; "):
            target = _mentioned(root, problem) or loc
            yield _line(root, target), f"{_dotted(target)}: {problem}" if target else problem
    elif error["type"] == "missing":
        yield _line(root, loc[:-1]), f"{_dotted(loc[:-1]) or 'the file'}: missing key {loc[-1]!r}"
    elif error["type"] == "extra_forbidden":
        hint = _did_you_mean(str(loc[-1]), _known_keys(loc[:-1]))
        yield _line(root, loc), f"{where}: unknown key {loc[-1]!r}{hint}"
    else:
        yield _line(root, loc), f"{where}: {_expected(error)}"


def _expected(error: ErrorDetails) -> str:
    got, kind, context = error.get("input"), error["type"], error.get("ctx", {})
    if kind == "literal_error":
        known = [a or b for a, b in re.findall(r"'([^']*)'|(\d+)", str(context.get("expected", "")))]
        return f"expected one of {', '.join(known)}, got {got!r}{_did_you_mean(str(got), known)}"
    if kind == "string_type" and isinstance(got, (int, float)):
        return f"expected text, got the number {got!r}: write it in quotes"
    if kind == "string_pattern_mismatch":
        return f"expected lower-case letters, digits and _, first a letter; got {got!r}"
    message = error["msg"].replace("Input should be ", "expected ")
    message = message.replace("a valid string", "text").replace("a valid integer", "an integer")
    message = message.replace("a valid ", "a ")
    return f"{message}, got {_name(got)}"


def _name(value: Any) -> str:
    """A short name of a YAML value for messages."""
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = near_misses(word, known, most=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _dotted(loc: Iterable[Any]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _step(node: yaml.Node | None, part: Any) -> tuple[yaml.Node | None, yaml.Node | None]:
    """(node that shows the place, node of the value) one step down."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if getattr(key, "value", None) == str(part):
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None, None


def _line(root: yaml.Node | None, loc: Iterable[Any]) -> int:
    """Line (from 1) of the deepest part of ``loc`` that exists."""
    shown_at, node = root, root
    for part in loc:
        place, node = _step(node, part)
        if place is None:
            break
        shown_at = place
    return 1 if shown_at is None else int(shown_at.start_mark.line) + 1


_SECTIONS = {"claim": "claims", "contrast": "contrasts", "arm": "arms", "scale": "scales", "ablation": "ablations"}


def _mentioned(root: yaml.Node | None, problem: str) -> list[Any]:
    """Place of the thing that a cross-reference problem names: ``claim x: ...`` stands at claims[i]."""
    found = re.match(r"(claim|contrast|arm|scale|ablation) (?:id )?'?([^':]+)'?", problem)
    if not found:
        return ["contrasts"] if problem.startswith("primary contrasts") else []
    section, name = _SECTIONS[found[1]], found[2]
    _, node = _step(root, section)
    if isinstance(node, yaml.MappingNode):
        return [section, name]
    places = []
    for i, item in enumerate(node.value if isinstance(node, yaml.SequenceNode) else []):
        _, ident = _step(item, "axis" if section == "ablations" else "id")
        if ident is not None and ident.value == name:
            places.append([section, i])
    return places[-1] if places else [section]  # the last one: of two equal ids the second is the mistake


def schema() -> dict[str, Any]:
    """JSON schema of ``paper.yaml`` (draft 2020-12) for editors."""
    from replicate.manifest import Manifest

    made = Manifest.model_json_schema(by_alias=True)
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "paper.yaml of replicate"
    return made


def schema_text() -> str:
    """The schema as the text of ``docs/paper.schema.json``."""
    return json.dumps(schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _known_keys(loc: Iterable[Any]) -> list[str]:
    """Keys that the schema allows at ``loc``."""
    whole = schema()
    node: Mapping[str, Any] = whole
    for part in loc:
        node = node.get("items", {}) if isinstance(part, int) else _property(node, str(part))
        while "$ref" in node or "anyOf" in node:
            if "anyOf" in node:
                node = next((n for n in node["anyOf"] if n.get("type") != "null"), {})
            else:
                node = whole["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return list(node.get("properties", {}))


def _property(node: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = node.get("properties", {}).get(name) or node.get("additionalProperties") or {}
    return found if isinstance(found, Mapping) else {}
