"""The sheet of what a network sees in each stage of a curriculum, drawn on real images: `draw_stages`."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..curricula import Curriculum, create_curriculum
from ..data import open_dataset
from ..data.decoding.image_file import read_image
from ..errors import DataError
from ..evaluation.predict import find_files
from .figure_files import check_format
from .stage_figure import draw_sheet
from .stage_sheet import StageSheet, look_through

__all__ = ["draw_stages"]

FILE_SIZE = 224
"""Side in pixels to which image files are brought where none is asked for."""

Pictures = tuple[Tensor, str, int | None]
"""Images [N, C, H, W] in [0, 1], where they are from, and the number of classes where that is known."""


def draw_stages(
    curriculum: str | Curriculum,
    images: Sequence[str | Path] = (),
    *,
    output: str | Path | None = None,
    data: str | None = None,
    count: int = 4,
    epochs: int = 30,
    image_size: int | None = None,
    model: str | None = None,
    seed: int = 0,
    data_root: str | Path = "data",
    download: bool = False,
) -> StageSheet:
    """Draw what a network sees in each stage of a curriculum.

    The sheet has a column for each stage, with the images as the network sees them: through the stage's random
    augmentation, where it has one, and its view, at the resolution that they have there, enlarged without
    interpolation. Below stand resolution, cost, augmentation strength and frozen share of every epoch. Of a curriculum
    of more than 8 stages, 8 are drawn: the longest, and others evenly spread over its resolutions.

    Args:
        curriculum: a curriculum, or its name or expression as `create_curriculum` takes it.
        images: image files, and folders of them.
        output: the file to draw into, ``.png`` or ``.svg``; nothing is drawn where None.
        data: in place of files a data set, whose first training image of each of the first classes is taken; ``demo``
            where neither is given.
        count: how many images are taken from a data set.
        epochs: length of the training, where the curriculum is given by name.
        image_size: the full side of the images; as the data set has it, or 224 px of files, where None.
        model: a network, as `create_model` has it, from which cost and the share of frozen parameters are counted.
        seed: decides what is drawn at random, by the curriculum too where it is given by name.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.

    Raises:
        CurriculumError: an expression that cannot be read, too few epochs, or images too small for the curriculum.
        DataError: images that are missing or cannot be read, or a figure that cannot be written.
        ModelError: the network cannot take what a stage shows it.
    """
    if output is not None:
        check_format(Path(output))
    plan = curriculum
    if not isinstance(plan, Curriculum):
        plan = create_curriculum(plan, epochs=epochs, seed=seed)
    if images and data is not None:
        raise DataError(f"Images come from files or from a data set, not both. Leave out the files, or {data}.")
    if images:
        pixels, source, classes = _read_files(list(find_files(images)), image_size or FILE_SIZE)
    else:
        where = {"root": data_root, "download": download, "image_size": image_size}
        pixels, source, classes = _read_data(data or "demo", count, where)
    sheet = look_through(plan, pixels, model=model, num_classes=classes, seed=seed)
    name = curriculum if isinstance(curriculum, str) else plan.name
    sheet = dataclasses.replace(sheet, curriculum=name, source=source, figure=None if output is None else Path(output))
    if sheet.figure is not None:
        draw_sheet(sheet, sheet.figure)
    return sheet


def _read_files(files: list[Path], size: int) -> Pictures:
    pixels = np.stack([read_image(file, image_size=size) for file in files])
    source = files[0].name if len(files) == 1 else f"{len(files)} image files"
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255), source, None


def _read_data(name: str, count: int, where: dict[str, Any]) -> Pictures:
    """The first training image of each of the first classes; more of each, where there are too few classes."""
    if count < 1:
        raise DataError(f"At least one image must be shown, got count={count}.")
    opened = open_dataset(name, **where, resident=False)
    chosen = np.fromiter(_one_of_each(opened.train_labels.tolist(), count), dtype=np.int64)
    with contextlib.closing(opened.loader_factory(channels_last=False, workers=0, training=False)) as loaders:
        pixels = next(iter(loaders.loader(chosen, training=False, batch_size=len(chosen)).batches(0))).images
    source = f"{len(chosen)} training image{'s' * (len(chosen) != 1)} of {name}"
    return pixels.cpu(), source, opened.num_classes


def _one_of_each(labels: list[int], count: int) -> Iterator[int]:
    """Numbers of so many images, one of each class in turn."""
    by_class: dict[int, list[int]] = {}
    for number, label in enumerate(labels):
        by_class.setdefault(label, []).append(number)
    turns = itertools.zip_longest(*(by_class[label] for label in sorted(by_class)))
    found = (number for turn in turns for number in turn if number is not None)
    return itertools.islice(found, count)
