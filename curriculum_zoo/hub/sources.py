"""Where things come from: the papers behind architectures and curricula, and the data sets' names, places and licences.

Only what a paper's own text states is told: no authors for the anonymous, no venue for the unpublished.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, replace

__all__ = ["DataSource", "Family", "Paper", "data_source", "family_of", "papers_of_curricula"]


@dataclass(frozen=True)
class Paper:
    """What to cite.

    Attributes:
        key: of its BibTeX entry.
        title: as printed.
        authors: in BibTeX's form, ``First Last and First Last``; empty where the text names none.
        where: conference, journal or state, as far as it is known.
        year: of publication; None where the text has none.
    """

    key: str
    title: str
    authors: str = ""
    where: str = ""
    year: int | None = None

    def __str__(self) -> str:
        authors = self.authors.replace(" and ", ", ")
        rest = ", ".join(part for part in (self.where, str(self.year or "")) if part)
        return " ".join(f"{part}." for part in (authors, f"*{self.title}*", rest) if part)

    @property
    def bibtex(self) -> str:
        """Its entry for a bibliography."""
        fields = {"title": f"{{{self.title}}}", "author": self.authors, "note": self.where, "year": self.year}
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join((f"@misc{{{self.key},", *lines, "}"))


_RESNET = Paper(
    "resnet",
    "Deep Residual Learning for Image Recognition",
    "Kaiming He and Xiangyu Zhang and Shaoqing Ren and Jian Sun",
    "CVPR",
    2016,
)
_HIRESNET = Paper(
    "hiresnet",
    "Hierarchical Residuals Exploit Brain-Inspired Compositionality",
    "Francisco M. López and Jochen Triesch",
)
_HRT = Paper("hrt", "Hierarchical Resolution Training (HRT)", "Dhaval Khatri")
_TRD = Paper(
    "trd", "Temporally Resolution Decrement: Utilizing the Shape Consistency for Higher Computational Efficiency"
)
_SHARPENING = Paper("sharpening", "Optimisation with Progressive Sharpening", "Sahil Trivedi", year=2021)
_GLIMPSES = Paper(
    "pyramid",
    "Image classification through top-down image pyramid traversal",
    where="anonymous, under double-blind review",
)
_EFFICIENT = Paper(
    "efficienttrain",
    "EfficientTrain++: Generalized Curriculum Learning for Efficient Visual Backbone Training",
    "Yulin Wang and others",
    "TPAMI",
    2024,
)


@dataclass(frozen=True)
class Family:
    """Architectures of one origin.

    Attributes:
        papers: that they come from.
        idea: what they have in common, in a sentence; empty where each one's own says it.
    """

    papers: tuple[Paper, ...] = ()
    idea: str = ""


# The first pattern that fits an architecture's name.
_FAMILIES = {
    "hiresne*": Family(
        (_HIRESNET, _RESNET),
        "A HiResNet is a ResNet with residual connections from every lower level of its hierarchy to every higher one.",
    ),
    "resnet*": Family((_RESNET,)),
    "simple_cnn": Family((_HRT,)),
    "glimpse_baseline*": Family(
        (_GLIMPSES,), "This is the fully convolutional network that a glimpse pyramid is compared with."
    ),
    "glimpse*": Family(
        (_GLIMPSES,),
        "A glimpse pyramid looks at the whole image at a low resolution first, and then more closely at the parts that "
        "it chooses.",
    ),
}
_OF_CURRICULA = {
    "trd": _TRD,
    "hrt": _HRT,
    "progressive_sharpening": _SHARPENING,
    "gradual_levels": _GLIMPSES,
    "low_frequency": _EFFICIENT,
}


def family_of(architecture: str) -> Family:
    """The family of an architecture; one of which nothing is known for a plugin's, which has its own documentation."""
    fitting = (family for pattern, family in _FAMILIES.items() if fnmatch.fnmatchcase(architecture, pattern))
    return next(fitting, Family())


def papers_of_curricula(names: Iterable[str]) -> tuple[Paper, ...]:
    """The papers that curricula come from, each once."""
    return tuple(dict.fromkeys(_OF_CURRICULA[name] for name in names if name in _OF_CURRICULA))


@dataclass(frozen=True)
class DataSource:
    """A data set that many know by one name.

    Attributes:
        title: its name in print.
        hub_id: its repository on the Hub.
        config: the part of that repository, where it has several.
        split: that part of it which accuracy was measured on, as it is named there; None where the images were
            changed, so that figures on them are none on the data set itself.
        paper: what to cite for it.
        license: what its makers say of its use, in a sentence.
    """

    title: str
    hub_id: str
    config: str | None
    split: str | None
    paper: Paper
    license: str = ""


_CANVAS = "_canvas"
_CIFAR = Paper("cifar", "Learning Multiple Layers of Features from Tiny Images", "Alex Krizhevsky", year=2009)
_CIFAR_LICENCE = "CIFAR's images carry no licence of their own."

_DATA = {
    "cifar10": DataSource("CIFAR-10", "uoft-cs/cifar10", "plain_text", "test", _CIFAR, _CIFAR_LICENCE),
    "cifar100": DataSource("CIFAR-100", "uoft-cs/cifar100", "cifar100", "test", _CIFAR, _CIFAR_LICENCE),
    "mnist": DataSource(
        "MNIST",
        "ylecun/mnist",
        "mnist",
        "test",
        Paper(
            "mnist",
            "Gradient-Based Learning Applied to Document Recognition",
            "Yann LeCun and Léon Bottou and Yoshua Bengio and Patrick Haffner",
            "Proceedings of the IEEE",
            1998,
        ),
    ),
    "fashion_mnist": DataSource(
        "Fashion-MNIST",
        "zalando-datasets/fashion_mnist",
        "fashion_mnist",
        "test",
        Paper(
            "fashionmnist",
            "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
            "Han Xiao and Kashif Rasul and Roland Vollgraf",
            year=2017,
        ),
        "Fashion-MNIST is under the MIT licence.",
    ),
    "tiny_imagenet": DataSource(
        "Tiny ImageNet",
        "zh-plus/tiny-imagenet",
        None,
        "valid",
        Paper("tinyimagenet", "Tiny ImageNet Visual Recognition Challenge", "Ya Le and Xuan Yang", year=2015),
        "Its images are ImageNet's, whose terms allow non-commercial research and education.",
    ),
}


def data_source(name: str) -> DataSource | None:
    """What is known of a data set by its name, as ``cifar10`` or ``tiny-imagenet``; None where nothing is."""
    base, _, variant = name.lower().replace("-", "_").partition(":")
    if (base, variant) == ("demo", ""):
        return replace(_DATA["fashion_mnist"], title="a cut of Fashion-MNIST (`demo`)", config=None, split=None)
    if base.endswith(_CANVAS) and (pictures := _DATA.get(base.removesuffix(_CANVAS))):
        title = f"{pictures.title} on canvases ({variant or 'plain'})"
        return replace(pictures, title=title, config=None, split=None)
    return None if variant else _DATA.get(base)
