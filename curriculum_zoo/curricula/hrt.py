"""Hierarchical Resolution Training: first edges, with the deeper layers frozen, then full images and all layers.

Source: Dhaval Khatri, "Hierarchical Resolution Training (HRT)", section 4, and the notebooks published with it, which
fix what the text leaves open: how edges are made, that the optimiser is created again at the switch, and that running
statistics of frozen BatchNorm layers go on moving.

Its ablations are the author's own: a fair comparison needs them, since edges do not explain the whole gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..citation import Paper
from ..configuration import setting
from ..views import BoxBlur, CannyEdges, GaussianBlur, SobelEdges, View, identity
from .curriculum import Curriculum
from .freezing import Frozen
from .stage import Stage

__all__ = ["HRT"]

HALVABLE = 4
"""Parts that a network has at least if its deeper half is frozen: HRT froze none of its CNN of two convolutions."""


@dataclass(frozen=True, kw_only=True)
class HRT(Curriculum):
    """Edges and frozen deeper layers for the first epochs, then full images, everything thawed, a fresh optimiser.

    Attributes:
        edge_epochs: epochs on edges, out of all epochs.
        edges: ``"sobel"``, ``"canny"`` (thresholds 100 and 200), or None for full images from the start.
        freeze: what does not learn at first: ``"auto"``, the deeper half of any network of at least 4 parts
            (`Frozen.depth`), which is ``layer3`` and ``layer4`` of a ResNet-18, and nothing of HRT's small CNN;
            patterns of parameter names (`Frozen.patterns`); None for nothing. The head always learns unless a pattern
            names it.
        depth: with ``freeze="auto"``, the depth from which on parts are frozen.
        statistics: whether running statistics of frozen BatchNorm layers ``"move"`` or are on ``"hold"``.
        fresh_optimizer: whether the optimiser is created again in the first epoch in which all parts learn.
        edge_lr_scales: patterns of parameter names, and what their learning rates are multiplied by during the edge
            epochs, ``((conv1, 10), (layer1, 5))`` say (`Stage.lr_scales`); HRT's fine-tuning on Caltech-256 does so.
        blur_epochs: epochs on blurred images between edges and full ones; the paper describes, and does not use, them.
        blur: ``"box"`` or ``"gaussian"``.
        blur_sizes: of the blurs, in order, in equal shares of these epochs: kernel sides or standard deviations, in
            pixels.
        unfreeze: ``"at_once"`` after the edges, or ``"staged"``, the paper's scaling section: the depth that learns
            grows evenly, epoch by epoch through edges and blurs, the earliest layers first, to the whole network.

    Raises:
        CurriculumError: no epoch is left for full images; patterns and staged unfreezing together.
    """

    paper = Paper("hrt", "Hierarchical Resolution Training (HRT)", "Dhaval Khatri")
    ablations: ClassVar[Mapping[str, Mapping[str, Any] | str]] = {
        "edges only": {"freeze": None, "fresh_optimizer": False},
        "freezing only": {"edges": None, "fresh_optimizer": False},
        "fresh optimiser only": {"edges": None, "freeze": None},
    }

    edge_epochs: int = setting(4, low=0)
    edges: Literal["sobel", "canny"] | None = "sobel"
    freeze: str | tuple[str, ...] | None = "auto"
    depth: float = setting(0.5, low=0, below=1)
    statistics: Literal["move", "hold"] = "move"
    fresh_optimizer: bool = True
    blur_epochs: int = setting(0, low=0)
    blur: Literal["box", "gaussian"] = "box"
    blur_sizes: tuple[float, ...] = setting((3.0,), above=0)
    unfreeze: Literal["at_once", "staged"] = "at_once"
    edge_lr_scales: tuple[tuple[str, float], ...] = setting((), above=0)

    def check(self) -> None:
        """Check that full images get an epoch, and that the blurs and the unfreezing can be done."""
        coarse = self._coarse_epochs
        self.require_epochs(
            coarse + 1, f"edge_epochs and blur_epochs take {coarse}, and full images need one or more after them"
        )
        if self.blur_epochs and len(self.blur_sizes) > self.blur_epochs:
            self.fail("blur_epochs", f"must be at least {len(self.blur_sizes)}, one for each of blur_sizes")
        if self.blur_epochs and not self.blur_sizes:
            self.fail("blur_sizes", "must name at least one blur")
        if self.blur == "box" and any(size != int(size) or size < 1 for size in self.blur_sizes):
            self.fail("blur_sizes", "of box kernels must be whole numbers of pixels")
        if self.unfreeze == "staged" and self.freeze != "auto":
            self.fail("unfreeze", "'staged' goes by depth and needs freeze='auto'; patterns have no order")

    @property
    def _coarse_epochs(self) -> int:
        return self.edge_epochs + self.blur_epochs

    @property
    def _switch(self) -> int:
        """The first epoch in which all parts learn."""
        return self._coarse_epochs if self.unfreeze == "staged" else self.edge_epochs

    def _stage(self, epoch: int) -> Stage:
        name, view = self._look(epoch)
        return Stage(
            name=name,
            view=view,
            frozen=self._frozen(epoch),
            fresh_optimizer=self.fresh_optimizer and epoch == self._switch and epoch > 0,
            lr_scales=self.edge_lr_scales if epoch < self.edge_epochs else (),
        )

    def _look(self, epoch: int) -> tuple[str, View]:
        if epoch < self.edge_epochs:
            if self.edges is None:
                return ("full" if self.freeze is None else "frozen"), identity
            return "edges", SobelEdges() if self.edges == "sobel" else CannyEdges()
        if epoch < self._coarse_epochs:
            size = self.blur_sizes[(epoch - self.edge_epochs) * len(self.blur_sizes) // self.blur_epochs]
            if self.blur == "box":
                return f"box {size:g}", BoxBlur(int(size))
            return f"gaussian {size:g}", GaussianBlur(size)
        return "full", identity

    def _frozen(self, epoch: int) -> tuple[Frozen, ...]:
        if epoch >= self._switch or not self.freeze:
            return ()
        if self.freeze != "auto":
            patterns = (self.freeze,) if isinstance(self.freeze, str) else self.freeze
            return (Frozen(patterns, statistics=self.statistics),)
        start = self.depth
        if self.unfreeze == "staged":
            start += (1 - start) * epoch / self._switch
        return (Frozen(depth=(start, 1.0), statistics=self.statistics, least_parts=HALVABLE),)
