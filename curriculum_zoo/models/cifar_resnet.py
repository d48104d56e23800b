"""ResNets for images of 32 px and thereabouts: He et al.'s resnet20 … resnet110, the wider resnet18, and HiResNets.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), section 4.2: a 3×3 convolution, then three
stages of n blocks with 16, 32 and 64 channels, 6n + 2 layers in all; option-A shortcuts, which take every other pixel
and fill the new channels with zeros. The `hiresnet…_cifar` are these with the projections of `hiresnet`. The
18-layer ones are ImageNet's ResNet-18 with a 3×3 stem of stride 1 and without its max-pooling, as HRT uses it.
"""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from timm.models.resnet import BasicBlock
from torch import Tensor, nn
from torch.nn import functional as F

from ..citation import cites
from .hierarchy import OF_HIRESNETS, RESNET
from .hiresnet import HiResNet, create_hiresnet
from .timm_networks import default_cfgs_of

__all__ = ["CifarResNet", "OptionABlock", "OptionAShortcut"]

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


class OptionAShortcut(nn.Module):
    """A shortcut without parameters: every `stride`-th pixel, and zeros for the channels that are new.

    Args:
        stride: pixels from one kept row or column to the next.
        new_channels: how many channels to add, half before the old ones and half behind.
    """

    def __init__(self, stride: int, new_channels: int) -> None:
        super().__init__()
        self.stride = stride
        self.padding = (0, 0, 0, 0, new_channels // 2, new_channels - new_channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C + new_channels, ⌈H / stride⌉, ⌈W / stride⌉]."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.padding)


class OptionABlock(BasicBlock):
    """timm's basic block with He et al.'s option-A shortcut in place of a strided convolution."""

    def __init__(self, inplanes: int, planes: int, stride: int = 1, *args: Any, **kwargs: Any) -> None:
        super().__init__(inplanes, planes, stride, *args, **kwargs)
        if stride != 1 or planes != inplanes:
            self.downsample = OptionAShortcut(stride, planes - inplanes)


class CifarResNet(HiResNet):
    """The option-A ResNets, plain or hierarchical; options as in `HiResNet`."""

    def init_weights(self, zero_init_last: bool = False) -> None:
        """Kaiming initialisation by fan-in, of the classifier's weights too, as is the custom with these networks.

        Args:
            zero_init_last: whether each block's last BatchNorm starts at zero.
        """
        super().init_weights(zero_init_last)
        plain = (module for name, module in self.named_modules() if "_sum" not in name)
        for module in plain:
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)


def _create(variant: str, pretrained: bool, blocks: int, hierarchical: bool, **kwargs: Any) -> nn.Module:
    options: dict[str, Any] = {
        "block": OptionABlock,
        "layers": (blocks, blocks, blocks),
        "channels": (16, 32, 64),
        "stem_type": "cifar",
        "stem_width": 16,
        "zero_init_last": False,
        "hierarchical": hierarchical,
    }
    return create_hiresnet(variant, pretrained, model_class=CifarResNet, **options | kwargs)


def _create18(variant: str, pretrained: bool, hierarchical: bool, **kwargs: Any) -> nn.Module:
    options: dict[str, Any] = {
        "block": BasicBlock,
        "layers": (2, 2, 2, 2),
        "stem_type": "cifar",
        "hierarchical": hierarchical,
    }
    return create_hiresnet(variant, pretrained, **options | kwargs)


def _cfg(**kwargs: Any) -> dict[str, Any]:
    """The metadata, as timm has it, of a network for CIFAR-10."""
    return {
        "num_classes": 10,
        "input_size": (3, 32, 32),
        "pool_size": (8, 8),
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": CIFAR10_MEAN,
        "std": CIFAR10_STD,
        "first_conv": "conv1",
        "classifier": "fc",
        "license": "mit",
        **kwargs,
    }


default_cfgs = default_cfgs_of(
    {f"{kind}{depth}_cifar": _cfg() for kind in ("resnet", "hiresnet") for depth in (20, 32, 44, 56, 110)}
    | {f"{kind}18_cifar": _cfg(pool_size=(4, 4)) for kind in ("resnet", "hiresnet")}
)


@cites(RESNET)
@register_model
def resnet18_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-18 with a 3×3 stem and no max-pooling: 11,173,962 parameters with 10 classes."""
    return _create18("resnet18_cifar", pretrained, False, **kwargs)


@OF_HIRESNETS
@register_model
def hiresnet18_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """HiResNet-18 with a 3×3 stem and no max-pooling, twin of ``resnet18_cifar``."""
    return _create18("hiresnet18_cifar", pretrained, True, **kwargs)


@cites(RESNET)
@register_model
def resnet20_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-20: 269,722 parameters with 10 classes; He et al. report 91.25 % on CIFAR-10 (table 6)."""
    return _create("resnet20_cifar", pretrained, 3, False, **kwargs)


@cites(RESNET)
@register_model
def resnet32_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-32; He et al. report 92.49 % on CIFAR-10 (table 6)."""
    return _create("resnet32_cifar", pretrained, 5, False, **kwargs)


@cites(RESNET)
@register_model
def resnet44_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-44; He et al. report 92.83 % on CIFAR-10 (table 6)."""
    return _create("resnet44_cifar", pretrained, 7, False, **kwargs)


@cites(RESNET)
@register_model
def resnet56_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-56; He et al. report 93.03 % on CIFAR-10 (table 6)."""
    return _create("resnet56_cifar", pretrained, 9, False, **kwargs)


@cites(RESNET)
@register_model
def resnet110_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-110; He et al. report 93.57 % on CIFAR-10 (table 6)."""
    return _create("resnet110_cifar", pretrained, 18, False, **kwargs)


@OF_HIRESNETS
@register_model
def hiresnet20_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """HiResNet-20, twin of ``resnet20_cifar``."""
    return _create("hiresnet20_cifar", pretrained, 3, True, **kwargs)


@OF_HIRESNETS
@register_model
def hiresnet32_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """HiResNet-32, twin of ``resnet32_cifar``."""
    return _create("hiresnet32_cifar", pretrained, 5, True, **kwargs)


@OF_HIRESNETS
@register_model
def hiresnet44_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """HiResNet-44, twin of ``resnet44_cifar``."""
    return _create("hiresnet44_cifar", pretrained, 7, True, **kwargs)


@OF_HIRESNETS
@register_model
def hiresnet56_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """HiResNet-56, twin of ``resnet56_cifar``."""
    return _create("hiresnet56_cifar", pretrained, 9, True, **kwargs)


@OF_HIRESNETS
@register_model
def hiresnet110_cifar(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """HiResNet-110, twin of ``resnet110_cifar``."""
    return _create("hiresnet110_cifar", pretrained, 18, True, **kwargs)
