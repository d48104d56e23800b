"""Checks that plugin authors run on their own curricula, models, data sets and objectives.

Each check takes the thing itself and raises `ContractError` where it breaks a promise that the rest of the package
relies on: the message names the promise, what was seen and what to do. ``curriculum-zoo check NAME`` runs the checks of
a registered name. In a test suite of one's own::

    from curriculum_zoo.testing import check_curriculum

    def test_dimming_keeps_its_promises():
        check_curriculum(Dimming(epochs=5))
"""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from .curricula import Curriculum, Stage, curriculum_from_dict
from .curricula.samples.measures import MEASURES
from .data import ImageSet, PhotoSet
from .errors import CurriculumZooError

__all__ = [
    "ContractError",
    "check_curriculum",
    "check_dataset",
    "check_in_new_process",
    "check_model",
    "check_objective",
]

_SIDES = (32, 28, 33)
"""Full sides of the images that curricula are tried on, in pixels: a power of two, a multiple of four, an odd one."""

_CLOSE = 1e-5
"""Largest difference that rounding alone makes: matrix products may block a batch of another size differently."""


class ContractError(CurriculumZooError, AssertionError):
    """A plugin that breaks a promise which the rest of the package relies on."""


def check_curriculum(curriculum: Curriculum, *, image_size: int | None = None, channels: int = 3) -> None:
    """Check that a curriculum is a pure plan that every loop, process and resume agrees on.

    Args:
        curriculum: an instance, of as many epochs as it needs to show all of its stages.
        image_size: full side of the images in pixels; several sides are tried where None.
        channels: channels of the images that its views are tried on.

    Raises:
        ContractError: stages that differ between two calls, copies or orders of asking; a stage or curriculum that
            cannot be pickled, compared or written as JSON and read back; a view that changes its input, gives another
            size than its stage states, leaves [0, 1], changes dtype, or shows an image differently in another batch.
    """
    name = curriculum.name
    stages = [curriculum.stage(epoch) for epoch in range(curriculum.epochs)]
    backwards = [curriculum.stage(epoch) for epoch in reversed(range(curriculum.epochs))][::-1]
    for epoch, (stage, again) in enumerate(zip(stages, backwards, strict=True)):
        if not isinstance(stage, Stage):
            _break(name, f"stage({epoch}) returns {_a(stage)}", "Return a curriculum_zoo.Stage from _stage.")
        if stage != again:
            _break(
                name,
                f"stage({epoch}) differs between two calls",
                "It must be a pure function of the epoch: draw from seeding.derive_seed(self.seed, epoch), keep no "
                "counter, and make views frozen dataclasses, so that equal parameters make equal views.",
            )
    for epoch in (-1, curriculum.epochs):
        _must_raise(functools.partial(curriculum.stage, epoch), name, f"stage({epoch}) is no epoch of the plan")
    _check_copies(curriculum, stages)
    for stage in stages:
        _check_choice(name, stage)
    for side in (image_size,) if image_size else _SIDES:
        for stage in _distinct(stages):
            for variant, _ in stage.variants():
                _check_stage(name, variant, side, channels)
    str(curriculum.timeline(image_size or _SIDES[0]))


def check_in_new_process(curriculum: Curriculum) -> None:
    """Check that a curriculum plans and shows the same in a process of its own, as a resumed run and other ranks do.

    The process takes seconds to start. Text hashes differently there, as it does from any process to the next.

    Args:
        curriculum: an instance whose class can be imported.

    Raises:
        ContractError: its class cannot be imported there, or its stages or what their views show differ.
    """
    name = curriculum.name
    sent = pickle.dumps(sys.path) + _pickled(curriculum, name, "it", _AT_THE_TOP)
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"  # another than this process's
    finished = subprocess.run(
        [sys.executable, "-c", _IN_NEW_PROCESS],
        input=sent,
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=False,
    )
    if finished.returncode:
        last = finished.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        _break(name, f"a new process cannot plan by it ({last})", "Define it in a module that can be imported.")
    elsewhere = pickle.loads(finished.stdout)
    for epoch, ((stage, images), (stage_there, images_there)) in enumerate(
        zip(_shown(curriculum), elsewhere, strict=True)
    ):
        if stage != stage_there:
            _break(name, f"stage({epoch}) differs in a new process", "Keep all that it plans by in its fields.")
        if not torch.equal(images, torch.from_numpy(images_there)):
            _break(
                name,
                f"the view of stage({epoch}) shows other images in a new process",
                "Draw by curriculum_zoo.draws, and neither by hash() nor from a generator that the process seeds.",
            )


