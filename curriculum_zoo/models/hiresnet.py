"""HiResNet: timm's ResNet with residual connections from every lower level of the hierarchy to every higher one.

A level is a stage: x⁰ is what the stem hands to the first stage, xˡ what stage l gives. With F the stage's blocks,

    xˡ = ReLU( F(xˡ⁻¹) + shortcut + Σₖ Pₖ(xᵏ) )        Pₖ = average pooling → 1×1 convolution → BatchNorm

where the pooling brings height and width, and the convolution the number of channels, to those of level l. Each
projection's BatchNorm starts with weight zero: a fresh HiResNet computes what its plain twin computes, and a trained
plain twin's weights load into it without changing its outputs, for the plain parameters keep their names.

López and Triesch, "Hierarchical Residuals Exploit Brain-Inspired Compositionality" (2025): figure 1 for the
projections, figure 2 for the sides. The paper leaves open what a level is (a stage here) and which sources count
(`sources`).
"""

from __future__ import annotations

from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import checkpoint_seq, get_pretrained_cfg, register_model
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from ..compat import take_feature_indices
from ..errors import ModelError
from .checks import check_images
from .hierarchical_stage import HierarchicalStage, add_sums, rename_sums
from .hierarchy import HIRESNET, OF_HIRESNETS, LevelSum, Projection
from .plain_block import plain_block
from .timm_networks import build_network, default_cfgs_of, load_released

__all__ = ["HiResNet", "create_hiresnet"]

torch.fx.wrap("check_images")

SIDES, SOURCES = ("output", "input", "both"), ("long", "all")


