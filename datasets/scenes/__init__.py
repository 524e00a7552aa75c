"""The ``scenes`` world: drawn objects pasted on real photographs, with boxes, masks and raw facts.

    from replicate.datasets.scenes import render
    scenes = render("train", 1000, size=96, seed=0)
    scenes.images, scenes.boxes(0), scenes.labels(0), scenes.coco()

Importing this package is cheap; numpy and PIL are imported by the first call.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .world import SceneConfig, Scenes, checksum, render

__all__ = ["SceneConfig", "Scenes", "checksum", "render"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import world

        return getattr(world, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
