"""Where depth lies in networks that are not ours: wrapped, of other libraries, or of no order at all."""

import copy
import io
import pickle
import warnings

import pytest
import timm
import torch
from torch import nn

from curriculum_zoo.curricula import Frozen, create_curriculum, freeze
from curriculum_zoo.curricula.depth import depth_of
from curriculum_zoo.errors import CurriculumError, CurriculumWarning

EVERYTHING = (Frozen(depth=(0, 1)),)
DEEPER_HALF = (Frozen(depth=(0.5, 1)),)


class Held(nn.Module):
    """A module that holds a network, and perhaps more, under names of its own."""

    def __init__(self, **children: nn.Module) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


class Forwarding(Held):
    """A wrapper that hands on every attribute of what it holds."""

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("net"), name)


def resnet(classes: int = 10) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model("resnet18", num_classes=classes)


def conv(channels: int, to: int, stride: int = 1) -> nn.Sequential:
    layers = nn.Conv2d(channels, to, 3, stride, 1, bias=False), nn.BatchNorm2d(to), nn.ReLU()
    return nn.Sequential(*layers)


class TorchvisionLike(nn.Module):
    """Named and nested as torchvision's ResNets are."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        for number in range(1, 5):
            self.add_module(f"layer{number}", nn.Sequential(conv(2 ** (number + 1), 2 ** (number + 2)), nn.Identity()))
        self.fc = nn.Linear(64, classes) if classes else nn.Identity()


class Block(nn.Module):
    """A block of a transformer, as Transformers has it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.attention = nn.Linear(8, 24)
        self.mlp = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))


def transformers_like(blocks: int = 6) -> nn.Module:
    """Named and nested as Transformers' image classifiers are: embeddings, encoder of layers, layernorm, classifier."""
    embeddings = Held(projection=nn.Conv2d(3, 8, 4, 4))
    embeddings.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
    encoder = Held(layer=nn.ModuleList(Block() for _ in range(blocks)))
    vit = Held(embeddings=embeddings, encoder=encoder, layernorm=nn.LayerNorm(8))
    return Held(vit=vit, classifier=nn.Linear(8, 4))


def learning(model: nn.Module, frozen: tuple[Frozen, ...]) -> set[str]:
    with freeze(model, frozen):
        return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def of(*prefixes: str):
    return lambda names: {name for name in names if name.startswith(prefixes)}


