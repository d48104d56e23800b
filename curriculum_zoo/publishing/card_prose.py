"""The sentences and tables of a model card, each a pure function of the weights' facts."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from ..citation import idea_of
from ..curricula.timeline import TimelineRow
from ..registry import CURRICULA
from .facts import Facts, Runs
from .repeat import root_flag
from .text import code, duration, first_sentence, listed, lowered, percent, plain, short, wrapped

__all__ = [
    "about",
    "by_class",
    "comparison",
    "cost",
    "curriculum",
    "evaluation_command",
    "evaluations",
    "input_and_classes",
    "licence",
    "limits",
    "recipe",
    "scores",
    "spread",
    "stages",
    "started_from",
]

MOST_CLASSES = 20
"""Classes that are listed one by one."""

MOST_STAGES = 10
"""Rows of a table of stages; where a curriculum draws more of them, equal ones share a row."""

# timm's "sgd" is Nesterov's.
_OPTIMIZERS = {
    "sgd": "SGD with Nesterov {m}",
    "momentum": "SGD with {m}",
    "adam": "Adam",
    "adamw": "AdamW",
}
_SCHEDULES = {"onecycle": "one-cycle", "step": "stepwise"}
_LICENSES = {"mit": "MIT", "apache-2.0": "Apache 2.0", "cc-by-4.0": "CC BY 4.0", "cc-by-nc-4.0": "CC BY-NC 4.0"}


def about(facts: Facts) -> str:
    """Return a paragraph on what the network is, what it was trained on, and how well it does."""
    data, test = facts.data, facts.test
    images = f"{data['train_images']:,} training images of " if "train_images" in data else ""
    how = f"with the curriculum `{facts.recipe.curriculum}`" if facts.curricula else "without a curriculum"
    height = facts.input_size[1]
    sentences = [
        _architecture(facts),
        f"{_parameters(facts)}It was trained on {_data(facts)} ({images}{len(facts.classes)} classes, {height} px) "
        f"{how}{started_from(facts)}.",
    ]
    if test:
        sentences.append(f"It is right on **{percent(test['top1'])}** of the {test['images']:,} test images.")
    return wrapped(sentences)


def _architecture(facts: Facts) -> str:
    """What its family is, and the first sentence that its author wrote of it."""
    unknown = f"`{facts.architecture}`, a network of {facts.distribution}."
    return " ".join(filter(None, (idea_of(facts.builder), first_sentence(facts.builder) or unknown)))


def _parameters(facts: Facts) -> str:
    count = f"{facts.own.get('parameters') or 0:,}"
    return "" if count in ("0", *_architecture(facts).split()) else f"It has {count} parameters. "


def started_from(facts: Facts) -> str:
    """Return a clause on the weights that the training started from; empty where they were random."""
    given = facts.recipe.warm_start or (facts.recipe.model if facts.recipe.pretrained else None)
    return f", starting from the weights of `{given}`" if given else ""


def input_and_classes(facts: Facts) -> str:
    """Return a paragraph on the images that the network takes and the classes that it knows."""
    names, (channels, height, width) = facts.classes, facts.input_size
    few = len(names) <= MOST_CLASSES
    return wrapped([
        f"It takes images [N, {channels}, {height}, {width}] in [0, 1], less the mean and over the standard deviation "
        "that `config.json` states; `load_preprocess` brings any picture there.",
        f"Its classes are {listed(map(plain, names))}."
        if few
        else f"Its {len(names)} classes are named in `config.json`.",
    ])  # fmt: skip


# -- results ------------------------------------------------------------------------------------------------------


def scores(facts: Facts) -> tuple[str, ...]:
    """Return the cells of the table of these weights' own scores; empty where they were not taken."""
    test = facts.test
    if not test:
        return ()
    top5 = "–" if test.get("top5") is None else percent(test["top5"])
    figures = (percent(test["top1"]), top5, f"{test['loss']:.3f}", f"{test['calibration_error']:.3f}")
    return (_epoch(facts), f"{_data(facts)} test ({test['images']:,})", *figures)


def _epoch(facts: Facts) -> str:
    return f"epoch {facts.own['epoch'] + 1} of {facts.recipe.epochs}" if "epoch" in facts.own else "these"


