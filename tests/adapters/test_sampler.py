"""The images that a curriculum chooses, in loaders of plain PyTorch, timm, Lightning and Transformers."""

import io

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from curriculum_zoo import create_curriculum
from curriculum_zoo.adapters.sampler import CurriculumSampler
from curriculum_zoo.adapters.timm_loader import CurriculumLoader
from curriculum_zoo.errors import CurriculumError

COUNT = 50
IMAGES = torch.rand(COUNT, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(COUNT) % 4
DATA = TensorDataset(IMAGES, LABELS, torch.arange(COUNT))
# Of fixed difficulty, so that notes do not depend on a network.
LOGITS = 3 * torch.randn(COUNT, 4, generator=torch.Generator().manual_seed(1))


def walked(sampler):
    """All epochs of a plan: what each batch has, with weights, noted as it comes."""
    seen = []
    for epoch in range(sampler.curriculum.epochs):
        sampler.set_epoch(epoch)
        numbers = torch.tensor(list(sampler))
        seen.append((numbers.tolist(), sampler.weights(numbers).tolist()))
        sampler.note(numbers, LOGITS[numbers], LABELS[numbers])
    return seen


@pytest.mark.parametrize("expression", ["random_subset", "infobatch", "trd + self_paced(weights=linear)"])
def test_one_two_and_three_processes_draw_the_same_images_and_weights(expression, monkeypatch):
    curriculum = create_curriculum(expression, epochs=4, seed=3)
    alone = walked(CurriculumSampler(curriculum, COUNT))
    for processes in (2, 3):
        samplers = [CurriculumSampler(curriculum, COUNT, rank=r, world_size=processes) for r in range(processes)]
        for epoch, (numbers, weights) in enumerate(alone):
            # What a gathering of all processes brings to each of them.
            shares = [own._scores.fresh() for own in samplers]
            monkeypatch.setattr("curriculum_zoo.adapters.sampler._gathered", lambda _, shares=shares: shares)
            for own in samplers:
                own.set_epoch(epoch)
            drawn = [torch.tensor(list(own)) for own in samplers]
            each = len(numbers) // processes
            assert [len(own) for own in samplers] == [len(share) for share in drawn] == [each] * processes
            assert torch.stack(drawn, 1).flatten().tolist() == numbers[: each * processes]
            known = dict(zip(numbers, weights, strict=True))
            for own, share in zip(samplers, drawn, strict=True):
                assert own.weights(share).tolist() == [known[number] for number in share.tolist()]
                own.note(share, LOGITS[share], LABELS[share])
            if each * processes < len(numbers):  # an image left out is noted by nobody, and plans part ways
                break


def test_a_resumed_sampler_goes_on_as_if_nothing_had_been():
    curriculum = create_curriculum("infobatch", epochs=4, seed=3)
    whole = walked(CurriculumSampler(curriculum, COUNT))
    first = CurriculumSampler(curriculum, COUNT)
    for epoch in range(3):
        first.set_epoch(epoch)
        numbers = torch.tensor(list(first))
        if epoch < 2:
            first.note(numbers, LOGITS[numbers], LABELS[numbers])
    first.note(numbers[:9], LOGITS[numbers[:9]], LABELS[numbers[:9]])
    saved = io.BytesIO()
    torch.save(first.state_dict(), saved)
    saved.seek(0)
    resumed = CurriculumSampler(curriculum, COUNT)
    resumed.load_state_dict(torch.load(saved, weights_only=True))
    assert list(resumed) == whole[2][0]
    resumed.note(numbers[9:], LOGITS[numbers[9:]], LABELS[numbers[9:]])
    resumed.set_epoch(3)
    assert list(resumed) == whole[3][0]


def test_a_loader_of_torch_gives_the_chosen_images():
    sampler = CurriculumSampler(create_curriculum("random_subset(share=0.4)", epochs=2), COUNT)
    loader = DataLoader(DATA, batch_size=8, sampler=sampler)
    epochs = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        epochs.append([number for *_, numbers in loader for number in numbers.tolist()])
        assert len(set(epochs[-1])) == len(epochs[-1]) == 20
    assert set(epochs[0]) != set(epochs[1])
    with pytest.raises(CurriculumError, match="plans epochs 0 to 1"):
        sampler.set_epoch(2)


def test_timms_loader_takes_the_sampler_and_sets_its_epoch():
    curriculum = create_curriculum("random_subset(share=0.4) + trd(variant=regular)", epochs=2)
    sampler = CurriculumSampler(curriculum, COUNT)
    plain = DataLoader(DATA, batch_size=10, shuffle=True)
    loader = CurriculumLoader(plain, curriculum, mean=[0], std=[1], sampler=sampler)
    for epoch, side in enumerate((4, 8)):
        loader.set_epoch(epoch)
        batches = list(loader)
        assert len(loader) == len(batches) == 2
        assert batches[0][0].shape == (10, 3, side, side)
        assert torch.cat([numbers for *_, numbers in batches]).tolist() == list(sampler)


def test_a_curriculum_that_chooses_is_refused_without_its_sampler_and_where_it_needs_passes_of_its_own():
    curriculum = create_curriculum("infobatch", epochs=2)
    with pytest.raises(CurriculumError, match="CurriculumSampler"):
        CurriculumLoader(DataLoader(DATA), curriculum, mean=[0], std=[1])
    with pytest.raises(CurriculumError, match="makes forward passes"):
        CurriculumSampler(create_curriculum("selective_backprop", epochs=2), COUNT)


def test_lightning_trains_on_the_chosen_images():
    pl = pytest.importorskip("lightning.pytorch")
    from curriculum_zoo.adapters.lightning import CurriculumCallback

    curriculum = create_curriculum("random_subset(share=0.4)", epochs=2)
    sampler, seen = CurriculumSampler(curriculum, COUNT), []

    class Classifier(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))

        def training_step(self, batch, batch_idx):
            images, labels, numbers = batch
            seen.append((self.current_epoch, numbers.tolist()))
            return nn.functional.cross_entropy(self.network(images), labels)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False,
        callbacks=[CurriculumCallback(curriculum, sampler=sampler)],
    )  # fmt: skip
    trainer.fit(Classifier(), DataLoader(DATA, batch_size=10, sampler=sampler))
    expected = walked(CurriculumSampler(curriculum, COUNT))
    for epoch in range(2):
        assert [n for at, numbers in seen if at == epoch for n in numbers] == expected[epoch][0]


def test_a_trainer_of_transformers_trains_on_the_chosen_images(tmp_path):
    transformers = pytest.importorskip("transformers")
    from curriculum_zoo.adapters.transformers import CurriculumCallback

    curriculum = create_curriculum("random_subset(share=0.4)", epochs=2)
    sampler, seen = CurriculumSampler(curriculum, COUNT, rank=0, world_size=1), []

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))

        def forward(self, pixel_values, labels, numbers):
            seen.extend(numbers.tolist())
            logits = self.network(pixel_values)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    class Trainer(transformers.Trainer):
        def _get_train_sampler(self, *args):
            return sampler

    arguments = transformers.TrainingArguments(
        str(tmp_path), num_train_epochs=2, per_device_train_batch_size=10, report_to="none", use_cpu=True,
        save_strategy="no", disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip
    items = [{"pixel_values": image, "labels": label, "numbers": n} for n, (image, label, _) in enumerate(DATA)]
    callback = CurriculumCallback(curriculum, sampler=sampler)
    Trainer(Network(), arguments, train_dataset=items, callbacks=[callback]).train()
    expected = walked(CurriculumSampler(curriculum, COUNT))
    assert seen == [number for numbers, _ in expected for number in numbers]
