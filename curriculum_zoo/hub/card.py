"""The model card: from what is known of weights to the README.md that a person reads before using them.

`write_card` is a pure function of a repository's ``config.json``, into which `curriculum_zoo.hub.layout` puts all
facts, so that a card can be written anew from its repository alone. Its prose stands in ``card.md.jinja`` and
`card_prose`.

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
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..errors import PublishError
from ..registry import BUILT_IN
from . import card_prose as prose
from .facts import Facts
from .folder import TIMM
from .repeat import training_command
from .sources import Paper, family_of, papers_of_curricula
from .weights import list_weights

__all__ = ["CARD", "EVAL_RESULTS", "base_model", "eval_results", "license_of", "write_card"]

CARD = "README.md"
EVAL_RESULTS = ".eval_results/curriculum-zoo.yaml"
"""The one evaluation file of a publication; under one name, so that none of an earlier one stays behind."""

TASK = "image-classification"
HUB = "hf-hub:"

_BLOCK = re.compile(r"<!-- generated: (\w+) -->\n(.*?)<!-- /generated: \1 -->", re.DOTALL)
_MARK = re.compile(r"<!-- /?generated: \w+ -->")
_CURRICULUM_ZOO = Paper(
    "curriculum_zoo", "curriculum_zoo: vision models trained coarse to fine", where="the library that trained this"
)


def write_card(
    config: Mapping[str, Any], *, name: str, loads: str, hub_id: str | None = None, previous: str | None = None
) -> str:
    """The text of a README.md.

    Args:
        config: the content of ``config.json``, with all facts under ``curriculum_zoo``.
        name: the weights' name: ``architecture.tag``, or the repository's; the title.
        loads: what `create_model` takes to load them.
        hub_id: ``owner/name`` of their repository on the Hub; None where they have none, and the card then claims none.
        previous: the card to bring up to date. Its generated sections are written anew; its other text, and metadata
            that is not generated, are kept. One without any such section was written by hand and keeps its text whole.

    Raises:
        PublishError: the config tells no recipe, or the previous card cannot be read.
        CurriculumZooError: architecture or curriculum are not registered here.
    """
    facts = Facts(config)
    sections = _template().render(_context(facts, name, loads, hub_id))
    metadata = _metadata(facts, name)
    if previous is None or not _without_metadata(previous).strip():
        kept: dict[str, Any] = {} if previous is None else _metadata_of(previous)
        text = sections
    else:
        kept, text = _metadata_of(previous), _brought_up_to_date(_without_metadata(previous), sections)
    return f"---\n{_merged(kept, metadata)}\n---\n{text.lstrip()}"


def eval_results(config: Mapping[str, Any]) -> str | None:
    """The content of the evaluation file that the Hub reads, as YAML; None where there is nothing to tell.

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
    """The repository on the Hub whose weights the training started from; None where there is none."""
    recipe = facts.recipe
    given = recipe.warm_start or (recipe.model if recipe.pretrained else "")
    if given.startswith(HUB):
        return given.removeprefix(HUB).partition("@")[0]
    if given.startswith(f"{TIMM}/"):
        from timm.models import get_pretrained_cfg

        cfg = get_pretrained_cfg(given.removeprefix(f"{TIMM}/"))
        if cfg is not None and cfg.hf_hub_id:
            tagged = f"{cfg.architecture}.{cfg.tag}" if cfg.tag else cfg.architecture
            return f"{cfg.hf_hub_id}{tagged}" if cfg.hf_hub_id.endswith("/") else str(cfg.hf_hub_id)
        return None
    # Released weights, by whatever name or place they were given.
    sha256 = facts.own.get("started_from", {}).get("sha256")
    return next((weights.hub_id for weights in list_weights() if sha256 and weights.sha256 == sha256), None)


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
    family = family_of(facts.architecture).papers if own_name else ()
    papers = (*family, *papers_of_curricula(facts.curricula))
    data = (facts.source.paper,) if facts.source else ()
    return {
        "about": prose.about(facts),
        "classes": prose.input_and_classes(facts),
        "scores": prose.scores(facts),
        "spread": prose.spread(facts),
        "comparison": prose.comparison(facts),
        "evaluation_command": prose.evaluation_command(facts, loads),
        "evaluations": prose.evaluations(facts),
        "by_class": prose.by_class(facts),
        "recipe": prose.recipe(facts),
        "curriculum": prose.curriculum(facts),
        "stages": prose.stages(facts),
        "cost": prose.cost(facts),
        "limits": prose.limits(facts),
        "licence": prose.licence(facts),
        "name": name,
        "loads": loads,
        "timm_loads": f"{HUB}{hub_id}" if hub_id else "",
        "plugin": "" if own_name else f"and `{facts.distribution}`, which registers `{facts.architecture}`, ",
        "shown": min(3, len(facts.classes)),
        "compared": "comparison.png" in facts.own.get("figures", ()),
        "command": training_command(facts.recipe),
        "papers": tuple(dict.fromkeys((*papers, *data))) or (_CURRICULUM_ZOO,),
    }


def _brought_up_to_date(text: str, sections: str) -> str:
    """The previous text with its generated sections as they are now."""
    if len(_MARK.findall(text)) != 2 * len(_BLOCK.findall(text)):
        raise PublishError(
            f"The marks of a generated section in {CARD} are damaged: each begins with '<!-- generated: NAME -->' and "
            "ends with '<!-- /generated: NAME -->'. Mend them, or delete the section with both."
        )
    now = {match[1]: match[0] for match in _BLOCK.finditer(sections)}
    return _BLOCK.sub(lambda match: now.get(match[1], match[0]), text)


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


def _metadata_of(card: str) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = ModelCard(card, ignore_metadata_errors=True).data.to_dict()
    except (yaml.YAMLError, ValueError) as error:
        raise PublishError(
            f"The metadata at the top of {CARD} cannot be read: {error}. Correct or delete it."
        ) from error
    return kept


def license_of(card: str) -> str | None:
    """The licence that a card's metadata name; None where they name none."""
    found = _metadata_of(card).get("license")
    return found if isinstance(found, str) else None


def _without_metadata(card: str) -> str:
    return re.sub(r"\A\s*---\s*\n.*?\n?---\s*?(\n|\Z)", "", card, count=1, flags=re.DOTALL)


def _merged(kept: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Generated metadata first, then what else stood there; tags are joined."""
    before = kept.get("tags") or []
    tags = list(dict.fromkeys([*now["tags"], *([before] if isinstance(before, str) else before)]))
    merged = {**now, "tags": tags, **{key: value for key, value in kept.items() if key not in now}}
    return str(yaml.safe_dump(merged, sort_keys=False, allow_unicode=True, width=120)).strip()
