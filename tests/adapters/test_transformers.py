import warnings
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, SequentialSampler

from curriculum_zoo.curricula import create_curriculum
from curriculum_zoo.errors import CurriculumError

transformers = pytest.importorskip("transformers")

from transformers import Trainer, TrainerCallback, TrainingArguments  # noqa: E402

from curriculum_zoo.adapters import transformers as adapter  # noqa: E402
from curriculum_zoo.adapters.transformers import CurriculumCallback  # noqa: E402

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HRT = "hrt(edge_epochs=2)"


@pytest.fixture(autouse=True)
def _quiet():
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*pin_memory.*")
        yield
    transformers.logging.set_verbosity(before)


class Wrapped(nn.Module):
    """Any network, as a `Trainer` wants it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixel_values, labels=None):
        logits = self.network(pixel_values)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


class InOrder(Trainer):
    """Shows the images in their order, so that any loop can show them the same way."""

    loaders = 0

    def _get_train_sampler(self, train_dataset=None):
        return SequentialSampler(self.train_dataset)

    def get_train_dataloader(self):
        self.loaders += 1
        return super().get_train_dataloader()


@pytest.fixture
def examples(images, labels):
    return [{"pixel_values": image, "labels": int(label)} for image, label in zip(images, labels, strict=True)]


@pytest.fixture
def trainer_of(tmp_path, examples):
    def make(model, *callbacks, optimizer=None, data=None, **options):
        arguments = {
            "output_dir": str(tmp_path / "run"),
            "num_train_epochs": 4,
            "per_device_train_batch_size": 4,
            "per_device_eval_batch_size": 4,
            "max_grad_norm": 0.0,
            "use_cpu": True,
            "report_to": "none",
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
        }
        return InOrder(
            model,
            TrainingArguments(**(arguments | options)),
            train_dataset=data or examples,
            eval_dataset=examples,
            callbacks=[*callbacks],
            optimizers=(None, None) if optimizer is None else (optimizer, halving(optimizer)),
        )

    return make


def sgd(module):
    return torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)


def halving(optimizer):
    """The rate halves every three steps, which is every epoch."""
    return torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)


def callback_for(curriculum, epochs=4, **arguments):
    return CurriculumCallback(create_curriculum(curriculum, epochs=epochs), **arguments)


class Each(TrainerCallback):
    """Calls a function after each step of the optimiser."""

    def __init__(self, function):
        self.function = function

    def on_step_end(self, args, state, control, **kwargs):
        self.function(state, kwargs["optimizer"])


def test_network_sees_the_stages_and_evaluation_full_images(trainer_of, tiny_net, seen):
    network = tiny_net()
    record = seen(network)
    trainer = trainer_of(
        Wrapped(network), callback_for("trd(variant=regular)"), eval_strategy="steps", eval_steps=2, eval_on_start=True
    )
    trainer.train()
    trainer.evaluate()
    assert record.sides(per_epoch=3) == [8, 16, 8, 16]
    assert {images.shape[-1] for images in record.evaluation} == {16}
    assert len(record.evaluation) == (1 + 6 + 1) * 3
    assert trainer.loaders == 1


@pytest.mark.parametrize("accumulation", [1, 3])
def test_small_training_equals_the_plain_loop_to_the_bit(
    accumulation, trainer_of, tiny_net, images, labels, examples, plain_training, same_weights
):
    curriculum = create_curriculum(f"{HRT}+trd(variant=regular)", epochs=4)
    model, plain = Wrapped(tiny_net()), tiny_net()
    optimizer = sgd(model)
    trainer = trainer_of(
        model,
        CurriculumCallback(curriculum),
        optimizer=optimizer,
        gradient_accumulation_steps=accumulation,
        eval_strategy="epoch",
    )
    if accumulation == 1:
        trainer.train()
        batches = DataLoader(list(zip(images, labels, strict=True)), batch_size=4)
        expected = plain_training(plain, curriculum, lambda epoch: batches, sgd, rate=lambda epoch: 0.1 * 0.5**epoch)
        same_weights(model.network.state_dict(), expected)
        return
    trainer.lr_scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    trainer.train()
    same_weights(model.network.state_dict(), accumulated(plain, curriculum, images, labels))


def test_learning_rates_of_parts_are_scaled_while_the_stage_lasts_and_schedulers_go_on(
    trainer_of, tiny_net, images, labels, scaled_training, same_weights
):
    curriculum = create_curriculum("hrt(edge_epochs=2,freeze=none,edge_lr_scales=((layer1,5),(head,0.1)))", epochs=4)
    model, rates = Wrapped(tiny_net()), []
    look = Each(lambda state, optimizer: rates.append([group["lr"] for group in optimizer.param_groups]))
    trainer_of(model, CurriculumCallback(curriculum), look, optimizer=sgd(model)).train()
    batches = DataLoader(list(zip(images, labels, strict=True)), batch_size=4)
    expected = scaled_training(tiny_net(), curriculum, lambda epoch: batches, lr=lambda epoch: 0.1 * 0.5**epoch)
    same_weights(model.network.state_dict(), expected)
    assert rates == [[0.1 * 0.5 ** (step // 3)] for step in range(1, 13)]


def accumulated(network, curriculum, images, labels):
    """The plain loop with one step an epoch, its gradient the mean of three batches'."""
    optimizer = sgd(network)
    for epoch in range(curriculum.epochs):
        stage = curriculum.stage(epoch)
        optimizer = sgd(network) if stage.fresh_optimizer else optimizer
        network.train()
        with stage.applied_to(network) as view:
            optimizer.zero_grad()
            for some, answers in zip(images.split(4), labels.split(4), strict=True):
                (nn.functional.cross_entropy(network(view(some)), answers) / 3).backward()
            optimizer.step()
    return network.state_dict()


