"""Networks: one file per family, and `create_model`, which builds any of them by name.

Importing this registers every network of ours in timm's registry too, so ``timm.create_model("hiresnet18")`` works.
"""

from ..catalogue import list_models
from . import cifar_resnet, glimpse_baseline, glimpse_pyramid, hiresnet, simple_cnn
from .factory import create_model

__all__ = [
    "cifar_resnet",
    "create_model",
    "glimpse_baseline",
    "glimpse_pyramid",
    "hiresnet",
    "list_models",
    "simple_cnn",
]
