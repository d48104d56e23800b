"""Training, evaluation and prediction on photographs that stay in their files."""

import dataclasses
import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from curriculum_zoo import Recipe, train
from curriculum_zoo.cli import main
from curriculum_zoo.data import PhotoSet
from curriculum_zoo.errors import DataError, RecipeError
from curriculum_zoo.evaluation import evaluate, predict
from curriculum_zoo.recipes import PhotoOptions
from curriculum_zoo.training.prepare import prepare


def recipe(photographs, **settings):
    photos = {"resident": False, **settings.pop("photos", {})}
    usual = {"model": "simple_cnn", "image_size": 32, "epochs": 2, "batch_size": 8, "validation": 0.2}
    return Recipe(data=f"folder:{photographs}", photos=PhotoOptions(**photos), **{**usual, **settings})


def weights(result):
    return load_file(result.folder / "last" / "model.safetensors")


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def quiet(recipe, output, **settings):
    return train(recipe, output=output, device="cpu", **settings)


@pytest.fixture(scope="module")
def trained(photographs, tmp_path_factory):
    """A run that saw small images first, read by two workers."""
    wanted = recipe(photographs, curriculum="trd(variant=regular)", epochs=4)
    return quiet(wanted, tmp_path_factory.mktemp("photo") / "run", workers=2)


def test_a_run_leaves_everything_and_says_where_its_images_were(trained, photographs):
    assert [line["image_size"] for line in trained.metrics] == [16, 32, 16, 32]
    facts = json.loads((trained.folder / "environment.json").read_text())
    data = facts["data"]
    assert (data["in_memory"], data["train_images"], data["test_images"]) == (False, 24, 6)
    assert len(data["split"]) == len(data["fingerprint"]) == 64
    assert facts["packages"]["albumentations"]
    config = json.loads((trained.folder / "last" / "config.json").read_text())["pretrained_cfg"]
    assert config["crop_pct"] == 1.0 or 0.5 < config["crop_pct"] < 1
    assert not (trained.folder / "skipped_images.json").exists()


def test_workers_and_an_interruption_change_nothing(trained, photographs, tmp_path):
    wanted = recipe(photographs, curriculum="trd(variant=regular)", epochs=4)

    class Stop(Exception):
        pass

    class Interrupting:
        """A reporter in the middle of whose second epoch the run ends."""

        def __init__(self):
            self.steps = 0

        def step(self, *_):
            self.steps += 1
            if self.steps == 4:
                raise Stop

        def __getattr__(self, name):
            return lambda *_, **__: None

    with pytest.raises(Stop):
        quiet(wanted, tmp_path / "run", workers=0, reporter=Interrupting(), checkpoint_minutes=0)
    again = quiet(wanted, tmp_path / "run", workers=1, resume=True)
    assert same(weights(again), weights(trained))


def test_evaluation_repeats_the_runs_own_figures(trained, photographs):
    figures = evaluate(trained.folder, f"folder:{photographs}", which="last", device="cpu", workers=0)[0]
    assert figures.scores.top1 == trained.test["last"].top1
    assert figures.scores.loss == pytest.approx(trained.test["last"].loss, rel=1e-5)
    small, full = evaluate(
        trained.folder, f"folder:{photographs}", which="last", resolutions=(16, 32), device="cpu", workers=0
    )
    assert small.resolution == 16
    assert full.scores.loss == figures.scores.loss != small.scores.loss


def test_prediction_agrees_with_evaluation(trained, photographs):
    prepared = prepare(recipe(photographs), device="cpu", workers=0)
    assert isinstance(prepared.data_set, PhotoSet)
    names = [prepared.data_set.images.name(index) for index in prepared.data_set.test_indices]
    predictions = predict(trained.folder, names, which="last", top=1, device="cpu")
    told = [prediction.classes[0][0] for prediction in predictions]
    right = [
        prepared.data_set.classes[label] == name
        for label, name in zip(prepared.data_set.test_labels, told, strict=True)
    ]
    assert sum(right) / len(right) == pytest.approx(trained.test["last"].top1)


