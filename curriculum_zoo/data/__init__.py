"""Images and labels: named data sets, files and folders in, augmented batches out.

This face is lazy too, so that a recipe can tell its augmentation without importing torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .augmentation import Augmentation as Augmentation
    from .factory import open_dataset as open_dataset
    from .image_file import read_image as read_image
    from .image_set import ImageSet as ImageSet
    from .photo_loader import PhotoLoader as PhotoLoader
    from .photo_options import PhotoOptions as PhotoOptions
    from .photos import PhotoSet as PhotoSet
    from .resident import ResidentLoader as ResidentLoader
    from .supply import Supply as Supply

_HOMES = {
    "Augmentation": "augmentation",
    "ImageSet": "image_set",
    "PhotoLoader": "photo_loader",
    "PhotoOptions": "photo_options",
    "PhotoSet": "photos",
    "ResidentLoader": "resident",
    "Supply": "supply",
    "open_dataset": "factory",
    "read_image": "image_file",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'curriculum_zoo.data' has no attribute '{name}'")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