def spread(facts: Facts) -> str:
    """Return a paragraph on how the weights were chosen and how many runs stand behind the figures."""
    sentences = [_chosen(facts)]
    runs = facts.runs
    if len(runs) == 1:
        sentences.append(f"One run, seed {facts.recipe.seed}: there is no spread to state.")
    else:
        seeds = listed(map(str, runs.seeds))
        sentences.append(
            f"{len(runs)} runs by this recipe, seeds {seeds}; these weights are of seed {facts.recipe.seed}."
        )
    if facts.curricula and not facts.baselines:
        sentences.append("No run without the curriculum stands beside it, so its effect is unknown.")
    return wrapped(filter(None, sentences))


def evaluation_command(facts: Facts, loads: str) -> str:
    """Return the command that takes the scores again."""
    recipe = facts.recipe
    precision = "" if recipe.precision == "fp32" else f" --precision {recipe.precision}"
    words = ["curriculum-zoo", "evaluate", loads, "--data", shlex.quote(recipe.data), *root_flag(recipe.data)]
    return code(f"{' '.join(words)}{precision}")


def _chosen(facts: Facts) -> str:
    other = facts.own.get("last_top1")
    if facts.own.get("weights") == "last":
        return "The weights are those after the last epoch."
    if not facts.recipe.validation:
        return "No images were held out, so the weights are those after the last epoch."
    share, own = facts.recipe.validation, facts.data.get("validation_images")
    count = f"{share:,}" if share >= 1 else f"{100 * share:.3g} %"
    held_out = f"{own:,} validation images" if own else f"{count} of the training images, held out from training"
    last = f"; those of the last epoch are right on {percent(other)}" if other is not None else ""
    quality = "most accurate" if facts.recipe.best == "accuracy" else "least in loss"
    return f"The epoch was chosen as the one {quality} on {held_out}; test images had no part in it{last}."


def comparison(facts: Facts) -> list[tuple[str, ...]]:
    """Return the rows of the table of several runs and of those they are compared with; empty for a single run."""
    if len(facts.runs) == 1 and not facts.baselines:
        return []
    arms = [("this recipe", facts.runs)]
    arms += [(f"the same with {listed(f'`{change}`' for change in arm.changes)}", arm) for arm in facts.baselines]
    return [_comparison_row(label, arm) for label, arm in arms]


def _comparison_row(label: str, runs: Runs) -> tuple[str, ...]:
    accuracies = [100 * accuracy for accuracy in runs.accuracies]
    mean = f"{statistics.mean(accuracies):.2f}"
    accuracy = f"{mean} ± {statistics.stdev(accuracies):.2f} %" if len(runs) > 1 else f"{mean} %"
    return (
        label,
        str(len(runs)),
        accuracy,
        f"{statistics.mean(runs.flops):.3g} ×",
        duration(statistics.mean(runs.seconds)),
    )


def evaluations(facts: Facts) -> list[tuple[str, ...]]:
    """Return the rows of the table of further evaluations, heads first; empty where there are none."""
    rows = [
        {
            "images": f"{found['images']:,} {found.get('part', 'test')}",
            "precision": found.get("precision", ""),
            "resolution": f"{found['resolution']} px",
            "levels": str(found.get("levels") or ""),
            "accuracy": percent(found["top1"]) if found.get("top1_std") is None else _with_spread(found),
            "locations": f"{found['locations']:.2f}" if found.get("locations") is not None else "",
            "MFLOPs an image": f"{found['flops'] / 1e6:,.2f}",
            "ms an image": f"{found['milliseconds']:.4f}" if found.get("milliseconds") is not None else "",
        }
        for found in facts.evaluations
    ]
    heads = [head for head in rows[0] if any(row[head] for row in rows)] if rows else []
    return [tuple(heads), *(tuple(row[head] for head in heads) for row in rows)] if rows else []


def _with_spread(found: Mapping[str, Any]) -> str:
    return f"{100 * found['top1']:.2f} ± {100 * found['top1_std']:.2f} % (n = {found['repeats']})"


def by_class(facts: Facts) -> str:
    """Return a sentence on the accuracy of each class, or of the extremes where there are many."""
    per_class = facts.test.get("per_class") or ()
    names = short(facts.classes)
    pairs = [(name, value) for name, value in zip(names, per_class, strict=False) if value is not None]
    if len(pairs) < 2:
        return ""
    if len(pairs) <= MOST_CLASSES:
        return wrapped([f"By class: {_shares(pairs)}."])
    ranked = sorted(pairs, key=lambda pair: pair[1])
    return wrapped([f"The weakest classes are {_shares(ranked[:5])}; the strongest {_shares(ranked[:-6:-1])}."])


