"""What a config says of its weights, read with types, for the card and the evaluation file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..citation import DataSource, Paper, data_source, papers_of
from ..curricula import Curriculum, create_curriculum
from ..curricula.curriculum import COMPOSITES
from ..curricula.timeline import Timeline
from ..errors import PublishError
from ..recipes import Recipe
from ..recipes.schedule import drops
from ..registry import CURRICULA, MODELS
from ..weights.config import class_names
from ..weights.stored import TIMM
from .privacy import FILES

__all__ = ["Facts", "Runs"]

_TIMM = Paper("rw2019timm", "PyTorch Image Models", "Ross Wightman", "GitHub repository", 2019)
"""What timm asks to be cited by, for its own networks."""


@dataclass(frozen=True)
class Runs:
    """What several trainings by one recipe came to, each with another seed.

    Attributes:
        seeds: one for each run.
        accuracies: on the test images, 0 to 1.
        flops: of each whole training, as a share of one at full resolution of equal length.
        seconds: spent training.
        changes: what their recipe has that the weights' own has not, ``field=value`` each.
    """

    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    flops: tuple[float, ...]
    seconds: tuple[float, ...]
    changes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.seeds)

    @classmethod
    def of(cls, runs: Sequence[Mapping[str, Any]], changes: Sequence[str] = ()) -> Runs:
        """Make it of the records that a config has of several runs."""
        return cls(
            seeds=tuple(run["seed"] for run in runs),
            accuracies=tuple(run["top1"] for run in runs),
            flops=tuple(run["relative_flops"] for run in runs),
            seconds=tuple(run["seconds"] for run in runs),
            changes=tuple(changes),
        )


@dataclass(frozen=True)
class Facts:
    """A config, read.

    Attributes:
        config: the content of a ``config.json`` that `curriculum_zoo.publishing.layout` wrote.
    """

    config: Mapping[str, Any]

    @property
    def own(self) -> Mapping[str, Any]:
        """What stands under our name."""
        own: Mapping[str, Any] = self.config.get("curriculum_zoo", {})
        return own

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the training.

        Raises:
            PublishError: the config has none.
        """
        if "recipe" not in self.own:
            raise PublishError(
                f"The config of these weights ({self.architecture}) says not how they were trained: there is no "
                "curriculum_zoo.recipe in it. Publish the folder of a run that `curriculum-zoo train` made."
            )
        return Recipe.from_dict(self.own["recipe"])

    @property
    def architecture(self) -> str:
        """The architecture's registered name."""
        return str(self.config["architecture"])

    @property
    def distribution(self) -> str:
        """The installed distribution that registers it."""
        return str(self.own.get("distribution", TIMM))

    @cached_property
    def builder(self) -> Callable[..., Any]:
        """The function that builds the network, which states its papers and its idea.

        Raises:
            CurriculumZooError: it is not registered here, or cannot be imported.
        """
        if self.distribution == TIMM:
            import timm

            entry: Callable[..., Any] = timm.model_entrypoint(self.architecture)
            return entry
        loaded: Callable[..., Any] = MODELS.load(f"{self.distribution}/{self.architecture}")
        return loaded

    @property
    def papers(self) -> tuple[Paper, ...]:
        """What to cite for network, curricula and data, each once, as they state it themselves."""
        targets = (self.builder, *map(CURRICULA.load, self.curricula))
        stated = [paper for target in targets for paper in papers_of(target)]
        if self.distribution == TIMM:
            stated.append(_TIMM)
        if self.source and self.source.paper:
            stated.append(self.source.paper)
        return tuple(dict.fromkeys(stated))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        return class_names(self.config)

    @property
    def input_size(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        channels, height, width = self.config["pretrained_cfg"]["input_size"]
        return channels, height, width

    @property
    def license(self) -> str | None:
        """Identifier of the weights' licence, as the Hub has it."""
        license: str | None = self.config["pretrained_cfg"].get("license")
        return license

    @property
    def test(self) -> Mapping[str, Any]:
        """Scores on test images; empty where they were not taken."""
        test: Mapping[str, Any] = self.own.get("test", {})
        return test

    @property
    def environment(self) -> Mapping[str, Any]:
        """Hardware and versions of the training; empty where they were not recorded."""
        environment: Mapping[str, Any] = self.own.get("environment", {})
        return environment

    @property
    def data(self) -> Mapping[str, Any]:
        """Name, fingerprint and numbers of the data set's images."""
        data: Mapping[str, Any] = self.own.get("data", {})
        return data

    @property
    def data_name(self) -> str:
        """What to call the data set where nothing more is known of it."""
        name = str(self.data.get("name") or self.recipe.data)
        scheme, _, file = name.partition(":")
        return file if file and scheme in FILES else name

    @property
    def source(self) -> DataSource | None:
        """Under which name the images are published: only those that the publisher called by a registered name."""
        return data_source(str(self.data.get("name") or self.recipe.data))

    @property
    def evaluations(self) -> Sequence[Mapping[str, Any]]:
        """What `curriculum-zoo evaluate` found of the weights, under other conditions too."""
        found: Sequence[Mapping[str, Any]] = self.own.get("evaluations", ())
        return found

    @property
    def runs(self) -> Runs:
        """All runs by this recipe that are known, that of these weights among them."""
        alone = {"seed": self.recipe.seed, "top1": self.test.get("top1"), **self.own}
        keys = ("seed", "top1", "relative_flops", "seconds")
        return Runs.of(self.own.get("runs") or [{key: alone.get(key) for key in keys}])

    @property
    def baselines(self) -> tuple[Runs, ...]:
        """Runs by other recipes that they are compared with."""
        return tuple(Runs.of(arm["runs"], arm["changes"]) for arm in self.own.get("baselines", ()))

    @cached_property
    def curriculum(self) -> Curriculum:
        """The curriculum, as the training had it."""
        made = create_curriculum(self.recipe.curriculum, epochs=self.recipe.epochs, seed=self.recipe.seed)
        return made.with_learning_rate_drops(drops(self.recipe.schedule, self.recipe.epochs))

    @property
    def curricula(self) -> tuple[str, ...]:
        """Names of the curricula that it is made of, ``baseline`` left out."""
        return tuple(dict.fromkeys(name for name in _names(self.curriculum.to_dict()) if name != "baseline"))

    @property
    def timeline(self) -> Timeline:
        """Its stages."""
        return self.curriculum.timeline(self.input_size[1])


def _names(description: Any) -> Iterator[str]:
    """Every registered name in a curriculum's description, outermost first."""
    if isinstance(description, Mapping):
        if isinstance(description.get("name"), str) and description["name"] not in COMPOSITES:
            yield description["name"]
        for value in description.values():
            yield from _names(value)
    elif isinstance(description, list | tuple):
        for item in description:
            yield from _names(item)