def test_mean_and_deviation_are_those_of_the_photographs(photographs):
    prepared = prepare(recipe(photographs, normalize="data"), device="cpu", workers=0)
    loader = prepared.loaders.factory.loader(prepared.train_indices, training=False, batch_size=8)
    images = torch.cat([batch.images for batch in loader.batches(0)])
    assert torch.allclose(images.mean((0, 2, 3)), torch.tensor(prepared.normalize.mean), atol=1e-5)
    assert torch.allclose(images.std((0, 2, 3), correction=0), torch.tensor(prepared.normalize.std), atol=1e-5)


def test_images_that_were_left_out_are_listed_in_the_runs_folder(write_photographs, tmp_path):
    write_photographs(tmp_path / "set", {"cat": 10, "dog": 10})
    for name in ("cat/001.jpg", "dog/004.jpg"):
        (tmp_path / "set" / name).write_bytes(b"")
    wanted = recipe(tmp_path / "set", batch_size=4, epochs=1)
    with pytest.raises(DataError, match=r"is empty \(0 bytes\).* photos\.on_bad_image=skip"):
        quiet(wanted, tmp_path / "raised", workers=0)
    for resident in (False, True):
        photos = {"on_bad_image": "skip", "resident": resident}
        result = quiet(recipe(tmp_path / "set", batch_size=4, epochs=1, photos=photos), tmp_path / str(resident))
        listed = json.loads((result.folder / "skipped_images.json").read_text())
        expected = {str(tmp_path / "set" / name) for name in ("cat/001.jpg", "dog/004.jpg")}
        if not resident:  # of the last, not full batch of an epoch nothing is read
            expected = {name for name in expected if name in listed["images"]}
        assert set(listed["images"]) == expected
        assert listed["count"] == len(expected) > 0
        assert "0 bytes" in next(iter(listed["images"].values()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augmentation": {"flip": True}}, r"augmentation is for images kept in memory.* photos\.resident=true"),
        ({"photos": {"resident": True, "jitter": 0.0}}, r"photos\.jitter is for images that are read as they are"),
        ({"photos": {"train_pipeline": "none.json"}}, r"photos\.train_pipeline none\.json cannot be read"),
    ],
)
def test_changes_that_would_not_be_made_are_refused(settings, message, photographs):
    wanted = recipe(photographs).to_dict()
    for name, values in settings.items():
        wanted[name] = {**wanted[name], **values}
    with pytest.raises(RecipeError, match=message):
        prepare(Recipe.from_dict(wanted), device="cpu", workers=0)


def test_small_folders_are_kept_in_memory_unless_told_otherwise(photographs, monkeypatch):
    assert not isinstance(prepare(recipe(photographs, photos={"resident": None}), device="cpu").data_set, PhotoSet)
    monkeypatch.setattr("curriculum_zoo.data.sets.photos.RESIDENT_BYTES", 30 * 32 * 32 * 3 - 1)
    large = prepare(recipe(photographs, photos={"resident": None}), device="cpu", workers=0)
    assert isinstance(large.data_set, PhotoSet)


def test_the_command_line_says_where_images_stay_and_who_reads_them(photographs, tmp_path, capsys):
    command = [
        "train",
        "--model",
        "simple_cnn",
        "--data",
        f"folder:{photographs}",
        "--image-size",
        "16",
        "--epochs",
        "1",
    ]
    command += ["--batch-size", "8", "--device", "cpu", "--workers", "0"]
    for flag, in_memory in (("--no-resident", False), ("--resident", True)):
        main([*command, flag, "--output", str(tmp_path / flag)])
        assert json.loads((tmp_path / flag / "recipe.json").read_text())["photos"]["resident"] is in_memory
        assert json.loads((tmp_path / flag / "environment.json").read_text())["data"]["in_memory"] is in_memory
    capsys.readouterr()


