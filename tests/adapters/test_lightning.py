import logging
import os
import warnings
from collections import namedtuple
from itertools import pairwise

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from curriculum_zoo.curricula import create_curriculum
from curriculum_zoo.errors import CurriculumError

pl = pytest.importorskip("lightning.pytorch")

from lightning.pytorch.callbacks import Callback, ModelCheckpoint  # noqa: E402

from curriculum_zoo.adapters import lightning as adapter  # noqa: E402
from curriculum_zoo.adapters.lightning import CurriculumCallback  # noqa: E402

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HRT = "hrt(edge_epochs=2)"


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Of workers that these small data sets do not need, and of logging intervals longer than they are.
        warnings.filterwarnings("ignore", module="lightning")
        yield


class Classifier(pl.LightningModule):
    """As users write it: the network is one attribute among others, the loss is made in ``training_step``."""

    def __init__(self, network, optimizer="sgd"):
        super().__init__()
        self.loss = torch.nn.CrossEntropyLoss()
        self.network = network
        self.optimizer = optimizer

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return self.loss(self.network(images), labels)

    def validation_step(self, batch, batch_idx):
        self.network(batch[0])

    def configure_optimizers(self):
        if self.optimizer == "adam":
            return torch.optim.Adam(self.parameters(), lr=0.01, weight_decay=0.1)
        optimizer = sgd(self)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]


def sgd(module):
    return torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)


@pytest.fixture
def loader(images, labels):
    return DataLoader(TensorDataset(images, labels), batch_size=4)


@pytest.fixture
def trainer_of(tmp_path):
    def make(*callbacks, epochs=4, **options):
        return pl.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            callbacks=[*callbacks],
            default_root_dir=tmp_path,
            enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
            enable_model_summary=False,
            enable_progress_bar=False,
            logger=False,
            **options,
        )

    return make


def callback_for(curriculum, epochs=4, **arguments):
    return CurriculumCallback(create_curriculum(curriculum, epochs=epochs), **arguments)


def ready(*batches):
    """A loader of these very batches, neither copied nor collated."""
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)


class Each(Callback):
    """Calls a function after each training batch."""

    def __init__(self, function):
        self.function = function

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.function(trainer, pl_module)


def test_network_sees_the_stages_and_validation_full_images(trainer_of, tiny_net, loader, seen):
    callback = callback_for("trd(variant=regular)")
    network = tiny_net()
    record = seen(network)
    trainer_of(callback).fit(Classifier(network), loader, loader)
    assert record.sides(per_epoch=3) == [8, 16, 8, 16]
    assert {images.shape[-1] for images in record.evaluation} == {16}
    assert len(record.evaluation) > 4 * 3, "validation before training was meant to run, too"


def test_small_training_equals_the_plain_loop_to_the_bit(trainer_of, tiny_net, loader, plain_training, same_weights):
    curriculum = create_curriculum(f"{HRT}+trd(variant=regular)", epochs=4)
    network = tiny_net()
    trainer_of(CurriculumCallback(curriculum)).fit(Classifier(network), loader, loader)
    expected = plain_training(tiny_net(), curriculum, lambda epoch: loader, sgd, rate=lambda epoch: 0.1 * 0.5**epoch)
    same_weights(network.state_dict(), expected)


def halving(epoch):
    return 0.1 * 0.5**epoch


