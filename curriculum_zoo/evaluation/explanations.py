"""What in an image speaks for a class, as a trained network sees it: class activation maps, at any resolution.

The maps are Grad-CAM's (Selvaraju et al. 2017), computed by captum: the last features over the image, each channel
weighted by the mean of its gradient. Of networks that average their last features, with one linear layer behind them,
these are the class activation maps of Zhou et al. 2016, divided by the number of cells. Figure 3 of the TRD paper shows
such maps of two networks, at two resolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..errors import DataError, ModelError
from ..models.adaptive import AdaptiveNetwork
from ..registry import closest
from ..seeding import derive_seed
from ..views import Resize
from .metrics import seeded
from .predict import find_files, read_pixels
from .spatial_layers import find_layer, named_layer, tapped
from .trained_network import TrainedNetwork, load_trained_network

__all__ = ["ActivationMap", "Explanation", "FirstLayer", "attends", "explain", "explain_networks", "first_layer"]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ActivationMap:
    """Where a network found what speaks for a class in an image at one resolution.

    Attributes:
        network: its name.
        layer: name of the layer whose features were looked at.
        image: what it was given, float32 [H, W, C] in [0, 1].
        cells: the map at the layer's own resolution, float32 [h, w], in units of the class's logit; negative cells
            speak against the class. Of networks that average their last features, with one linear layer behind them,
            the cells add up to the logit without its bias.
        heat: what speaks for the class, float32 [H, W], at least 0: the positive part of `cells`, brought to the size
            of the image (bilinear).
        probability: of the class, 0 to 1.
        predicted: the most probable class.
        predicted_probability: its probability.
    """

    network: str
    layer: str
    image: Array
    cells: Array
    heat: Array
    probability: float
    predicted: str
    predicted_probability: float

    @property
    def resolution(self) -> int:
        """The side of the image, in pixels."""
        return self.image.shape[0]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: everything but the pixels."""
        arrays = ("image", "heat", "cells")
        own = {name: value for name, value in vars(self).items() if name not in arrays}
        return {**own, "resolution": self.resolution, "cells": self.cells.tolist()}


