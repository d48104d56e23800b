"""Trainings that choose images: what they see, what it costs, and that neither a kill nor processes change it."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_processes import launched
from test_resume import Killed, KilledAt, assert_same_outcome

from curriculum_zoo.comparison.matching import planned_flops
from curriculum_zoo.curricula.samples.measures import difficulty, forgotten
from curriculum_zoo.curricula.samples.ranked import Ranked
from curriculum_zoo.curricula.samples.rule import All, Selection
from curriculum_zoo.curricula.samples.run_scores import RunScores
from curriculum_zoo.curricula.samples.score_file import ScoreFile
from curriculum_zoo.data import Batch
from curriculum_zoo.errors import CheckpointError, ComparisonError, RecipeError
from curriculum_zoo.recipes import Recipe
from curriculum_zoo.training.epoch_totals import EpochTotals
from curriculum_zoo.training.prepare import prepare
from curriculum_zoo.training.samples import chosen, look
from curriculum_zoo.training.train_step import TrainStep

IMAGES = 288  # 320 training images less a tenth for validation


@pytest.mark.parametrize(
    "curriculum",
    [
        "trd(variant=regular) + self_paced(weights=linear)",
        "infobatch + mix_size(scale_batch=true)",
        "prune(by=forgetting, warmup=1) + selective_backprop(refresh=2)",
    ],
)
def test_a_run_that_chooses_by_what_it_saw_resumes_to_the_same_bits(recipe, train, tmp_path, curriculum):
    wanted = recipe(curriculum=curriculum, epochs=3, batch_size=16)
    train(wanted, "whole")
    for number, moment in enumerate([(1, 1), (2, 0)]):
        with pytest.raises(Killed):
            train(wanted, "killed", reporter=KilledAt(*moment), resume=number > 0, checkpoint_minutes=0)
    train(wanted, "killed", resume=True, checkpoint_minutes=0)
    assert_same_outcome(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("curriculum", ["infobatch", "self_paced + selective_backprop"])
def test_two_processes_choose_what_one_chooses(recipe, tmp_path, curriculum):
    wanted = recipe(curriculum=curriculum, epochs=3, batch_size=24)
    alone, lines_alone, _ = launched(wanted, tmp_path, 1)
    shared, lines_shared, _ = launched(wanted, tmp_path, 2)
    assert [line["flops"] for line in lines_shared] == [line["flops"] for line in lines_alone]
    assert [line.get("images") for line in lines_shared] == [line.get("images") for line in lines_alone]
    for name in alone:
        torch.testing.assert_close(shared[name], alone[name], rtol=1e-3, atol=1e-4)


def test_flops_are_those_of_the_images_seen_and_of_the_passes_that_chose_them(recipe, train):
    wanted = recipe(curriculum="selective_backprop(beta=1)", epochs=1, batch_size=16)
    parts = prepare(wanted, device="cpu")
    stage = parts.curriculum.stage(0)
    (line,) = train(wanted).metrics
    assert line["images"] < 0.7 * IMAGES
    forward = parts.cost.of_look(stage)
    assert 0.25 * parts.cost.of(stage) < forward < 0.45 * parts.cost.of(stage)
    assert line["flops"] == line["images"] * parts.cost.of(stage) + IMAGES * forward
    assert line["full_flops"] == IMAGES * parts.cost.full()


def test_what_a_choice_costs_is_planned_as_it_is_counted_but_for_what_depends_on_scores(recipe, train):
    for curriculum in ("random_subset(share=0.4)", "easy_to_hard"):
        wanted = recipe(curriculum=curriculum, epochs=2, batch_size=32)
        assert train(wanted, curriculum).metrics[-1]["flops"] == planned_flops(prepare(wanted, device="cpu"), wanted)
    wanted = recipe(curriculum="infobatch", epochs=3)
    with pytest.raises(ComparisonError, match="not known before"):
        planned_flops(prepare(wanted, device="cpu"), wanted)


def test_flops_of_batches_of_several_sizes_are_the_sum_over_the_batches(recipe, train):
    wanted = recipe(curriculum="mix_size(scale_batch=true, final=0)", epochs=1, batch_size=16)
    parts = prepare(wanted, device="cpu")
    stage, loader = parts.curriculum.stage(0), parts.loaders.training(parts.curriculum.stage(0))
    expected = sum(size * parts.cost.of(stage.at_step(step)) for step, size in enumerate(loader.sizes))
    assert len(set(loader.sizes)) > 1
    (line,) = train(wanted).metrics
    assert line["flops"] == planned_flops(parts, wanted) == expected


def test_photographs_are_decoded_at_the_size_of_each_batch(photographs):
    photos = Recipe(model="simple_cnn", data=f"folder:{photographs}", image_size=32, epochs=2, batch_size=4).changed(
        {"photos.resident": False, "curriculum": "mix_size"}
    )
    parts = prepare(photos, device="cpu", workers=0)
    stage = parts.curriculum.stage(0)
    loader = parts.loaders.training(stage)
    for start in (0, 2):
        sides = [batch.images.shape[-1] for batch in loader.batches(0, start)]
        assert sides == [stage.at_step(step).pixels(32) for step in range(start, loader.steps)]
    parts.loaders.close()


def test_a_steps_gradient_is_the_weighted_sum_over_the_number_of_images(recipe):
    """By itself and in accumulated parts: unbiased weights then give the sum over all images."""
    for accumulation in (1, 3):
        parts = prepare(recipe(curriculum="infobatch", epochs=3, batch_size=24, accumulation=accumulation))
        stage, step = parts.curriculum.stage(1), TrainStep(parts)
        batch = next(parts.loaders.training(stage).batches(1))
        weights = torch.rand(24) * 3
        images = parts.normalize(batch.images)
        parts.network.eval()
        losses = F.cross_entropy(parts.network(images), batch.labels, reduction="none")
        expected = torch.autograd.grad((losses * weights).sum() / 24, list(parts.network.parameters()))
        step(images, batch.labels, batch._replace(weights=weights), stage, 0, EpochTotals())
        for parameter, gradient in zip(parts.network.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_notes_of_one_two_and_three_processes_come_to_the_same_scores():
    generator = torch.Generator().manual_seed(0)
    numbers, labels = torch.arange(3, 39), torch.randint(4, (36,), generator=generator)
    rule = All(noted=("loss", "forgetting", "el2n"))
    epochs = [torch.randn(36, 4, generator=generator) for _ in range(4)]
    expected = torch.full((36,), torch.nan)
    was = expected
    for logits in epochs:
        right = difficulty("forgetting", logits, labels)
        expected, was = forgotten(expected, was, right), right
    for processes in (1, 2, 3):
        scores = [RunScores(numbers, [rule]) for _ in range(processes)]
        for logits in epochs:
            for rank, own in enumerate(scores):
                for batch in torch.arange(36).split(12):
                    some = batch[rank::processes]
                    own.note(rule.notes, numbers[some], logits[some], labels[some])
                if rank:
                    own.fresh()  # a checkpoint between changes nothing
            shares = [own.fresh() for own in scores]
            for own in scores:
                own.merge(shares)
        for own in scores:
            assert torch.equal(own.scores["forgetting"], expected)
            assert torch.equal(own.scores["el2n"], difficulty("el2n", epochs[-1], labels))
            torch.testing.assert_close(own.scores["loss"], difficulty("loss", epochs[-1], labels))


def test_a_checkpoint_in_an_epoch_holds_what_every_process_noted_in_it():
    numbers, labels, logits = torch.arange(6), torch.zeros(6).long(), torch.randn(6, 3)
    rule = All(noted=("loss",))
    scores = [RunScores(numbers, [rule]) for _ in range(2)]
    for rank, own in enumerate(scores):
        some = numbers[rank:4:2]
        own.note(("loss",), some, logits[some], labels[some])
    state = scores[0].state_dict([own.fresh() for own in scores])
    resumed = RunScores(numbers, [rule])
    resumed.load_state_dict(state)
    resumed.note(("loss",), numbers[4:], logits[4:], labels[4:])
    assert bool(resumed.scores["loss"].isnan().all())
    resumed.merge([resumed.fresh()])
    torch.testing.assert_close(resumed.scores["loss"], difficulty("loss", logits, labels))


def test_a_look_sees_every_image_once_as_the_epoch_shows_it_and_leaves_the_network_alone(recipe):
    parts = prepare(recipe(curriculum="selective_backprop", epochs=2, batch_size=24), device="cpu")
    stage = parts.curriculum.stage(0)
    loader = parts.loaders.training(stage)
    parts.network.train()
    before = {name: value.clone() for name, value in parts.network.state_dict().items()}
    shown = lambda batch: (parts.normalize(batch.images), batch.labels)  # noqa: E731
    notes = look(parts, loader, stage, 1, shown)
    assert parts.network.training
    assert all(torch.equal(value, before[name]) for name, value in parts.network.state_dict().items())
    parts.network.eval()
    for batch in loader.whole().batches(1):
        found = notes.fresh()["loss"][torch.searchsorted(loader.numbers, batch.numbers)]
        torch.testing.assert_close(found, F.cross_entropy(parts.network(parts.normalize(batch.images)), batch.labels,
                                                          reduction="none"), rtol=1e-4, atol=1e-5)  # fmt: skip


def test_what_the_run_notes_of_an_image_is_its_own_loss(recipe):
    parts = prepare(recipe(curriculum="infobatch", epochs=3, batch_size=24), device="cpu")
    scores = RunScores(torch.from_numpy(parts.train_indices), [s.samples for s in parts.curriculum.stages()])
    stage, step = parts.curriculum.stage(0), TrainStep(parts, scores)
    batch = next(chosen(parts.loaders.training(stage), stage, scores).batches(0))
    assert isinstance(batch, Batch)
    parts.network.eval()
    images = parts.normalize(batch.images)
    losses = F.cross_entropy(parts.network(images), batch.labels, reduction="none").detach()
    step(images, batch.labels, batch, stage, 0, EpochTotals())
    noted = scores.fresh()["loss"]
    torch.testing.assert_close(noted[torch.searchsorted(scores.numbers, batch.numbers)], losses)
    assert int(noted.isfinite().sum()) == 24


def test_a_file_of_scores_is_pinned_for_a_run_and_must_be_of_its_data_set(recipe, train, tmp_path):
    path = tmp_path / "scores.npz"
    ScoreFile(torch.arange(320.0), "loss").save(path)
    wanted = recipe(curriculum=f"prune(scores='{path}', keep=easy)", epochs=2, batch_size=24)
    with pytest.raises(Killed):
        train(wanted, reporter=KilledAt(1, 0), checkpoint_minutes=0)
    facts = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert list(facts["data"]["scores"]) == [str(path)]
    ScoreFile(-torch.arange(320.0), "loss").save(path)
    with pytest.raises(CheckpointError, match="differs in the files of scores"):
        train(wanted, resume=True)
    ScoreFile(torch.arange(320.0), "loss", "another").save(path)
    with pytest.raises(RecipeError, match="are of another data set"):
        prepare(wanted)


def test_a_choice_smaller_than_a_batch_or_beyond_the_objective_is_refused_before_training(recipe):
    with pytest.raises(RecipeError, match="sees 29 of 288 training images, fewer than a batch of 48"):
        prepare(recipe(curriculum="random_subset(share=0.1)"), device="cpu")
    glimpses = {"model": "glimpse_pyramid_m1", "image_size": 28, "glimpses": {"samples": 2}}
    with pytest.raises(RecipeError, match="does not give"):
        prepare(recipe(glimpses, curriculum="infobatch", epochs=4), device="cpu")
    prepare(recipe(glimpses, curriculum="random_subset", epochs=4), device="cpu")


def test_a_random_half_trains_on_half_and_says_so(recipe, train):
    lines = train(recipe(curriculum="random_subset + trd(variant=regular)", epochs=2, batch_size=24)).metrics
    assert [line["images"] for line in lines] == [144, 144]
    assert isinstance(Ranked(kept=0.5).select(torch.arange(4), {}), Selection)
    assert np.isfinite([line["train_loss"] for line in lines]).all()