class HiResNet(ResNet):
    """timm's ResNet with hierarchical projections; every option of ``timm.models.resnet.ResNet`` holds.

    Compiling, exporting and tracing work as for timm's; ``torch.jit.script``, which PyTorch has deprecated, does not.

    Args:
        block: timm's `BasicBlock` or `Bottleneck`, or a block class that ends with an activation named ``act``,
            ``act2`` or ``act3``.
        layers: number of blocks, by stage.
        hierarchical: whether there are projections; without them this is the plain twin.
        side: where a level receives its projections. ``"output"``: at the end of its stage, before the last
            activation, as in the paper's best arm. ``"input"``: at the beginning of its stage, where they are added
            to what the stage is given (after that one's activation, with its channels and size), for its blocks and
            shortcut alike. ``"both"``: at both, each with projections of its own.
        sources: which lower levels project. ``"long"``: those two or more below, since the one below has the
            ResNet's own shortcut. ``"all"``: that one too.
        residual: whether blocks have their own shortcuts; False gives the paper's plain networks.
        stem_type: as in timm; or ``"cifar"``: one 3×3 convolution of stride 1 and `stem_width` channels (an even
            number), no max-pooling.
        stem_width: as in timm.
        output_stride: pixels of the image for each of the last features, by dilation: 32, 16 or 8; with the
            ``"cifar"`` stem 8, 4 or 2. The network's own where None.
        zero_init_last: whether each block's last BatchNorm starts at zero; never so without shortcuts.
        **kwargs: further options of timm's ResNet.

    Raises:
        ModelError: an option that makes no sense.
    """

    def __init__(
        self,
        block: type[nn.Module],
        layers: tuple[int, ...],
        *,
        hierarchical: bool = True,
        side: str = "output",
        sources: str = "long",
        residual: bool = True,
        stem_type: str = "",
        stem_width: int = 64,
        output_stride: int | None = None,
        zero_init_last: bool = True,
        **kwargs: Any,
    ) -> None:
        _check_choice("side", side, SIDES)
        _check_choice("sources", sources, SOURCES)
        placement = {"device": kwargs.get("device"), "dtype": kwargs.get("dtype")}
        if not residual and kwargs.get("drop_path_rate"):
            raise ModelError("drop_path_rate drops blocks for their shortcuts; residual=False has none. Leave one out.")
        cifar = stem_type == "cifar"
        if cifar and stem_width % 2:
            raise ModelError(f"stem_width={stem_width} must be even for the 'cifar' stem.")
        zero_init_last = zero_init_last and residual
        super().__init__(
            block if residual else plain_block(block),
            layers,
            # timm lets only its deep stem choose a width; the stem itself is replaced below.
            stem_type="deep" if cifar else stem_type,
            stem_width=stem_width // 2 if cifar else stem_width,
            output_stride=_output_stride(output_stride, cifar),
            zero_init_last=zero_init_last,
            **kwargs,
        )
        self.in_chans = kwargs.get("in_chans", 3)
        if cifar:
            self._take_cifar_stem(stem_width, **placement)
            self.init_weights(zero_init_last)
        if hierarchical:
            self._add_sums(side, sources, **placement)

    def _take_cifar_stem(self, width: int, **placement: Any) -> None:
        self.conv1 = nn.Conv2d(self.in_chans, width, 3, padding=1, bias=False, **placement)
        self.maxpool = nn.Identity()
        for index, info in enumerate(self.feature_info):
            info["reduction"] = info["reduction"] // 4 if index else 1

    def _add_sums(self, side: str, sources: str, **placement: Any) -> None:
        nearest = 2 if sources == "long" else 1
        # The stem hands x⁰ on with the channels that its feature has.
        widths = [info["num_chs"] for info in self.feature_info]
        for level in range(nearest, len(widths)):
            channels = {source: widths[source] for source in range(level - nearest + 1)}
            stage, sums = self.get_submodule(f"layer{level}"), {}
            if side != "output":
                sums["input_sum"] = LevelSum(channels, widths[level - 1], nn.Identity(), **placement)
            if side != "input":
                activation = _take_last_activation(stage[-1])
                sums["output_sum"] = LevelSum(channels, widths[level], activation, **placement)
            setattr(self, f"layer{level}", add_sums(stage, **sums))

    load_pretrained = load_released

    @property
    def depth(self) -> int:
        """How many levels there are above x⁰: the number of stages."""
        return len(self.feature_info) - 1

    def projections(self) -> dict[str, Projection]:
        """Return the hierarchical projections keyed by name: ``layer4.1.output_sum.from0`` leads from x⁰ to x⁴."""
        return {name: module for name, module in self.named_modules() if isinstance(module, Projection)}

    def fuse(self) -> HiResNet:
        """Fold the projections' BatchNorm into their convolutions, for inference; returns the network itself.

        Raises:
            ModelError: the network is in training mode, where BatchNorm cannot be folded.
        """
        if self.training:
            raise ModelError("fuse() folds BatchNorm's running statistics, for inference alone. Call eval() first.")
        for projection in self.projections().values():
            projection.fuse()
        return self

    def init_weights(self, zero_init_last: bool = True) -> None:
        """Initialise as timm does, and the projections to zero.

        Args:
            zero_init_last: whether each block's last BatchNorm starts at zero.
        """
        super().init_weights(zero_init_last)
        for projection in self.projections().values():
            projection.init_weights()

    def no_weight_decay(self) -> set[str]:
        """Return the projections' scales and shifts: they start at zero, and decay would hold the hierarchy there."""
        return {f"{name}.bn.{leaf}" for name in self.projections() for leaf in ("weight", "bias")}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take a state whose sums have the names that they had beside the stages."""
        own = {name.removeprefix(prefix): state_dict.pop(name) for name in list(state_dict) if name.startswith(prefix)}
        state_dict.update({prefix + name: tensor for name, tensor in rename_sums(own, self).items()})
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward_stem(self, x: Tensor) -> Tensor:
        """Images [N, in_chans, H, W] to the stem's features before max-pooling.

        Raises:
            ModelError: the images have another number of channels.
        """
        check_images(x, self.in_chans)
        return self.act1(self.bn1(self.conv1(x)))

    def forward_levels(self, x: Tensor, count: int) -> list[Tensor]:
        """Return the features of levels 0 to `count`.

        Args:
            x: the stem's features before max-pooling.
            count: how many stages to go through.
        """
        x = self.maxpool(x)
        levels, copies = [x], [x]
        for level in range(1, count + 1):
            stage = self.get_submodule(f"layer{level}")
            if isinstance(stage, HierarchicalStage):
                x = stage(x, levels, copies, self.grad_checkpointing)
            else:
                x = checkpoint_seq(stage, x) if self.grad_checkpointing else stage(x)
            levels.append(x)
            copies.append(x)
        return levels

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [N, in_chans, H, W] to the last level's features [N, num_features, H', W'].

        Raises:
            ModelError: the images have another number of channels.
        """
        return self.forward_levels(self.forward_stem(x), self.depth)[-1]

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Return the last features and those of the levels asked for, hierarchical sums included.

        Args:
            x: images [N, in_chans, H, W].
            indices: the last so many where an integer, all where None; 0 is the stem before max-pooling, l is xˡ.
            norm: without effect, as in timm's ResNet.
            stop_early: whether to go no further than the last one asked for.
            output_fmt: ``"NCHW"``.
            intermediates_only: whether to leave out the last features.

        Returns:
            A pair of last features and list of intermediates, or that list alone.

        Raises:
            ModelError: another output format, or images with another number of channels.
        """
        _check_choice("output_fmt", output_fmt, ("NCHW",))
        take, last = take_feature_indices(self.depth + 1, indices)
        stem = self.forward_stem(x)
        levels = self.forward_levels(stem, last if stop_early else self.depth)
        taken = [levels[index] if index else stem for index in sorted(take)]
        return taken if intermediates_only else (levels[-1], taken)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Take away the stages above the features asked for.

        Args:
            indices: as in `forward_intermediates`.
            prune_norm: without effect, as in timm's ResNet.
            prune_head: whether to take the classifier away too.

        Returns:
            The indices of the features that are kept.
        """
        take, last = take_feature_indices(self.depth + 1, indices)
        for level in range(last + 1, self.depth + 1):
            setattr(self, f"layer{level}", nn.Sequential())
        if last == 0:
            self.maxpool = nn.Identity()
        if last < self.depth:
            self.num_features = self.head_hidden_size = self.feature_info[last]["num_chs"]
        if prune_head or last < self.depth:
            self.reset_classifier(0, "")
        return take


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ModelError(f"{option}={value!r} is unknown; choose {' or '.join(repr(choice) for choice in choices)}.")


