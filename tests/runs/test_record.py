"""The record of a run: what its files say, finished or not, and one error for each file that cannot be read."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from curriculum_zoo.errors import CheckpointError
from curriculum_zoo.recipes import Recipe
from curriculum_zoo.runs.record import RunRecord


@pytest.fixture
def run(finished_run, tmp_path):
    """A finished run that may be written to."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def test_a_record_is_what_the_files_say(finished_run):
    record = RunRecord.read(finished_run)
    assert record.path == finished_run
    assert record.recipe == Recipe.load(finished_run / "recipe.json")
    lines = (finished_run / "metrics.jsonl").read_text().splitlines()
    assert list(record.metrics) == [json.loads(line) for line in lines]
    assert [line["epoch"] for line in record.metrics] == [0, 1, 2]
    told = json.loads((finished_run / "results.json").read_text())
    assert dataclasses.asdict(record.results) == told
    assert record.finished
    assert record.finished_results() is record.results
    assert record.environment == json.loads((finished_run / "environment.json").read_text())
    assert record.fingerprint == record.environment["data"]["fingerprint"]
    assert RunRecord.read(str(finished_run)) == record


@pytest.mark.parametrize("which", ["best", "last"])
def test_weights_and_their_epoch_are_those_that_training_kept(finished_run, which):
    record = RunRecord.read(finished_run)
    config = json.loads((record.weights(which) / "config.json").read_text())
    assert config["curriculum_zoo"]["epoch"] == record.epoch(which)
    assert record.results.top1(which) == record.results.test[which]["top1"]


def test_a_run_that_is_not_finished_is_read_as_far_as_it_got(run):
    (run / "results.json").unlink()
    first = (run / "metrics.jsonl").read_text().splitlines()[0]
    (run / "metrics.jsonl").write_text(first + "\n")
    record = RunRecord.read(run)
    assert (record.results, record.finished, len(record.metrics)) == (None, False, 1)
    for ask in (record.finished_results, lambda: record.epoch("best")):
        with pytest.raises(CheckpointError, match=r"is not finished: 1 of 3 epochs are done\. Go on with .*--resume"):
            ask()


def test_a_run_that_has_just_begun_has_a_recipe_alone(run):
    for name in ("results.json", "metrics.jsonl", "environment.json"):
        (run / name).unlink()
    record = RunRecord.read(run)
    assert (record.metrics, record.environment, record.fingerprint, record.finished) == ((), {}, None, False)


def test_results_of_a_run_that_goes_on_do_not_finish_it(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join(lines[:2]))
    assert RunRecord.read(run).results is not None
    assert not RunRecord.read(run).finished


def edited(**fields):
    def edit(path):
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return edit


def written(text):
    return lambda path: path.write_bytes(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        ("recipe.json", written("{"), "is no JSON"),
        ("recipe.json", edited(epohcs=3), "epohcs is no field of it; did you mean 'epochs'"),
        ("recipe.json", edited(epochs=0), "epochs must be at least 1"),
        ("results.json", written("{"), "Expecting"),
        ("results.json", written("[]"), "holds no JSON object"),
        ("results.json", written("[" * 100_000), "nested more than 64 levels deep"),
        ("results.json", written(b"\xff"), "no UTF-8 text"),
        ("results.json", edited(test={}), r"states no test\.best\.top1, test\.last\.top1"),
        ("results.json", edited(test=None, seconds="long"), r"states no seconds, test\.best\.top1"),
        ("results.json", edited(best_epoch=None), "states no best_epoch"),
        ("environment.json", written("3"), "holds no JSON object"),
        ("metrics.jsonl", written('{"epoch": 0}\n{"epoch": 0}\n'), "line 2 is not that of epoch 1"),
        ("metrics.jsonl", written('{"epoch": 0}\n{"epo'), "Unterminated"),
        ("metrics.jsonl", written("3"), "line 1 is not that of epoch 0"),
    ],
)
def test_a_damaged_file_is_one_error_that_names_it_and_the_remedy(run, name, damage, problem):
    damage(run / name)
    with pytest.raises(CheckpointError, match=rf"{name} is damaged: .*{problem}.*train again in another folder"):
        RunRecord.read(run)


def test_a_folder_that_holds_no_run_says_so(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match=r"holds no run: there is no recipe\.json in it\. Give the folder"):
            RunRecord.read(folder)


def test_reading_runs_loads_no_torch(python, finished_run):
    code = f"""
        import json, sys
        from curriculum_zoo.runs.record import RunRecord
        record = RunRecord.read({str(finished_run)!r})
        print(json.dumps([record.finished, sorted({{"torch", "timm", "huggingface_hub"}} & sys.modules.keys())]))
    """
    assert python(code) == [True, []]
