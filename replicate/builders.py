"""Read arm builders from their source: names, versions and options, without importing torch.

A builder is a function marked ``@arm(version=N)``; its keyword-only parameters with literal defaults are the
options of the arm. Annotations (``int``, ``float | None``, ``Literal["a", "b"]``, ``tuple[int, ...]``) are
checked against the values that a manifest or ``--set`` gives.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from replicate.catalog import Paper
from replicate.errors import UserError, near_misses, unknown
from replicate.loading import shown
from replicate.modules import source_of


@dataclass(frozen=True)
class Option:
    """One keyword-only parameter. ``types`` are the simple types it takes (empty: anything JSON can say)."""

    name: str
    default: Any
    types: tuple[str, ...] = ()
    choices: tuple[Any, ...] = ()

    @property
    def expects(self) -> str:
        """What the option takes, for messages."""
        if self.choices:
            return "one of " + ", ".join(str(c) for c in self.choices)
        return " or ".join(self.types) or "a JSON value"


@dataclass(frozen=True)
class Builder:
    """A builder as its source states it. ``module`` is importable (``replicate.papers.sepc.experiment``)."""

    module: str
    function: str
    version: int
    options: Mapping[str, Option]
    says: str
    path: Path
    line: int

    @property
    def name(self) -> str:
        """``module:function`` as trial specs spell it, relative to ``replicate`` inside the suite."""
        return f"{self.module.removeprefix('replicate.')}:{self.function}"


def find(paper: Paper, builder: str) -> Builder:
    """The builder that a manifest names: ``pconv`` of experiment.py, or ``tasks.detection.heads:plain_head``."""
    module, _, function = builder.rpartition(":")
    full = f"replicate.{module}" if module else f"{paper.package}.experiment"
    return _find_in(full, function, paper, frozenset())


def _find_in(module: str, function: str, paper: Paper, seen: frozenset[str]) -> Builder:
    path = source_of(module, paper.folder)
    if path is None:
        where = paper.folder / "experiment.py" if module.startswith(paper.package) else module
        raise UserError(
            f"{shown(where) if isinstance(where, Path) else where}: no such file for arm builder {function!r}"
        )
    tree = _parsed(path, path.stat().st_mtime_ns)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return _read(node, module, path, tree)
        if isinstance(node, ast.ImportFrom) and module not in seen:
            for alias in node.names:
                if (alias.asname or alias.name) == function:
                    source = _absolute(node, module, path)
                    return _find_in(source, alias.name, paper, seen | {module})
    arms = [n.name for n in tree.body if isinstance(n, ast.FunctionDef) and _mark(n) is not None]
    raise UserError(f"{shown(path)}: {unknown('arm builder', function, arms)}")


def _absolute(node: ast.ImportFrom, module: str, path: Path) -> str:
    """Full name of the module of a ``from ... import``."""
    if node.level == 0:
        return node.module or ""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    package = package[: len(package) - (node.level - 1)]
    return ".".join([*package, node.module] if node.module else package)


@lru_cache(maxsize=64)
def _parsed(path: Path, changed: int) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except SyntaxError as error:
        raise UserError(f"{shown(path)}:{error.lineno}: {error.msg}") from error


def _mark(node: ast.FunctionDef) -> ast.expr | None:
    """The ``@arm(...)`` decorator."""
    for each in node.decorator_list:
        target = each.func if isinstance(each, ast.Call) else each
        if getattr(target, "id", getattr(target, "attr", "")) == "arm":
            return each
    return None


def _read(node: ast.FunctionDef, module: str, path: Path, tree: ast.Module) -> Builder:
    where = f"{shown(path)}:{node.lineno}: arm builder {node.name!r}"
    mark = _mark(node)
    if mark is None:
        raise UserError(f"{where} is not marked @arm()")
    version = 1
    for keyword in mark.keywords if isinstance(mark, ast.Call) else []:
        if keyword.arg == "version":
            version = _literal(keyword.value, f"{where}: version")
    # Positional parameters without defaults are what the task hands over (say channels and levels of a pyramid).
    if node.args.defaults or node.args.vararg or node.args.kwarg:
        raise UserError(f"{where}: options must be keyword-only: def {node.name}(..., *, option=default)")
    options = {}
    for parameter, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if default is None:
            raise UserError(f"{where}: option {parameter.arg!r} has no default")
        value = plain(_literal(default, f"{where}: default of option {parameter.arg!r}"))
        types, choices = _annotation(parameter.annotation, tree)
        options[parameter.arg] = Option(parameter.arg, value, types or _types_of(value), choices)
    says = (ast.get_docstring(node) or "").split("\n")[0]
    return Builder(module, node.name, version, options, says, path, node.lineno)


def _literal(node: ast.expr, where: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise UserError(f"{where} must be a literal (the planner reads it without importing the file)") from error


def plain(value: Any) -> Any:
    """The value as JSON gives it back: tuples become lists."""
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    return value


_SIMPLE = {"int", "float", "bool", "str", "list", "tuple", "dict"}


def _types_of(value: Any) -> tuple[str, ...]:
    """Types that a default without an annotation allows; None says nothing about its type."""
    return () if value is None else ("list",) if isinstance(value, list) else (type(value).__name__,)


def _annotation(node: ast.expr | None, tree: ast.Module) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """(simple types, literal choices) of an annotation; an alias of the same file is looked up."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = _annotation(node.left, tree), _annotation(node.right, tree)
        if not (left[0] and right[0]):  # one side is something this reader does not know: anything goes
            return (), ()
        return left[0] + right[0], left[1] + right[1]
    if isinstance(node, ast.Constant) and node.value is None:
        return ("None",), (None,)
    if isinstance(node, ast.Subscript):
        outer = getattr(node.value, "id", getattr(node.value, "attr", ""))
        if outer == "Literal":
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            choices = tuple(part.value for part in parts if isinstance(part, ast.Constant))
            return tuple(sorted({type(c).__name__ for c in choices})), choices
        return ("list",) if outer in ("tuple", "list", "Sequence") else (), ()
    if isinstance(node, ast.Name):
        if node.id in _SIMPLE:
            return ("list" if node.id == "tuple" else node.id,), ()
        for each in tree.body:
            if isinstance(each, ast.Assign) and any(getattr(t, "id", "") == node.id for t in each.targets):
                return _annotation(each.value, tree)
    return (), ()


