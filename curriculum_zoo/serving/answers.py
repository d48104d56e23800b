"""What a served network tells of one image: its classes, what speaks for them, and the stages of its curriculum."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
from PIL import Image

from ..curricula import Curriculum, create_curriculum
from ..errors import CurriculumZooError
from ..evaluation.explanations import attends, explain_networks
from ..evaluation.glimpses import look_at
from ..evaluation.predict import predict_files, read_pixels
from ..evaluation.trained_network import TrainedNetwork, load_trained_network
from ..reporting.explanation_figure import draw_explanation
from ..reporting.glimpse_figure import draw_look
from ..reporting.stage_figure import epochs_in_words
from ..reporting.stage_sheet import SeenStage, look_through

__all__ = ["Answer", "Showcase"]

T = TypeVar("T")

STAGE_SIDE = 224
"""Least side in pixels of a stage's picture: small ones are enlarged without interpolation, so that pixels are seen."""

EPOCHS = 30
"""Length of a curriculum that is asked for, where the network's own training is not known."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a network tells of one image.

    Attributes:
        classes: pairs of class name and probability, most probable first.
        figure: class activation maps, or what a glimpse network attended; None where there is none.
        figure_note: why there is none; empty where there is one.
        stages: the image as each stage of the curriculum shows it, with words about the stage.
        stages_note: of which curriculum they are, or why there are none.
    """

    classes: tuple[tuple[str, float], ...]
    figure: Image.Image | None
    figure_note: str
    stages: tuple[tuple[Image.Image, str], ...]
    stages_note: str


@dataclass(frozen=True, eq=False)
class Showcase:
    """A trained network with the curriculum whose stages are shown beside its answers.

    Attributes:
        trained: the network.
        curriculum: the curriculum; None where there is none to show.
        curriculum_note: which one that is, or why there is none.
        top: how many classes are told.
        seed: decides what is drawn at random.
    """

    trained: TrainedNetwork
    curriculum: Curriculum | None
    curriculum_note: str
    top: int = 5
    seed: int = 0

    @classmethod
    def load(
        cls,
        target: str | Path,
        *,
        curriculum: str | None = None,
        top: int = 5,
        which: Literal["best", "last"] = "best",
        seed: int = 0,
        device: str | None = None,
    ) -> Showcase:
        """Load a network, and the curriculum that it was trained by.

        Args:
            target: any address of trained weights, as `predict` takes it.
            curriculum: the curriculum to show in place of its own, as `create_curriculum` takes it.
            top: how many classes are told, 1 at least.
            which: which of a run's weights.
            seed: decides what is drawn at random.
            device: ``cpu``, ``cuda``, …; the best there is where None.

        Raises:
            WeightsError: a folder without weights, or weights that are damaged or do not fit.
            UnknownNameError: neither a folder nor a known model, or no known curriculum.
            CurriculumError: an expression that cannot be read.
        """
        trained = load_trained_network(target, which=which, device=device)
        recipe = trained.recipe
        epochs = int(recipe.get("epochs", EPOCHS))
        if curriculum is not None:
            made = create_curriculum(curriculum, epochs=epochs, seed=seed)
            return cls(trained, made, f"{curriculum} over {epochs} epochs, as asked for.", top, seed)
        name = recipe.get("curriculum")
        if name is None:
            note = (
                "No recipe is known by which it was trained, so there is no curriculum to show. Name one: --curriculum."
            )
            return cls(trained, None, note, top, seed)
        try:
            made = create_curriculum(name, epochs=epochs, seed=int(recipe.get("seed", 0)))
        except CurriculumZooError as error:  # a plugin's, which need not be installed where its weights are used
            return cls(trained, None, f"It was trained by {name}, which cannot be shown: {error}", top, seed)
        return cls(trained, made, f"{name} over {epochs} epochs, by which it was trained.", top, seed)

    def answer(self, file: Path) -> Answer:
        """Tell all of an image file.

        Raises:
            DataError: the file cannot be read as an image.
        """
        classes = predict_files(self.trained, [file], top=self.top, seed=self.seed)[0].classes
        figure, figure_note = _or_why(lambda: self._figure(file))
        stages, stages_note = _or_why(lambda: self._stages(file))
        return Answer(classes, figure, figure_note, stages or (), stages_note or self.curriculum_note)

    def _figure(self, file: Path) -> Image.Image:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "figure.png"
            if attends(self.trained.model):
                pixels = read_pixels([file], self.trained)[0]
                draw_look(look_at(self.trained, pixels, name=file.name, seed=self.seed), path)
            else:
                draw_explanation(explain_networks([self.trained], [file])[0], path)
            with Image.open(path) as image:
                return image.convert("RGB")

    def _stages(self, file: Path) -> tuple[tuple[Image.Image, str], ...]:
        if self.curriculum is None:
            return ()
        self.trained.side()  # curricula are made for squares
        sheet = look_through(self.curriculum, read_pixels([file], self.trained).cpu(), seed=self.seed)
        return tuple((_picture(stage.seen[0]), _words(stage)) for stage in sheet.shown if stage.seen is not None)


def _or_why(make: Callable[[], T]) -> tuple[T | None, str]:
    """What is made, or why it cannot be: what one part of an answer lacks need not cost the others."""
    try:
        return make(), ""
    except CurriculumZooError as error:
        return None, str(error)


def _picture(pixels: torch.Tensor) -> Image.Image:
    """An image [C, h, w] in [0, 1] as a picture; of more than three channels the first three."""
    shown = pixels[:3] if pixels.shape[0] >= 3 else pixels[:1].expand(3, -1, -1)
    picture = Image.fromarray(shown.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous().numpy())
    times = -(-STAGE_SIDE // min(picture.size))
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)


def _words(stage: SeenStage) -> str:
    side = f"{stage.pixels} px"
    words = (stage.name, side if stage.name != side else "", epochs_in_words(stage.epochs))
    return ", ".join(word for word in words if word)
