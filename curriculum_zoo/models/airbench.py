"""Airbench: the small convolutional networks of the CIFAR-10 speed records, with a whitening first layer.

Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024, arXiv 2404.00498), section 3; the network
descends from Page's and from tysam-code's (hlb-CIFAR10).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import SelectAdaptivePool2d
from timm.models import checkpoint, register_model
from torch import Tensor, nn
from torch.nn import functional as F

from ..citation import Paper, cites
from ..compat import take_feature_indices
from ..errors import ModelError
from .checks import check_images
from .cifar_resnet import CIFAR10_MEAN, CIFAR10_STD
from .timm_networks import build_network, default_cfgs_of, load_released

__all__ = ["Airbench", "AirbenchBlock", "ScaledLinear", "whitening_filters"]

torch.fx.wrap("check_images")

GLOBAL_POOLS = ("max", "avg", "avgmax", "catavgmax", "")
WHITEN_EPS = 5e-4
IMAGES_AT_A_TIME = 256  # their patches take 24 MB in float64 at 32 px


def whitening_filters(images: Tensor, kernel_size: int, eps: float = WHITEN_EPS) -> Tensor:
    """Filters that decorrelate the patches of some images and scale each response to variance 1: PCA whitening.

    Filter i is eigenvector i of the patches' second moments, divided by √(eigenvalue + eps) (section 3.2). As
    published, no mean is subtracted: the images are normalised.

    Args:
        images: normalised images [N, C, H, W].
        kernel_size: side of the patches in pixels.
        eps: added to the eigenvalues, so that directions of next to no variance are not blown up.

    Returns:
        Filters [C·k², C, k, k] in float64 on the CPU, that of the largest eigenvalue first.

    Raises:
        ModelError: there are no images, or their values are no finite floating-point numbers.
    """
    channels = images.shape[1]
    moments = torch.zeros((channels * kernel_size**2,) * 2, dtype=torch.float64)
    patches = 0
    for chunk in images.detach().split(IMAGES_AT_A_TIME):
        columns = F.unfold(chunk.cpu().double(), kernel_size).transpose(0, 1).flatten(1)
        moments += columns @ columns.T
        patches += columns.shape[1]
    if not (patches and images.is_floating_point() and moments.isfinite().all()):
        raise ModelError(
            f"Whitening filters need images of finite floating-point values, got {images.dtype} of shape "
            f"{list(images.shape)}. Give normalised training images."
        )
    variances, vectors = torch.linalg.eigh(moments / patches)
    filters = vectors / (variances + eps).sqrt()
    return filters.T.flip(0).reshape(-1, channels, kernel_size, kernel_size)


class ScaledLinear(nn.Linear):
    """A linear layer without bias whose outputs are multiplied by a constant.

    Args:
        in_features: width of its inputs.
        out_features: width of its outputs.
        scale: the constant.
        **placement: PyTorch's ``device`` and ``dtype``.
    """

    def __init__(self, in_features: int, out_features: int, scale: float, **placement: Any) -> None:
        super().__init__(in_features, out_features, bias=False, **placement)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """[…, in_features] to […, out_features]."""
        return super().forward(x) * self.scale


class AirbenchBlock(nn.Module):
    """conv, max-pool, BatchNorm, GELU, conv, BatchNorm, GELU; it halves height and width (section 3.1).

    Convolutions are 3×3 without bias and start as the identity as far as their inputs go: the first of their filters
    pass one channel each on, the others start as PyTorch starts them (section 3.3). BatchNorm's scales stay 1.

    Args:
        in_chs: channels that come in.
        out_chs: channels that go out.
        bn_momentum: see `Airbench`.
        bn_eps: see `Airbench`.
        **placement: PyTorch's ``device`` and ``dtype``.
    """

    def __init__(self, in_chs: int, out_chs: int, *, bn_momentum: float, bn_eps: float, **placement: Any) -> None:
        super().__init__()
        norm: dict[str, Any] = {"eps": bn_eps, "momentum": bn_momentum, **placement}
        self.conv1 = nn.Conv2d(in_chs, out_chs, 3, padding=1, bias=False, **placement)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = nn.BatchNorm2d(out_chs, **norm)
        self.act1 = nn.GELU()
        self.conv2 = nn.Conv2d(out_chs, out_chs, 3, padding=1, bias=False, **placement)
        self.norm2 = nn.BatchNorm2d(out_chs, **norm)
        self.act2 = nn.GELU()
        for conv in (self.conv1, self.conv2):
            nn.init.dirac_(conv.weight.data[: conv.in_channels])
        for batch_norm in (self.norm1, self.norm2):
            batch_norm.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_chs, H, W] to [N, out_chs, ⌊H/2⌋, ⌊W/2⌋]."""
        x = self.act1(self.norm1(self.pool(self.conv1(x))))
        return self.act2(self.norm2(self.conv2(x)))


