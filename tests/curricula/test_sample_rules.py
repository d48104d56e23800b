"""Rules that choose images: pure, shared by all processes, and unbiased where they rescale."""

import itertools
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.curricula import create_curriculum
from curriculum_zoo.curricula.easy_to_hard import paced_share
from curriculum_zoo.curricula.infobatch import BelowMean
from curriculum_zoo.curricula.samples.measures import difficulty, forgotten
from curriculum_zoo.curricula.samples.ranked import Ranked
from curriculum_zoo.curricula.samples.score_file import ScoreFile, read_scores
from curriculum_zoo.curricula.selective_backprop import ByPercentile
from curriculum_zoo.errors import CurriculumError

COUNT = 400
NUMBERS = torch.arange(COUNT)
LOSSES = torch.rand(COUNT, generator=torch.Generator().manual_seed(0))


def kept_numbers(rule, scores=LOSSES):
    return NUMBERS[rule.select(NUMBERS, {"loss": scores}).kept].tolist()


@given(share=st.floats(0.01, 1), order=st.sampled_from(["easy", "hard", "random"]), seed=st.integers(0, 5))
def test_a_ranked_choice_is_the_first_of_a_sorted_list(share, order, seed):
    found = set(kept_numbers(Ranked(kept=share, order=order, measure="loss", key=(seed,))))
    count = max(1, round(share * COUNT))
    assert len(found) == count
    by_loss = sorted(range(COUNT), key=lambda number: float(LOSSES[number]), reverse=order == "hard")
    if order != "random":
        assert found == set(by_loss[:count])


def test_pools_of_one_key_grow_and_ties_are_drawn_by_lot():
    ties = torch.zeros(COUNT)
    pools = [set(kept_numbers(Ranked(kept=k, order="easy", measure="loss", key=(1,)), ties)) for k in (0.2, 0.5, 0.9)]
    assert pools[0] < pools[1] < pools[2]
    other = set(kept_numbers(Ranked(kept=0.2, order="easy", measure="loss", key=(2,)), ties))
    assert 0 < len(other & pools[0]) < len(other)


def test_what_was_never_seen_counts_as_hardest():
    scores = LOSSES.clone()
    scores[:100] = torch.nan
    assert not set(kept_numbers(Ranked(kept=0.5, order="easy", measure="loss"), scores)) & set(range(100))
    assert set(range(100)) <= set(kept_numbers(Ranked(kept=0.5, order="hard", measure="loss"), scores))


def test_soft_weights_fall_from_one_to_zero_at_the_first_image_left_out():
    selection = Ranked(kept=0.25, order="easy", measure="loss", soft=True).select(NUMBERS, {"loss": LOSSES})
    ordered = LOSSES.sort().values
    expected = (1 - (LOSSES - ordered[0]) / (ordered[100] - ordered[0])).clamp(0, 1)
    torch.testing.assert_close(selection.weights, expected)
    assert bool((selection.weights[selection.kept] > 0).all())


