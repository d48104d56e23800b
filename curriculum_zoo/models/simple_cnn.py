"""SimpleCNN: the two-convolution network of the HRT paper, for images of any size."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import SelectAdaptivePool2d
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..citation import Paper, cites
from ..compat import take_feature_indices
from ..errors import ModelError
from .checks import check_images
from .timm_networks import build_network, default_cfgs_of, load_released

__all__ = ["SimpleCNN"]

torch.fx.wrap("check_images")

SHRINKING = 4
GLOBAL_POOLS = ("grid", "avg", "max", "avgmax", "catavgmax", "")


class SimpleCNN(nn.Module):
    """conv 3→32, ReLU, max-pool, conv 32→64, ReLU, max-pool, linear →128, ReLU, linear (HRT's notebooks).

    Convolutions are 3×3 with padding 1, max-pooling is 2×2; weights start as PyTorch starts them, as in the author's
    code. At 32 px the first linear layer sees 64·8·8 = 4,096 values.

    Args:
        num_classes: number of classes; 0 leaves the last linear layer out.
        in_chans: channels of the images.
        img_size: the side, or height and width, in pixels, for which the first linear layer is made. Images of other
            sizes are averaged, or repeated, to its grid of a quarter of that.
        global_pool: ``"grid"`` is the author's: that grid. timm's ``"avg"``, ``"max"``, ``"avgmax"`` and
            ``"catavgmax"`` pool the grid away; ``""`` leaves the features as they are, without linear layers.
        drop_rate: dropout before the last linear layer.
        hidden_size: width of the first linear layer.
        device: where parameters are made.
        dtype: their type.

    Raises:
        ModelError: images under 4 px, an unknown pooling, or classes without pooling.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        img_size: int | tuple[int, int] = 32,
        global_pool: str = "grid",
        drop_rate: float = 0.0,
        hidden_size: int = 128,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        if min(height, width) < SHRINKING:
            raise ModelError(f"simple_cnn takes images of {SHRINKING} px and more, got img_size={img_size}.")
        placement = {"device": device, "dtype": dtype}
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.grid = (height // SHRINKING, width // SHRINKING)
        self.grad_checkpointing = False
        self.conv1 = nn.Conv2d(in_chans, 32, 3, padding=1, **placement)
        self.act1 = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2: nn.Module = nn.Conv2d(32, 64, 3, padding=1, **placement)
        self.act2: nn.Module = nn.ReLU(inplace=True)
        self.pool2: nn.Module = nn.MaxPool2d(2)
        self.feature_info = [
            {"num_chs": 32, "reduction": 2, "module": "pool1"},
            {"num_chs": 64, "reduction": 4, "module": "pool2"},
        ]
        self.num_features = 64
        self.head_hidden_size = hidden_size
        self._make_head(num_classes, global_pool, hidden_size, placement)

    def _make_head(self, num_classes: int, pool: str, hidden_size: int, placement: dict[str, Any]) -> None:
        if pool not in GLOBAL_POOLS:
            raise ModelError(f"global_pool={pool!r} is unknown; choose {', '.join(map(repr, GLOBAL_POOLS))}.")
        if num_classes and not pool:
            raise ModelError("global_pool='' leaves no linear layers to classify with. Use num_classes=0 with it.")
        self.pool_type = pool
        self.global_pool: nn.Module
        if pool == "grid":
            self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(self.grid), nn.Flatten())
            pooled = self.num_features * self.grid[0] * self.grid[1]
        else:
            self.global_pool = SelectAdaptivePool2d(pool_type=pool, flatten=bool(pool))
            pooled = self.num_features * (2 if pool == "catavgmax" else 1)
        self.fc1: nn.Module = nn.Linear(pooled, hidden_size, **placement) if pool else nn.Identity()
        self.act3: nn.Module = nn.ReLU(inplace=True) if pool else nn.Identity()
        self.fc2: nn.Module = nn.Linear(hidden_size, num_classes, **placement) if num_classes else nn.Identity()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of parameter names by depth, as in timm.

        Args:
            coarse: without effect: every layer is a group of its own.
        """
        return {"stem": r"^conv1\.", "blocks": [(r"^conv(2)\.", None), (r"^fc1\.", (3,))]}

    load_pretrained = load_released

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether training recomputes the second convolution's activations rather than keep them."""
        self.grad_checkpointing = enable

    def get_classifier(self, name_only: bool = False) -> str | nn.Module:
        """Return the last linear layer.

        Args:
            name_only: give its name instead.
        """
        return "fc2" if name_only else self.fc2

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last linear layer by a fresh one, and with another pooling the first one too.

        Args:
            num_classes: number of classes; 0 leaves the layer out.
            global_pool: see `SimpleCNN`; as it is where None.

        Raises:
            ModelError: an unknown pooling, or classes without pooling.
        """
        placement = {"device": self.conv1.weight.device, "dtype": self.conv1.weight.dtype}
        kept = (self.fc1, self.act3)
        pool = self.pool_type if global_pool is None else global_pool
        same = pool == self.pool_type
        self._make_head(num_classes, pool, self.head_hidden_size, placement)
        if same:
            self.fc1, self.act3 = kept
        self.num_classes = num_classes
        self.train(self.training)

    def _levels(self, x: Tensor) -> list[Tensor]:
        check_images(x, self.in_chans, SHRINKING)
        first = self.pool1(self.act1(self.conv1(x)))
        if self.grad_checkpointing and self.training:
            return [first, checkpoint(self._second, first, use_reentrant=False)]
        return [first, self._second(first)]

    def _second(self, x: Tensor) -> Tensor:
        return self.pool2(self.act2(self.conv2(x)))

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [N, in_chans, H, W] to features [N, 64, ⌊H/4⌋, ⌊W/4⌋].

        Raises:
            ModelError: the images have another number of channels, or are under 4 px.
        """
        return self._levels(x)[-1]

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Return the features, and those after each of the two max-poolings as asked for.

        Args:
            x: images [N, in_chans, H, W].
            indices: the last so many where an integer, all where None, those of that index else.
            norm: without effect.
            stop_early: without effect.
            output_fmt: ``"NCHW"``.
            intermediates_only: whether to leave out the last features.

        Raises:
            ModelError: another output format, or images that `forward_features` refuses.
        """
        if output_fmt != "NCHW":
            raise ModelError(f"output_fmt={output_fmt!r} is unknown; choose 'NCHW'.")
        take, _ = take_feature_indices(2, indices)
        levels = self._levels(x)
        taken = [levels[index] for index in take]
        return taken if intermediates_only else (levels[-1], taken)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Take away the layers above the features asked for.

        Args:
            indices: as in `forward_intermediates`.
            prune_norm: without effect.
            prune_head: whether to take the linear layers away too.

        Returns:
            The indices of the features that are kept.
        """
        take, last = take_feature_indices(2, indices)
        if last == 0:
            self.conv2, self.act2, self.pool2 = nn.Identity(), nn.Identity(), nn.Identity()
            self.num_features = 32
        if prune_head or last == 0:
            self.reset_classifier(0, "")
        return take

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features [N, 64, h, w] to logits [N, num_classes].

        Args:
            x: what `forward_features` gives.
            pre_logits: stop before the last linear layer, at [N, hidden_size].
        """
        x = self.act3(self.fc1(self.global_pool(x)))
        if self.drop_rate:
            x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.fc2(x)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, in_chans, H, W] to logits [N, num_classes].

        Raises:
            ModelError: the images have another number of channels, or are under 4 px.
        """
        return self.forward_head(self.forward_features(x))


default_cfgs = default_cfgs_of(
    {
        "simple_cnn": {
            "num_classes": 10,
            "input_size": (3, 32, 32),
            "min_input_size": (3, SHRINKING, SHRINKING),
            "pool_size": (8, 8),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "mean": (0.0, 0.0, 0.0),
            "std": (1.0, 1.0, 1.0),
            "first_conv": "conv1",
            "classifier": "fc2",
            "license": "mit",
        }
    }
)


@cites(Paper("hrt", "Hierarchical Resolution Training (HRT)", "Dhaval Khatri"))
@register_model
def simple_cnn(pretrained: bool = False, img_size: int | tuple[int, int] = 32, **kwargs: Any) -> nn.Module:
    """HRT's SimpleCNN: 545,098 parameters for images of 32 px and 10 classes."""
    return build_network(
        SimpleCNN,
        "simple_cnn",
        pretrained,
        features=2,
        img_size=img_size,
        **kwargs,
    )