def test_frozen_parts_rest_and_then_learn_with_a_fresh_optimiser(trainer_of, tiny_net):
    network = tiny_net()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=0.1)
    weights, steps, stages = [network.layer4[0].weight.detach().clone()], [], []
    callback = callback_for(HRT)

    def look(state, optimizer):
        weights.append(network.layer4[0].weight.detach().clone())
        steps.append(int(optimizer.state[network.layer1[0].weight]["step"]))
        stages.append(callback.stage.name)

    trainer_of(Wrapped(network), callback, Each(look), optimizer=optimizer).train()
    moved = [not torch.equal(before, after) for before, after in pairwise(weights)]
    assert moved == [False] * 6 + [True] * 6
    assert steps == [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]
    assert stages == ["edges"] * 6 + ["full"] * 6
    assert callback.stage is None
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("step", [2, 3, 6, 7])
def test_training_resumed_within_or_after_an_epoch_ends_with_the_same_weights(
    step, trainer_of, tiny_net, same_weights, tmp_path
):
    def model_and_trainer(**options):
        model = Wrapped(tiny_net())
        return model, trainer_of(model, callback_for(HRT), optimizer=sgd(model), **options)

    whole, trainer = model_and_trainer(save_strategy="steps", save_steps=1)
    trainer.train()
    resumed, trainer = model_and_trainer()
    trainer.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{step}"))
    same_weights(resumed.state_dict(), whole.state_dict())


def test_held_statistics_rest_and_then_move_although_evaluation_comes_between(trainer_of, tiny_net):
    network = tiny_net()
    means = [network.layer4[1].running_mean.clone()]
    look = Each(lambda state, optimizer: means.append(network.layer4[1].running_mean.clone()))
    callback = callback_for("hrt(edge_epochs=2,statistics=hold)")
    trainer_of(Wrapped(network), callback, look, eval_strategy="steps", eval_steps=1).train()
    moved = [not torch.equal(before, after) for before, after in pairwise(means)]
    assert moved == [False] * 6 + [True] * 6


def test_model_of_transformers_trains_on_normalised_images(trainer_of, images, labels):
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    data = [{"pixel_values": (image - mean) / std, "labels": int(label)} for image, label in zip(images, labels)]  # noqa: B905
    config = transformers.ViTConfig(
        image_size=16, patch_size=4, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8,
        num_labels=3,
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config)
    seen, deeper = [], model.get_submodule("vit.layers.1" if hasattr(model.vit, "layers") else "vit.encoder.layer.1")
    model.vit.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(args[0] if args else kwargs["pixel_values"]), with_kwargs=True
    )
    pattern = next(name for name, module in model.named_modules() if module is deeper)
    before = {name: value.clone() for name, value in deeper.state_dict().items()}
    curriculum = create_curriculum("hrt", epochs=2, edge_epochs=1, freeze=pattern)
    callback = CurriculumCallback(curriculum, normalized=(MEAN, STD))
    changed = []

    def look(state, optimizer):
        changed.append(any(not torch.equal(before[name], value) for name, value in deeper.state_dict().items()))

    trainer_of(model, callback, Each(look), data=data, num_train_epochs=2).train()
    edges = curriculum.stage(0).view(images[:4])
    torch.testing.assert_close(seen[0], (edges - mean) / std, rtol=0, atol=2e-5)
    torch.testing.assert_close(seen[3], (images[:4] - mean) / std)
    assert changed == [False] * 3 + [True] * 3


@pytest.mark.slow
def test_compiled_model_sees_every_stage(trainer_of, tiny_net):
    network = tiny_net()
    sides = []
    network.layer1.register_forward_pre_hook(
        torch.compiler.disable(lambda module, args: sides.append(args[0].shape[-1]))
    )
    trainer_of(
        Wrapped(network), callback_for("trd(variant=regular)"), torch_compile=True, torch_compile_backend="eager"
    ).train()
    assert sides == [8] * 3 + [16] * 3 + [8] * 3 + [16] * 3


def test_hook_leaves_the_model_when_training_ends(trainer_of, tiny_net, images, seen):
    model = Wrapped(tiny_net())
    trainer_of(model, callback_for("trd(participation=1)")).train()
    record = seen(model.network)
    model.train()
    model(pixel_values=images)
    assert record.training[0].shape[-1] == 16


def test_what_does_not_fit_is_told(trainer_of, tiny_net, images, labels):
    with pytest.raises(CurriculumError, match="plans epochs 0 to 3, not 4"):
        trainer_of(Wrapped(tiny_net()), callback_for(HRT), num_train_epochs=5).train()
    with pytest.raises(CurriculumError, match="fixed when training begins"):
        callback_for("trd(scale_batch=true)")
    with pytest.raises(CurriculumError, match="given no 'x', but pixel_values, labels"):
        trainer_of(Wrapped(tiny_net()), callback_for(HRT, images="x")).train()
    data = [{"pixel_values": 5 * image, "labels": 0} for image in images]
    with pytest.raises(CurriculumError, match="state the mean"):
        trainer_of(Wrapped(tiny_net()), callback_for(HRT), data=data).train()


def test_example_of_the_documentation_runs(docstring_example):
    assert docstring_example(adapter)["callback"].stage is None