WRAPPED = {
    "net": (lambda: Held(net=resnet()), "net.", "net.fc."),
    "model in a model": (lambda: Held(model=Held(net=resnet())), "model.net.", "model.net.fc."),
    "forwarding": (lambda: Forwarding(net=resnet()), "net.", "net.fc."),
    "averaged": (lambda: torch.optim.swa_utils.AveragedModel(resnet()), "module.", "module.fc."),
    "normalisation first": (lambda: nn.Sequential(nn.BatchNorm2d(3), resnet()), "1.", "1.fc."),
    "channels first": (lambda: nn.Sequential(nn.Conv2d(1, 3, 1), resnet()), "1.", "1.fc."),
    "backbone and head": (lambda: Held(backbone=resnet(0), head=nn.Linear(512, 4)), "backbone.", "head."),
    "backbone, classifier and head": (lambda: Held(b=resnet(), head=nn.Linear(10, 4)), "b.", "head."),
    "backbone and deep head": (
        lambda: Held(backbone=resnet(0), head=nn.Sequential(nn.Linear(512, 8), nn.Linear(8, 4))),
        "backbone.",
        "head.",
    ),
    "features only": (
        lambda: Held(backbone=timm.create_model("resnet18", features_only=True), head=nn.Linear(512, 4)),
        "backbone.",
        "head.",
    ),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_a_network_inside_of_a_model_is_frozen_as_it_is_alone(kind):
    make, inside, head = WRAPPED[kind]
    model = make()
    names = {name for name, _ in model.named_parameters()}
    assert learning(model, EVERYTHING) == of(head)(names)
    deeper = of(f"{inside}layer3.", f"{inside}layer4.")(names)
    if kind == "backbone, classifier and head":
        deeper |= of("b.fc.")(names)
    assert learning(model, DEEPER_HALF) == names - deeper


@pytest.mark.parametrize("kind", ["alone", "backbone and head", "sequential", "normalisation first", "in a module"])
def test_depth_of_a_network_built_as_torchvisions_goes_by_its_layers(kind):
    make, inside, head = {
        "alone": (TorchvisionLike, "", "fc."),
        "backbone and head": (lambda: Held(backbone=TorchvisionLike(0), head=nn.Linear(64, 2)), "backbone.", "head."),
        "sequential": (lambda: nn.Sequential(TorchvisionLike(0), nn.Flatten(), nn.Linear(64, 2)), "0.", "2."),
        "normalisation first": (lambda: nn.Sequential(nn.BatchNorm2d(3), TorchvisionLike()), "1.", "1.fc."),
        "in a module": (lambda: Held(model=TorchvisionLike(), loss=nn.Identity()), "model.", "model.fc."),
    }[kind]
    model = make()
    names = {name for name, _ in model.named_parameters()}
    assert learning(model, EVERYTHING) == of(head)(names)
    assert learning(model, DEEPER_HALF) == names - of(f"{inside}layer3.", f"{inside}layer4.")(names)


def test_depth_of_a_network_built_as_transformers_are_goes_by_its_blocks():
    model = transformers_like()
    names = {name for name, _ in model.named_parameters()}
    assert learning(model, EVERYTHING) == of("classifier.")(names)
    # Seven parts: embeddings and six blocks, the last normalisation counted with the last block.
    frozen = of(*(f"vit.encoder.layer.{block}." for block in (3, 4, 5)), "vit.layernorm.")(names)
    assert learning(model, DEEPER_HALF) == names - frozen
    first = names - learning(model, (Frozen(depth=(0, 0.1)),))
    assert first == of("vit.embeddings.")(names)


@pytest.mark.parametrize("name", ["ViT", "ResNet", "ConvNext", "Swin"])
def test_transformers_own_networks_are_divided_too(name):
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        model = getattr(transformers, f"{name}ForImageClassification")(getattr(transformers, f"{name}Config")())
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    assert learning(model, EVERYTHING) == of("classifier.")(sizes)
    assert len(depth_of(model, sizes).parts) >= 5
    share = 1 - sum(sizes[name] for name in learning(model, DEEPER_HALF)) / sum(sizes.values())
    assert 0.45 < share < 0.97


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vit_b_16", "swin_t", "densenet121", "convnext_tiny"])
def test_torchvisions_own_networks_are_divided_too(name):
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        model, other = models.get_model(name), models.get_model(name, num_classes=7)
    shapes = {name: parameter.shape for name, parameter in other.named_parameters()}
    classifying = {name for name, parameter in model.named_parameters() if parameter.shape != shapes[name]}
    left = learning(model, EVERYTHING)
    assert classifying <= left
    # ConvNeXt keeps a normalisation in its classifier.
    assert all(name in classifying or name.startswith("classifier.0.") for name in left)
    parts = depth_of(model, shapes).parts
    assert len(parts) >= 5
    assert sorted(name for part in parts for name in part) == sorted(shapes.keys() - left)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "hgnetv2_b0", "efficientvit_b0", "pit_xs_distilled_224",
                                  "deit_tiny_distilled_patch16_224", "caformer_s18", "levit_128s"])  # fmt: skip
def test_of_timms_networks_whose_head_is_a_block_the_classifier_alone_learns(name):
    with torch.device("meta"):
        model, other = timm.create_model(name, num_classes=10), timm.create_model(name, num_classes=7)
    shapes = {name: parameter.shape for name, parameter in other.named_parameters()}
    classifying = {name for name, parameter in model.named_parameters() if parameter.shape != shapes[name]}
    layers = {name.rpartition(".")[0] for name in classifying}
    assert learning(model, EVERYTHING) == {name for name in shapes if name.rpartition(".")[0] in layers}


def test_parallel_classifiers_are_one_head():
    model = transformers_like()
    model.add_module("distillation_classifier", nn.Linear(8, 4))
    assert {name.split(".")[0] for name in learning(model, EVERYTHING)} == {"classifier", "distillation_classifier"}
    chain = nn.Sequential(*(nn.Linear(8, 8) for _ in range(5)))
    assert learning(chain, EVERYTHING) == {"4.weight", "4.bias"}


