"""The traversal of a glimpse pyramid, against a slow, literal recursion of the paper's equations."""

import itertools
import math
import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from curriculum_zoo import create_model
from curriculum_zoo.errors import ModelError

NETS = {"m1": [2], "m2": [2, 0], "m3": [2, 3, 0]}  # the side of the max-pooling behind each convolution
CELLS = [(y, x) for y in (0, 1, 2) for x in (0, 1, 2)]  # in quarters of a region's side, row by row


class Script:
    """Masks by the way to a region, (row, cell, cell, …), so that a recursion finds those that a traversal took."""

    def __init__(self, kind="random", share=0.3, seed=0, rows=1):
        self.kind, self.share, self.seed, self.rows = kind, share, seed, rows

    def attends(self, way, cell):
        if self.kind == "random":
            return random.Random(f"{self.seed} {way} {cell}").random() < self.share
        return {"all": True, "none": False, "row 0": way[0] == 0, "few": len(way) == 1 and cell == 4}[self.kind]

    def __call__(self, probabilities, level):
        if level == 0:
            self.ways = [(row,) for row in range(len(probabilities))]
        mask = [[self.attends(way, cell) for cell in range(9)] for way in self.ways]
        self.ways = [
            (*way, cell) for way, cells in zip(self.ways, mask, strict=True) for cell in range(9) if cells[cell]
        ]
        return torch.tensor(mask, dtype=torch.bool).view(probabilities.shape)


class Recursion:
    """Equation (7) for one image, with the layers of tables 1 to 3 written out."""

    def __init__(self, net, model, script, levels):
        self.pools, self.script, self.levels = NETS[net], script, levels
        self.weights = dict(model.named_parameters())
        self.probabilities, self.log_probability = {}, 0.0

    def layer(self, name):
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def describe(self, crop):
        step = crop.shape[-1] // 14
        x = crop.reshape(1, 1, 14, step, 14, step).mean((3, 5))
        for index, pool in enumerate(self.pools, start=1):
            x = F.leaky_relu(F.conv2d(x, *self.layer(f"features.conv{index}"), padding="same"), 0.2)
            x = F.max_pool2d(x, pool, stride=2) if pool else x
        return x, x.mean((2, 3))

    def vector(self, crop, way):
        """V' of a region [1, side, side] that is reached by a way, [1, f]."""
        feature_map, vector = self.describe(crop)
        if len(way) == self.levels:
            return vector
        probabilities = F.conv2d(feature_map.detach(), *self.layer("location")).flatten().sigmoid()
        self.probabilities[way] = probabilities
        quarter = crop.shape[-1] // 4
        children = []
        for cell, (y, x) in enumerate(CELLS):
            attended = self.script.attends(way, cell)
            self.log_probability += torch.log(probabilities[cell] if attended else 1 - probabilities[cell])
            part = crop[:, y * quarter : (y + 2) * quarter, x * quarter : (x + 2) * quarter]
            children.append(self.vector(part, (*way, cell)) if attended else torch.zeros_like(vector))
        if not any(self.script.attends(way, cell) for cell in range(9)):
            return vector
        grid = torch.stack(children, -1).view(1, -1, 3, 3)
        aggregate = F.leaky_relu(F.conv2d(grid, *self.layer("aggregation")), 0.2).flatten(1)
        return F.leaky_relu(F.linear(torch.cat([vector, aggregate], 1), *self.layer("merging")), 0.2)

    def logits(self, image, row):
        return F.linear(self.vector(image, (row,)), *self.layer("classifier"))


def network(net="m3", dtype=torch.float32, **options):
    torch.manual_seed(0)
    model = create_model(f"glimpse_pyramid_{net}", **options)
    for name, parameter in model.named_parameters():  # biases too, so that what is left out is missed
        if name.endswith("bias"):
            nn.init.uniform_(parameter, -0.2, 0.2)
    return model.to(dtype)


def pictures(count, side, dtype=torch.float32, seed=1, channels=1):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def recursions(net, model, images, script, levels):
    found = [Recursion(net, model, script, levels) for _ in images]
    return found, torch.cat(
        [one.logits(image, row) for row, (one, image) in enumerate(zip(found, images, strict=True))]
    )