class Airbench(nn.Module):
    """Whitening convolution, GELU, blocks of two convolutions, global max-pooling, linear layer.

    At 32 px the maps are of 31, 15, 7 and 3 px, and global max-pooling is the published ``MaxPool2d(3)``; images of
    other sizes end in maps of other sizes, which it pools as well.

    The whitening convolution's weights and BatchNorm's scales are parameters that do not require gradients: they are
    saved, copied, averaged and counted like all others, and optimisers pass them over. The whitening convolution's
    bias learns; the paper freezes it after 3 epochs.

    **Initialisation from data.** A network that has ``init_from_data(images)`` is given normalised training images
    before training starts, unless it starts from weights. They are the training images as evaluation would see them:
    in full size, without random augmentation, the same on every process, at most 5,000 (the paper's number). It is
    called once, on the network itself, before copies of its weights are taken (moving averages, slow weights, other
    processes' replicas); a resumed run loads its checkpoint instead. It draws no random numbers.

    Args:
        num_classes: number of classes; 0 leaves the linear layer out.
        in_chans: channels of the images.
        widths: channels of each block; (128, 384, 384) are those of airbench95.
        whiten_kernel_size: side in pixels of the patches that are whitened.
        whiten_width: filters of the whitening convolution, an even number: the leading eigenvectors and their
            negatives. All of them where None, 2·in_chans·k².
        scaling_factor: what the linear layer's outputs are multiplied by.
        bn_momentum: weight of the newest batch in BatchNorm's running statistics, as PyTorch has it; the paper's 0.6
            is the weight of the old ones.
        bn_eps: what BatchNorm adds to variances.
        global_pool: ``"max"``, or timm's ``"avg"``, ``"avgmax"`` and ``"catavgmax"``; ``""`` leaves the maps as they
            are, without the linear layer.
        drop_rate: dropout before the linear layer.
        device: where parameters are made.
        dtype: their type.

    Raises:
        ModelError: a width or kernel size that is none, an unknown pooling, or classes without pooling.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        widths: Sequence[int] = (64, 256, 256),
        whiten_kernel_size: int = 2,
        whiten_width: int | None = None,
        scaling_factor: float = 1 / 9,
        bn_momentum: float = 0.4,
        bn_eps: float = 1e-12,
        global_pool: str = "max",
        drop_rate: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        stem = 2 * in_chans * whiten_kernel_size**2 if whiten_width is None else whiten_width
        if not widths or min(*widths, stem, whiten_kernel_size) < 1 or stem % 2:
            raise ModelError(
                f"Airbench cannot be built with widths={tuple(widths)}, whiten_kernel_size={whiten_kernel_size} and "
                f"whiten_width={whiten_width}: give one width or more, all at least 1, and an even whiten_width."
            )
        placement: dict[str, Any] = {"device": device, "dtype": dtype}
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.scaling_factor = scaling_factor
        self.grad_checkpointing = False
        self.whiten = nn.Conv2d(in_chans, stem, whiten_kernel_size, **placement)
        self.act = nn.GELU()
        chs = (stem, *widths)
        options: dict[str, Any] = {"bn_momentum": bn_momentum, "bn_eps": bn_eps, **placement}
        self.blocks = nn.Sequential(*(AirbenchBlock(*pair, **options) for pair in itertools.pairwise(chs)))
        names = ("act", *(f"blocks.{index}" for index in range(len(widths))))
        self.feature_info = [
            {"num_chs": width, "reduction": 2**level, "module": name}
            for level, (width, name) in enumerate(zip(chs, names, strict=True))
        ]
        self.smallest = whiten_kernel_size - 1 + 2 ** len(widths)
        self.num_features = self.head_hidden_size = chs[-1]
        self._start_whitening()
        self._make_head(num_classes, global_pool)

    @torch.no_grad()
    def _start_whitening(self) -> None:
        """Start from orthonormal filters and their negatives, which whiten white noise, until data come."""
        half = torch.empty(self.whiten.out_channels // 2, *self.whiten.weight.shape[1:])
        nn.init.orthogonal_(half)
        self.whiten.weight.copy_(torch.cat([half, -half]))
        self.whiten.weight.requires_grad_(False)
        assert self.whiten.bias is not None
        nn.init.zeros_(self.whiten.bias)

    def _make_head(self, num_classes: int, pool: str) -> None:
        if pool not in GLOBAL_POOLS:
            raise ModelError(f"global_pool={pool!r} is unknown; choose {', '.join(map(repr, GLOBAL_POOLS))}.")
        if num_classes and not pool:
            raise ModelError("global_pool='' leaves no linear layer to classify with. Use num_classes=0 with it.")
        placement = {"device": self.whiten.weight.device, "dtype": self.whiten.weight.dtype}
        self.global_pool = SelectAdaptivePool2d(pool_type=pool, flatten=bool(pool))
        self.fc: nn.Module = nn.Identity()
        if num_classes:
            pooled = self.num_features * self.global_pool.feat_mult()
            self.fc = ScaledLinear(pooled, num_classes, self.scaling_factor, **placement)

    @torch.no_grad()
    def init_from_data(self, images: Tensor) -> None:
        """Set the whitening convolution to whiten the patches of some images: filters, and their negatives.

        The same images give the same filters; no random numbers are drawn, and nothing else is changed.

        Args:
            images: normalised training images [N, in_chans, H, W] on any device; the paper takes 5,000.

        Raises:
            ModelError: images that the network does not take, that are not finite, or whose patches have fewer
                values than there are pairs of filters.
        """
        check_images(images, self.in_chans, self.smallest)
        filters = whitening_filters(images, self.whiten.kernel_size[0])
        pairs = self.whiten.out_channels // 2
        if pairs > len(filters):
            raise ModelError(
                f"Patches of {len(filters)} values have no more than {len(filters)} directions to whiten, and "
                f"whiten_width={2 * pairs} asks for {pairs}. Build the network with whiten_width={2 * len(filters)}."
            )
        self.whiten.weight.copy_(torch.cat([filters[:pairs], -filters[:pairs]]))

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of parameter names by depth, as in timm.

        Args:
            coarse: by block rather than by convolution.
        """
        blocks = r"^blocks\.(\d+)" if coarse else [(r"^blocks\.(\d+)\.(?:conv|norm)(\d)", None)]
        return {"stem": r"^whiten", "blocks": blocks}

    load_pretrained = load_released

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether training recomputes each block's activations rather than keep them.

        BatchNorm's running statistics then take in each batch twice, as with timm's networks.
        """
        self.grad_checkpointing = enable

    def get_classifier(self, name_only: bool = False) -> str | nn.Module:
        """The linear layer, its scaling included.

        Args:
            name_only: give its name instead.
        """
        return "fc" if name_only else self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Make a new linear layer.

        Args:
            num_classes: number of classes; 0 leaves the layer out.
            global_pool: see `Airbench`; as it is where None.

        Raises:
            ModelError: an unknown pooling, or classes without pooling.
        """
        self._make_head(num_classes, self.global_pool.pool_type if global_pool is None else global_pool)
        self.num_classes = num_classes
        self.train(self.training)

    def _levels(self, x: Tensor, count: int) -> list[Tensor]:
        """The maps after the whitening layer and after each of the first `count` blocks."""
        check_images(x, self.in_chans, self.smallest)
        levels = [self.act(self.whiten(x))]
        for block in self.blocks[:count]:
            if self.grad_checkpointing and self.training:
                levels.append(checkpoint(block, levels[-1], use_reentrant=False))
            else:
                levels.append(block(levels[-1]))
        return levels

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [N, in_chans, H, W] to features [N, num_features, h, w].

        Raises:
            ModelError: the images have another number of channels, or are too small (under 9 px for three blocks).
        """
        return self._levels(x, len(self.blocks))[-1]

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The features, and those after the whitening layer and after each block as asked for.

        Args:
            x: images [N, in_chans, H, W].
            indices: the last so many where an integer, all where None, those of that index else.
            norm: without effect.
            stop_early: whether to leave out the blocks above those asked for.
            output_fmt: ``"NCHW"``.
            intermediates_only: whether to leave out the last features.

        Raises:
            ModelError: another output format, or images that `forward_features` refuses.
        """
        if output_fmt != "NCHW":
            raise ModelError(f"output_fmt={output_fmt!r} is unknown; choose 'NCHW'.")
        take, last = take_feature_indices(len(self.blocks) + 1, indices)
        levels = self._levels(x, last if stop_early and intermediates_only else len(self.blocks))
        taken = [levels[index] for index in take]
        return taken if intermediates_only else (levels[-1], taken)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Take away the blocks above the features asked for.

        Args:
            indices: as in `forward_intermediates`.
            prune_norm: without effect.
            prune_head: whether to take the linear layer away too.

        Returns:
            The indices of the features that are kept.
        """
        take, last = take_feature_indices(len(self.blocks) + 1, indices)
        if prune_head or last < len(self.blocks):
            self.reset_classifier(0, "")
        self.blocks = self.blocks[:last]
        self.num_features = self.feature_info[last]["num_chs"]
        return take

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features [N, num_features, h, w] to logits [N, num_classes].

        Args:
            x: what `forward_features` gives.
            pre_logits: stop before the linear layer, at [N, num_features].
        """
        x = self.global_pool(x)
        if self.drop_rate:
            x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, in_chans, H, W] to logits [N, num_classes]; raises what `forward_features` raises."""
        return self.forward_head(self.forward_features(x))


default_cfgs = default_cfgs_of(
    {
        "airbench94": {
            "num_classes": 10,
            "input_size": (3, 32, 32),
            "min_input_size": (3, 9, 9),
            "pool_size": (3, 3),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "mean": CIFAR10_MEAN,
            "std": CIFAR10_STD,
            "first_conv": "whiten",
            "classifier": "fc",
            "license": "mit",
            "paper_name": "94% on CIFAR-10 in 3.29 Seconds on a Single GPU",
            "paper_ids": "arXiv:2404.00498",
            "origin_url": "https://github.com/KellerJordan/cifar10-airbench",
        }
    }
)


@cites(Paper("airbench", "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", "Keller Jordan", "arXiv 2404.00498", 2024))
@register_model
def airbench94(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Jordan's airbench94: 1,972,792 parameters with 10 classes; 94.01 % on CIFAR-10 in 9.9 epochs (n = 1,000)."""
    return build_network(Airbench, "airbench94", pretrained, features=4, **kwargs)