def _output_stride(stride: int | None, cifar: bool) -> int:
    """The setting that timm itself wants: it reckons with a stem of stride 4, where the CIFAR stem has stride 1."""
    allowed = (8, 4, 2) if cifar else (32, 16, 8)
    if stride is not None and stride not in allowed:
        raise ModelError(f"output_stride={stride} cannot be had; choose {', '.join(map(str, allowed))}.")
    return 32 if stride is None else stride * 4 if cifar else stride


def _take_last_activation(block: nn.Module) -> nn.Module:
    """Take the activation that ends a block out of it; no parameter changes its name."""
    for name in ("act3", "act2", "act"):
        activation = getattr(block, name, None)
        if isinstance(activation, nn.Module):
            setattr(block, name, nn.Identity())
            return activation
    raise ModelError(
        f"{type(block).__name__} does not end with an activation named act, act2 or act3, before which the "
        'projections could be added. Use side="input".'
    )


def create_hiresnet(
    variant: str,
    pretrained: bool = False,
    *,
    block: type[nn.Module],
    layers: tuple[int, ...],
    model_class: type[HiResNet] = HiResNet,
    **kwargs: Any,
) -> nn.Module:
    """Build a HiResNet of any configuration that timm's ResNet has; the builder for networks of one's own.

    A plugin's own HiResNet, here a ResNet-D with squeeze-and-excitation and anti-aliasing::

        def my_hiresnet(pretrained=False, **kwargs):
            options = dict(block=Bottleneck, layers=(2, 3, 4, 2), stem_type="deep", stem_width=32, avg_down=True)
            options |= dict(aa_layer=BlurPool2d, block_args=dict(attn_layer="se"), sources="all")
            return create_hiresnet("my_hiresnet", pretrained, **options | kwargs)

    Args:
        variant: its name; where timm's registry has a ``pretrained_cfg`` under that name, it gets that.
        pretrained: whether to load the weights that the ``pretrained_cfg`` names.
        block: see `HiResNet`.
        layers: number of blocks, by stage.
        model_class: `HiResNet` or a subclass.
        **kwargs: options of `HiResNet` (``hierarchical``, ``side``, ``sources``, ``residual``) and of timm's ResNet,
            and what ``timm.create_model`` takes: ``features_only``, ``out_indices``, ``num_classes``, ``in_chans``…

    Returns:
        The network; with ``features_only=True`` timm's `FeatureGetterNet` round it.

    Raises:
        ModelError: an option that makes no sense.
    """
    if kwargs.get("feature_cls", "getter") != "getter":
        raise ModelError("Stages add what lower levels project, so only feature_cls='getter' extracts their features.")
    if kwargs.get("pretrained_cfg") is None and get_pretrained_cfg(variant) is None:
        kwargs["pretrained_cfg"] = _cfg(first_conv="conv1.0" if "deep" in kwargs.get("stem_type", "") else "conv1")
    return build_network(
        model_class,
        variant,
        pretrained,
        features=len(layers) + 1,
        block=block,
        layers=layers,
        **kwargs,
    )


