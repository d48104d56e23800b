"""The model card: from what is known of weights to the README.md that a person reads before using them.

`write_card` is a pure function of a repository's ``config.json``, into which `curriculum_zoo.publishing.layout` puts
all facts, so that a card can be written again from its repository alone. Its prose stands in ``card.md.jinja`` and
`card_prose`; papers and ideas are those that network, curriculum and data set state themselves (`citation`).

The card says ``library_name: timm``. The Hub's button "Use this model" then shows timm's own line,
``timm.create_model("hf_hub:owner/name", pretrained=True)``, which works as it stands for architectures of timm's and
after ``import curriculum_zoo.models`` for ours, since the config is in timm's format; and the Hub counts downloads. For
a library that it does not know it would show no line at all. The tag ``curriculum-zoo`` finds our own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml
from huggingface_hub import EvalResult, ModelCardData

from ..citation import Paper
from ..errors import UnknownNameError
from ..registry import BUILT_IN
from ..weights.address import Address
from ..weights.released import list_weights
from ..weights.stored import TIMM
from ..weights.timm_weights import timm_cfg
from . import card_prose as prose
from .facts import Facts
from .previous_card import dumped, metadata_of, with_metadata, with_sections, without_metadata
from .repeat import training_command
from .text import cells

__all__ = [
    "CARD",
    "EVAL_RESULTS",
    "base_model",
    "card_text",
    "eval_results",
    "license_field",
    "license_of",
    "merged_metadata",
    "write_card",
]

CARD = "README.md"
EVAL_RESULTS = ".eval_results/curriculum-zoo.yaml"
"""The one evaluation file of a publication; under one name, so that none of an earlier one stays behind."""

TASK = "image-classification"

_CURRICULUM_ZOO = Paper(
    "curriculum_zoo", "curriculum_zoo: vision models trained coarse to fine", where="the library that trained this"
)


def write_card(
    config: Mapping[str, Any], *, name: str, loads: str, hub_id: str | None = None, previous: str | None = None
) -> str:
    """Return the text of a README.md.

    Args:
        config: the content of ``config.json``, with all facts under ``curriculum_zoo``.
        name: the weights' name: ``architecture.tag``, or the repository's; the title.
        loads: what `create_model` takes to load them.
        hub_id: ``owner/name`` of their repository on the Hub; None where they have none, and the card then claims none.
        previous: the card to bring up to date. Its generated sections are written again; its other text, and metadata
            that is not generated, are kept to the byte. One without any such section was written by hand and keeps its
            text whole.

    Raises:
        PublishError: the config has no recipe, or the previous card cannot be read.
        CurriculumZooError: architecture or curriculum are not registered here.
    """
    facts = Facts(config)
    sections = _template().render(_context(facts, name, loads, hub_id))
    metadata = _metadata(facts, name)
    return card_text(metadata if previous is None else merged_metadata(previous, metadata), sections, previous)


def card_text(metadata: Mapping[str, Any], sections: str, previous: str | None = None) -> str:
    """Return a card of metadata and generated sections, with all else that the previous one has.

    Raises:
        PublishError: the previous card cannot be read.
    """
    if previous is None:
        return f"---\n{dumped(metadata)}---\n{sections.lstrip()}"
    text = without_metadata(previous)
    return with_metadata(previous, metadata) + (with_sections(text, sections) if text.strip() else sections.lstrip())


def eval_results(config: Mapping[str, Any]) -> str | None:
    """Return the content of the evaluation file that the Hub reads, as YAML; None where nothing was measured for it.

    The Hub shows it beside a data set that is registered there as a benchmark. Only a data set whose repository on the
    Hub is known can be named; its task is the default one.
    """
    facts = Facts(config)
    source = facts.source
    if source is None or source.split is None or not facts.test:
        return None
    entry = {
        "dataset": {"id": source.hub_id, "task_id": "default"},
        "value": _figure(facts.test["top1"]),
        "notes": f"top-1 accuracy in percent, {facts.test['images']} images, {facts.input_size[1]} px",
    }
    return str(yaml.safe_dump([entry], sort_keys=False, allow_unicode=True))


def base_model(facts: Facts) -> str | None:
    """Return the repository on the Hub whose weights the training started from; None where there is none."""
    recipe = facts.recipe
    given = recipe.warm_start or (recipe.model if recipe.pretrained else None)
    address = Address.parse(given) if given else None
    if address and address.kind == "hub":
        return address.place
    if address and address.kind == "timm":
        return _timms_repository(address.place)
    # Released weights, by whatever name or place they were given.
    sha256 = facts.own.get("started_from", {}).get("sha256")
    return next((weights.hub_id for weights in list_weights() if sha256 and weights.sha256 == sha256), None)


def _timms_repository(name: str) -> str | None:
    try:
        cfg = timm_cfg(name)
    except UnknownNameError:  # of a younger timm, say
        return None
    hub_id: str | None = cfg.get("hf_hub_id")
    tagged = f"{cfg['architecture']}.{cfg['tag']}" if cfg.get("tag") else cfg["architecture"]
    return f"{hub_id}{tagged}" if hub_id and hub_id.endswith("/") else hub_id


# -- text ---------------------------------------------------------------------------------------------------------


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown is no HTML
    )
    return environment.from_string(Path(__file__).with_name("card.md.jinja").read_text(encoding="utf-8"))


def _context(facts: Facts, name: str, loads: str, hub_id: str | None) -> dict[str, Any]:
    own_name = facts.distribution in (TIMM, BUILT_IN)
    return {
        "about": prose.about(facts),
        "classes": prose.input_and_classes(facts),
        "scores": cells([prose.scores(facts)])[0],
        "spread": prose.spread(facts),
        "comparison": cells(prose.comparison(facts)),
        "evaluation_command": prose.evaluation_command(facts, loads),
        "evaluations": cells(prose.evaluations(facts)),
        "by_class": prose.by_class(facts),
        "recipe": prose.recipe(facts),
        "curriculum": prose.curriculum(facts),
        "stages": cells(prose.stages(facts)),
        "cost": prose.cost(facts),
        "limits": prose.limits(facts),
        "licence": prose.licence(facts),
        "name": name,
        "loads": loads,
        "timm_loads": str(Address("hub", hub_id)) if hub_id else "",
        "plugin": "" if own_name else f"and `{facts.distribution}`, which registers `{facts.architecture}`, ",
        "shown": min(3, len(facts.classes)),
        "compared": "comparison.png" in facts.own.get("figures", ()),
        "command": training_command(facts.recipe),
        "papers": facts.papers or (_CURRICULUM_ZOO,),
    }


# -- metadata -----------------------------------------------------------------------------------------------------


def _metadata(facts: Facts, name: str) -> dict[str, Any]:
    source = facts.source
    tags = [TASK, TIMM, "curriculum-zoo", *(("curriculum-learning",) if facts.curricula else ()), *facts.curricula]
    data = ModelCardData(
        license=facts.license,
        library_name=TIMM,
        pipeline_tag=TASK,
        tags=tags,
        datasets=[source.hub_id] if source else None,
        metrics=["accuracy"] if facts.test else None,
        base_model=base_model(facts),
        model_name=name,
        eval_results=_results(facts) or None,
    )
    if data.eval_results is None:
        del data.model_name
    written: dict[str, Any] = data.to_dict()
    if facts.license:
        written["license"] = license_field(facts.license)
    return written


def _results(facts: Facts) -> list[EvalResult]:
    test = facts.test
    source = facts.source if facts.source and facts.source.split else None
    shares = {"top-1 accuracy, %": test.get("top1"), "top-5 accuracy, %": test.get("top5")}
    return [
        EvalResult(
            task_type=TASK,
            # The Hub takes a data set's repository here, or whatever could be the name of one.
            dataset_type=source.hub_id if source else re.sub(r"[^\w.-]+", "-", facts.data_name, flags=re.ASCII),
            dataset_name=source.title if source else facts.data_name,
            dataset_config=source.config if source else None,
            dataset_split=source.split if source else "test",
            metric_type="accuracy",
            metric_name=metric,
            metric_value=_figure(share),
        )
        for metric, share in shares.items()
        if share is not None
    ]


def _figure(share: float) -> float:
    return round(100 * share, 2)


def license_of(card: str) -> str | None:
    """Return the licence that a card's metadata name, several joined by commas; None where they name none."""
    found = metadata_of(card).get("license")
    several = [str(one) for one in (found if isinstance(found, list) else [found]) if isinstance(one, str)]
    return ", ".join(several) or None


def license_field(license: str | None) -> str | list[str] | None:
    """Return a licence as metadata have it: several, joined by commas, are a list there."""
    return license.split(", ") if license and ", " in license else license


def merged_metadata(previous: str, now: Mapping[str, Any]) -> dict[str, Any]:
    """Return generated metadata as they are to stand in a card: tags are joined, and a licence keeps its form.

    Raises:
        PublishError: the previous card cannot be read.
    """
    kept = metadata_of(previous)
    before = kept.get("tags") or []
    before = [before] if isinstance(before, str) else before
    tags = kept["tags"] if set(now["tags"]) <= set(map(str, before)) else list(dict.fromkeys([*now["tags"], *before]))
    same = license_of(previous) == _license_text(now["license"])
    return {**now, "tags": tags, "license": kept["license"] if same else now["license"]}


def _license_text(license: str | list[str] | None) -> str | None:
    return ", ".join(license) if isinstance(license, list) else license
