"""A sampler of images for anyone's loader: the images that a curriculum chooses, epoch by epoch.

Example:
    InfoBatch in plain PyTorch; the data set says which image is which::

        import torch
        import torch.nn.functional as F
        from torch.utils.data import DataLoader, TensorDataset

        from curriculum_zoo import create_curriculum, create_model
        from curriculum_zoo.adapters.sampler import CurriculumSampler

        images, labels = torch.rand(64, 3, 32, 32), torch.randint(10, (64,))
        model = create_model("resnet20_cifar", num_classes=10)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        sampler = CurriculumSampler(create_curriculum("infobatch", epochs=3), count=64)
        loader = DataLoader(TensorDataset(images, labels, torch.arange(64)), batch_size=16, sampler=sampler)

        for epoch in range(3):
            sampler.set_epoch(epoch)
            for batch, targets, numbers in loader:
                optimizer.zero_grad()
                logits = model(batch)
                losses = F.cross_entropy(logits, targets, reduction="none")
                (losses * sampler.weights(numbers)).mean().backward()
                optimizer.step()
                sampler.note(numbers, logits, targets)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from ..curricula import Curriculum, Selection
from ..curricula.samples.run_scores import RunScores
from ..draws import seeds_of
from ..errors import CurriculumError

__all__ = ["CurriculumSampler"]

_ORDER = 0x5A3B  # sets the draw of an epoch's order apart from others of the same seed, epoch and numbers


class CurriculumSampler(Sampler[int]):
    """Gives the numbers of an epoch's images in random order, each process its share of them, without overlap.

    Which images, which weights and which order are functions of the curriculum's seed, the epoch and the scores, so
    that processes and resumed trainings agree. The length may change from epoch to epoch.

    Args:
        curriculum: the plan of stages; of it, only `Stage.samples` matters here.
        count: number of images in the data set, whose indices are their numbers.
        rank: number of this process; torch.distributed's where None.
        world_size: number of processes; torch.distributed's where None. Up to `world_size` - 1 images are left out of
            an epoch, so that all have equally many.

    Attributes:
        curriculum: as given.
        epoch: number of the epoch, from 0.

    Raises:
        CurriculumError: the curriculum makes forward passes to choose, which are the training engine's to make.
    """

    def __init__(
        self, curriculum: Curriculum, count: int, *, rank: int | None = None, world_size: int | None = None
    ) -> None:
        rules = [stage.samples for stage in curriculum.stages()]
        if any(rule is not None and rule.looks for rule in rules):
            raise CurriculumError(
                f"{curriculum.name} makes forward passes over all images to choose among them, which a sampler cannot. "
                "Train by curriculum-zoo train, or take infobatch or self_paced."
            )
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.curriculum = curriculum
        self.rank = rank if rank is not None else torch.distributed.get_rank() if together else 0
        self.world_size = world_size or (torch.distributed.get_world_size() if together else 1)
        self.epoch = 0
        self._numbers = torch.arange(count)
        self._scores = RunScores(self._numbers, rules)
        self._selection: Selection | None = None

    def set_epoch(self, epoch: int) -> None:
        """Go to another epoch; what all processes noted until then is brought together, so all of them must call it.

        Raises:
            CurriculumError: the curriculum plans no such epoch.
        """
        self.curriculum.stage(epoch)
        if epoch == self.epoch:
            return
        if self._scores.any:
            self._scores.merge(_gathered(self._scores.fresh()))
        self.epoch, self._selection = epoch, None

    def __iter__(self) -> Iterator[int]:
        lots = seeds_of(self._numbers, self.curriculum.seed, self.epoch, _ORDER)
        order = torch.argsort(lots, stable=True)
        order = order[self._chosen().kept[order]]
        each = len(order) // self.world_size
        return iter(order[: each * self.world_size][self.rank :: self.world_size].tolist())

    def __len__(self) -> int:
        return int(self._chosen().kept.sum()) // self.world_size

    def weights(self, numbers: Tensor) -> Tensor:
        """Return what the losses of images are multiplied by in this epoch, float32 [n], before their mean is taken.

        Args:
            numbers: indices in the data set, int64 [n].
        """
        weights = self._chosen().weights
        if weights is None:
            return torch.ones(len(numbers), device=numbers.device)
        return weights[numbers.cpu()].to(numbers.device)

    def note(self, numbers: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Note what a batch shows of its images, where the curriculum goes by that; it counts from the next epoch on.

        Args:
            numbers: indices in the data set, int64 [n]; on the CPU nothing waits for the device.
            logits: the network's, [n, classes].
            labels: class numbers, int64 [n].
        """
        rule = self.curriculum.stage(self.epoch).samples
        if rule is not None:
            self._scores.note(rule.notes, numbers.cpu(), logits, labels)

    def state_dict(self) -> dict[str, Any]:
        """Return epoch, scores and the notes of all processes for a checkpoint; so all of them must call it."""
        return {"epoch": self.epoch, **self._scores.state_dict(_gathered(self._scores.fresh()))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._scores.load_state_dict(state)
        self.epoch, self._selection = state["epoch"], None

    def _chosen(self) -> Selection:
        """The images of the epoch, by the scores at its start."""
        if self._selection is None:
            rule = self.curriculum.stage(self.epoch).samples
            everything = Selection(torch.ones(len(self._numbers), dtype=torch.bool))
            self._selection = everything if rule is None else rule.select(self._numbers, self._scores.scores)
        return self._selection


def _gathered(value: Any) -> list[Any]:
    """The values of all processes, in their order."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values
