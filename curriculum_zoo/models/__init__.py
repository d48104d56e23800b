"""Networks: one file per family, and `create_model`, which builds any of them by name.

Importing this registers every network of ours in timm's registry too, so ``timm.create_model("hiresnet18")`` works.
"""

from . import airbench, cifar_resnet, glimpse, hiresnet, simple_cnn
from .factory import create_model

__all__ = [
    "airbench",
    "cifar_resnet",
    "create_model",
    "glimpse",
    "hiresnet",
    "simple_cnn",
]
