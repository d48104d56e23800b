"""What the adapters' tests share: a small network, images, a record of what a network sees, and the plain loop."""

import inspect
import re
import textwrap

import pytest
import torch
from torch import nn

SIDE = 16


class TinyNet(nn.Module):
    """Four parts and a head, so that the deeper half is ``layer3`` and ``layer4``."""

    def __init__(self):
        super().__init__()
        for number, (inputs, outputs) in enumerate([(3, 4), (4, 4), (4, 6), (6, 6)], 1):
            layers = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
            setattr(self, f"layer{number}", nn.Sequential(*layers))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))

    def forward(self, images):
        return self.head(self.layer4(self.layer3(self.layer2(self.layer1(images)))))


class Seen:
    """Every batch of images that came to a network, in training and in evaluation apart."""

    def __init__(self, network):
        self.training, self.evaluation = [], []
        network.register_forward_pre_hook(self._record)

    def _record(self, network, inputs):
        (self.training if network.training else self.evaluation).append(inputs[0].detach().clone())

    def sides(self, per_epoch):
        """The side of the training images of each epoch, which must be one and the same in all its batches."""
        sides = [images.shape[-1] for images in self.training]
        epochs = [set(sides[start : start + per_epoch]) for start in range(0, len(sides), per_epoch)]
        assert all(len(epoch) == 1 for epoch in epochs)
        return [epoch.pop() for epoch in epochs]


@pytest.fixture
def tiny_net():
    """A new network at each call, always with the same weights."""

    def make():
        torch.manual_seed(0)
        return TinyNet()

    return make


@pytest.fixture
def seen():
    return Seen


@pytest.fixture
def images():
    return torch.rand(12, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels():
    return torch.arange(12) % 3


@pytest.fixture
def plain_training():
    """The three lines, as anyone would write them, and the loop round them."""

    def train(network, curriculum, batches, make_optimizer, *, after_view=lambda images: images, rate=None, rates=None):
        optimizer = make_optimizer(network)
        for epoch in range(curriculum.epochs):
            network.train()
            if curriculum.stage(epoch).fresh_optimizer:
                optimizer = make_optimizer(network)
            if rate is not None:
                optimizer.param_groups[0]["lr"] = rate(epoch)
            for group, group_rate in zip(optimizer.param_groups, rates(epoch) if rates else (), strict=bool(rates)):
                group["lr"] = group_rate
            with curriculum.stage(epoch).applied_to(network) as view:
                for images, labels in batches(epoch):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(network(after_view(view(images))), labels).backward()
                    optimizer.step()
        return network.state_dict()

    return train


@pytest.fixture
def scaled_training(plain_training):
    """The plain loop with an SGD whose groups are single parameters, and rates of the stage, by prefixes of names."""

    def train(network, curriculum, batches, *, lr, batch_size=None, **options):
        names = [name for name, _ in network.named_parameters()]

        def make_optimizer(network):
            groups = [{"params": [parameter]} for parameter in network.parameters()]
            return torch.optim.SGD(groups, lr=lr(0), momentum=0.9, weight_decay=0.01)

        def rates(epoch):
            stage = curriculum.stage(epoch)
            ratio = 1 if batch_size is None else stage.scaled_batch(batch_size, SIDE)[1]
            scales = [
                next((scale for prefix, scale in stage.lr_scales if name.startswith(prefix)), 1.0) for name in names
            ]
            return [lr(epoch) * ratio * scale for scale in scales]

        return plain_training(network, curriculum, batches, make_optimizer, rates=rates, **options)

    return train


@pytest.fixture
def same_weights():
    def compare(ours, theirs, **tolerance):
        assert ours.keys() == theirs.keys()
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], **(tolerance or {"rtol": 0, "atol": 0}), msg=name)

    return compare


@pytest.fixture
def docstring_example(tmp_path, monkeypatch):
    """Run the example of a module's docstring as it stands, in an empty folder."""

    def run(module):
        monkeypatch.chdir(tmp_path)
        example = re.search(r"Example:\n.*?::\n\n(.*)", inspect.getdoc(module), re.DOTALL).group(1)
        names = {}
        exec(compile(textwrap.dedent(example), module.__file__, "exec"), names)
        return names

    return run