def test_learning_rates_of_parts_are_scaled_while_the_stage_lasts_and_schedulers_go_on(
    trainer_of, tiny_net, loader, scaled_training, same_weights
):
    curriculum = create_curriculum("hrt(edge_epochs=2,freeze=none,edge_lr_scales=((layer1,5),(head,0.1)))", epochs=4)
    network, rates = tiny_net(), []
    look = Each(lambda trainer, module: rates.append([group["lr"] for group in trainer.optimizers[0].param_groups]))
    trainer_of(CurriculumCallback(curriculum), look).fit(Classifier(network), loader)
    expected = scaled_training(tiny_net(), curriculum, lambda epoch: loader, lr=halving)
    same_weights(network.state_dict(), expected)
    assert rates == [[halving(step // 3)] for step in range(1, 13)]


def test_batches_grow_as_images_shrink_and_rates_with_them(
    trainer_of, tiny_net, images, labels, scaled_training, same_weights
):
    curriculum = create_curriculum("trd(variant=regular,resolution=12,scale_batch=true)", epochs=4)
    callback = CurriculumCallback(curriculum, image_size=16)
    data = TensorDataset(images, labels)

    class WithLoader(Classifier):
        def train_dataloader(self):
            return DataLoader(data, batch_size=callback.batch_size(3, self.trainer.current_epoch))

    network, steps = tiny_net(), []
    look = Each(lambda trainer, module: steps.append(trainer.current_epoch))
    trainer_of(callback, look, reload_dataloaders_every_n_epochs=1).fit(WithLoader(network))
    assert [steps.count(epoch) for epoch in range(4)] == [3, 4, 3, 4]  # of 12 images, 5 and 3 a batch
    sizes = {0: 5, 1: 3, 2: 5, 3: 3}
    expected = scaled_training(
        tiny_net(), curriculum, lambda epoch: DataLoader(data, sizes[epoch]), lr=halving, batch_size=3
    )
    same_weights(network.state_dict(), expected)


def test_batches_that_could_not_grow_are_refused_with_what_is_missing(trainer_of, tiny_net, loader):
    curriculum = create_curriculum("trd(variant=regular,scale_batch=true)", epochs=4)
    with pytest.raises(CurriculumError, match="reload_dataloaders_every_n_epochs=1"):
        trainer_of(CurriculumCallback(curriculum, image_size=16)).fit(Classifier(tiny_net()), loader)
    with pytest.raises(CurriculumError, match=r"callback\.batch_size"):
        trainer_of(CurriculumCallback(curriculum, image_size=16), reload_dataloaders_every_n_epochs=1).fit(
            Classifier(tiny_net()), loader
        )


def test_frozen_parts_rest_and_then_learn_with_a_fresh_optimiser(trainer_of, tiny_net, loader):
    network = tiny_net()
    weights, steps, stages = [network.layer4[0].weight.detach().clone()], [], []
    callback = callback_for(HRT)

    def look(trainer, module):
        weights.append(network.layer4[0].weight.detach().clone())
        steps.append(int(trainer.optimizers[0].state[network.layer1[0].weight]["step"]))
        stages.append(callback.stage.name)

    trainer_of(callback, Each(look)).fit(Classifier(network, "adam"), loader)
    moved = [not torch.equal(before, after) for before, after in pairwise(weights)]
    assert moved == [False] * 6 + [True] * 6
    assert steps == [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]
    assert stages == ["edges"] * 6 + ["full"] * 6
    assert callback.stage is None
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("pause", [1, 2, 3])
def test_training_resumed_after_an_epoch_ends_with_the_same_weights(
    pause, trainer_of, tiny_net, loader, same_weights, tmp_path
):
    whole = tiny_net()
    trainer_of(callback_for(HRT)).fit(Classifier(whole), loader, loader)
    saver = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    trainer_of(callback_for(HRT), saver, epochs=pause).fit(Classifier(tiny_net()), loader, loader)
    resumed = tiny_net()
    trainer_of(callback_for(HRT)).fit(
        Classifier(resumed), loader, loader, ckpt_path=tmp_path / f"epoch={pause - 1}.ckpt"
    )
    same_weights(resumed.state_dict(), whole.state_dict())


@pytest.mark.parametrize(("step", "stage", "counts"), [(2, "edges", [3, 4, 5, 6]), (7, "full", [2, 3, 4, 5, 6])])
def test_epoch_resumed_in_its_middle_is_in_its_stage_and_keeps_its_optimiser(
    step, stage, counts, trainer_of, tiny_net, loader, tmp_path
):
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    trainer_of(callback_for(HRT), saver).fit(Classifier(tiny_net(), "adam"), loader)
    network, stages, steps = tiny_net(), [], []
    callback = callback_for(HRT)

    def look(trainer, module):
        stages.append((trainer.current_epoch, callback.stage.name, network.layer4[0].weight.requires_grad))
        steps.append(int(trainer.optimizers[0].state[network.layer1[0].weight]["step"]))

    checkpoint = tmp_path / f"step={step}.ckpt"
    trainer_of(callback, Each(look)).fit(Classifier(network, "adam"), loader, ckpt_path=checkpoint)
    assert stages[0] == (step // 3, stage, stage == "full")
    assert all(name == ("edges" if epoch < 2 else "full") for epoch, name, _ in stages)
    assert steps[: len(counts)] == counts


def test_held_statistics_rest_and_then_move_although_validation_comes_between(trainer_of, tiny_net, loader):
    network = tiny_net()
    means = [network.layer4[1].running_mean.clone()]
    look = Each(lambda trainer, module: means.append(network.layer4[1].running_mean.clone()))
    trainer_of(callback_for("hrt(edge_epochs=2,statistics=hold)"), look).fit(Classifier(network), loader, loader)
    moved = [not torch.equal(before, after) for before, after in pairwise(means)]
    assert moved == [False] * 6 + [True] * 6


def test_loader_is_made_once_and_tensors_of_the_data_set_stay_as_they_are(trainer_of, tiny_net, images, labels, seen):
    made = []

    class WithLoader(Classifier):
        def train_dataloader(self):
            made.append(ready((images, labels)))
            return made[-1]

    before = images.clone()
    network = tiny_net()
    record = seen(network)
    trainer_of(callback_for("trd(variant=regular)")).fit(WithLoader(network))
    assert len(made) == 1
    assert record.sides(per_epoch=1) == [8, 16, 8, 16]
    assert torch.equal(images, before)


def test_normalised_images_reach_the_network_normalised(trainer_of, tiny_net, images, labels, seen):
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    loader = DataLoader(TensorDataset((images - mean) / std, labels), batch_size=12)
    network = tiny_net()
    record = seen(network)
    callback = callback_for(HRT, normalized=(MEAN, STD))
    trainer_of(callback).fit(Classifier(network), loader)
    edges = create_curriculum(HRT, epochs=4).stage(0).view(images)
    torch.testing.assert_close(record.training[0], (edges - mean) / std, rtol=0, atol=2e-5)
    assert torch.equal(record.training[3], (images - mean) / std)


def test_mixed_precision_leaves_the_view_exact(trainer_of, tiny_net, images, loader, seen):
    network = tiny_net()
    record = seen(network)
    trainer_of(callback_for("trd(participation=1)"), precision="bf16-mixed").fit(Classifier(network), loader)
    assert torch.equal(
        record.training[0], create_curriculum("trd(participation=1)", epochs=4).stage(0).view(images[:4])
    )


Batch = namedtuple("Batch", "labels picture")
KINDS = {
    "tensor": (lambda x, y: x, {}, lambda batch: batch),
    "tuple": (lambda x, y: (y, x), {"images": -1}, lambda batch: batch[1]),
    "named tuple": (lambda x, y: Batch(y, x), {"images": 1}, lambda batch: batch.picture),
    "dictionary": (lambda x, y: {"x": x, "y": y}, {"images": "x"}, lambda batch: batch["x"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_found_in_any_kind_of_batch(kind, trainer_of, tiny_net, images, labels):
    pack, arguments, unpack = KINDS[kind]
    sides, types = [], []

    class Taking(Classifier):
        def training_step(self, batch, batch_idx):
            types.append(type(batch))
            sides.append(unpack(batch).shape[-1])
            return self.network(unpack(batch)).square().mean()

    batch = pack(images, labels)
    trainer_of(callback_for("trd(variant=regular)", **arguments)).fit(Taking(tiny_net()), ready(batch))
    assert sides == [8, 16, 8, 16]
    assert set(types) == {type(batch)}


@pytest.mark.parametrize(
    ("batch", "arguments"),
    [({"x": 1}, {}), ((1, 2), {"images": "x"}), ((1,), {"images": 3})],
    ids=["no such key", "a key into a tuple", "past the end"],
)
def test_batch_without_images_where_they_should_be_is_refused(batch, arguments, trainer_of, tiny_net):
    with pytest.raises(CurriculumError, match="Give the callback images="):
        trainer_of(callback_for("baseline", **arguments)).fit(Classifier(tiny_net()), ready(batch))


def test_training_that_fails_leaves_the_module_as_it_was(trainer_of, tiny_net, loader):
    module = Classifier(tiny_net())
    callback = callback_for(HRT)

    def fail(trainer, module):
        assert not module.network.layer4[0].weight.requires_grad
        raise KeyError("something of the user's")

    with pytest.raises(KeyError, match="something"):
        trainer_of(callback, Each(fail)).fit(module, loader)
    assert callback.stage is None
    assert "training_step" not in vars(module)
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_what_does_not_fit_is_told_when_training_starts(trainer_of, tiny_net, loader, images, labels):
    with pytest.raises(CurriculumError, match="plans epochs 0 to 3, not 4"):
        trainer_of(callback_for(HRT), epochs=5).fit(Classifier(tiny_net()), loader)
    with pytest.raises(CurriculumError, match="state the mean"):
        trainer_of(callback_for(HRT)).fit(Classifier(tiny_net()), ready((5 * images, labels)))
    with pytest.raises(CurriculumError, match="Its parts are: loss, network"):
        trainer_of(callback_for(HRT, network="backbone")).fit(Classifier(tiny_net()), loader)


@pytest.fixture
def _no_process_group_left():
    """Lightning leaves its process group, and the variables that tell others of it, to the end of the process."""
    before = dict(os.environ)
    yield
    torch.distributed.destroy_process_group()
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


@pytest.mark.usefixtures("_no_process_group_left")
def test_ddp_goes_on_over_frozen_parts_where_it_expects_them(
    trainer_of, tiny_net, loader, plain_training, same_weights
):
    curriculum = create_curriculum(HRT, epochs=4)
    network = tiny_net()
    options = {"devices": 1, "use_distributed_sampler": False}
    trainer_of(CurriculumCallback(curriculum), strategy="ddp_find_unused_parameters_true", **options).fit(
        Classifier(network), loader
    )
    expected = plain_training(tiny_net(), curriculum, lambda epoch: loader, sgd, rate=lambda epoch: 0.1 * 0.5**epoch)
    same_weights(network.state_dict(), expected)
    with pytest.raises(CurriculumError, match="ddp_find_unused_parameters_true"):
        trainer_of(CurriculumCallback(curriculum), strategy="ddp", **options).fit(Classifier(tiny_net()), loader)


def test_example_of_the_documentation_runs(docstring_example):
    assert docstring_example(adapter)["trainer"].current_epoch == 2
