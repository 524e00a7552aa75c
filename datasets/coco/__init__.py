"""COCO 2017 instances from the user's folder (``train2017/``, ``val2017/``, ``annotations/instances_*.json``).

    from replicate.datasets.coco import open_coco
    data = open_coco("train2017", run.data_paths, train=True)
    image, boxes = resize_shorter(data.image(0), data.boxes(0))

Importing this package is cheap; numpy and PIL are imported by the first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batches import aspect_batches
    from .folder import CocoFolder, checksum, open_coco
    from .transforms import hflip, resize_shorter, resized_shape
    from .twin import fake_twin

_HOME = {
    "aspect_batches": "batches",
    "CocoFolder": "folder",
    "checksum": "folder",
    "open_coco": "folder",
    "hflip": "transforms",
    "resize_shorter": "transforms",
    "resized_shape": "transforms",
    "fake_twin": "twin",
}
__all__ = [
    "CocoFolder",
    "aspect_batches",
    "checksum",
    "fake_twin",
    "hflip",
    "open_coco",
    "resize_shorter",
    "resized_shape",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
