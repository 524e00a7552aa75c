"""What produced a record: a digest of the code that the arm can reach, library versions, and the machine.

The digest covers the static import closure of the arm's modules inside the suite and the paper's folder. Comments,
docstrings and layout are left out, so only an edit that can change a result makes records stale. The engine is
not in it: papers and tasks do not import the engine.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from replicate.errors import UserError
from replicate.modules import OUTSIDE, search_path, source_of

LIBRARIES = (
    "torch", "torchvision", "numpy", "scipy", "pandas", "scikit-image", "scikit-learn", "pycocotools", "pillow",
    "cupy-cuda12x", "ray",
)  # fmt: skip
"""Distributions whose versions a record states, where they are installed."""

_GLUE = frozenset({"replicate", "replicate.papers", OUTSIDE})
"""Packages whose ``__init__`` runs with every import and holds nothing that a trial's result depends on."""

_KERNEL_SOURCES = frozenset({".cu", ".cuh", ".h", ".hpp", ".c", ".cpp"})


def trial_code(module: str, task_module: str, folder: str | Path | None = None, data: str | None = None) -> str:
    """Code digest of a trial: its builder's module, its task's module and its dataset's package.

    ``data`` is the spec's ``name@checksum``; datasets are imported by name, which an import scan cannot see.
    """
    names = [module, task_module]
    if data:
        names.append(f"replicate.datasets.{data.split('@')[0]}")
    return code_digest(names, folder)


