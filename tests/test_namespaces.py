"""The top-level folders import under ``replicate`` and hide nobody else's packages."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("folder", ["papers", "datasets", "cuda"])
def test_top_level_folder_has_no_init(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()
    package = importlib.import_module(f"replicate.{folder}")
    assert str(ROOT / folder) in list(package.__path__)


def test_torch_ray_and_cuda_import_from_the_root() -> None:
    code = (
        "import torch, ray, importlib.util\n"
        "import cuda\n"
        "assert getattr(cuda, '__file__', None) is None, cuda\n"
        "print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "fine", done.stderr
