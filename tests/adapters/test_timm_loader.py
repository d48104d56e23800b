import copy
from itertools import pairwise

import pytest
import torch
from timm.data import FastCollateMixup, create_loader
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms.functional import to_pil_image

from curriculum_zoo.adapters import timm_loader
from curriculum_zoo.adapters.timm_loader import CurriculumLoader
from curriculum_zoo.curricula import create_curriculum
from curriculum_zoo.errors import CurriculumError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Pictures(Dataset):
    """Pictures as timm's data sets give them: decoded, and transformed by what the loader puts in ``transform``."""

    def __init__(self, images, labels):
        self.pictures = [to_pil_image(image) for image in images]
        self.labels = labels.tolist()
        self.transform = None

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        return self.transform(self.pictures[index]), self.labels[index]


@pytest.fixture
def timm_loader_of(images, labels):
    def make(**options):
        options = {"is_training": True, "mean": MEAN, "std": STD} | options
        pictures, cpu = Pictures(images, labels), torch.device("cpu")
        return create_loader(pictures, 16, 4, no_aug=True, num_workers=0, device=cpu, **options)

    return make


def sgd(network):
    return torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)


def run_script(network, optimizer, loader_train, loader_eval, epochs, start_epoch=0, after_epoch=lambda epoch: None):
    """The loop of timm's training script, with the line that tells the loader its epoch."""
    for epoch in range(start_epoch, epochs):
        torch.manual_seed(epoch)
        loader_train.set_epoch(epoch)
        network.train()
        for images, target in loader_train:
            loss = torch.nn.functional.cross_entropy(network(images), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for images, _ in loader_eval:
                network(images)
        after_epoch(epoch)


def normalize(images):
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std


def test_small_training_equals_the_plain_loop(timm_loader_of, tiny_net, plain_training, same_weights):
    curriculum = create_curriculum("hrt(edge_epochs=2)+trd(variant=regular)", epochs=4)
    network, plain = tiny_net(), tiny_net()
    optimizer = sgd(network)
    loader = CurriculumLoader(timm_loader_of(), curriculum, network, optimizer)
    run_script(network, optimizer, loader, timm_loader_of(is_training=False), 4)

    unit_range = timm_loader_of(mean=(0, 0, 0), std=(1, 1, 1))

    def batches(epoch):
        torch.manual_seed(epoch)
        return unit_range

    expected = plain_training(plain, curriculum, batches, sgd, after_view=normalize)
    same_weights(network.state_dict(), expected, rtol=1e-4, atol=1e-5)


def plain_loader(images, labels, batch_size):
    return DataLoader(TensorDataset(images, labels), batch_size)


def test_learning_rates_of_parts_are_scaled_while_the_stage_lasts(
    images, labels, tiny_net, scaled_training, same_weights, timm_loader_of
):
    curriculum = create_curriculum("hrt(edge_epochs=2,freeze=none,edge_lr_scales=((layer1,5),(head,0.1)))", epochs=4)
    network = tiny_net()
    optimizer = sgd(network)
    inner = plain_loader(images, labels, 4)
    loader = CurriculumLoader(inner, curriculum, network, optimizer, mean=[0], std=[1])
    run_script(network, optimizer, loader, timm_loader_of(is_training=False), 4)
    expected = scaled_training(tiny_net(), curriculum, lambda epoch: inner, lr=lambda epoch: 0.05)
    same_weights(network.state_dict(), expected)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05]


def test_batches_grow_as_images_shrink_and_rates_with_them(
    images, labels, tiny_net, scaled_training, same_weights, timm_loader_of
):
    curriculum = create_curriculum("trd(variant=regular,resolution=12,scale_batch=true)", epochs=4)
    network, lengths = tiny_net(), []
    optimizer = sgd(network)
    loader = CurriculumLoader(
        plain_loader(images, labels, 3), curriculum, network, optimizer, mean=[0], std=[1], image_size=16
    )
    after = lambda epoch: lengths.append(len(loader))  # noqa: E731
    run_script(network, optimizer, loader, timm_loader_of(is_training=False), 4, after_epoch=after)
    assert lengths == [3, 4, 3, 4]  # of 12 images, 5 and 3 a batch
    sizes = {0: 5, 1: 3, 2: 5, 3: 3}
    expected = scaled_training(
        tiny_net(), curriculum, lambda epoch: plain_loader(images, labels, sizes[epoch]), lr=lambda epoch: 0.05,
        batch_size=3,
    )  # fmt: skip
    same_weights(network.state_dict(), expected)


def test_scaled_batches_of_timms_loader_stay_even_and_are_refused_where_the_loader_runs_on(timm_loader_of, tiny_net):
    curriculum = create_curriculum("trd(participation=1,resolution=14,scale_batch=true)", epochs=2)
    network = tiny_net()
    options = {"image_size": 16, "model": network, "optimizer": sgd(network)}
    loader = CurriculumLoader(timm_loader_of(), curriculum, **options)
    for epoch in range(2):
        loader.set_epoch(epoch)
        assert [len(images) for images, _ in loader] == [6, 6]  # 4 · (16 / 14)² is 5.2
    with pytest.raises(CurriculumError, match="use_multi_epochs_loader"):
        CurriculumLoader(timm_loader_of(use_multi_epochs_loader=True), curriculum, **options)
    with pytest.raises(CurriculumError, match="image_size=224"):
        CurriculumLoader(timm_loader_of(), curriculum, network, sgd(network))


