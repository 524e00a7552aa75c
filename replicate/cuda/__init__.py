"""Import name of the checkout's top-level `cuda/` folder (the wheel copies that folder in here)."""

from pathlib import Path as _Path

_checkout = _Path(__file__).resolve().parents[2]
if (_checkout / "pyproject.toml").is_file() and (_checkout / "cuda").is_dir():
    __path__.append(str(_checkout / "cuda"))
