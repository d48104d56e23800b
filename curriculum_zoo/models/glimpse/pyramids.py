"""The glimpse pyramids by name: the paper's, and one round any other network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import register_model
from torch import nn

from ...citation import cites
from ...compat import record_building_options
from ...errors import ModelError
from ..fitting import describe_input
from ..timm_networks import build_network, default_cfgs_of
from .features import CFG, PAPER, PYRAMID, BackboneFeatures, ConvFeatures
from .pyramid import GlimpsePyramid
from .regions import base_of


def _paper(variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    net = PAPER[variant]

    def network(in_chans: int, device: Any = None, dtype: Any = None, **options: Any) -> GlimpsePyramid:
        features = ConvFeatures(net, in_chans, device, dtype)
        return GlimpsePyramid(features, net.base_size, in_chans=in_chans, device=device, dtype=dtype, **options)

    return _build(network, f"glimpse_pyramid_{variant}", pretrained, **kwargs)


def _build(network: Callable[..., GlimpsePyramid], variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    if kwargs.pop("features_only", False):
        raise ModelError(
            f"{variant} has no feature maps to give: it combines vectors of regions. Its module `features` gives the "
            "map of one crop."
        )
    return build_network(network, variant, pretrained, **kwargs)


def _with_backbone(
    backbone: str,
    base_size: int | Sequence[int],
    in_chans: int,
    backbone_options: Mapping[str, Any] | None,
    pretrained_backbone: bool,
    device: Any = None,
    dtype: Any = None,
    **options: Any,
) -> GlimpsePyramid:
    base = base_of(base_size)
    features = BackboneFeatures(backbone, base, in_chans, backbone_options, pretrained_backbone, device, dtype)
    return GlimpsePyramid(features, base, in_chans=in_chans, device=device, dtype=dtype, **options)


_OF_PYRAMIDS = cites(
    PYRAMID,
    idea="A glimpse pyramid looks at the whole image at a low resolution first, and then more closely at the parts "
    "that it chooses.",
)

default_cfgs = default_cfgs_of(
    {f"glimpse_pyramid_{variant}": net.cfg(smallest=net.base_size) for variant, net in PAPER.items()}
    | {
        "glimpse_pyramid": {
            **CFG,
            "num_classes": 1000,
            "input_size": (3, 256, 256),
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
        }
    }
)


@_OF_PYRAMIDS
@register_model
def glimpse_pyramid(
    pretrained: bool = False,
    backbone: str = "timm/resnet18",
    base_size: int | Sequence[int] = 64,
    backbone_options: Mapping[str, Any] | None = None,
    pretrained_backbone: bool = False,
    **kwargs: Any,
) -> nn.Module:
    """A glimpse pyramid round any registered network or timm's.

    Args:
        pretrained: whether to load released weights of the whole.
        backbone: the feature extraction: its last feature map feeds the location module, its pooled features the
            pyramid; see `BackboneFeatures`.
        base_size: the resolution that it works at, a side or height and width, pixels.
        backbone_options: further options of the backbone's.
        pretrained_backbone: whether to start from the backbone's released weights; not recorded among the options
            that the network is built with again, as its own weights hold them.
        **kwargs: options of `GlimpsePyramid`: ``grid``, ``overlap``, ``attend``, ``threshold``, ``top_k``,
            ``num_classes``, ``in_chans``, ``drop_rate``; and what ``timm.create_model`` takes.
    """
    options = {"backbone": backbone, "base_size": base_size, "backbone_options": backbone_options, **kwargs}
    model: Any = _build(
        _with_backbone, "glimpse_pyramid", pretrained, pretrained_backbone=pretrained_backbone, **options
    )
    inner = getattr(model.features.backbone, "pretrained_cfg", None) or {}
    model.pretrained_cfg |= {
        "input_size": (model.in_chans, 4 * model.base[0], 4 * model.base[1]),
        "min_input_size": (model.in_chans, *model.base),
        "first_conv": _within("features.backbone", inner.get("first_conv")),
    }
    describe_input(model, inner)
    if pretrained_backbone:
        recorded = inspect.signature(GlimpsePyramid).parameters.keys() - {"device", "dtype"} | options.keys() - kwargs
        kept = {name: options[name] for name in options if name in recorded and options[name] is not None}
        record_building_options(model, kept, replace=True)
    return model


def _within(prefix: str, names: Any) -> Any:
    """Names of layers, in timm's form, with a prefix."""
    if names is None or isinstance(names, str):
        return names and f"{prefix}.{names}"
    return tuple(f"{prefix}.{name}" for name in names)


@_OF_PYRAMIDS
@register_model
def glimpse_pyramid_m1(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """M1 for MNIST (table 3): one convolution, 74,707 parameters."""
    return _paper("m1", pretrained, **kwargs)


@_OF_PYRAMIDS
@register_model
def glimpse_pyramid_m2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """M2 for MNIST (table 2): two convolutions, 92,883 parameters."""
    return _paper("m2", pretrained, **kwargs)


@_OF_PYRAMIDS
@register_model
def glimpse_pyramid_m3(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """M3 for MNIST (table 1): three convolutions, 106,771 parameters."""
    return _paper("m3", pretrained, **kwargs)


@_OF_PYRAMIDS
@register_model
def glimpse_pyramid_in_m1(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """M1 for ImageNet (table 5): three convolutions, 1,496,689 parameters."""
    return _paper("in_m1", pretrained, **kwargs)


@_OF_PYRAMIDS
@register_model
def glimpse_pyramid_in_m2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """M2 for ImageNet (table 4): four convolutions, 1,976,177 parameters."""
    return _paper("in_m2", pretrained, **kwargs)
