"""Batched image operations: blur, size, low frequencies, edges, random augmentation; on any device."""

from .blur import BoxBlur, GaussianBlur
from .crops import RandomCrop
from .edges import CannyEdges, SobelEdges
from .rand_augment import RandAugment
from .resizing import LowFrequencyCrop, Resize
from .separable import Interpolation
from .shares import Portions, ReducedShare
from .view import Chain, View, at_full_size, compose, identity, look, pixels

__all__ = [
    "BoxBlur",
    "CannyEdges",
    "Chain",
    "GaussianBlur",
    "Interpolation",
    "LowFrequencyCrop",
    "Portions",
    "RandAugment",
    "RandomCrop",
    "ReducedShare",
    "Resize",
    "SobelEdges",
    "View",
    "at_full_size",
    "compose",
    "identity",
    "look",
    "pixels",
]
