"""The learning rule of the glimpse pyramid, against its equations worked out by hand and by enumeration."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from curriculum_zoo.curricula import Stage
from curriculum_zoo.errors import RecipeError
from curriculum_zoo.models.glimpse.pyramid import GlimpsePyramid
from curriculum_zoo.recipes import GlimpseLearning
from curriculum_zoo.training.glimpse_rule import GlimpseRule

STAGE = Stage(name="full")


class Features(nn.Module):
    """Four channels from a convolution of 4x4 px, as a map and pooled."""

    map_shape = (4, 4, 4)
    num_features = 4

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, images):
        feature_map = F.leaky_relu(self.conv(images), 0.2)
        return feature_map, feature_map.mean((2, 3))


@pytest.fixture
def network():
    """Two cells to a row, without overlap, at a base of 4 px: 8 px have 2 levels, 16 px have 3."""
    torch.manual_seed(3)
    net = GlimpsePyramid(Features(), 4, num_classes=3, in_chans=1, grid=2, overlap=0.0).double()
    with torch.no_grad():
        for module in (net.aggregation, net.merging, net.classifier):
            module.weight *= 3  # choices that matter give a policy gradient that stands out from its noise
        net.location.weight *= 0.5
        net.location.bias.uniform_(-0.5, 0.5)
    return net.train()


def images(side, count=2):
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def gradients(network, loss):
    """By name; zeros where the loss does not reach."""
    found = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    named = zip(network.named_parameters(), found, strict=True)
    return {name: torch.zeros_like(p) if gradient is None else gradient for (name, p), gradient in named}


def flat(gradients, module="location"):
    return torch.cat([g.flatten() for name, g in gradients.items() if name.startswith(module)])


def learning(**numbers):
    """Settings without any term for the location module, but for those given."""
    return GlimpseLearning.from_dict(
        {"lambda_f": 0.0, "lambda_t": 0.0, "lambda_r": 0.0, "baseline": "moving", **numbers}
    )


# The policy gradient


def choices_of(levels):
    """Every sequence of choices among the first two cells: a mask for the image, then one for each attended cell."""
    masks = [torch.tensor([a, b, False, False]) for a in (False, True) for b in (False, True)]
    for first in masks:
        below = itertools.product(masks, repeat=int(first.sum())) if levels == 3 else [()]
        for others in below:
            yield first, torch.stack(others) if others else torch.zeros(0, 4, dtype=torch.bool)


def exact(network, x, y, levels):
    """Equation (9) over N for one image at a time, by the sum over all choices; its gradient is equation (10)."""
    total = 0.0
    for number in range(len(x)):
        for first, others in choices_of(levels):
            fixed = (first[None], others)
            seen = network.glimpse(x[number : number + 1], levels, lambda p, level, fixed=fixed: fixed[level])
            log_likelihood = -F.cross_entropy(seen.logits[-1], y[number : number + 1])
            total = total + seen.log_probability().exp().sum() * log_likelihood
    return total / len(x)


@pytest.mark.parametrize(
    ("levels", "measured", "baseline"), [(2, False, "moving"), (3, True, "moving"), (3, True, "samples")]
)
def test_mean_of_the_estimator_is_the_exact_gradient(network, levels, measured, baseline):
    with torch.no_grad():
        network.location.bias[2:] = -800.0  # cells that are never attended leave 4 and 25 sequences
    x, y = images(4 * 2 ** (levels - 1)), torch.tensor([0, 2])
    assert sum(1 for _ in choices_of(levels)) == {2: 4, 3: 25}[levels]
    truth = exact(network, x, y, levels)
    wanted = gradients(network, truth)
    rule = GlimpseRule(learning(lambda_f=1.0, samples=50, baseline=baseline))
    rule.baselines = {levels: truth.detach() if measured else torch.zeros(())}
    torch.manual_seed(0)
    draws = [gradients(network, rule(network, x, y, STAGE).loss) for _ in range(120)]
    for module in ("location", "features", "classifier"):
        drawn = torch.stack([-flat(draw, module) for draw in draws])
        mean, noise = drawn.mean(0), drawn.std(0) / math.sqrt(len(draws))
        varying = noise > 1e-12
        # About 70 numbers, each within 4.5 standard errors: by chance one trial in 2,000 fails.
        assert varying.sum() >= len(mean) / 3
        assert ((mean - flat(wanted, module)).abs() < 4.5 * noise)[varying].all(), module
        torch.testing.assert_close(mean[~varying], flat(wanted, module)[~varying], rtol=1e-6, atol=1e-9)
        if module == "location":
            # It stands out from the noise, so that another one, half as large or none, would not pass.
            assert (flat(wanted).abs() > 10 * noise)[varying].any()


def test_baseline_makes_the_estimator_less_noisy(network):
    x, y = images(8), torch.tensor([0, 2])
    noise = {}
    for baseline in (0.0, -1.0):
        rule = GlimpseRule(learning(lambda_f=1.0))
        rule.baselines = {2: torch.tensor(baseline, dtype=torch.float64)}
        torch.manual_seed(0)
        noise[baseline] = torch.stack([flat(gradients(network, rule(network, x, y, STAGE).loss)) for _ in range(100)])
    likelihood = rule(network, x, y, STAGE).figures["log_likelihood_2"]
    assert abs(likelihood + 1) < abs(likelihood)
    assert noise[-1.0].var(0).sum() < 0.7 * noise[0.0].var(0).sum()


def test_baseline_of_an_images_other_samples_is_what_they_come_to(network):
    x, y = images(8), torch.tensor([0, 2])
    torch.manual_seed(3)
    outcome = GlimpseRule(learning(lambda_f=1.0, samples=3, baseline="samples"))(network, x, y, STAGE)
    torch.manual_seed(3)
    seen = network.glimpse(x, samples=3)
    likelihood = -F.cross_entropy(seen.logits[-1], y.repeat(3), reduction="none").detach()
    expected = 0.0
    for sample in range(3):
        for image in range(2):
            others = sum(likelihood[2 * other + image] for other in range(3) if other != sample) / 2
            row = 2 * sample + image
            expected = expected - (likelihood[row] - others) * seen.log_probability()[row] / 6
    torch.testing.assert_close(flat(gradients(network, outcome.loss)), flat(gradients(network, expected)))


def test_baseline_of_other_samples_takes_out_how_hard_images_are(network):
    x, y = images(8, 16), torch.arange(16) % 3
    with torch.no_grad():
        network.classifier.bias[:] = torch.tensor([3.0, 0.0, -3.0])  # whatever it sees, the last class surprises it
    noise = {}
    for baseline in ("moving", "samples"):
        rule = GlimpseRule(learning(lambda_f=1.0, baseline=baseline))
        torch.manual_seed(0)
        drawn = torch.stack([flat(gradients(network, rule(network, x, y, STAGE).loss)) for _ in range(100)])
        noise[baseline] = drawn.var(0).sum()
    assert noise["samples"] < 0.7 * noise["moving"]


# Whom the terms reach


@pytest.mark.parametrize("term", ["lambda_f", "lambda_t", "lambda_r"])
def test_location_terms_reach_the_location_module_alone_and_cross_entropy_all_else(network, term):
    x, y = images(16), torch.tensor([0, 2])
    found = {}
    for weight in (0.0, 1.0):
        torch.manual_seed(1)
        rule = GlimpseRule(learning(**{term: weight}, locations=0.5, cell_probability=0.1))
        found[weight] = gradients(network, rule(network, x, y, STAGE).loss)
    for name in found[0.0]:
        if name.startswith("location"):
            assert not found[0.0][name].any()
            assert found[1.0][name].any()
        else:
            assert found[0.0][name].any()
            assert torch.equal(found[0.0][name], found[1.0][name])


# The loss, equation by equation


def by_hand(seen, levels, targets, numbers, baseline):
    """The loss after so many levels, row by row and region by region."""
    rows = len(targets)
    likelihood = [
        -F.cross_entropy(seen.logits[levels - 1][row : row + 1], targets[row : row + 1]) for row in range(rows)
    ]
    loss = -sum(likelihood) / rows
    if levels == 1:
        return loss
    log_probability, expected, cells, applied = [0.0] * rows, [0.0] * rows, [0.0] * 4, 0
    for choice in seen.levels[: levels - 1]:
        for row, probabilities, mask in zip(choice.image.tolist(), choice.probabilities, choice.mask, strict=True):
            applied += 1
            for cell, (p, attended) in enumerate(zip(probabilities, mask, strict=True)):
                log_probability[row] = log_probability[row] + torch.log(p if attended else 1 - p)
                expected[row] = expected[row] + p
                cells[cell] = cells[cell] + p
    for row in range(rows):
        loss = loss - numbers["f"] * (likelihood[row].detach() - baseline) * log_probability[row] / rows
    loss = loss + numbers["t"] / 2 * (sum(expected) / rows - numbers["c_t"]) ** 2
    c_r = numbers["c_t"] / (4 * applied / rows)
    return loss + numbers["r"] / 4 * sum(0.5 * (cell / applied - c_r) ** 2 for cell in cells)


@pytest.mark.parametrize("weights", [(), (0.5, 0.0, 2.0)])
def test_loss_is_the_papers_equations(network, weights):
    x, y = images(16, 3), torch.tensor([0, 2, 1])
    settings = GlimpseLearning(
        locations=(1.5, 3.0), lambda_f=(0.7, 0.3), lambda_t=(0.2, 0.5), lambda_r=(0.9, 0.4), baseline="moving"
    )
    by_levels = {
        2: {"c_t": 1.5, "f": 0.7, "t": 0.2, "r": 0.9},
        3: {"c_t": 3.0, "f": 0.3, "t": 0.5, "r": 0.4},
    }
    rule = GlimpseRule(settings)
    rule.baselines = {2: torch.tensor(-0.9, dtype=torch.float64), 3: torch.tensor(-1.2, dtype=torch.float64)}
    torch.manual_seed(5)
    outcome = rule(network, x, y, Stage(name="full", level_weights=weights))
    torch.manual_seed(5)
    seen = network.glimpse(x, samples=2)
    expected = sum(
        weight * by_hand(seen, levels, y.repeat(2), by_levels.get(levels), rule.baselines.get(levels))
        for levels, weight in enumerate(weights or (0.0, 0.0, 1.0), 1)
    )
    entropy = sum(
        weight * F.cross_entropy(logits, y.repeat(2)).item()
        for weight, logits in zip(weights or (0.0, 0.0, 1.0), seen.logits, strict=True)
    )
    assert outcome.loss.item() == pytest.approx(entropy, rel=1e-9)
    ours, theirs = gradients(network, outcome.loss), gradients(network, expected)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-7, atol=1e-10, msg=name)
    torch.testing.assert_close(outcome.logits, seen.logits[-1])


def test_cells_aim_at_a_probability_that_a_recipe_may_state(network):
    none = lambda p, level: torch.zeros_like(p, dtype=torch.bool)  # noqa: E731
    rule = GlimpseRule(learning(lambda_r=1.0, cell_probability=0.25), attend=none)
    loss = rule(network, images(8), torch.tensor([0, 2]), STAGE).loss
    cells = network.glimpse(images(8), attend=none).cell_probability()
    expected = ((cells - 0.25) ** 2).mean() / 2
    torch.testing.assert_close(flat(gradients(network, loss)), flat(gradients(network, expected)))


def test_soft_targets_take_their_cross_entropy_for_the_likelihood(network):
    x, hard = images(8), torch.tensor([0, 2])
    soft = F.one_hot(hard, 3).double()
    outcomes = []
    for targets in (hard, soft):
        torch.manual_seed(2)
        outcomes.append(GlimpseRule(GlimpseLearning(), label_smoothing=0.1)(network, x, targets, STAGE))
    torch.testing.assert_close(outcomes[0].loss, outcomes[1].loss)
    torch.manual_seed(2)
    logits = network.glimpse(x, samples=2).logits[-1]
    entropy = F.cross_entropy(logits, hard.repeat(2), label_smoothing=0.1)
    assert outcomes[0].figures["log_likelihood_2"].item() == pytest.approx(-entropy.item())


def test_one_level_is_plain_cross_entropy(network):
    outcome = GlimpseRule(GlimpseLearning())(network, images(8), torch.tensor([0, 2]), Stage(name="base", levels=1))
    logits = network(images(8), 1)
    assert outcome.loss.item() == pytest.approx(F.cross_entropy(logits, torch.tensor([0, 2])).item())
    assert set(outcome.means()) == {"loss", "log_likelihood_1"}


@pytest.mark.parametrize("mask", [False, True])
def test_nothing_or_everything_attended_gives_finite_gradients_to_every_parameter(network, mask):
    rule = GlimpseRule(GlimpseLearning(), attend=lambda p, level: torch.full_like(p, mask, dtype=torch.bool))
    with torch.no_grad():
        network.location.bias[:] = -1e4 if mask else 1e4  # and as improbable as can be
    loss = rule(network, images(16, 1), torch.tensor([1]), STAGE).loss
    loss.backward()
    assert loss.isfinite()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


# What it remembers and tells


def test_baseline_is_the_moving_average_of_the_log_likelihood():
    rule = GlimpseRule(GlimpseLearning(baseline_decay=0.9))
    for value in (-2.0, -1.0, -0.5):
        figures = {"log_likelihood_2": value, "log_likelihood_3": 2 * value, "attended": 7.0}
        rule.update({name: torch.tensor(figure, dtype=torch.float64) for name, figure in figures.items()})
    expected = 0.9 * (0.9 * -2.0 + 0.1 * -1.0) + 0.1 * -0.5
    assert rule.baselines == {2: pytest.approx(expected), 3: pytest.approx(2 * expected)}
    again = GlimpseRule(GlimpseLearning())
    again.load_state_dict(rule.state_dict())
    assert again.baselines == rule.baselines


def test_first_batch_is_measured_against_its_own_mean(network):
    outcome = GlimpseRule(GlimpseLearning(baseline="moving"))(network, images(8), torch.tensor([0, 2]), STAGE)
    assert outcome.figures["baseline"] == outcome.figures["log_likelihood_2"]


def test_figures_are_means_over_images_and_samples(network):
    torch.manual_seed(6)
    outcome = GlimpseRule(GlimpseLearning(samples=3, locations=(1.0, 2.5)))(
        network, images(16), torch.tensor([0, 2]), STAGE
    )
    torch.manual_seed(6)
    seen = network.glimpse(images(16), samples=3)
    figures = {name: value.item() for name, value in outcome.means().items()}
    first, second = seen.levels
    assert figures["attended"] == pytest.approx(seen.attended().double().mean().item())
    assert figures["attended"] == pytest.approx(figures["crops_2"] + figures["crops_3"])
    assert figures["crops_2"] == pytest.approx(first.mask.sum().item() / 6)
    assert figures["merged_1"] == pytest.approx(len(first.parent.unique()) / 6)
    assert figures["merged_2"] == pytest.approx(len(second.parent.unique()) / 6)
    assert figures["attended_expected"] == pytest.approx(seen.expected().mean().item())
    assert figures["attended_target"] == 2.5
    cells = torch.cat([level.probabilities for level in seen.levels]).mean(0)  # a row for each time that it was applied
    assert (figures["cell_least"], figures["cell_most"]) == pytest.approx((cells.min().item(), cells.max().item()))
    assert not any(value.requires_grad for value in (*outcome.figures.values(), *outcome.choices.values()))


def test_weights_that_are_not_one_for_each_level_are_refused(network):
    with pytest.raises(RecipeError, match="stage 'odd' has 2 level_weights for 3 processing levels"):
        GlimpseRule(GlimpseLearning())(
            network, images(16), torch.tensor([0, 2]), Stage(name="odd", level_weights=(1.0, 1.0))
        )


def test_a_list_needs_a_number():
    with pytest.raises(RecipeError, match="lambda_f must be a number, or a list of one or more"):
        GlimpseLearning(lambda_f=())


def test_other_samples_are_wanted_where_they_are_the_baseline():
    with pytest.raises(RecipeError, match="there must be 2 or more; else take 'moving'"):
        GlimpseLearning(samples=1, baseline="samples")
