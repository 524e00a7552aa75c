"""What every dataset offers, and where its files live. Light: no numpy, no PIL, no torch at import.

Detection data of any origin (rendered scenes, a COCO folder) has the shape of :class:`DetectionData`, so that a
detection task never asks where its images come from.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from replicate.tasks.base import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@runtime_checkable
class DetectionData(Protocol):
    """Images with boxes, in memory or read as they are asked for.

    Boxes are ``(K, 4)`` float32 ``x1, y1, x2, y2`` in pixels, with the right and lower edge outside the object
    (width is ``x2 - x1``). Labels are ``(K,)`` int64 from 0 to ``num_classes - 1``; ``category_ids[label]`` is the
    COCO category id of a label, and ``image_ids[i]`` the COCO image id of image ``i``.
    """

    @property
    def num_classes(self) -> int:
        """Number of classes, without background."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each label."""
        ...

    @property
    def category_ids(self) -> tuple[int, ...]:
        """COCO category id of each label."""
        ...

    @property
    def image_ids(self) -> tuple[int, ...]:
        """COCO image id of each image."""
        ...

    def __len__(self) -> int: ...

    def image(self, i: int) -> NDArray[np.uint8]:
        """Image ``i`` as a writable ``(H, W, 3)`` RGB array."""
        ...

    def boxes(self, i: int) -> NDArray[np.float32]:
        """Boxes of image ``i``, crowds left out."""
        ...

    def labels(self, i: int) -> NDArray[np.int64]:
        """Labels of the boxes of image ``i``."""
        ...

    def coco(self) -> dict[str, Any]:
        """The ground truth in COCO's instances format: what ``pycocotools.coco.COCO`` holds as ``dataset``."""
        ...


def cache_folder() -> Path:
    """Folder of rendered and prepared data: ``REPLICATE_CACHE``, else ``~/.cache/replicate``."""
    named = os.environ.get("REPLICATE_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "replicate"


def package_folder(package: str) -> Path:
    """Folder of an installed package, found without importing it. Raises DataError when it is not installed."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"python package {package!r} is not installed; install the suite's dependencies again")
    return Path(next(iter(spec.submodule_search_locations)))


def digest_files(files: Iterable[tuple[str, Path]]) -> str:
    """SHA-256 over names and contents, in the order of the names; file times and places do not count.

    ``files`` holds (name, path). Raises DataError for a file that is missing or unreadable.
    """
    total = hashlib.sha256()
    for name, path in sorted(files):
        try:
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error
        total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()
