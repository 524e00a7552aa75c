"""What makes a record stale: code that the arm can reach, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toy.trials import PAPER, trial

from replicate import provenance
from replicate.errors import UserError

MODULE = "replicate_outside.toy.experiment"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The toy paper, whose experiment imports ``model`` and, deep inside a function, ``late`` and ``sub``."""
    copy = tmp_path / "toy"
    shutil.copytree(PAPER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "late.py").write_text('"""Doc."""\nfrom .sub import inner\n\nVALUE = 1\n')
    (copy / "sub").mkdir()
    (copy / "sub" / "__init__.py").write_text("")
    (copy / "sub" / "inner.py").write_text("def f(x: int) -> int:\n    return x + 1\n")
    (copy / "typing_only.py").write_text("X = 1\n")
    (copy / "stranger.py").write_text("X = 1\n")
    with open(copy / "experiment.py", "a") as file:
        file.write("\n\ndef _never() -> None:\n    from . import late\n    late.VALUE\n")
        file.write("\n\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .typing_only import X\n")
    return copy


def digest(folder: Path) -> str:
    return provenance.trial_code(MODULE, MODULE, folder)


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return apply


HARMLESS = {
    "comment": edit("model.py", "@dataclass", "# a remark\n@dataclass"),
    "module docstring": edit("model.py", '"""The toy mechanism', '"""Another text'),
    "function docstring": edit("experiment.py", '"""The score without the mechanism."""', '"""Else."""'),
    "layout": edit("sub/inner.py", "x + 1", "(x   +   1)"),
    "a module that is not imported": edit("stranger.py", "X = 1", "X = 2"),
    "an import for type checkers": edit("typing_only.py", "X = 1", "X = 2"),
    "manifest": edit("paper.yaml", "year: 2024", "year: 2023"),
    "checks": edit("checks.py", "3, 0", "4, 0"),
}
HARMFUL = {
    "experiment": edit("experiment.py", "+ shared + own", "+ shared - own"),
    "imported module": edit("model.py", "own_noise: float = 0.005", "own_noise: float = 0.006"),
    "late import": edit("late.py", "VALUE = 1", "VALUE = 2"),
    "import of an import": edit("sub/inner.py", "x + 1", "x + 2"),
    "type of a constant": edit("late.py", "VALUE = 1", "VALUE = 1.0"),
    "a package's __init__": lambda folder: (folder / "sub" / "__init__.py").write_text("import random\n") and None,
    "a removed line": edit("sub/inner.py", "return x + 1", "pass"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_edit_leaves_the_digest(folder: Path, name: str) -> None:
    before = digest(folder)
    HARMLESS[name](folder)
    assert digest(folder) == before


@pytest.mark.parametrize("name", HARMFUL)
def test_edit_of_reachable_code_changes_the_digest(folder: Path, name: str) -> None:
    before = digest(folder)
    HARMFUL[name](folder)
    assert digest(folder) != before


def test_closure_names_suite_modules_and_leaves_the_engine_out(folder: Path) -> None:
    names = set(provenance.closure([MODULE], folder))
    assert "replicate.tasks.base" in names
    assert {"replicate_outside.toy.model", "replicate_outside.toy.late", "replicate_outside.toy.sub.inner"} <= names
    assert not {name for name in names if name.startswith(("replicate.engines", "replicate.store", "replicate.trial"))}
    assert "replicate_outside.toy.stranger" not in names
    assert "replicate" not in names


def test_the_place_of_the_folder_does_not_matter(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere" / "toy")
    assert digest(folder) == digest(tmp_path / "elsewhere" / "toy")


def test_libraries_used_sees_imports_inside_functions(folder: Path) -> None:
    assert "torch" not in provenance.libraries_used([MODULE], folder)
    with open(folder / "late.py", "a") as file:
        file.write("\n\ndef g():\n    import torch.nn.functional as F\n    return F\n")
    assert "torch" in provenance.libraries_used([MODULE], folder)


def test_import_module_with_a_literal_counts(folder: Path) -> None:
    before = digest(folder)
    edit("late.py", "VALUE = 1", "import importlib\nVALUE = importlib.import_module('replicate.errors')")(folder)
    assert "replicate.errors" in provenance.closure([MODULE], folder)
    assert digest(folder) != before


def test_source_that_does_not_parse_is_one_line_with_its_place(folder: Path) -> None:
    (folder / "late.py").write_text("x = (\n")
    with pytest.raises(UserError, match=r"late\.py:1: does not parse"):
        digest(folder)


def test_threads_make_different_trials() -> None:
    assert trial(threads=1).key != trial(threads=2).key
    assert trial(seed=1).key != trial(seed=2).key
    assert trial(level=0.1).key != trial(level=0.2).key


def test_environment_is_read_without_heavy_imports() -> None:
    code = (
        "import sys; from replicate import provenance as p; e = p.environment()\n"
        "assert e['versions']['torch'] and e['machine']['cpu'], e\n"
        "print([m for m in ('torch', 'numpy', 'ray', 'pandas', 'scipy') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_commit_of_a_checkout(tmp_path: Path) -> None:
    assert provenance.git_commit(str(tmp_path)) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "-qm", "a"], check=True)
    provenance.git_commit.cache_clear()
    clean = provenance.git_commit(str(tmp_path))
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "a").write_text("2")
    provenance.git_commit.cache_clear()
    assert provenance.git_commit(str(tmp_path)) == clean + "+"
