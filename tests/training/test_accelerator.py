"""Devices and processes: each process gets a device of its own, and all agree on what one of them refuses."""

import os

import accelerate
import pytest
import torch
from accelerate.state import DistributedType, PartialState

from curriculum_zoo.compat import reset_accelerator_state
from curriculum_zoo.errors import CheckpointError, TrainingError
from curriculum_zoo.training import accelerator as module
from curriculum_zoo.training.accelerator import make_accelerator, on_main_process

FIXED = "ACCELERATE_TORCH_DEVICE"


@pytest.fixture
def gpus(monkeypatch):
    """``gpus(processes, local_rank)``: two GPUs that are not there; what Accelerate is told, and which is current."""
    told = {}

    class Accelerator:
        def __init__(self, **settings):
            told.update(settings, fixed=os.environ.get(FIXED))

    def start(processes, local_rank):
        if processes > 1:
            monkeypatch.setenv("WORLD_SIZE", str(processes))
            monkeypatch.setenv("LOCAL_RANK", str(local_rank))
        return told

    monkeypatch.delenv(FIXED, raising=False)
    monkeypatch.setattr(accelerate, "Accelerator", Accelerator)
    monkeypatch.setattr(module, "select_device", lambda name: torch.device(name or "cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch.accelerator, "set_device_index", lambda index: told.update(current=index))
    return start


@pytest.mark.parametrize("device", ["cuda", None])
@pytest.mark.parametrize("local_rank", [0, 1, 3])
def test_processes_that_name_the_kind_of_device_get_one_each(gpus, device, local_rank):
    told = gpus(4, local_rank)
    make_accelerator("bf16", device)
    assert told["fixed"] is None
    assert told["cpu"] is False
    assert told["current"] == local_rank % 2


@pytest.mark.parametrize(("device", "fixed"), [("cuda", "cuda"), ("cuda:1", "cuda:1"), (None, None)])
def test_a_single_process_gets_the_device_that_it_names(gpus, device, fixed):
    told = gpus(1, 0)
    make_accelerator("fp32", device)
    assert told["fixed"] == fixed
    assert FIXED not in os.environ


def test_several_processes_cannot_have_one_device(gpus):
    gpus(2, 1)
    with pytest.raises(TrainingError, match=r"'cuda:1' is one device for 2 processes\. Name its kind alone, 'cuda'"):
        make_accelerator("fp32", "cuda:1")


def test_accelerate_goes_by_the_variable_before_it_looks_at_the_local_rank(monkeypatch):
    """Why the variable must not be set: a device that is fixed stays, whatever the rank."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    chosen = []
    for fixed in (None, torch.device("cuda")):
        state = object.__new__(PartialState)
        state.__dict__ = {
            "device": fixed,
            "distributed_type": DistributedType.MULTI_GPU,
            "local_process_index": 1,
            "_cpu": False,
        }
        state.set_device()
        chosen.append(str(state.device))
    assert chosen == ["cuda:1", "cuda"]


class Process:
    """One of two processes, and what they tell each other."""

    def __init__(self, main):
        self.is_main_process = main


def test_what_the_first_process_refuses_all_refuse(monkeypatch):
    letter = []

    def broadcast(values):
        letter.extend(values[:1] if not letter else [])
        return letter[:1]

    monkeypatch.setattr("accelerate.utils.broadcast_object_list", broadcast)

    def refuse():
        raise CheckpointError("runs/x is in use")

    for main in (True, False):
        with pytest.raises(CheckpointError, match="runs/x is in use"):
            on_main_process(Process(main), refuse)


def test_the_action_is_done_on_the_first_process_alone(monkeypatch):
    monkeypatch.setattr("accelerate.utils.broadcast_object_list", lambda values: [None])
    done = []
    for main in (True, False):
        on_main_process(Process(main), lambda main=main: done.append(main))
    assert done == [True]


def test_a_training_leaves_the_callers_accelerator_as_it_was(recipe, train):
    reset_accelerator_state()
    own = accelerate.Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=4)
    network = own.prepare(torch.nn.Linear(2, 2))
    train(recipe(precision="fp32", epochs=1))
    assert own.device == torch.device("cpu")
    assert (own.mixed_precision, own.num_processes, own.gradient_accumulation_steps) == ("bf16", 1, 4)
    with own.accumulate(network), own.autocast():
        own.backward(network(torch.ones(1, 2)).sum())
    assert not own.sync_gradients
    assert accelerate.Accelerator(cpu=True).mixed_precision == "bf16"
    reset_accelerator_state()
