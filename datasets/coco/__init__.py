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
    if name in __all__:
        from . import batches, folder, transforms, twin

        return next(getattr(m, name) for m in (batches, folder, transforms, twin) if hasattr(m, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
