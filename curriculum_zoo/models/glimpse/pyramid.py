"""The glimpse pyramid: a classifier that looks at an image coarsely, then closer where it matters, and only there.

"Image Classification Through Top-Down Image Pyramid Traversal" (under review for ICLR 2021). An image is shrunk to the
base resolution and described by the feature extraction module; the location module finds from the last feature map
which cells of a grid are worth a closer look; these are cut out of the image, shrunk to the base resolution in turn,
and so on, level by level, as long as the image has the pixels. Vectors are combined from fine to coarse (equation 7):
V' = merge(V, aggregate(V' of the attended cells)), with zeros for cells that were not attended.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ...errors import ModelError
from ..adaptive import Attend, GlimpseLevel, Glimpses
from ..checks import check_images
from .choice import ATTEND, GlimpseCosts, choose
from .features import SLOPE, BackboneFeatures, ConvFeatures, WholeConv2d, initialize
from .head import VectorClassifier
from .regions import Grid, RegionSource, base_of, shrink

__all__ = ["GlimpsePyramid"]

PIECE = {"cpu": 512}
"""Crops at a time where no gradients are wanted, by device: on a CPU that takes about half the time of a packed batch
of many thousands, whose activations leave the cache and are allocated each time; elsewhere it bounds memory."""
LARGEST_PIECE = 8192


@dataclass(frozen=True)
class _Traversal:
    """What was seen on the way down.

    Attributes:
        vectors: the feature vectors of every level's regions, [R, f].
        choices: between the levels.
        having: for each choice, [R'] the regions that have attended cells.
        slots: for each choice, [A] where each attended cell stands in a [R'·g] list of the cells of those.
    """

    vectors: list[Tensor]
    choices: list[GlimpseLevel]
    having: list[Tensor]
    slots: list[Tensor]


class GlimpsePyramid(VectorClassifier):
    """Top-down traversal of an image pyramid with hard attention.

    Cost follows the choice: the attended crops of the whole batch make up one packed batch per level, and nothing is
    computed for what was not attended. How many levels there are follows from the image: level z has regions of the
    image's size times the cells' share of it (a half for the paper's grid) to the power of z - 1, and every level has
    at least the base resolution. Crops keep their native pixels; only what enters the feature extraction module is
    resized, by area. Base and images can be oblong: where their aspects differ, every crop is squeezed alike.

    In eval mode equal images give equal logits unless ``attend="sample"``. ``torch.export``, ``torch.jit.trace`` and
    both ONNX exporters give programs for the size of image that they are made with, in which every crop is computed
    and what was not attended is masked; so does the meta device. ``torch.fx`` cannot trace the network.

    Args:
        features: the feature extraction module: crops [N, C, *base_size] to (map [N, c, h, w], vector [N, f]).
        base_size: the base resolution in pixels: a side, or height and width.
        num_classes: number of classes; 0 leaves the classification module out.
        in_chans: channels of the images.
        grid: cells to a row, and to a column, of the candidate locations.
        overlap: the share of a cell's side that it has in common with its neighbour.
        attend: how locations are chosen in eval mode: ``"threshold"`` takes the probable, ``"top_k"`` the
            most probable, ``"sample"`` draws them by their probability. Training samples.
        threshold: for ``attend="threshold"``: the least probability that is attended.
        top_k: for ``attend="top_k"``: how many cells of every region are attended.
        drop_rate: dropout before the classification module.
        device: where parameters are made.
        dtype: their type.

    Raises:
        ModelError: an option that makes no sense.
    """

    def __init__(
        self,
        features: ConvFeatures | BackboneFeatures,
        base_size: int | Sequence[int],
        num_classes: int = 1000,
        in_chans: int = 3,
        grid: int = 3,
        overlap: float = 0.5,
        attend: str = "threshold",
        threshold: float = 0.5,
        top_k: int = 2,
        drop_rate: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        placement = {"device": device, "dtype": dtype}
        super().__init__(features, num_classes, in_chans, drop_rate, **placement)
        self.grid = Grid(grid, overlap)
        self.base = base_of(base_size)
        self.base_size = min(self.base)
        self.cells = self.grid.cells
        if attend not in ATTEND:
            raise ModelError(f"attend={attend!r} is unknown; choose {', '.join(map(repr, ATTEND))}.")
        if type(top_k) is not int or not 1 <= top_k <= self.cells:
            raise ModelError(f"top_k={top_k!r} must be an integer of 1 to {self.cells}, the cells of a region.")
        if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise ModelError(f"threshold={threshold!r} must be 0 to 1, a probability.")
        self.attend, self.threshold, self.top_k = attend, threshold, top_k
        channels, height, width = features.map_shape
        self.location = WholeConv2d(channels, self.cells, (height, width), **placement)
        self.aggregation = WholeConv2d(self.num_features, self.num_features, grid, **placement)
        self.merging = nn.Linear(2 * self.num_features, self.num_features, **placement)
        for module in (self.location, self.aggregation, self.merging):
            initialize(module)

    def levels_for(self, height: int, width: int) -> int:
        """Return how many processing levels an image of that size allows.

        Raises:
            ModelError: none: it is smaller than the base resolution.
        """
        levels = len(self.grid.sizes((height, width), self.base))
        if not levels:
            least = "×".join(map(str, self.base))
            raise ModelError(
                f"The network takes images of {least} px and more, got {height}×{width}. Give it larger ones."
            )
        return levels

    def _levels(self, images: Tensor, levels: int | None) -> int:
        check_images(images, self.in_chans)
        height, width = (int(side) for side in images.shape[-2:])
        most = self.levels_for(height, width)
        if levels is None:
            return most
        if isinstance(levels, bool) or not isinstance(levels, int) or not 1 <= levels <= most:
            base = "×".join(map(str, self.base))
            raise ModelError(
                f"levels={levels!r} must be an integer of 1 to {most}: more is not in images of {height}×{width} px at "
                f"a base resolution of {base} px."
            )
        return levels

    def forward(self, images: Tensor, levels: int | None = None, glimpses: Mapping[str, Any] | None = None) -> Any:
        """Images [N, in_chans, H, W] to logits [N, num_classes].

        In training every parameter takes part, so that DDP waits for none in vain; those that only an objective of the
        glimpses' own teaches get a gradient of zero here.

        Args:
            images: at least of base resolution.
            levels: processing levels, 1 to `levels_for`; as many as the images allow where None.
            glimpses: keywords of `glimpse`, to have its answer instead: what wraps a network (data parallel,
                compiled) is called, and has no such method.

        Raises:
            ModelError: the images have another number of channels or are too small, or do not allow so many levels.
        """
        if isinstance(images, torch.fx.Proxy):
            raise ModelError(
                "torch.fx cannot trace a glimpse pyramid: what it computes follows from the images' size and content. "
                "Use torch.export.export, or torch.jit.trace."
            )
        if glimpses is not None:
            return self.glimpse(images, levels, **glimpses)
        logits = self.forward_head(self.forward_features(images, levels))
        if self.training and torch.is_grad_enabled():
            choosers = itertools.chain(*(part.parameters() for part in (self.location, self.aggregation, self.merging)))
            logits = logits + 0 * sum(parameter.sum() for parameter in choosers)
        return logits

    def forward_features(self, images: Tensor, levels: int | None = None) -> Tensor:
        """Images [N, in_chans, H, W] to the combined feature vectors V'_1 [N, num_features].

        Raises:
            ModelError: as `forward`.
        """
        levels = self._levels(images, levels)
        if torch.compiler.is_exporting() or torch.jit.is_tracing() or images.is_meta:
            return self._dense(images, levels)
        return self._combined(self._traverse(images, levels), levels)

    def glimpse(
        self,
        images: Tensor,
        levels: int | None = None,
        attend: Attend | None = None,
        *,
        samples: int = 1,
        every_level: bool = True,
        generator: torch.Generator | None = None,
    ) -> Glimpses:
        """Classify images, and say what was looked at.

        Args:
            images: [N, in_chans, H, W], at least of base resolution.
            levels: processing levels; as many as the images allow where None.
            attend: ``"sample"``, ``"threshold"``, ``"top_k"``, or a function of the probabilities [R, g] and the
                level, from 0, of their regions that gives a bool mask [R, g]. Where None, ``"sample"`` in training mode
                and the network's own option in eval mode.
            samples: Monte Carlo samples M of every image; the first level is computed once for all of them.
            every_level: whether to give the logits after fewer levels too, each as if processing had ended there:
                from the same traversal.
            generator: what locations are drawn with; torch's global one where None.

        Raises:
            ModelError: as `forward`, an unknown `attend`, or no samples.
        """
        levels = self._levels(images, levels)
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise ModelError(f"samples={samples!r} must be an integer of at least 1.")
        seen = self._traverse(images, levels, attend, samples, generator)
        depths = range(1, levels + 1) if every_level else (levels,)
        logits = tuple(self.forward_head(self._combined(seen, depth)) for depth in depths)
        return Glimpses(logits, tuple(seen.choices), len(images) * samples, self.cells)

    def _describe(self, images: Tensor) -> tuple[Tensor, Tensor]:
        piece = PIECE.get(images.device.type, LARGEST_PIECE)
        followed = torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing()
        if followed or len(images) <= piece:
            return super()._describe(images)
        maps, vectors = zip(*map(super()._describe, images.split(piece)), strict=True)
        return torch.cat(maps), torch.cat(vectors)

    def _locate(self, feature_map: Tensor) -> Tensor:
        """Log-odds [R, g] of attending each cell, in single precision at least; no gradient leaves the module."""
        log_odds = self.location(feature_map.detach())
        return log_odds.float() if log_odds.dtype in (torch.float16, torch.bfloat16) else log_odds

    def _chosen(self, log_odds: Tensor, level: int, attend: Attend | None, generator: torch.Generator | None) -> Tensor:
        if attend is None:
            attend = "sample" if self.training else self.attend
        return choose(attend, log_odds.detach().sigmoid(), level, self.threshold, self.top_k, generator)

    def _traverse(
        self,
        images: Tensor,
        levels: int,
        attend: Attend | None = None,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> _Traversal:
        plans = self.grid.plan((images.shape[2], images.shape[3]), self.base, levels)
        source = RegionSource(images, plans, self.base)
        feature_map, vector = self._describe(source.first)
        seen = _Traversal([vector.repeat(samples, 1)], [], [], [])
        rows = torch.arange(len(images) * samples, device=images.device)
        corners = rows.new_zeros(len(rows), 2)
        for level in range(levels - 1):
            log_odds = self._locate(feature_map)
            if level == 0:
                log_odds = log_odds.repeat(samples, 1)
            mask = self._chosen(log_odds, level, attend, generator)
            parent, cell = mask.nonzero().unbind(1)
            inside = torch.tensor(plans[level].offsets, device=images.device)[cell] + corners[parent]
            boxes, regions = _boxes(inside, plans[level + 1].size), _boxes(corners, plans[level].size)
            seen.choices.append(GlimpseLevel(rows, regions, log_odds, mask, boxes, parent, cell))
            having = mask.any(1)
            seen.having.append(having.nonzero().squeeze(1))
            seen.slots.append((having.cumsum(0) - 1)[parent] * self.cells + cell)
            rows, corners = rows[parent], inside
            feature_map, vector = self._describe(source.cut(level + 1, rows % len(images), corners))
            seen.vectors.append(vector)
        return seen

    def _combined(self, seen: _Traversal, levels: int) -> Tensor:
        """V'_1 [rows, f] of equation (7), as if processing had ended after so many levels."""
        vector = seen.vectors[levels - 1]
        for level in reversed(range(levels - 1)):
            own, having = seen.vectors[level], seen.having[level]
            children = vector.new_zeros(len(having) * self.cells, self.num_features)
            children = children.index_copy(0, seen.slots[level], vector)
            merged = self._merge(own.index_select(0, having), children.view(len(having), self.cells, self.num_features))
            vector = own.index_copy(0, having, merged.to(own.dtype))
        return vector

    def _merge(self, own: Tensor, children: Tensor) -> Tensor:
        """Merge [R, f] with the aggregate of [R, g, f]."""
        grid = children.unflatten(1, (self.grid.side, self.grid.side)).permute(0, 3, 1, 2)
        aggregate = F.leaky_relu(self.aggregation(grid), SLOPE)
        return F.leaky_relu(self.merging(torch.cat([own, aggregate.to(own.dtype)], 1)), SLOPE)

    def _dense(self, images: Tensor, levels: int) -> Tensor:
        """What `_combined` gives, with every crop computed and masked, so that all shapes are known beforehand."""
        plans = self.grid.plan((int(images.shape[2]), int(images.shape[3])), self.base, levels)
        crops, vectors, masks = images, [], []
        for level, plan in enumerate(plans):
            feature_map, vector = self._describe(shrink(crops, self.base))
            vectors.append(vector)
            if level < levels - 1:
                masks.append(self._chosen(self._locate(feature_map), level, None, None))
                height, width = plans[level + 1].size
                cells = [crops[:, :, y : y + height, x : x + width] for y, x in plan.offsets]
                crops = torch.stack(cells, 1).flatten(0, 1)
        vector = vectors.pop()
        for own, mask in zip(reversed(vectors), reversed(masks), strict=True):
            children = vector.unflatten(0, (-1, self.cells)) * mask.unsqueeze(2)
            vector = torch.where(mask.any(1, keepdim=True), self._merge(own, children).to(own.dtype), own)
        return vector

    @property
    def costs(self) -> GlimpseCosts:
        """Multiply-adds of applying each module once; those of the feature extraction by torch's own count."""
        return GlimpseCosts(
            features=self._features_cost,
            location=self.location.weight.numel(),
            aggregation=self.aggregation.weight.numel(),
            merging=self.merging.weight.numel(),
            classification=self.num_features * self.num_classes,
        )

    @cached_property
    def _features_cost(self) -> int:
        tensors = itertools.chain(self.features.named_parameters(), self.features.named_buffers())
        crops = torch.empty(2, self.in_chans, *self.base, device="meta", dtype=self.merging.weight.dtype)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            torch.func.functional_call(self.features, {name: tensor.to("meta") for name, tensor in tensors}, (crops,))
        return int(counter.get_total_flops() // (2 * len(crops)))

    def multiply_adds(self, glimpses: Glimpses, levels: int | None = None) -> Tensor:
        """[rows] int64, multiply-adds spent on each row of an answer, as the paper counts them.

        Args:
            glimpses: what `glimpse` gave.
            levels: as if processing had ended after so many; all where None.
        """
        counts = glimpses.attended(levels), glimpses.located(levels), glimpses.merged(levels)
        total: Tensor = self.costs.total(*counts)
        return total

    def answer_multiply_adds(self, glimpses: Glimpses, levels: int) -> Tensor:
        """[rows] int64, multiply-adds of aggregating, merging and classifying after so many levels.

        A deeper answer shares crops and choices with it, but merges from its own deepest level upward.

        Args:
            glimpses: what `glimpse` gave.
            levels: after which the answer is given.
        """
        costs = self.costs
        return (costs.aggregation + costs.merging) * glimpses.merged(levels) + costs.classification


def _boxes(corners: Tensor, size: tuple[int, int]) -> Tensor:
    """[R, 2] top and left to [R, 4] x1, y1, x2, y2."""
    top, left = corners.unbind(1)
    return torch.stack([left, top, left + size[1], top + size[0]], 1)