def check_model(build: Callable[..., nn.Module], *, image_size: int = 32, channels: int = 3, classes: int = 3) -> None:
    """Check that a model's entry function builds networks as `create_model` and the training engine need them.

    Args:
        build: the entry function, ``build(pretrained=False, num_classes=…, in_chans=…)``.
        image_size: side of the images that it is tried on, in pixels.
        channels: channels of those images.
        classes: number of classes that it is built for.

    Raises:
        ContractError: it ignores the number of classes or channels; gives other shapes than [N, classes]; is not
            deterministic in eval mode, mixes images of a batch there, or changes its input; gives no gradient to a
            parameter that asks for one; or cannot be copied, pickled, or restored from its state.
    """
    name = getattr(build, "__name__", type(build).__name__)
    model = _call(build, name, pretrained=False, num_classes=classes, in_chans=channels)
    if not isinstance(model, nn.Module):
        _break(name, f"it returns {_a(model)}", "Return a torch.nn.Module.")
    images = torch.rand(4, channels, image_size, image_size, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    model.eval()
    with torch.no_grad():
        logits = _call(model, name, images)
        _shape(name, logits, (4, classes))
        if not torch.equal(logits, model(images)):
            _break(name, "two passes in eval mode differ", "Draw nothing at random in eval mode, or from the image.")
        if (model(images[:1]) - logits[:1]).abs().max() > 1e-3 * (1 + logits.abs().max()):
            _break(name, "an image's logits depend on its batch in eval mode", "Use running statistics there.")
    if not torch.equal(images, before):
        _break(name, "it changes the images that it is given", "Work on a copy: no in-place operation on the input.")
    _check_learning(name, model, images, classes)
    _check_state(name, model, build, {"num_classes": classes, "in_chans": channels})


def check_dataset(build: Callable[..., Any], argument: str | None = None, **options: Any) -> None:
    """Check that a data set's entry function opens the same images every time, as it was asked for them.

    Args:
        build: the entry function; it takes `argument` and the keywords of `open_dataset`'s entries.
        argument: what stands after the colon of its name.
        **options: keywords in place of the usual ``root``, ``download``, ``image_size``, ``channels`` and ``seed``.

    Raises:
        ContractError: it returns no `ImageSet` or `PhotoSet`, opens other images a second time, holds images of a class
            in none but one part, or cannot be pickled, as processes that read images need it.
    """
    from pathlib import Path

    name = getattr(build, "__name__", type(build).__name__)
    usual = {"root": Path("data"), "download": False, "image_size": None, "channels": None, "seed": 0}
    keywords = {**usual, **options}
    opened = _call(build, name, argument, **keywords)
    if not isinstance(opened, ImageSet | PhotoSet):
        _break(name, f"it returns {_a(opened)}", "Return a curriculum_zoo.data.ImageSet or PhotoSet.")
    if opened.fingerprint != _call(build, name, argument, **keywords).fingerprint:
        _break(name, "it opens other images a second time", "Draw from the seed that it is given, and sort file names.")
    pickled = _pickled(opened, name, "what it opens", "Hold paths and arrays, and no open files.")
    if pickle.loads(pickled).fingerprint != opened.fingerprint:
        _break(name, "a pickled copy has other images", "Keep everything that images are read by in its fields.")
    for part, labels in (("training", opened.train_labels), ("test", opened.test_labels)):
        missing = sorted(set(range(opened.num_classes)) - {int(label) for label in labels})
        if missing:
            _break(
                name,
                f"class '{opened.classes[missing[0]]}' has no {part} image",
                "Give each class an image in both parts, or leave the class out.",
            )


def check_objective(objective: Any, model: nn.Module, images: Tensor, targets: Tensor, stage: Stage) -> None:
    """Check that an objective gives what the training loop and its checkpoint need.

    Args:
        objective: as `curriculum_zoo.training.objectives.Objective` has it.
        model: a network that it trains.
        images: normalised images [N, C, H, W].
        targets: class numbers [N], or distributions [N, classes].
        stage: a stage of a curriculum.

    Raises:
        ContractError: a loss that is no finite scalar with a gradient, logits for another number of images, figures
            with a gradient, or a state that cannot be saved and restored.
    """
    name = type(objective).__name__
    output = _call(objective, name, model, images, targets, stage)
    loss, logits = output.loss, output.logits
    if loss.ndim != 0 or not loss.requires_grad or not bool(loss.detach().isfinite()):
        _break(name, f"its loss is {_a(loss)} of shape {list(loss.shape)}", "Return a finite scalar with a gradient.")
    if logits.ndim != 2 or len(logits) % len(images):
        _break(name, f"its logits have shape {list(logits.shape)}", "Return one row per image, or more.")
    for figure, value in {**output.figures, **output.choices}.items():
        if value.requires_grad or value.ndim:
            _break(name, f"figure '{figure}' is no scalar without gradient", "Detach it and take the batch's mean.")
    state = objective.state_dict()
    twin = copy.deepcopy(objective)
    twin.load_state_dict(pickle.loads(pickle.dumps(state)))
    if repr(twin.state_dict()) != repr(state):
        _break(name, "its state differs after it was saved and restored", "Keep all memory in state_dict.")


_IN_NEW_PROCESS = """
import pickle, sys
answer, sys.stdout = sys.stdout.buffer, sys.stderr  # a plugin may print where it is imported
sys.path[:] = pickle.load(sys.stdin.buffer)
from curriculum_zoo.testing import _shown
shown = _shown(pickle.load(sys.stdin.buffer))
answer.write(pickle.dumps([(stage, images.numpy()) for stage, images in shown]))
"""

_AT_THE_TOP = "Define views and curricula at the top of a module."


def _shown(curriculum: Curriculum) -> list[tuple[Stage, Tensor]]:
    """Each epoch's stage, and what its view makes of some images."""
    images = torch.rand(4, 3, _SIDES[0], _SIDES[0], generator=torch.Generator().manual_seed(0))
    stages = [curriculum.stage(epoch) for epoch in range(curriculum.epochs)]
    return [(stage, stage.view(images)) for stage in stages]


def _pickled(thing: object, name: str, what: str, remedy: str) -> bytes:
    try:
        return pickle.dumps(thing)
    except Exception as error:  # whatever an object raises that cannot be pickled
        _break(name, f"{what} cannot be pickled ({error})", remedy)


def _check_copies(curriculum: Curriculum, stages: list[Stage]) -> None:
    """Pickles and JSON give an equal plan."""
    name = curriculum.name
    copies = {"pickling": pickle.loads(_pickled(curriculum, name, "it", _AT_THE_TOP))}
    if pickle.loads(_pickled(stages, name, "its stages", _AT_THE_TOP)) != stages:
        _break(name, "its stages differ after pickling", "Make views frozen dataclasses, so that equal ones are equal.")
    try:
        copies["to_dict and from_dict"] = curriculum_from_dict(curriculum.to_dict())
    except CurriculumZooError as error:
        _break(name, f"it cannot be read back from to_dict() ({error})", "Register the class itself, by entry point.")
    for how, copied in copies.items():
        if [copied.stage(epoch) for epoch in range(copied.epochs)] != stages:
            _break(name, f"its plan differs after {how}", "Keep everything that it plans by in its fields.")


def _check_choice(name: str, stage: Stage) -> None:
    """Which images a stage sees, and the sizes of its batches, are the same at every asking and in every copy."""
    steps = [stage.at_step(step).image_size for step in range(8)]
    twin = pickle.loads(pickle.dumps(stage))
    if steps != [twin.at_step(step).image_size for step in range(8)]:
        _break(name, f"sizes of batches of stage '{stage.name}' differ in a copy", "Draw from seed, epoch and step.")
    rule = stage.samples
    if rule is None or rule.files:
        return
    numbers = torch.arange(100, 300)
    scores = {measure: torch.rand(200, generator=torch.Generator().manual_seed(7)) for measure in MEASURES}
    before = {measure: values.clone() for measure, values in scores.items()}
    first, again = _call(rule.select, name, numbers, scores), twin.samples.select(numbers, scores)
    _shape(f"{name}, what stage '{stage.name}' keeps", first.kept, (200,), "Return a bool for each image.")
    same = torch.equal(first.kept, again.kept) and (first.weights is None) is (again.weights is None)
    if not same or (first.weights is not None and not torch.equal(first.weights, again.weights)):
        _break(name, f"stage '{stage.name}' chooses other images in a copy", "Draw by curriculum_zoo.draws.seeds_of.")
    if first.kept.dtype != torch.bool or not bool(first.kept.any()):
        _break(name, f"stage '{stage.name}' keeps no image of 200", "Keep at least one, as bool.")
    if first.weights is not None and not (rule.weighs and bool((first.weights >= 0).all())):
        _break(name, f"stage '{stage.name}' gives weights", "Say so in `weighs`, and let none be negative.")
    if any(not torch.equal(values, before[measure]) for measure, values in scores.items()):
        _break(name, f"stage '{stage.name}' changes the scores that it is given", "Work on a copy.")


def _check_stage(name: str, stage: Stage, side: int, channels: int) -> None:
    """What a stage's view does to a batch of images."""
    where = f"{name}, stage '{stage.name}', images of {side} px"
    images = torch.rand(6, channels, side, side, generator=torch.Generator().manual_seed(side))
    before = images.clone()
    seen = _call(stage.view, where, images)
    if not torch.equal(images, before):
        _break(where, "its view changes the images that it is given", "Return a new tensor.")
    due = stage.pixels(side)
    _shape(where, seen, (6, channels, due, due), "State the side in the stage's image_size.")
    if seen.dtype != images.dtype:
        _break(where, f"its view turns {images.dtype} into {seen.dtype}", "Return the dtype that came in.")
    if not bool(seen.isfinite().all()) or seen.min() < -_CLOSE or seen.max() > 1 + _CLOSE:
        _break(where, f"its view gives values from {seen.min():.3g} to {seen.max():.3g}", "Stay within 0 and 1.")
    parts = torch.cat([stage.view(part) for part in images.split([1, 2, 3])])
    if (parts - seen).abs().max() > _CLOSE:
        _break(
            where,
            "its view shows an image differently in another batch",
            "Take nothing from the batch's other images, and draw per image, by curriculum_zoo.draws.",
        )


def _check_learning(name: str, model: nn.Module, images: Tensor, classes: int) -> None:
    model.train()
    logits = _call(model, name, images)
    _shape(name, logits, (len(images), classes))
    nn.functional.cross_entropy(logits, torch.arange(len(images)) % classes).backward()
    still = [key for key, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]
    if still:
        _break(
            name,
            f"{still[0]} gets no gradient" + (f" (and {len(still) - 1} more)" if len(still) > 1 else ""),
            "Use it in forward, or set requires_grad=False.",
        )
    model.zero_grad(set_to_none=True)


def _check_state(name: str, model: nn.Module, build: Callable[..., nn.Module], options: dict[str, Any]) -> None:
    try:
        copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    except Exception as error:  # whatever a module raises that cannot be copied
        _break(name, f"it cannot be copied ({type(error).__name__}: {error})", "Keep no open file or lambda in it.")
    copies.append(_call(build, name, pretrained=False, **options))
    state = model.state_dict()
    copies[-1].load_state_dict(state)
    for twin in copies:
        for key, value in twin.state_dict().items():
            if not torch.equal(value, state[key]):
                _break(name, f"{key} differs in a copy", "Keep all state in parameters and buffers.")


def _distinct(stages: list[Stage]) -> Iterator[Stage]:
    """Stages that differ in more than the optimiser's start."""
    for _, alike in itertools.groupby(stages, key=lambda stage: (stage.name, stage.view, stage.image_size)):
        yield next(alike)


def _call(function: Callable[..., Any], name: str, *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except CurriculumZooError:
        raise
    except TypeError as error:
        _break(name, f"it cannot be called so: {error}", f"Its signature is {_signature(function)}.")
    except Exception as error:  # whatever a plugin raises
        raise ContractError(f"{name}: it fails with {type(error).__name__}: {error}. Mend it.") from error


def _signature(function: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):
        return "not known"


def _must_raise(function: Callable[[], object], name: str, what: str) -> None:
    try:
        function()
    except CurriculumZooError:
        return
    _break(name, f"{what}, and it raises nothing", "Leave stage() as Curriculum has it, and implement _stage.")


def _shape(name: str, given: Any, due: tuple[int, ...], remedy: str = "Return that shape.") -> None:
    shape = tuple(given.shape) if isinstance(given, Tensor) else None
    if shape != due:
        _break(name, f"it gives {list(shape) if shape else _a(given)}, where {list(due)} is due", remedy)


def _break(name: str, problem: str, remedy: str) -> NoReturn:
    raise ContractError(f"{name}: {problem}. {remedy}")


def _a(thing: object) -> str:
    return f"a {type(thing).__module__}.{type(thing).__qualname__}"