def fits(option: Option, value: Any) -> bool:
    """True when the value is one that the option's annotation (or default) allows."""
    if option.choices and not (set(option.types) - {"None", *(type(c).__name__ for c in option.choices)}):
        literal = [c for c in option.choices if c is not None]
        if literal:
            return any(value == c and type(value) is type(c) for c in option.choices)
    if not option.types:
        return True
    name = "None" if value is None else type(value).__name__
    return name in option.types or (name == "int" and "float" in option.types)


def resolve(builder: Builder, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Every option of the builder with its value; ``where`` opens the message of an error."""
    resolved = {name: option.default for name, option in builder.options.items()}
    for name, value in given.items():
        option = builder.options.get(name)
        if option is None:
            raise UserError(f"{where}: {unknown(f'option of {builder.function}', name, builder.options)}")
        value = plain(value)
        if not fits(option, value):
            close = near_misses(str(value), [str(c) for c in option.choices if c is not None], most=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise UserError(f"{where}: option {name!r} takes {option.expects}, got {value!r}{hint}")
        if isinstance(value, int) and not isinstance(value, bool) and _only_float(option):
            value = float(value)  # 1 and 1.0 are one setting, so they must give one key
        resolved[name] = value
    return resolved


def _only_float(option: Option) -> bool:
    return "float" in option.types and "int" not in option.types


def parse(text: str) -> Any:
    """A value from the command line: JSON or a Python literal where it is one, else the text itself."""
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return plain(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return text