# What has no depth ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: nn.ModuleList([resnet(), resnet()]), "it holds several networks, 0 and 1"),
        (lambda: nn.ModuleList([TorchvisionLike(), TorchvisionLike()]), "images enter it by 0 and by 1"),
        (lambda: Held(head=nn.Linear(512, 4), net=resnet(0)), "head is registered before the network net"),
        (lambda: Held(text=nn.Embedding(9, 64), image=transformers_like()), "text is registered before image"),
    ],
)
def test_where_depth_means_nothing_it_is_refused_with_patterns_that_could_be_given(model, why):
    module = model()
    with pytest.raises(CurriculumError, match=rf"have no depth: {why}.*by patterns: \w+\.\*, \w+\.\*"):
        learning(module, EVERYTHING)
    first, _ = [name for name, _ in module.named_children()]
    assert not any(name.startswith(f"{first}.") for name in learning(module, (Frozen((f"{first}.*",)),)))


def test_nothing_left_to_learn_is_an_error_and_leaves_everything_as_it_was():
    model = TorchvisionLike(classes=0)
    with pytest.raises(CurriculumError, match=r"Nothing of TorchvisionLike would learn: depth 0–1.*layer4\.\*"):
        learning(model, EVERYTHING)
    with pytest.raises(CurriculumError, match=r"would learn: conv1; \*"):
        learning(model, (Frozen(("conv1",)), Frozen(("*",))))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_network_too_shallow_to_be_divided_is_told():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    stage = create_curriculum("hrt", epochs=5).stage(0)
    with (
        pytest.warns(CurriculumWarning, match="Nothing of Sequential is frozen: it has 2 parts"),
        stage.applied_to(model),
    ):
        assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_head_of_most_parameters_is_told_by_its_layers():
    head = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 4))
    model = nn.Sequential(TorchvisionLike(0), head)
    with pytest.warns(CurriculumWarning, match=r"head of Sequential holds \d\d% .* all of it learns: 1\.0, 1\.2"):
        learning(model, EVERYTHING)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CurriculumWarning)
        learning(model, DEEPER_HALF)
        learning(TorchvisionLike(), EVERYTHING)


def test_a_range_that_leaves_the_head_alone_though_it_names_less_is_told():
    model = nn.Sequential(nn.BatchNorm2d(3, affine=False), *(conv(3, 3) for _ in range(4)), nn.Linear(3, 2))
    with pytest.warns(CurriculumWarning, match=r"head alone learns, though depth 0\.1–1 is to be frozen"):
        learning(model, (Frozen(depth=(0.1, 1)),))


# Copies, lazy layers, LBFGS ---------------------------------------------------------------------------------------


def normalised() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))


def saved(model: nn.Module) -> nn.Module:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, saved, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_made_inside_of_a_stage_is_a_network_as_it_was_before(copied):
    model = normalised()
    with freeze(model, (Frozen(("1",), statistics="hold"),)):
        inside = copied(model)
        model.eval()
        evaluating = copied(model)
        assert not model[1].training
    assert [module.training for module in inside] == [True] * 4
    assert not any(module.training for module in evaluating)
    inside.eval()
    inside.train()
    assert all(module.training for module in inside.modules())
    assert not {"train", "__reduce_ex__"} & vars(inside[1]).keys()
    before = inside[1].running_mean.clone()
    inside(torch.rand(2, 3, 8, 8))
    assert not torch.equal(before, inside[1].running_mean)


def test_lazy_layers_are_refused_until_they_know_their_shape():
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(CurriculumError, match=r"has lazy layers.*0\.weight.*one batch of images"):
        learning(model, (Frozen(("0",)),))
    model(torch.rand(2, 3, 8, 8))
    assert learning(model, (Frozen(("0",)),)) == {"2.weight", "2.bias"}


def test_lbfgs_is_refused_where_it_would_move_frozen_parameters():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    images, frozen = torch.rand(8, 3), (Frozen(("0",)),)

    def closure() -> torch.Tensor:
        model.zero_grad()
        loss = model(images).square().sum()
        loss.backward()
        return loss

    whole = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    whole.step(closure)
    before = copy.deepcopy(model[0].state_dict())
    with freeze(model, frozen), pytest.raises(CurriculumError, match="LBFGS moves all parameters"):
        whole.step(closure)
    assert all(torch.equal(before[name], value) for name, value in model[0].state_dict().items())
    with freeze(model, frozen):
        torch.optim.LBFGS(model[1].parameters(), lr=0.1).step(closure)
    whole.step(closure)
