"""What glimpse pyramids and their baselines share: one vector describes an image, and a linear layer classifies it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ...errors import ModelError
from ..timm_networks import load_released
from .features import BackboneFeatures, ConvFeatures, initialize, prefixed

__all__ = ["VectorClassifier"]


class VectorClassifier(nn.Module):
    """Feature extraction, and the classification module on the vector that comes of it, with timm's interface.

    Args:
        features: the feature extraction module: images to (map [N, c, h, w], vector [N, f]).
        num_classes: number of classes; 0 leaves the classification module out.
        in_chans: channels of the images.
        drop_rate: dropout before the classification module.
        device: where parameters are made.
        dtype: their type.
    """

    def __init__(
        self,
        features: ConvFeatures | BackboneFeatures,
        num_classes: int,
        in_chans: int,
        drop_rate: float,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_features = self.head_hidden_size = features.num_features
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.grad_checkpointing = False
        self.features = features
        self._make_classifier(num_classes, device, dtype)

    load_pretrained = load_released

    def _make_classifier(self, num_classes: int, device: Any, dtype: Any) -> None:
        self.num_classes = num_classes
        self.classifier: nn.Module = nn.Identity()
        if num_classes:
            self.classifier = nn.Linear(self.num_features, num_classes, device=device, dtype=dtype)
        initialize(self.classifier)

    def _describe(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The last feature map of images, and its pooled vectors."""
        if self.grad_checkpointing and self.training:
            feature_map, vector = checkpoint(self.features, images, use_reentrant=False)
        else:
            feature_map, vector = self.features(images)
        return feature_map, vector

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Feature vectors [N, num_features] to logits [N, num_classes].

        Args:
            x: what ``forward_features`` gives.
            pre_logits: stop before the classification module.
        """
        if self.drop_rate:
            x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)

    def get_classifier(self, name_only: bool = False) -> str | nn.Module:
        """Return the classification module.

        Args:
            name_only: give its name instead.
        """
        return "classifier" if name_only else self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classification module by a fresh one.

        Args:
            num_classes: number of classes; 0 leaves it out.
            global_pool: None, or ``"avg"``, which is what it is.

        Raises:
            ModelError: another pooling is asked for.
        """
        if global_pool not in (None, "avg"):
            raise ModelError(f"global_pool={global_pool!r} cannot be had: the features are vectors. Leave it out.")
        like = next(self.features.parameters())
        self._make_classifier(num_classes, like.device, like.dtype)
        self.train(self.training)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether training recomputes the feature extraction's activations rather than keep them."""
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> Any:
        """Patterns of parameter names by depth, as in timm: the features' own groups, then the modules above them.

        Args:
            coarse: whether whole stages are groups, where the features have stages.
        """
        inner = prefixed(self.features.group_matcher(coarse), "features")
        if isinstance(inner, Mapping):
            return {**inner, "modules": r"^(?!features\.|classifier\.)"}
        above = {name: 1e6 for name, _ in self.named_children() if name not in ("features", "classifier")}
        return lambda name: inner(name) if name.startswith("features.") else above.get(name.partition(".")[0], math.inf)
