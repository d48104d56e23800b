"""What training minimises: cross entropy, the rule of glimpses, or what the network brings."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from curriculum_zoo.errors import ModelError, RecipeError
from curriculum_zoo.models.simple_cnn import SimpleCNN
from curriculum_zoo.registry import register_model
from curriculum_zoo.training.glimpse_rule import GlimpseRule
from curriculum_zoo.training.objectives import CrossEntropy, LossOutput, Objective
from curriculum_zoo.training.prepare import prepare

pytestmark = pytest.mark.usefixtures("clean_registry")


class SquaredError(Objective):
    """The squared distance of probabilities from targets, and a count of the batches so far."""

    def __init__(self, weight):
        self.weight = weight
        self.batches = 0

    def __call__(self, model, images, targets, stage):
        logits = model(images)
        wrong = F.one_hot(targets, logits.shape[1]) - logits.softmax(1)
        loss = self.weight * wrong.square().sum(1).mean()
        return LossOutput(loss, logits, {"sharpness": logits.detach().softmax(1).amax(1).mean()})

    def update(self, figures):
        assert set(figures) == {"sharpness"}
        self.batches += 1

    def state_dict(self):
        return {"batches": self.batches}

    def load_state_dict(self, state):
        self.batches = state["batches"]


@pytest.fixture
def brings():
    """``brings(answer)``: the name of a network whose `training_objective` answers so."""

    def make(answer):
        class Bringing(SimpleCNN):
            def training_objective(self, recipe):
                return answer(recipe)

        @register_model
        def bringing_net(pretrained=False, num_classes=10, in_chans=3, img_size=32):
            return Bringing(num_classes=num_classes, in_chans=in_chans, img_size=img_size)

        return "bringing_net"

    return make


def test_a_network_trains_by_the_objective_that_it_brings(recipe, train, brings):
    model = brings(lambda recipe: SquaredError(weight=recipe.optimizer.lr))
    wanted = recipe({"model": model, "optimizer.lr": 0.5, "epochs": 3})
    result = train(wanted)
    assert all(line["train_loss"] < 0.5 for line in result.metrics)  # half of a square below 1
    assert 0.25 < result.metrics[-1]["sharpness"] <= 1
    assert result.test["last"].top1 > 0.5
    state = torch.load(result.folder / "checkpoint.pt", weights_only=True)
    assert state["objective"] == {"batches": 18}


def test_a_network_that_brings_none_for_a_recipe_gets_the_usual_one(recipe, brings):
    model = brings(lambda recipe: None)
    parts = prepare(recipe({"model": model, "label_smoothing": 0.1}), device="cpu")
    assert parts.objective == CrossEntropy(0.1)


def test_the_recipes_glimpses_choose_their_rule(recipe):
    wanted = recipe({"model": "glimpse_pyramid_m1", "image_size": 28, "glimpses": {}})
    assert isinstance(prepare(wanted, device="cpu").objective, GlimpseRule)


def test_what_is_no_objective_is_refused(recipe, brings):
    model = brings(lambda recipe: nn.CrossEntropyLoss())
    with pytest.raises(
        ModelError, match=r"Bringing.training_objective returned a CrossEntropyLoss\. It must return an"
    ):
        prepare(recipe(model=model), device="cpu")


@pytest.mark.parametrize("own", [True, False])
def test_a_network_that_chooses_where_to_look_needs_glimpses_unless_it_brings_an_objective(recipe, own):
    @register_model
    def choosing_net(pretrained=False, num_classes=4, in_chans=3, **_):
        class Choosing(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(in_chans, num_classes)

            def levels_for(self, height, width):
                return 2

            def glimpse(self, images, levels=None, attend=None, *, every_level=True):
                raise NotImplementedError

            def training_objective(self, recipe):
                return SquaredError(1.0) if own else None

            def forward(self, images):
                return self.head(images.mean((2, 3)))

        return Choosing()

    wanted = recipe(model="choosing_net")
    if own:
        assert isinstance(prepare(wanted, device="cpu").objective, SquaredError)
    else:
        with pytest.raises(RecipeError, match=r"has to learn where to look .* Set glimpses"):
            prepare(wanted, device="cpu")


def test_cross_entropy_smooths_labels():
    torch.manual_seed(0)
    model, images, targets = nn.Linear(3, 4), torch.rand(5, 3), torch.tensor([0, 1, 2, 3, 0])
    from curriculum_zoo.curricula import Stage

    output = CrossEntropy(0.2)(model, images, targets, Stage(name="full"))
    likelihoods = model(images).log_softmax(1)
    by_hand = -(0.8 * likelihoods[range(5), targets] + 0.2 * likelihoods.mean(1)).mean()
    torch.testing.assert_close(output.loss, by_hand)
    assert output.means().keys() == {"loss"}
    assert not output.means()["loss"].requires_grad