def test_network_sees_the_stages_and_validation_full_images(timm_loader_of, tiny_net, seen):
    curriculum = create_curriculum("trd(variant=regular)", epochs=4)
    network = tiny_net()
    record = seen(network)
    inner = timm_loader_of()
    loader = CurriculumLoader(inner, curriculum)
    run_script(network, sgd(network), loader, timm_loader_of(is_training=False), 4)
    assert record.sides(per_epoch=3) == [curriculum.stage(epoch).pixels(16) for epoch in range(4)] == [8, 16, 8, 16]
    assert {images.shape[-1] for images in record.evaluation} == {16}
    assert loader.loader is inner


def test_frozen_parts_rest_and_then_learn_with_a_fresh_optimiser(timm_loader_of, tiny_net):
    network = tiny_net()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=0.1)
    weights, steps = [network.layer4[0].weight.detach().clone()], []

    def look(epoch):
        weights.append(network.layer4[0].weight.detach().clone())
        steps.append(int(optimizer.state[network.layer1[0].weight]["step"]))

    loader = CurriculumLoader(timm_loader_of(), create_curriculum("hrt(edge_epochs=2)", epochs=4), network, optimizer)
    run_script(network, optimizer, loader, timm_loader_of(is_training=False), 4, after_epoch=look)
    moved = [not torch.equal(before, after) for before, after in pairwise(weights)]
    assert moved == [False, False, True, True]
    assert steps == [3, 6, 3, 6]
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_resumed_script_goes_on_in_the_right_stage(timm_loader_of, tiny_net, same_weights):
    def script(network, optimizer, start, end):
        curriculum = create_curriculum("hrt(edge_epochs=2)", epochs=4)
        loader = CurriculumLoader(timm_loader_of(), curriculum, network, optimizer)
        run_script(network, optimizer, loader, timm_loader_of(is_training=False), end, start)

    whole = tiny_net()
    script(whole, sgd(whole), 0, 4)
    for pause in (1, 2, 3):
        first, second = tiny_net(), tiny_net()
        before, after = sgd(first), sgd(second)
        script(first, before, 0, pause)
        second.load_state_dict(first.state_dict())
        after.load_state_dict(before.state_dict())
        script(second, after, pause, 4)
        same_weights(second.state_dict(), whole.state_dict())


def test_loop_that_is_left_early_thaws_the_network(timm_loader_of, tiny_net):
    network = tiny_net()
    loader = CurriculumLoader(timm_loader_of(), create_curriculum("hrt", epochs=5), network, sgd(network))
    loader.set_epoch(0)
    batches = iter(loader)
    next(batches)
    assert loader.stage.name == "edges"
    assert not network.layer4[0].weight.requires_grad
    del batches
    assert loader.stage is None
    assert network.layer4[0].weight.requires_grad


def test_everything_else_is_the_inner_loaders(timm_loader_of):
    inner = timm_loader_of(collate_fn=FastCollateMixup(num_classes=3))
    loader = CurriculumLoader(inner, create_curriculum("trd(participation=1)", epochs=1))
    assert len(loader) == len(inner) == 3
    assert loader.sampler is inner.sampler
    assert loader.dataset is inner.dataset
    assert loader.batch_sampler is inner.batch_sampler
    assert loader.random_erasing is None
    assert copy.copy(loader).dataset is inner.dataset
    assert loader.mixup_enabled
    loader.mixup_enabled = False
    assert not inner.mixup_enabled
    loader.set_epoch(0)
    assert [tuple(images.shape) for images, _ in loader] == [(4, 3, 8, 8)] * 3
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = loader.no_such_thing


def test_any_loader_will_do_that_says_how_it_normalises(images, labels):
    inner = DataLoader(TensorDataset(images, labels, torch.arange(12)), batch_size=6)
    curriculum = create_curriculum("trd(participation=1)", epochs=1)
    loader = CurriculumLoader(inner, curriculum, mean=[0], std=[1])
    loader.set_epoch(0)
    parts = list(loader)
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), curriculum.stage(0).view(images))
    assert torch.equal(torch.cat([part[2] for part in parts]), torch.arange(12))
    with pytest.raises(CurriculumError, match="give mean= and std="):
        CurriculumLoader(inner, curriculum)
    with pytest.raises(CurriculumError, match="together"):
        CurriculumLoader(inner, curriculum, mean=[0])


def test_what_is_missing_is_told_before_training(timm_loader_of, tiny_net):
    inner, hrt = timm_loader_of(), create_curriculum("hrt", epochs=5)
    with pytest.raises(CurriculumError, match="model="):
        CurriculumLoader(inner, hrt)
    with pytest.raises(CurriculumError, match="optimizer="):
        CurriculumLoader(inner, hrt, tiny_net())
    network = tiny_net()
    loader = CurriculumLoader(inner, hrt, network, sgd(network))
    with pytest.raises(CurriculumError, match="set_epoch"):
        next(iter(loader))
    with pytest.raises(CurriculumError, match="epochs=6"):
        loader.set_epoch(5)


def test_batches_of_another_kind_are_refused(images):
    loader = CurriculumLoader([{"image": images}], create_curriculum("baseline", epochs=1), mean=[0], std=[1])
    loader.set_epoch(0)
    with pytest.raises(CurriculumError, match="images, targets"):
        next(iter(loader))


def test_example_of_the_documentation_runs(docstring_example):
    loader = docstring_example(timm_loader)["loader"]
    assert loader.epoch == 1