@pytest.mark.parametrize("order", ["easy", "random"])
def test_infobatch_leaves_the_sum_of_gradients_as_it_is_in_expectation(order):
    """Over many epochs' lots, the weighted sum over the kept ones comes to the full sum; unweighted, it does not."""
    gradients = torch.randn(COUNT, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 1
    sums, plain, counts = [], [], []
    for epoch in range(600):
        selection = BelowMean(ratio=0.6, order=order, key=(3, epoch)).select(NUMBERS, {"loss": LOSSES})
        kept = selection.kept.double()[:, None] * gradients
        sums.append((kept * selection.weights[:, None]).sum(0))
        plain.append(kept.sum(0))
        counts.append(int(selection.kept.sum()))
    sums = torch.stack(sums)
    error = sums.mean(0) - gradients.sum(0)
    assert bool((error.abs() < 4 * sums.std(0) / len(sums) ** 0.5).all())
    assert bool((torch.stack(plain).mean(0) < 0.85 * gradients.sum(0)).all())
    below = int((LOSSES.mean() > LOSSES).sum())
    assert np.mean(counts) == pytest.approx(COUNT - 0.6 * below, abs=2)


def test_infobatch_keeps_all_that_lies_above_the_mean_and_weighs_the_rest_of_the_others():
    selection = BelowMean(ratio=0.5, key=(0, 1)).select(NUMBERS, {"loss": LOSSES})
    below = LOSSES.mean() > LOSSES
    assert bool(selection.kept[~below].all())
    assert 0.35 < selection.kept[below].float().mean() < 0.65
    assert set(selection.weights[below].tolist()) == {2.0}
    assert set(selection.weights[~below].tolist()) == {1.0}
    unseen = BelowMean(ratio=0.5).select(NUMBERS, {"loss": torch.full((COUNT,), torch.nan)})
    assert bool(unseen.kept.all())
    assert set(unseen.weights.tolist()) == {1.0}


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_selective_backprop_keeps_an_image_as_often_as_its_percentile_says(beta):
    rules = [ByPercentile(beta=beta, looking=True, key=(0, epoch)) for epoch in range(400)]
    often = torch.stack([rule.select(NUMBERS, {"loss": LOSSES}).kept.float() for rule in rules]).mean(0)
    percentiles = torch.tensor([float((loss >= LOSSES).float().mean()) for loss in LOSSES])
    assert float((often - percentiles**beta).abs().max()) < 0.13
    assert float(often.mean()) == pytest.approx(rules[0].share, abs=0.01)


@given(data=st.data(), name=st.sampled_from(["random", "infobatch", "selective"]))
def test_lots_of_an_image_do_not_depend_on_the_order_of_the_images(data, name):
    order = torch.tensor(data.draw(st.permutations(range(COUNT))))
    rules = {
        "random": Ranked(kept=0.3, key=(1, 2)),
        "infobatch": BelowMean(ratio=0.5, key=(1, 2)),
        "selective": ByPercentile(beta=1.0, looking=False, key=(1, 2)),
    }
    rule = pickle.loads(pickle.dumps(rules[name]))
    shuffled = rule.select(order, {"loss": LOSSES[order]})
    assert sorted(order[shuffled.kept].tolist()) == kept_numbers(rules[name])


def test_measures_of_difficulty_are_those_of_their_definitions():
    generator = torch.Generator().manual_seed(2)
    logits, labels = 3 * torch.randn(20, 5, generator=generator), torch.randint(5, (20,), generator=generator)
    loss, margin, el2n, right = (difficulty(m, logits, labels) for m in ("loss", "margin", "el2n", "forgetting"))
    for row, label, *found in zip(logits.tolist(), labels.tolist(), loss, margin, el2n, right, strict=True):
        odds = np.exp(row) / np.exp(row).sum()
        one_hot = np.eye(5)[label]
        expected = (
            -np.log(odds[label]),
            np.delete(odds, label).max() - odds[label],
            np.sqrt(((odds - one_hot) ** 2).sum()),
            float(np.argmax(row) == label),
        )
        assert [float(value) for value in found] == pytest.approx(expected, abs=1e-5)
    assert loss.tolist() == pytest.approx(F.cross_entropy(logits, labels, reduction="none").tolist())


@given(st.lists(st.sampled_from([0.0, 1.0, float("nan")]), max_size=12))
def test_forgetting_counts_falls_from_right_to_wrong(sights):
    count, right = torch.tensor([torch.nan]), torch.tensor([torch.nan])
    for sight in sights:
        now = torch.tensor([sight])
        count, right = forgotten(count, right, now), torch.where(now.isnan(), right, now)
    seen = [sight for sight in sights if sight == sight]
    events = sum(one > two for one, two in itertools.pairwise(seen))
    if not seen:
        assert bool(count.isnan())
    else:
        assert float(count) == (events if 1.0 in seen else float("inf"))


def test_pacing_functions_meet_their_ends():
    for pacing, middle in (("linear", 0.6), ("root", 0.2 + 0.8 * 0.5**0.5), ("step", 0.2)):
        assert paced_share(pacing, 0.0, 0.2, 0.8) == pytest.approx(0.2)
        assert paced_share(pacing, 0.4, 0.2, 0.8) == pytest.approx(middle)
        assert paced_share(pacing, 0.8, 0.2, 0.8) == paced_share(pacing, 1.0, 0.2, 0.8) == 1


def test_scores_of_a_file_rank_images_by_their_numbers(tmp_path):
    path = tmp_path / "scores" / "loss.npz"
    ScoreFile(LOSSES, "loss", "abc").save(path)
    stored = read_scores(path)
    assert (stored.by, stored.data) == ("loss", "abc")
    some = torch.tensor([7, 3, 390])
    rule = create_curriculum("easy_to_hard", epochs=5, scores=str(path)).stage(0).samples
    assert rule.files == (str(path),)
    kept = some[rule.select(some, {}).kept]
    assert kept.tolist() == [int(some[LOSSES[some].argmin()])]
    np.savez(path, scores=-LOSSES.numpy())  # another file in its place is read again
    assert some[rule.select(some, {}).kept].tolist() == [int(some[LOSSES[some].argmax()])]


def test_files_that_hold_no_scores_are_refused_with_the_remedy(tmp_path):
    rule = Ranked(kept=0.5, order="easy", file=str(tmp_path / "none.npz"))
    with pytest.raises(CurriculumError, match="curriculum-zoo score"):
        rule.select(NUMBERS, {})
    (tmp_path / "none.npz").write_text("nothing")
    with pytest.raises(CurriculumError, match="holds no scores"):
        rule.select(NUMBERS, {})
    np.savez(tmp_path / "none.npz", scores=np.zeros((3, 3)))
    with pytest.raises(CurriculumError, match=r"got float64 \[3, 3\]"):
        rule.select(NUMBERS, {})
    np.savez(tmp_path / "none.npz", scores=np.zeros(3))
    with pytest.raises(CurriculumError, match="scores of 3 images"):
        rule.select(NUMBERS, {})


def test_curricula_that_choose_combine_with_those_that_show():
    both = create_curriculum("trd(variant=regular) + self_paced + random_subset(share=0.5)", epochs=4, seed=1)
    stage = both.stage(2)
    assert stage.image_size == 0.5
    kept = set(kept_numbers(stage.samples))
    parts = [create_curriculum(name, epochs=4, seed=1).stage(2).samples for name in ("self_paced", "random_subset")]
    assert kept == set(kept_numbers(parts[0])) & set(kept_numbers(parts[1]))
    assert stage.samples.notes == ("loss",)
    assert "easiest" in str(both.timeline(32))