def code_digest(modules: Iterable[str], folder: str | Path | None = None) -> str:
    """SHA-256 over the sources that ``modules`` can reach, comments and docstrings left out.

    ``folder`` is the paper's folder for a paper outside the suite. Raises ``UserError`` for a source that does
    not parse.
    """
    digest = hashlib.sha256()
    for name, path in sorted(closure(modules, folder).items()):
        digest.update(f"{name}\0{_parsed(path).digest}\0".encode())
        for extra in sorted(path.parent.iterdir()) if name.startswith("replicate.cuda.") else ():
            if extra.suffix in _KERNEL_SOURCES:
                digest.update(f"{name}/{extra.name}\0{hashlib.sha256(extra.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()


def closure(modules: Iterable[str], folder: str | Path | None = None) -> dict[str, Path]:
    """Every module of the suite or of the paper's folder that ``modules`` may import, with its source file."""
    found: dict[str, Path] = {}
    queue = list(modules)
    seen: set[str] = set()
    while queue:
        name = queue.pop()
        if name in seen or name.split(".")[0] not in ("replicate", OUTSIDE):
            continue
        seen.add(name)
        parent = name.rpartition(".")[0]
        if parent:
            queue.append(parent)  # importing a.b.c runs a.b's __init__
        path = source_of(name, folder)
        if path is None or name in _GLUE:
            continue
        found[name] = path
        package = name if path.name == "__init__.py" else parent
        for target, members in _parsed(path).imports:
            queue += _resolve(target, members, package, folder)
    return found


def libraries_used(modules: Iterable[str], folder: str | Path | None = None) -> set[str]:
    """Top-level names of the libraries that the closure of ``modules`` imports, at the top or inside functions."""
    names = {t.split(".")[0] for path in closure(modules, folder).values() for t, _ in _parsed(path).imports}
    return {n for n in names if n and n not in ("replicate", OUTSIDE)}


def _resolve(target: str, members: tuple[str, ...], package: str, folder: str | Path | None) -> Iterator[str]:
    """Module names behind one import statement; ``target`` has leading dots when it is relative."""
    if target.startswith("."):
        up = len(target) - len(target.lstrip("."))
        parts = package.split(".")
        base = parts[: len(parts) - (up - 1)]
        target = ".".join([*base, *([target.lstrip(".")] if target.lstrip(".") else [])])
    yield target
    if members and search_path(target, folder):  # `from package import member`: a submodule, or a name in it
        yield from (f"{target}.{member}" for member in members)


class _Parsed:
    """Digest and import statements of one source file."""

    def __init__(self, path: Path) -> None:
        try:
            tree = ast.parse(path.read_bytes(), str(path))
        except SyntaxError as error:
            raise UserError(f"{path}:{error.lineno}: does not parse: {error.msg}") from error
        digest = hashlib.sha256()
        for piece in _dump(tree):
            digest.update(piece.encode())
        self.digest = digest.hexdigest()
        self.imports = tuple(_imports(tree))


_cache: dict[tuple[str, int, int], _Parsed] = {}


def _parsed(path: Path) -> _Parsed:
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    if key not in _cache:
        _cache[key] = _Parsed(path)
    return _cache[key]


def _for_type_checkers(node: ast.AST) -> bool:
    """True for ``if TYPE_CHECKING:``, whose body never runs."""
    if not isinstance(node, ast.If):
        return False
    test = node.test
    name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
    return name == "TYPE_CHECKING"


def _imports(tree: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(target, members) of each import statement, at any depth; ``import_module("name")`` counts as one."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), tuple(a.name for a in node.names if a.name != "*")
        elif isinstance(node, ast.Call) and _is_import_call(node):
            target = node.args[0]
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                yield target.value, ()
        if _for_type_checkers(node):
            todo += node.orelse  # type: ignore[attr-defined]
        else:
            todo += ast.iter_child_nodes(node)


def _is_import_call(node: ast.Call) -> bool:
    function = node.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return name in ("import_module", "__import__") and len(node.args) >= 1


def _dump(node: ast.AST) -> Iterator[str]:
    """A text of the tree that leaves out what cannot change a result.

    Not ``ast.dump`` or ``ast.unparse``: their texts of equal code differ between Python versions, this one skips
    empty fields and so does not.
    """
    yield f"({type(node).__name__}"
    for name, value in ast.iter_fields(node):
        if name in ("ctx", "kind", "type_comment", "type_ignores") or value is None or value == []:
            continue
        yield f" {name}="
        if isinstance(value, ast.AST):
            yield from _dump(value)
        elif isinstance(value, list):
            yield "["
            for item in value:
                if not isinstance(item, ast.AST):
                    yield f"{item!r},"
                elif not _is_text(item):
                    yield from _for_run(item)
                    yield ","
            yield "]"
        else:
            yield f"{type(value).__name__}:{value!r}"
    yield ")"


def _for_run(node: ast.AST) -> Iterator[str]:
    if not _for_type_checkers(node):
        yield from _dump(node)
        return
    yield "if"
    for statement in node.orelse:  # type: ignore[attr-defined]
        yield from _dump(statement)


def _is_text(node: ast.AST) -> bool:
    """A string that stands alone: a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@functools.cache
def versions() -> dict[str, str]:
    """Python and the libraries of ``LIBRARIES`` that are installed, read without importing them."""
    import importlib.metadata  # slow to import, and workers are told

    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def cpu_model() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.lower().startswith(("model name", "hardware")):
                    return line.partition(":")[2].strip()
    except FileNotFoundError:
        pass  # not Linux
    return platform.processor() or platform.machine()


@functools.cache
def git_commit(folder: str | None = None) -> str | None:
    """Commit of the checkout, ``+`` behind it when files were changed; None without a checkout or git."""
    where = folder or str(Path(__file__).resolve().parents[1])
    if not (Path(where) / ".git").exists():
        return None

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", where, *words], capture_output=True, text=True, timeout=20, check=False)

    try:
        head = git("rev-parse", "HEAD")
        if head.returncode != 0:
            return None
        changed = git("diff", "--quiet", "HEAD").returncode != 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() + ("+" if changed else "")


def environment(device: str = "cpu", known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """``versions``, ``machine`` and ``commit`` of this process; the GPU's name when ``device`` is one.

    ``known`` is what another process on this machine has found out, so that each worker need not.
    """
    if known is None:
        about = {
            "platform": f"{platform.system()} {platform.machine()}",
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
        }
        known = {"versions": versions(), "machine": about, "commit": git_commit()}
    machine = dict(known["machine"])
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None and torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
        machine["cuda"] = str(torch.version.cuda)
    return {**known, "machine": machine}