@dataclass(frozen=True, eq=False)
class Explanation:
    """What in one image speaks for one class.

    Attributes:
        name: the image's file.
        class_name: the class.
        maps: a map by network, in the given order, and by resolution.
        figure: the file that they are drawn into; None where they are not drawn.
    """

    name: str
    class_name: str
    maps: tuple[tuple[ActivationMap, ...], ...]
    figure: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: everything but the pixels."""
        return {
            "name": self.name,
            "class": self.class_name,
            "maps": [[found.to_dict() for found in row] for row in self.maps],
            "figure": None if self.figure is None else str(self.figure),
        }


@dataclass(frozen=True, eq=False)
class FirstLayer:
    """The filters of a network's first convolution.

    Attributes:
        network: its name.
        layer: the convolution's name.
        filters: float32 [n, h, w, C].
    """

    network: str
    layer: str
    filters: Array


def explain(
    target: str | Path,
    images: Sequence[str | Path],
    *,
    against: str | Path | None = None,
    resolutions: Sequence[int] = (),
    class_name: str | None = None,
    layer: str | None = None,
    which: Literal["best", "last"] = "best",
    device: str | None = None,
) -> list[Explanation]:
    """Compute class activation maps of image files: for one class, at several resolutions, of one network or two.

    Args:
        target: a run's folder, a folder of weights, or the name of a model that has trained weights.
        images: files, and folders whose image files are taken in order of their names, subfolders too.
        against: a second network to put beside it.
        resolutions: sides in pixels that the images are resized to (bilinear, antialiased) from the size that each
            network was trained for; where empty, the first network's own size and half of it, or that size alone of a
            network that takes no other.
        class_name: the class; for each image the most probable one where None, by the first network at the first
            resolution.
        layer: name of the layer whose features are looked at; the last before the head where None, see `find_layer`.
        which: which of a run's weights.
        device: ``cpu``, ``cuda``, …; the best there is where None.

    Returns:
        One explanation an image, in the given order.

    Raises:
        DataError: a file or folder is missing, an image cannot be read, or there is none.
        ModelError: a network without a layer of that name or any that lies over the image, one that attends to parts
            of the image, a class that it does not know, a resolution that it does not take; or captum is missing.
    """
    _captum()
    networks = [
        load_trained_network(name, which=which, device=device) for name in (target, against) if name is not None
    ]
    return explain_networks(networks, images, resolutions=resolutions, class_name=class_name, layer=layer)


def explain_networks(
    networks: Sequence[TrainedNetwork],
    images: Sequence[str | Path],
    *,
    resolutions: Sequence[int] = (),
    class_name: str | None = None,
    layer: str | None = None,
) -> list[Explanation]:
    """Compute what `explain` does for networks that are loaded already.

    Args:
        networks: the networks, at least one.
        images: see `explain`.
        resolutions: see `explain`.
        class_name: see `explain`.
        layer: see `explain`.

    Raises:
        DataError: see `explain`.
        ModelError: see `explain`.
    """
    files = list(find_files(images))
    if not files:
        raise DataError("There is no image to explain. Name image files.")
    for trained in networks:
        trained.side()  # maps are drawn on squares
    pixels = [[read_pixels([file], trained) for file in files] for trained in networks]
    layers = [_layer(trained, layer, some[0]) for trained, some in zip(networks, pixels, strict=True)]
    sides = tuple(resolutions) or _usual_sides(networks[0], pixels[0][0])
    explanations = []
    for number, file in enumerate(files):
        seen = [some[number] for some in pixels]
        index = _class_of(networks[0], class_name, _resized(seen[0], sides[0]))
        name = networks[0].class_names[index]
        maps = tuple(
            tuple(
                _map(trained, where, _resized(image, side), _same_class(trained, networks[0], index)) for side in sides
            )
            for trained, where, image in zip(networks, layers, seen, strict=True)
        )
        explanations.append(Explanation(str(file), name, maps))
    return explanations


def attends(model: nn.Module) -> bool:
    """Whether a network attends to parts of an image, one after the other, as glimpse pyramids do."""
    return isinstance(model, AdaptiveNetwork)


def first_layer(trained: TrainedNetwork) -> FirstLayer:
    """Return the filters of a network's first convolution.

    Args:
        trained: the network with what belongs to it.

    Raises:
        ModelError: it has no convolution.
    """
    names: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, __, name=name: names.append(name))
        for name, module in trained.model.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        _logits(trained, torch.zeros(1, *trained.input_size, device=trained.device))
    finally:
        for hook in hooks:
            hook.remove()
    if not names:
        raise ModelError(f"{trained.name} has no convolution, so there are no filters to see.")
    weight = trained.model.get_submodule(names[0]).get_parameter("weight")
    return FirstLayer(trained.name, names[0], _array(weight.permute(0, 2, 3, 1)))


# Parts of `explain` ---------------------------------------------------------------------------------------------------


def _captum() -> Any:
    """Methods of captum's.

    Raises:
        ModelError: it cannot be imported.
    """
    try:
        from captum import attr
    except ImportError as error:
        raise ModelError(
            f"Class activation maps are computed by captum, which cannot be imported ({error}). Install it: "
            "pip install 'curriculum-zoo[explain]'."
        ) from error
    return attr


def _layer(trained: TrainedNetwork, name: str | None, image: Tensor) -> str:
    """The layer to look at, found where it is not named."""
    if attends(trained.model):
        raise ModelError(
            f"{trained.name} attends to parts of an image, so no single map says what it looks at. Draw what it "
            "attended: curriculum-zoo glimpses, or curriculum_zoo.reporting.draw_glimpses."
        )
    if name is not None:
        named_layer(trained.model, name)
        return name
    return find_layer(trained.model, trained.normalize(image))


def _usual_sides(trained: TrainedNetwork, image: Tensor) -> tuple[int, ...]:
    side = trained.side()
    try:
        _logits(trained, _resized(image, side // 2))
    except ModelError:
        return (side,)
    return side, side // 2


def _resized(image: Tensor, side: int) -> Tensor:
    return Resize(side, enlarge=True)(image)


def _logits(trained: TrainedNetwork, image: Tensor) -> Tensor:
    """Logits [classes] of one image [1, C, H, W] in [0, 1], on the CPU."""
    try:
        with torch.inference_mode(), seeded(trained.device, derive_seed(0)):
            return trained.model(trained.normalize(image)).float().cpu()[0]
    except Exception as error:  # a network fails in whatever way its layers do
        high, wide = image.shape[2:]
        cause = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModelError(f"{trained.name} cannot take images of {high}×{wide} px ({cause}). Leave them out.") from error


def _class_of(trained: TrainedNetwork, name: str | None, image: Tensor) -> int:
    """The number of the class to explain: the one of that name, the most probable one where there is none."""
    return int(_logits(trained, image).argmax()) if name is None else _class_named(trained, name)


def _same_class(trained: TrainedNetwork, first: TrainedNetwork, index: int) -> int:
    """The number that a network has for another one's class; names need not be unique where both have the same."""
    if trained.class_names == first.class_names:
        return index
    return _class_named(trained, first.class_names[index])


def _class_named(trained: TrainedNetwork, name: str) -> int:
    if name not in trained.class_names:
        hint = closest(name, trained.class_names, f"the classes of {trained.name}")
        raise ModelError(f"{trained.name} knows no class '{name}'. {hint}")
    return trained.class_names.index(name)


def _map(trained: TrainedNetwork, layer: str, image: Tensor, index: int) -> ActivationMap:
    probabilities = _logits(trained, image).softmax(0)
    predicted = int(probabilities.argmax())
    cells, heat = _grad_cam(trained, layer, image, index)
    return ActivationMap(
        network=trained.name,
        layer=layer,
        image=_array(image[0].permute(1, 2, 0)),
        cells=_array(cells),
        heat=_array(heat),
        probability=probabilities[index].item(),
        predicted=trained.class_names[predicted],
        predicted_probability=probabilities[predicted].item(),
    )


def _grad_cam(trained: TrainedNetwork, layer: str, image: Tensor, index: int) -> tuple[Tensor, Tensor]:
    """The map of a class at the layer's resolution, [h, w], and its positive part at the image's, [H, W]."""
    attr = _captum()
    # Where no parameter learns, gradients flow from the image alone.
    given = trained.normalize(image).detach().clone().requires_grad_()
    with seeded(trained.device, derive_seed(0)), tapped(trained.model, layer, given) as tap:
        cells = attr.LayerGradCam(trained.model, tap).attribute(given, target=index).detach().float()
    positive = cells.clamp(min=0)
    heat = attr.LayerAttribution.interpolate(positive, tuple(image.shape[2:]), interpolate_mode="bilinear")
    return cells[0, 0], heat[0, 0]


def _array(values: Tensor) -> Array:
    return values.detach().float().cpu().contiguous().numpy()