def test_an_own_pipeline_is_recorded_by_its_checksum(photographs, tmp_path):
    import albumentations

    path = tmp_path / "own.json"
    albumentations.save(albumentations.Compose([albumentations.RandomResizedCrop((32, 32))]), path)
    photos = {"train_pipeline": str(path)}
    result = quiet(recipe(photographs, epochs=1, photos=photos), tmp_path / "run", workers=0)
    facts = json.loads((result.folder / "environment.json").read_text())["data"]
    assert facts["pipelines"] == {str(path): hashlib.sha256(path.read_bytes()).hexdigest()}


def test_a_pretrained_networks_own_evaluation_is_kept_and_written_down(photographs, tmp_path):
    """Interpolation and crop of the weights' configuration go into evaluation and into the new configuration."""
    wanted = recipe(photographs, model="timm/resnet10t", image_size=64, epochs=1, normalize="model", validation=0.0)
    prepared = prepare(wanted, device="cpu", workers=0)
    own = prepared.network.pretrained_cfg
    assert (prepared.loaders.factory.interpolation, prepared.loaders.factory.crop_pct) == (
        own["interpolation"],
        own["crop_pct"],
    )
    config = prepared.config({})["pretrained_cfg"]
    assert (config["interpolation"], config["crop_pct"]) == (own["interpolation"], own["crop_pct"])
    assert config["mean"] == pytest.approx(own["mean"])


@pytest.mark.parametrize("resident", [True, False])
def test_a_hub_set_is_validated_on_its_own_split_which_is_printed_and_recorded(
    photographs, tmp_path, capsys, resident, monkeypatch
):
    import datasets

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    files = sorted(str(file) for file in photographs.rglob("*") if file.is_file())
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    (tmp_path / "set").mkdir()
    for split, some in {"train": files[:16], "validation": files[16:22], "test": files[22:26]}.items():
        rows = {"image": some, "label": [number % 2 for number in range(len(some))]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "set" / f"{split}.parquet")
    wanted = recipe(photographs, epochs=1, photos={"resident": resident}, batch_size=4)
    wanted = dataclasses.replace(wanted, data=f"hf:{tmp_path / 'set'}")
    result = quiet(wanted, tmp_path / "run", workers=0)
    facts = json.loads((result.folder / "environment.json").read_text())["data"]
    assert facts["layout"] == [
        "training: 16 images, split train", "validation: 6 images, split validation", "test: 4 images, split test"
    ]  # fmt: skip
    assert [f"data: {sentence}" for sentence in facts["layout"]] == capsys.readouterr().out.splitlines()[:3]
    assert (facts["train_images"], facts["validation_images"], facts["test_images"]) == (22, 6, 4)
    (validated,) = evaluate(result.folder, wanted.data, part="validation", device="cpu")
    assert validated.scores.images == 6


@pytest.mark.parametrize("resident", [True, False])
def test_what_a_folder_was_taken_for_is_printed_and_recorded(photographs, tmp_path, capsys, resident):
    for part in ("Training", "valid", "Testing"):
        shutil.copytree(photographs, tmp_path / "set" / part)
    (tmp_path / "set" / "Training" / "cat" / "a.heic").write_bytes(b"x")
    wanted = recipe(tmp_path / "set", epochs=1, photos={"resident": resident})
    result = quiet(wanted, tmp_path / "run", workers=0)
    facts = json.loads((result.folder / "environment.json").read_text())["data"]
    assert facts["layout"] == [
        "training: 30 images, in Training/",
        "validation: 30 images, in valid/",
        "test: 30 images, in Testing/",
        "classes: 3, 'cat', 'dog', 'owl'",
        "passed over: 1 file ending in .heic",
    ]
    assert (facts["train_images"], facts["validation_images"], facts["test_images"]) == (60, 30, 30)
    assert facts["repeats"][0].startswith("30 of 30 test images are training images too, as ")
    shown = capsys.readouterr().out.splitlines()
    assert [f"data: {sentence}" for sentence in facts["layout"] + facts["repeats"]] == shown[: len(facts["layout"]) + 1]
    assert {line["validation_accuracy"] is not None for line in result.metrics} == {True}
    (validated,) = evaluate(result.folder, wanted.data, part="validation", device="cpu")
    assert validated.scores.images == 30