def _shares(pairs: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{plain(name)} {percent(value, 1)}" for name, value in pairs)


# -- training -----------------------------------------------------------------------------------------------------


def recipe(facts: Facts) -> str:
    """Return the recipe in a sentence or two; the rest of it is in ``recipe.json``."""
    made = facts.recipe
    optimizer = made.optimizer
    name = _OPTIMIZERS.get(optimizer.name, optimizer.name).format(m=f"momentum {optimizer.momentum:g}")
    parts = [
        f"{made.epochs} epochs",
        f"batches of {made.batch_size}",
        f"{name}, {_SCHEDULES.get(made.schedule.name, made.schedule.name)} learning rate "
        f"{'of' if made.schedule.name == 'constant' else 'up to'} {optimizer.peak_lr:g}, weight decay "
        f"{optimizer.weight_decay:g}",
        *_augmentation(facts),
        {"fp32": "fp32", "bf16": "bfloat16", "fp16": "fp16"}[made.precision],
        f"seed {made.seed}",
    ]
    beginning = "trains it again; `recipe.json` is the whole recipe, `metrics.jsonl` the log of this run."
    return wrapped([beginning, f"In short: {'; '.join(parts)}."])


def _augmentation(facts: Facts) -> Iterable[str]:
    made = facts.recipe
    parts = {
        "random flips": made.augmentation.flip is True,
        "alternating flips": made.augmentation.flip == "alternating",
        f"random crops, {made.augmentation.crop_padding} px beyond the border": made.augmentation.crop_padding,
        f"cutout of {made.augmentation.cutout} px": made.augmentation.cutout,
        f"mixup {made.mixing.mixup:g}": made.mixing.active and made.mixing.mixup,
        f"cutmix {made.mixing.cutmix:g}": made.mixing.active and made.mixing.cutmix,
        f"label smoothing {made.label_smoothing:g}": made.label_smoothing,
        f"moving average of the weights, decay {made.ema_decay or 0:g}": made.ema_decay,
        "BatchNorm calibrated at full resolution": made.calibrate_batchnorm,
    }
    said = [text for text, holds in parts.items() if holds]
    return said or ["no augmentation"]


def curriculum(facts: Facts) -> str:
    """Return a paragraph on the curriculum: its expression, and the first line of each curriculum in it."""
    if not facts.curricula:
        return "There was no curriculum: every epoch saw full images, and everything learnt."
    whole, names = facts.recipe.curriculum, facts.curricula
    lines = [f"`{name}`: {lowered(first_sentence(CURRICULA.load(name)) or 'a plugin’s.')}" for name in names]
    if [whole] == [*names]:
        return wrapped([f"The curriculum was {lines[0]}", "Its stages:"])
    return wrapped([f"The curriculum was `{whole}`.", *lines, "Its stages:"])


def stages(facts: Facts) -> list[tuple[str, ...]]:
    """Return the rows of the table of stages, heads first; empty where nothing changes."""
    timeline = facts.timeline
    if not facts.curricula:
        return []
    frozen = facts.own.get("frozen", {})
    rows = [(_epochs(row), *_stage(row, frozen)) for row in timeline]
    if len(rows) > MOST_STAGES:
        counts: dict[tuple[str, ...], int] = {}
        for row in timeline:
            stage = _stage(row, frozen)
            counts[stage] = counts.get(stage, 0) + row.last - row.first + 1
        rows = [(f"{count} of {facts.recipe.epochs}", *stage) for stage, count in counts.items()]
    heads = ("epochs", "stage", "resolution", "cost, by pixels", "frozen", "view", "notes")
    columns = [column for column in zip(heads, *rows, strict=True) if any(column[1:])]
    return list(zip(*columns, strict=True))


def _epochs(row: TimelineRow) -> str:
    return f"{row.first + 1}" if row.first == row.last else f"{row.first + 1}–{row.last + 1}"


def _stage(row: TimelineRow, shares: Mapping[str, float]) -> tuple[str, ...]:
    cost = "" if row.cost is None else percent(row.cost, 0)
    # A rule that freezes by depth may find nothing deep enough in a small network.
    frozen = f"{row.frozen}: {percent(shares[row.name], 0)} of the parameters" if row.name in shares else row.frozen
    return row.name, row.resolution, cost, frozen if row.frozen else "", f"`{row.view}`" if row.view else "", row.notes


def cost(facts: Facts) -> str:
    """Return a paragraph on FLOPs, time and versions of the training, and the FLOPs of a forward pass."""
    own = facts.own
    sentences = []
    if "flops" in own:
        flops = f"{own['flops']:.2g}".replace("e+", "e")
        share = f"{own['relative_flops']:.3g} × a training on full images throughout"
        sentences.append(f"The training took {flops} FLOPs ({share}) and {duration(own['seconds'])}{_on(facts)}.")
    sentences += _forward_cost(own)
    packages = facts.environment.get("packages", {})
    versions = [f"{name} {packages[name]}" for name in ("curriculum-zoo", "torch", "timm") if name in packages]
    if versions:
        sentences.append(f"It ran with {listed(versions)}.")
    return wrapped(sentences)


def _forward_cost(own: Mapping[str, Any]) -> Iterable[str]:
    """What one image takes; where that is the network's choice, also what it takes at least and at most."""
    mean, bounds = own.get("forward_flops"), own.get("forward_flops_range")
    if mean:
        yield f"One image's forward pass takes {_millions(mean)} MFLOPs{' in the mean' if bounds else ''}."
    if bounds:
        least, most = map(_millions, bounds)
        yield f"By what the network attends it takes from {least} MFLOPs, for nothing, to {most}, for everything."


def _millions(flops: float) -> str:
    return f"{flops / 1e6:,.1f}" if flops >= 1e5 else f"{flops / 1e6:.2g}"


def _on(facts: Facts) -> str:
    machine = facts.environment
    if not machine:
        return ""
    threads = machine.get("threads", 1)
    device = machine.get("device", "cpu")
    what = f"{threads} thread{'s' * (threads > 1)} of an {machine.get('processor')}" if device == "cpu" else device
    processes = machine.get("processes", 1)
    return f" on {what}" + (f", {processes} processes" if processes > 1 else "")


# -- limits, licence ----------------------------------------------------------------------------------------------


def limits(facts: Facts) -> str:
    """Return a paragraph on what the network is for, and where it is weak."""
    height, seen = facts.input_size[1], sorted({_pixels(row) for row in facts.timeline})
    sizes = f"images of {' and '.join(map(str, seen))} px" if 1 < len(seen) <= 4 else f"images of {height} px"
    sentences = [
        "It was made to compare ways of training, and to start from for tasks of one's own; not for decisions about "
        "anybody or anything.",
        f"It gives one of its {len(facts.classes)} classes to any image, also to one that shows none of them, and it "
        f"knows them only as {_data(facts)} shows them.",
        f"It learnt from {sizes} and loses accuracy at other sizes (`curriculum-zoo evaluate --resolutions` tells how "
        "much).",
    ]
    per_class = [
        (value, name) for name, value in zip(short(facts.classes), facts.test.get("per_class") or (), strict=False)
    ]
    known = [(value, name) for value, name in per_class if value is not None]
    if known:
        value, name = min(known)
        sentences.append(f"It is weakest on the class {plain(name)}, with {percent(value, 1)}.")
    if started_from(facts):
        sentences.append("What those who made the weights that it started from say of their limits holds for it too.")
    return wrapped(sentences)


def _pixels(row: TimelineRow) -> int:
    return int(row.resolution.removesuffix(" px"))


def licence(facts: Facts) -> str:
    """Return a paragraph on the data, and on what data and weights may be used for."""
    source, data = facts.source, facts.data
    title = f"[{source.title}](https://huggingface.co/datasets/{source.hub_id})" if source else _data(facts)
    sentences = [f"Trained on {title}."]
    if "train_images" in data:
        counts = f"{data['train_images']:,} training and {data['test_images']:,} test images"
        sentences = [f"Trained on {title}: {counts}, fingerprint `{data['fingerprint'][:16]}`."]
    if source and source.license:
        sentences.append(source.license)
    elif not source:
        sentences.append("The data is not published with the weights.")
    if facts.license:
        sentences.append(f"The weights are under the {_LICENSES.get(facts.license, facts.license)} licence.")
    return wrapped(sentences)


def _data(facts: Facts) -> str:
    return facts.source.title if facts.source else code(facts.data_name)
