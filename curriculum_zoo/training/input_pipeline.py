"""From a batch as it is loaded to what the network takes: augmentation, the stage's view, normalisation, mixing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..curricula import Stage
from ..data import Batch
from ..data.normalize import Normalize
from ..recipes import Recipe
from ..views.mixing import mix
from ..views.rand_augment import rand_augment
from ..views.view import View, look
from .streams import AUGMENTATION, MIXING, VIEW, image_seeds

__all__ = ["InputPipeline"]


@dataclass(frozen=True)
class InputPipeline:
    """Turns batches into the network's input; what is drawn for an image depends on its number, seed and epoch alone.

    Attributes:
        recipe: says the seed, and what is mixed.
        normalize: what happens to images after the view.
        num_classes: number of classes.
    """

    recipe: Recipe
    normalize: Normalize
    num_classes: int

    def __call__(self, batch: Batch, stage: Stage, view: View, epoch: int) -> tuple[Tensor, Tensor]:
        """Return what the network learns from.

        Args:
            batch: as loaded, images in [0, 1].
            stage: the epoch's.
            view: the stage's, fit for the size of the loaded images.
            epoch: number of the epoch.

        Returns:
            Normalised images [n, C, H, W], and targets: class numbers [n], or distributions [n, classes] where images
            are mixed.
        """
        images = self._seen(batch, stage, view, epoch)
        if batch.partners is None:
            return images, batch.labels
        partners = self._seen(batch.partners, stage, view, epoch)
        seeds = image_seeds(batch.numbers, self.recipe.seed, epoch, MIXING)
        mixing, labels = self.recipe.mixing, batch.partners.labels
        return mix(images, batch.labels, partners, labels, seeds, mixing, self.num_classes)

    def _seen(self, batch: Batch, stage: Stage, view: View, epoch: int) -> Tensor:
        """The batch's images as the stage shows them, normalised."""
        images = batch.images
        if stage.augment_strength:
            seeds = image_seeds(batch.numbers, self.recipe.seed, epoch, AUGMENTATION)
            images = rand_augment(images, stage.augment_strength, seeds)
        return self.normalize(look(view, images, image_seeds(batch.numbers, self.recipe.seed, epoch, VIEW)))
