"""Images and labels: named data sets, files and folders in, augmented batches out."""

from .decoding.image_file import read_image
from .factory import open_dataset
from .loading.batch import Batch
from .loading.loader_factory import LoaderFactory
from .loading.photo_loader import PhotoLoader
from .loading.resident import ResidentLoader
from .sets.data_set import DataSet
from .sets.image_set import ImageSet
from .sets.photos import PhotoSet

__all__ = [
    "Batch",
    "DataSet",
    "ImageSet",
    "LoaderFactory",
    "PhotoLoader",
    "PhotoSet",
    "ResidentLoader",
    "open_dataset",
    "read_image",
]