CASES = [
    *itertools.product(["m3"], ["random", "all", "none", "row 0", "few"], [1, 2, 3]),
    *[("m3", "random", 4), ("m1", "random", 3), ("m1", "all", 2), ("m2", "random", 3), ("m2", "none", 2)],
]


@pytest.mark.parametrize(("net", "kind", "levels"), CASES)
def test_logits_equal_the_recursion(net, kind, levels):
    model, script = network(net), Script(kind)
    images = pictures(3, 14 * 2 ** (levels - 1))
    with torch.no_grad():
        _, expected = recursions(net, model, images, script, levels)
        answer = model.glimpse(images, attend=script)
    torch.testing.assert_close(answer.logits[-1], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["random", "all", "none", "row 0"])
def test_gradients_equal_those_of_the_recursion(kind):
    model, script = network("m3", torch.float64), Script(kind)
    images = pictures(2, 56, torch.float64).requires_grad_()
    weights = torch.rand(2, 10, dtype=torch.float64)
    leaves = [images, *model.parameters()]
    answer = model.glimpse(images, attend=script)
    mine = torch.autograd.grad((answer.logits[-1] * weights).sum() + answer.log_probability().sum(), leaves)
    found, logits = recursions("m3", model, images, script, 3)
    loss = (logits * weights).sum() + sum(one.log_probability for one in found)
    theirs = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    for gradient, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(gradient, expected, atol=1e-10, rtol=1e-8)


def test_logits_after_fewer_levels_are_those_of_processing_that_ends_there():
    model, images = network(), pictures(4, 112)
    answer = model.glimpse(images, attend=Script(seed=3))
    assert len(answer.logits) == 4
    for levels, logits in enumerate(answer.logits, start=1):
        shorter = model.glimpse(images, levels, Script(seed=3), every_level=False)
        assert len(shorter.logits) == 1
        torch.testing.assert_close(logits, shorter.logits[0])
        torch.testing.assert_close(answer.log_probability(levels), shorter.log_probability())
        torch.testing.assert_close(answer.expected(levels), shorter.expected())
        torch.testing.assert_close(answer.cell_probability(levels), shorter.cell_probability())
        assert answer.attended(levels).tolist() == shorter.attended().tolist()


def test_probabilities_and_their_sums_equal_those_of_the_recursion():
    model, images, script = network(), pictures(3, 56), Script(seed=5)
    answer = model.glimpse(images, attend=script)
    found, _ = recursions("m3", model, images, script, 3)
    by_row = [list(one.probabilities.values()) for one in found]
    expected = torch.stack([torch.stack(one).sum() for one in by_row])
    torch.testing.assert_close(answer.expected(), expected)
    torch.testing.assert_close(answer.log_probability(), torch.stack([one.log_probability for one in found]))
    torch.testing.assert_close(answer.cell_probability(), torch.stack(list(itertools.chain(*by_row))).mean(0))
    attended = [sum(script.attends(way, cell) for way in one.probabilities for cell in range(9)) for one in found]
    assert answer.attended().tolist() == attended
    assert answer.located().tolist() == [len(one.probabilities) for one in found]


def test_levels_tell_where_the_network_looked():
    model, images, script = network(), pictures(3, 56), Script(seed=2)
    first, second = model.glimpse(images, attend=script).levels
    assert first.image.tolist() == [0, 1, 2]
    assert first.regions.tolist() == [[0, 0, 56, 56]] * 3
    for level, side in ((first, 28), (second, 14)):
        assert (level.boxes[:, 2:] - level.boxes[:, :2] == side).all()
        assert level.mask.nonzero().tolist() == torch.stack([level.parent, level.cell], 1).tolist()
        corners = level.regions[level.parent, :2] + side // 2 * torch.stack([level.cell % 3, level.cell // 3], 1)
        assert level.boxes[:, :2].tolist() == corners.tolist()
        torch.testing.assert_close(level.probabilities, level.log_odds.sigmoid())
    assert second.regions.tolist() == first.boxes.tolist()
    assert second.image.tolist() == first.image[first.parent].tolist()


