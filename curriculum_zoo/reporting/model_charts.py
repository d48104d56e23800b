"""Charts of one network or several side by side: resolution, corruptions, shape or texture, and abstention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation import Evaluation, Robustness
from ..evaluation.calibration import Calibration
from ..evaluation.early_exit import EarlyExit, ExitPoint
from ..views.corruptions import CORRUPTIONS
from ..views.probes import PROBES
from .chart import FONT, INK, MUTED, Chart, canvas, finish, label_lines, legend_above, style

__all__ = ["coverage_chart", "early_exit_chart", "probes_chart", "robustness_chart", "sweep_chart", "training_chart"]

Rows = Sequence[tuple[str, Mapping[str, float]]]


def training_chart(runs: Mapping[str, Sequence[Mapping[str, Any]]], name: str = "training") -> Chart:
    """Draw the validation accuracy of runs over the FLOPs that they spent.

    Args:
        runs: the lines of each run's ``metrics.jsonl``, keyed by its name; all with validation accuracy.
        name: of the chart.
    """
    figure, [axes] = canvas(3.2)
    largest = max(line["flops"] for lines in runs.values() for line in lines)
    unit, prefix = next((pair for pair in ((1e15, "P"), (1e12, "T"), (1e9, "G")) if largest >= pair[0]), (1e6, "M"))
    ends = []
    for number, (run, lines) in enumerate(runs.items()):
        colour, marker = style(number)
        costs = [line["flops"] / unit for line in lines]
        values = [100 * line["validation_accuracy"] for line in lines]
        axes.plot(costs, values, color=colour, marker=marker, markersize=3.5, markevery=_every(lines), linewidth=1.3)
        ends.append((costs[-1], values[-1], run, colour))
    axes.set(xlabel=f"training cost so far ({prefix}FLOPs)", ylabel="validation accuracy (%)")
    axes.set_xlim(left=0)
    axes.set_ylim(axes.get_ylim())
    label_lines(axes, ends)
    caption = "Validation accuracy after each epoch over forward and backward FLOPs spent until then; one run a line."
    return finish(figure, name, "Accuracy over training cost", caption)


def sweep_chart(networks: Mapping[str, Sequence[Evaluation]], name: str = "resolutions") -> Chart:
    """Draw accuracy over the side of the test images.

    Args:
        networks: evaluations at several resolutions, keyed by the network's name.
        name: of the chart.
    """
    figure, [axes] = canvas(3.2)
    ends = []
    for number, (network, evaluations) in enumerate(networks.items()):
        colour, marker = style(number)
        found = sorted((each.resolution, 100 * each.scores.top1) for each in evaluations)
        sides, values = zip(*found, strict=True)
        axes.plot(sides, values, color=colour, marker=marker, markersize=4.5, linewidth=1.3)
        ends.append((sides[-1], values[-1], network, colour))
    axes.set_xticks(sorted({each.resolution for evaluations in networks.values() for each in evaluations}))
    axes.set(xlabel="side of the test images (px)", ylabel="test accuracy (%)")
    axes.set_ylim(axes.get_ylim())
    if len(networks) > 1:
        label_lines(axes, ends)
    caption = f"Top-1 accuracy on test images brought to each side, {_n(networks)}."
    return finish(figure, name, "Resolution sweep", caption)


def robustness_chart(
    networks: Mapping[str, Robustness], severities: Sequence[int], images: int, name: str = "robustness"
) -> Chart:
    """Draw accuracy under each corruption.

    Args:
        networks: summaries under the same corruptions, keyed by the network's name.
        severities: that they are means over.
        images: how many test images there were.
        name: of the chart.
    """
    kinds = list(next(iter(networks.values())).by_kind)
    rows: list[tuple[str, dict[str, float]]] = []
    if all(each.clean is not None for each in networks.values()):
        rows.append(("clean", {network: each.clean or 0.0 for network, each in networks.items()}))
    for kind in kinds:
        family = CORRUPTIONS.get(kind, "")
        title = kind.replace("_", " ")
        label = title if family in title or not family else f"{title} ({family})"
        rows.append((label, {network: each.by_kind[kind] for network, each in networks.items()}))
    told = f"severity {severities[0]}" if len(severities) == 1 else f"severities {', '.join(map(str, severities))}"
    caption = (
        f"Top-1 accuracy under corruptions of {told}{', their mean' * (len(severities) > 1)}; n={images} images. Blur "
        "stands apart in the table: it is what some curricula train on."
    )
    return _dots(rows, list(networks), name, "Accuracy under corruptions", caption)


def probes_chart(networks: Mapping[str, Sequence[Evaluation]], name: str = "probes") -> Chart:
    """Draw accuracy on what probes of shape and texture leave of images.

    Args:
        networks: evaluations, clean and under the same probes, keyed by the network's name.
        name: of the chart.
    """
    found = {
        network: {each.probe: each.scores.top1 for each in evaluations} for network, evaluations in networks.items()
    }
    probes = dict.fromkeys(each.probe for evaluations in networks.values() for each in evaluations)
    rows = [
        (
            "as they are" if probe is None else f"{PROBES[probe].title}",
            {network: by_probe[probe] for network, by_probe in found.items() if probe in by_probe},
        )
        for probe in probes
    ]
    caption = (
        f"Top-1 accuracy on what is left of test images, {_n(networks)}. Shuffled patches keep texture and lose shape; "
        "low frequencies and edges alone keep shape and lose texture."
    )
    return _dots(rows, list(networks), name, "Shape or texture", caption)


def coverage_chart(networks: Mapping[str, Calibration], name: str = "coverage") -> Chart:
    """Draw accuracy against coverage: on the images that each network is surest of.

    Args:
        networks: calibrations, keyed by the network's name.
        name: of the chart.
    """
    figure, [axes] = canvas(3.2)
    ends = []
    for number, (network, calibration) in enumerate(networks.items()):
        colour, marker = style(number)
        curve = calibration.coverage
        shares, values = [100 * share for share in curve.coverage], [100 * value for value in curve.accuracy]
        axes.plot(shares, values, color=colour, marker=marker, markersize=3.5, markevery=20, linewidth=1.3)
        ends.append((shares[-1], values[-1], network, colour))
    axes.set(xlabel="coverage: images answered, surest first (%)", ylabel="accuracy on them (%)", xlim=(0, 100))
    axes.set_ylim(axes.get_ylim()[0], min(101, axes.get_ylim()[1]))
    if len(networks) > 1:
        label_lines(axes, ends)
    areas = "; ".join(f"{each.coverage.area:.4f}{f' {name}' * (len(networks) > 1)}" for name, each in networks.items())
    images = sum(each.images for each in next(iter(networks.values())).bins)
    caption = f"Accuracy if only the surest answers are given, n={images}. Area under the curve: {areas}."
    return finish(figure, name, "Accuracy against coverage", caption)


def early_exit_chart(found: EarlyExit, name: str = "early-exit") -> Chart:
    """Draw accuracy over mean multiply-adds: early exit by rising thresholds, beside all images stopped at one level.

    Args:
        found: of one adaptive network.
        name: of the chart.
    """
    figure, [axes] = canvas(3.4)
    largest = max(point.multiply_adds for point in (*found.fixed, *found.curve))
    unit, prefix = next((pair for pair in ((1e9, "G"), (1e6, "M")) if largest >= pair[0]), (1e3, "k"))

    def places(points: Sequence[ExitPoint]) -> tuple[list[float], list[float]]:
        return [point.multiply_adds / unit for point in points], [100 * point.accuracy for point in points]

    (early, _), (fixed, square) = style(0), style(1)
    axes.plot(*places(found.curve), color=early, linewidth=1.4, marker="o", markersize=2.5)
    axes.plot(*places(found.fixed), linestyle="", color=fixed, marker=square, markersize=6)
    axes.plot(*places([found.chosen]), linestyle="", color=early, marker="o", markersize=9, markerfacecolor="none")
    for level, point in enumerate(found.fixed, 1):
        [x], [y] = places([point])
        text = f"all at level {level}"
        left = x > 0.6 * largest / unit
        axes.annotate(text, (x, y), xytext=(-7 if left else 7, -11), textcoords="offset points",
                      ha="right" if left else "left", fontsize=FONT - 1, color=fixed)  # fmt: skip
    axes.set(xlabel=f"mean multiply-adds an image ({prefix})", ylabel="test accuracy (%)")
    axes.margins(0.08, 0.15)
    axes.set_xlim(left=0)
    saved = 1 - found.chosen.multiply_adds / found.fixed[-1].multiply_adds
    caption = (
        f"Line: each image stops at the first level that is sure enough, by rising thresholds; answers on the way are "
        f"counted. Squares: all stop at one level. Ring: the threshold {found.chosen.threshold:.3f} chosen on "
        f"{found.validation_images} validation images gives {100 * found.chosen.accuracy:.2f} % for "
        f"{abs(saved):.0%} {'fewer' if saved >= 0 else 'more'} multiply-adds than the deepest level, "
        f"{100 * found.fixed[-1].accuracy:.2f} %. n={found.images} test images."
    )
    return finish(figure, name, "Early exit", caption)


def _dots(rows: Rows, networks: Sequence[str], name: str, title: str, caption: str) -> Chart:
    """A row for each condition, a dot in it for each network."""
    figure, [axes] = canvas(0.75 + 0.2 * len(rows) + 0.2 * (len(networks) if len(networks) > 1 else 0))
    for number, network in enumerate(networks):
        colour, marker = style(number)
        places = [place for place, (_, values) in enumerate(rows) if network in values]
        values = [100 * values[network] for _, values in rows if network in values]
        axes.plot(values, places, marker, color=colour, markersize=5.5, alpha=0.9)
    if len(networks) == 1:
        for place, (_, by_network) in enumerate(rows):
            for value in by_network.values():
                right = value < 0.85
                offset = (6, 0) if right else (-6, 0)
                axes.annotate(
                    f"{100 * value:.1f}", (100 * value, place), xytext=offset, textcoords="offset points",
                    ha="left" if right else "right", va="center", fontsize=FONT - 1.5, color=MUTED,
                )  # fmt: skip
    else:
        legend_above(axes, [(network, *style(number)) for number, network in enumerate(networks)])
    axes.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=FONT - 0.5, color=INK)
    axes.set(xlabel="test accuracy (%)", xlim=(0, 102), ylim=(len(rows) - 0.5, -0.5))
    return finish(figure, name, title, caption)


def _every(lines: Sequence[Any]) -> int:
    """A marker on every so many points, so that long lines stay lines."""
    return max(1, len(lines) // 15)


def _n(networks: Mapping[str, Sequence[Evaluation]]) -> str:
    images = next(iter(networks.values()))[0].scores.images
    return f"n={images} images" + ("" if len(networks) == 1 else ", one network a series")
