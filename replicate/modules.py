"""Find and import modules of the suite and of paper folders that lie outside it.

A paper outside the suite is imported as the package ``replicate_outside.<slug>``, so that relative imports inside
its folder work and two papers may both have a ``model.py``.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

OUTSIDE = "replicate_outside"


def package_of(module: str) -> str:
    """``replicate_outside.toy`` of ``replicate_outside.toy.experiment``."""
    return ".".join(module.split(".")[:2])


def load(module: str, folder: str | Path | None = None) -> ModuleType:
    """Import a module by name; ``folder`` is the paper's folder when the name starts with ``replicate_outside``.

    Raises ``ImportError`` (or whatever the module itself raises).
    """
    if module.split(".")[0] == OUTSIDE:
        if folder is None:
            raise ImportError(f"{module} lies outside the suite and its folder is not known")
        _mount(package_of(module), Path(folder).resolve())
    return importlib.import_module(module)


def _mount(package: str, folder: Path) -> None:
    """Make ``package`` mean ``folder``; modules of another folder under the same name are forgotten."""
    if OUTSIDE not in sys.modules:
        root = ModuleType(OUTSIDE)
        root.__path__ = []
        sys.modules[OUTSIDE] = root
    known = sys.modules.get(package)
    if known is not None and list(known.__path__) == [str(folder)]:
        return
    for name in [n for n in sys.modules if n == package or n.startswith(package + ".")]:
        del sys.modules[name]
    init = folder / "__init__.py"
    if init.is_file():
        spec = importlib.util.spec_from_file_location(package, init, submodule_search_locations=[str(folder)])
    else:
        spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    assert spec is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[package] = made
    setattr(sys.modules[OUTSIDE], package.split(".")[1], made)
    if spec.loader is not None:
        spec.loader.exec_module(made)


def search_path(package: str, folder: str | Path | None = None) -> list[Path]:
    """Folders in which the submodules of ``package`` are looked for, without importing it."""
    parts = package.split(".")
    if parts[0] == OUTSIDE:
        if len(parts) < 2 or folder is None:
            return []
        bases, rest = [Path(folder)], parts[2:]
    elif parts[0] == "replicate":
        if len(parts) > 1 and parts[1] in ("papers", "datasets", "cuda"):
            bases, rest = [Path(p) for p in importlib.import_module(".".join(parts[:2])).__path__], parts[2:]
        else:
            bases, rest = [Path(__file__).parent], parts[1:]
    else:
        return []
    return [p for p in (base.joinpath(*rest) for base in bases) if p.is_dir()]


def source_of(module: str, folder: str | Path | None = None) -> Path | None:
    """Source file of a module of the suite or of the paper's folder, without importing it; None if there is none.

    A package is its ``__init__.py``.
    """
    parent, _, last = module.rpartition(".")
    for base in search_path(module, folder):
        if (base / "__init__.py").is_file():
            return base / "__init__.py"
    for base in search_path(parent, folder) if parent else []:
        if (base / f"{last}.py").is_file():
            return base / f"{last}.py"
    return None