def test_gradients_of_the_choices_reach_only_the_location_module():
    model, images = network(), pictures(4, 56).requires_grad_()
    answer = model.glimpse(images)
    (answer.expected().sum() + answer.log_probability().sum() + answer.cell_probability().sum()).backward()
    touched = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert touched == {"location.weight", "location.bias"}
    assert images.grad is None
    model.zero_grad()
    sum(logits.sum() for logits in model.glimpse(images).logits).backward()
    assert model.location.weight.grad is None
    assert images.grad is not None


@pytest.mark.parametrize("kind", ["none", "row 0", "all"])
@pytest.mark.parametrize("count", [1, 3])
def test_every_parameter_gets_a_gradient_whatever_is_attended(kind, count):
    model = network()
    answer = model.glimpse(pictures(count, 56), attend=Script(kind))
    (sum(logits.sum() for logits in answer.logits) + answer.log_probability().sum()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_a_row_depends_on_no_other_row():
    model, script, images = network().double(), Script(seed=7), pictures(5, 56, torch.float64)
    whole = model.glimpse(images, attend=script)
    for row in range(5):

        def alone(probabilities, level, row=row):
            choice = whole.levels[level]
            return choice.mask[choice.image == row]

        answer = model.glimpse(images[row : row + 1], attend=alone)
        for mine, all_rows in zip(answer.logits, whole.logits, strict=True):
            torch.testing.assert_close(mine[0], all_rows[row])
        torch.testing.assert_close(answer.log_probability()[0], whole.log_probability()[row])


def test_samples_are_rows_sample_by_sample():
    model, images = network(), pictures(3, 56)
    script = Script(seed=4)
    answer = model.glimpse(images, attend=script, samples=2)
    repeated = model.glimpse(images.repeat(2, 1, 1, 1), attend=script)
    assert answer.rows == 6
    torch.testing.assert_close(answer.logits, repeated.logits)
    torch.testing.assert_close(answer.log_probability(), repeated.log_probability())
    torch.testing.assert_close(answer.cell_probability(), repeated.cell_probability())
    assert not torch.equal(answer.logits[-1][:3], answer.logits[-1][3:])


def test_sampling_follows_the_generator_and_the_probabilities():
    model, images = network().eval(), pictures(2, 28)
    seeds = (1, 1, 2)
    draws = [model.glimpse(images, attend="sample", generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    assert torch.equal(draws[0].levels[0].mask, draws[1].levels[0].mask)
    assert torch.equal(draws[0].logits[-1], draws[1].logits[-1])
    assert not torch.equal(draws[0].levels[0].mask, draws[2].levels[0].mask)
    torch.manual_seed(1)
    with torch.no_grad():
        many = model.glimpse(images, attend="sample", samples=500)
    shares = many.levels[0].mask.view(500, 2, 9).double().mean(0)
    wanted = many.levels[0].probabilities[:2].double()
    assert ((shares - wanted).abs() < 5 * (wanted * (1 - wanted) / 500).sqrt()).all()


def test_without_a_generator_torchs_global_one_is_used():
    model, images = network().train(), pictures(2, 28)
    state = torch.random.get_rng_state()
    first = model(images)
    torch.random.set_rng_state(state)
    torch.testing.assert_close(model(images), first, rtol=0, atol=0)


def test_threshold_and_top_k_choose_by_the_probabilities():
    model, images = network(top_k=4, threshold=0.55).eval(), pictures(3, 56)
    for level in model.glimpse(images, attend="threshold").levels:
        assert torch.equal(level.mask, level.probabilities >= 0.55)
    for level in model.glimpse(images, attend="top_k").levels:
        assert (level.mask.sum(1) == 4).all()
        least = level.probabilities.masked_fill(~level.mask, 2).amin(1)
        most = level.probabilities.masked_fill(level.mask, -1).amax(1)
        assert (least >= most).all()


def test_the_networks_own_rule_holds_in_eval_mode_and_training_samples():
    model, images = network(attend="top_k", top_k=3), pictures(40, 28)
    assert (model.eval().glimpse(images).attended() == 3).all()
    assert len(model.train().glimpse(images).attended().unique()) > 1
    torch.testing.assert_close(model.eval()(images), model.glimpse(images).logits[-1])


def test_in_eval_mode_equal_images_give_equal_logits_by_default():
    torch.manual_seed(0)
    model, images = create_model("glimpse_pyramid_m1").eval(), pictures(3, 56)
    assert torch.equal(model(images), model(images))
    masks = [level.mask for level in model.train().glimpse(images).levels]
    assert not torch.equal(masks[0], model.glimpse(images).levels[0].mask), "training draws"


def test_plain_cross_entropy_reaches_every_parameter_whatever_is_attended():
    model = network().train()
    for levels in (1, 3):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(pictures(2, 56), levels), torch.tensor([0, 1])).backward()
        assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
        assert not model.location.weight.grad.any(), "a cross entropy teaches nothing about where to look"


def test_the_meta_device_gives_shapes():
    model = create_model("glimpse_pyramid_m1", device="meta").eval()
    assert model(torch.rand(2, 1, 56, 56, device="meta")).shape == (2, 10)


def test_symbolic_tracing_is_refused_with_what_to_use_instead():
    with pytest.raises(ModelError, match=r"torch\.fx cannot trace.*torch\.export"):
        torch.fx.symbolic_trace(network())


def test_calling_the_network_with_glimpses_gives_what_glimpse_gives():
    model, images = network().eval(), pictures(2, 56)
    answer = model(images, 2, glimpses={"attend": Script(), "samples": 2, "every_level": False})
    expected = model.glimpse(images, 2, Script(), samples=2, every_level=False)
    torch.testing.assert_close(answer.logits, expected.logits)
    assert len(model(images, glimpses={}).logits) == 3


def test_log_probability_is_finite_for_certain_choices():
    model, images = network(), pictures(2, 28)
    nn.init.zeros_(model.location.weight)
    with torch.no_grad():
        model.location.bias.copy_(torch.tensor([200.0, -200.0] * 4 + [0.0]))
    answer = model.glimpse(images, attend=lambda p, level: torch.arange(9).expand(p.shape) < 2)
    assert answer.levels[0].probabilities[0, :2].tolist() == [1, pytest.approx(0)]
    log_probability = answer.log_probability()
    torch.testing.assert_close(log_probability, torch.full((2,), -200.0 * 4 + math.log(0.5)))
    log_probability.sum().backward()
    # Of certain and taken, impossible and taken, certain and left, impossible and left, and undecided and left cells.
    torch.testing.assert_close(model.location.bias.grad, torch.tensor([0.0, 2, -2, 0, -2, 0, -2, 0, -1]))


def test_a_single_level_has_nothing_to_choose():
    model = network()
    answer = model.glimpse(pictures(3, 14))
    assert answer.levels == ()
    assert [figure.tolist() for figure in (answer.attended(), answer.expected(), answer.log_probability())] == [
        [0] * 3
    ] * 3
    assert answer.cell_probability().tolist() == [0] * 9
    assert answer.attended().dtype == torch.int64
    torch.testing.assert_close(model(pictures(3, 56), levels=1), model.glimpse(pictures(3, 56)).logits[0])


def test_an_empty_batch_gives_no_rows():
    answer = network().glimpse(pictures(0, 56), samples=2)
    assert [logits.shape for logits in answer.logits] == [(0, 10)] * 3
    assert answer.attended().shape == answer.expected().shape == answer.log_probability().shape == (0,)
    assert answer.cell_probability().tolist() == [0] * 9


def test_large_batches_without_gradients_are_described_piece_by_piece_alike():
    model, images = network().eval(), pictures(8, 56)
    with torch.no_grad():
        pieces = model.glimpse(images, attend=Script("all"))
    whole = model.glimpse(images, attend=Script("all"))
    assert len(whole.levels[1].boxes) == 8 * 81
    torch.testing.assert_close(pieces.logits, whole.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("kind", ["random", "all", "none", "row 0"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_multiply_adds_are_those_that_torch_counts(net, kind, levels):
    model, images = network(net), pictures(3, 56)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        answer = model.glimpse(images, levels, Script(kind), every_level=False)
    assert int(model.multiply_adds(answer).sum()) * 2 == counter.get_total_flops()


def test_multiply_adds_follow_the_papers_formula():
    model, images = network(), pictures(4, 56)
    assert vars(model.costs) == {
        "features": 56_448 + 903_168 + 331_776,
        "location": 5_184,
        "aggregation": 36_864,
        "merging": 8_192,
        "classification": 640,
    }
    answer = model.glimpse(images, attend=Script("all"))
    everything = 91 * 1_291_392 + 10 * (5_184 + 36_864 + 8_192) + 640
    assert model.multiply_adds(answer).tolist() == [everything] * 4
    assert model.multiply_adds(answer, 1).tolist() == [1_291_392 + 640] * 4
    assert model.costs.total(2.2, 1, 1) == pytest.approx(3.2 * 1_291_392 + 5_184 + 36_864 + 8_192 + 640)


def test_checkpointed_training_gives_the_same_gradients():
    model, images = network(dtype=torch.float64), pictures(3, 56, torch.float64)

    def gradients():
        model.zero_grad()
        model.glimpse(images, attend=Script()).logits[-1].square().sum().backward()
        return [parameter.grad for name, parameter in model.named_parameters() if "location" not in name]

    expected = gradients()
    model.set_grad_checkpointing()
    torch.testing.assert_close(gradients(), expected)


def test_layout_and_type_do_not_change_the_numbers():
    model, images = network(), pictures(4, 56)
    expected = model.glimpse(images, attend=Script()).logits[-1]
    model.to(memory_format=torch.channels_last)
    laid_out = model.glimpse(images.to(memory_format=torch.channels_last), attend=Script()).logits[-1]
    torch.testing.assert_close(laid_out, expected, atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        answer = model.glimpse(images, attend=Script())
    assert answer.logits[-1].dtype == torch.bfloat16
    assert answer.log_probability().dtype == answer.expected().dtype == torch.float32
    (answer.logits[-1].float().sum() + answer.log_probability().sum()).backward()
    assert (answer.logits[-1].float() - expected).norm() < 0.03 * expected.norm()
    half = model.bfloat16().glimpse(images.bfloat16(), attend=Script())
    assert (half.logits[-1].float() - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize(
    ("images", "levels", "text"),
    [
        (torch.zeros(2, 3, 56, 56), None, "1 channels"),
        (torch.zeros(1, 56, 56), None, "batch of images"),
        (torch.zeros(2, 1, 13, 56), None, "14×14 px and more, got 13×56"),
        (torch.zeros(2, 1, 56, 56), 4, "1 to 3"),
        (torch.zeros(2, 1, 56, 26), 2, "1 to 1"),
        (torch.zeros(2, 1, 56, 56), 0, "levels=0"),
        (torch.zeros(2, 1, 56, 56), 2.0, "levels=2.0"),
        (torch.zeros(2, 1, 56, 56), True, "levels=True"),
    ],
)
def test_images_and_levels_that_do_not_fit_are_one_clear_error(images, levels, text):
    for call in (network(), network().glimpse):
        with pytest.raises(ModelError, match=text):
            call(images, levels)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"attend": "guess"}, "'sample', 'threshold', 'top_k'"),
        ({"attend": lambda p, level: p}, "bool mask of shape \\[2, 9\\], got torch.float32"),
        ({"attend": lambda p, level: p[:, :4] > 0}, "got torch.bool \\[2, 4\\]"),
        ({"attend": lambda p, level: None}, "got NoneType"),
        ({"samples": 0}, "samples=0"),
        ({"samples": 1.5}, "samples=1.5"),
    ],
)
def test_choices_that_make_no_sense_are_one_clear_error(options, text):
    with pytest.raises(ModelError, match=text):
        network().glimpse(pictures(2, 28), **options)


def test_figures_of_levels_that_were_not_processed_are_one_clear_error():
    answer = network().glimpse(pictures(2, 28))
    for levels in (0, 3):
        with pytest.raises(ModelError, match="must be 1 to 2"):
            answer.attended(levels)


@pytest.mark.parametrize(("height", "width", "levels"), [(50, 50, 2), (55, 57, 3), (56, 28, 2), (29, 119, 2)])
def test_sides_that_do_not_divide_and_oblong_images_are_learned_from(height, width, levels):
    model, images = network(), torch.rand(3, 1, height, width)
    assert model.levels_for(height, width) == levels
    answer = model.glimpse(images, attend=Script("all"))
    assert len(answer.logits) == levels
    for level in answer.levels:
        assert (level.boxes >= 0).all()
        assert (level.boxes[:, 2] <= width).all()
        assert (level.boxes[:, 3] <= height).all()
    sum(logits.sum() for logits in answer.logits).backward()
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if "location" not in name)