def _cfg(**kwargs: Any) -> dict[str, Any]:
    """The metadata, as timm has it, of a network for photographs."""
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "test_input_size": (3, 288, 288),
        "pool_size": (7, 7),
        "crop_pct": 0.95,
        "test_crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "conv1",
        "classifier": "fc",
        "license": "mit",
        "paper_name": HIRESNET.title,
        **kwargs,
    }


default_cfgs = default_cfgs_of(
    {name: _cfg() for name in ("hiresnet18", "hiresnet34", "hiresnet50", "hiresnet101", "hiresnext50_32x4d")}
)


@OF_HIRESNETS
@register_model
def hiresnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """HiResNet-18: 11.87 M parameters, twin of timm's ``resnet18``."""
    return create_hiresnet("hiresnet18", pretrained, **{"block": BasicBlock, "layers": (2, 2, 2, 2)} | kwargs)


@OF_HIRESNETS
@register_model
def hiresnet34(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """HiResNet-34: twin of timm's ``resnet34``."""
    return create_hiresnet("hiresnet34", pretrained, **{"block": BasicBlock, "layers": (3, 4, 6, 3)} | kwargs)


@OF_HIRESNETS
@register_model
def hiresnet50(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """HiResNet-50: twin of timm's ``resnet50``."""
    return create_hiresnet("hiresnet50", pretrained, **{"block": Bottleneck, "layers": (3, 4, 6, 3)} | kwargs)


@OF_HIRESNETS
@register_model
def hiresnet101(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """HiResNet-101: twin of timm's ``resnet101``."""
    return create_hiresnet("hiresnet101", pretrained, **{"block": Bottleneck, "layers": (3, 4, 23, 3)} | kwargs)


@OF_HIRESNETS
@register_model
def hiresnext50_32x4d(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """HiResNeXt-50 32×4d: twin of timm's ``resnext50_32x4d``."""
    options: dict[str, Any] = {"block": Bottleneck, "layers": (3, 4, 6, 3), "cardinality": 32, "base_width": 4}
    return create_hiresnet("hiresnext50_32x4d", pretrained, **options | kwargs)
