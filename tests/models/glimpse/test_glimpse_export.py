"""Compiled, exported and data-parallel glimpse pyramids give what eager ones give."""

import json
import os
import subprocess
import sys
import textwrap

import onnxruntime
import pytest
import torch

from curriculum_zoo import create_model
from curriculum_zoo.models.glimpse.pyramid import PIECE

OPTIONS = {"attend": "threshold", "threshold": 0.5}
BATCH = ({0: torch.export.Dim("batch", min=1, max=512)},)


def network(name="m1", side=28, **options):
    torch.manual_seed(0)
    model = create_model(f"glimpse_pyramid_{name}", **{**OPTIONS, **options}).eval()
    images = torch.rand(4, model.in_chans, side, side)
    shares = model.glimpse(images).levels[0].mask.float().mean()
    assert 0.1 < shares < 0.9
    return model, images


@pytest.mark.parametrize(
    ("options", "side"),
    [
        ({}, 28),
        ({"attend": "top_k"}, 28),
        pytest.param({"name": "m3"}, 56, marks=pytest.mark.slow),
        pytest.param({"name": "m2"}, 45, marks=pytest.mark.slow),
    ],
)
def test_exported_programs_take_batches_of_any_size(options, side):
    model, images = network(side=side, **options)
    program = torch.export.export(model, (images,), dynamic_shapes=BATCH).module()
    more = torch.cat([images, images.flip(3)])
    torch.testing.assert_close(program(more), model(more), atol=1e-5, rtol=1e-5)


def test_exported_programs_sample_where_the_network_does():
    model, images = network(attend="sample")
    program = torch.export.export(model, (images,)).module()
    logits = torch.stack([program(images) for _ in range(40)])
    with torch.no_grad():
        expected = model.glimpse(images, samples=40).logits[-1].unflatten(0, (40, -1))
    spread = (expected.std(0) / 40**0.5).clamp_min(1e-6)
    assert logits.std(0).max() > 0
    assert ((logits.mean(0) - expected.mean(0)).abs() < 6 * 2**0.5 * spread).all()


@pytest.mark.slow
@pytest.mark.parametrize("attend", ["threshold", "top_k"])
def test_onnx_files_give_the_same_outputs_in_onnxruntime(attend, tmp_path):
    model, images = network(attend=attend)
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (images,), path, dynamic_shapes=BATCH, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path)
    more = torch.cat([images, images.flip(2)])
    (logits,) = session.run(None, {session.get_inputs()[0].name: more.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), model(more).detach(), atol=1e-4, rtol=1e-4)


def test_traced_networks_and_onnx_files_by_tracing_give_the_same_outputs(tmp_path):
    model, images = network()
    more = torch.cat([images, images.flip(2)])
    torch.testing.assert_close(torch.jit.trace(model, images)(more), model(more), atol=1e-4, rtol=1e-4)
    path = tmp_path / "model.onnx"
    names = {"input_names": ["images"], "output_names": ["logits"]}
    batch = {"images": {0: "batch"}, "logits": {0: "batch"}}
    torch.onnx.export(model, images, str(path), dynamo=False, verbose=False, dynamic_axes=batch, **names)
    (logits,) = onnxruntime.InferenceSession(path).run(None, {"images": more.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), model(more).detach(), atol=1e-4, rtol=1e-4)


def test_a_network_traced_without_gradients_takes_batches_of_any_size(monkeypatch):
    """Where crops are described piece by piece, the number of pieces must not become a part of the program."""
    monkeypatch.setitem(PIECE, "cpu", 8)
    model, images = network()
    with torch.no_grad():
        traced = torch.jit.trace(model, images)
        for some in (images[:1], images, torch.cat([images, images.flip(2)])):
            torch.testing.assert_close(traced(some), model(some), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "name", ["glimpse_baseline_m1", pytest.param("glimpse_baseline_in_m1", marks=pytest.mark.slow)]
)
def test_symbolic_tracing_of_a_baseline_gives_the_same_outputs(name):
    model = create_model(name).eval()
    images = torch.rand(2, model.in_chans, 64, 72)
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(images), model(images))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_networks_give_the_same_outputs_and_gradients(backend):
    model, images = network()
    torch.compiler.reset()
    compiled = torch.compile(model, backend=backend)
    for batch in (images, images[:3], images.flip(0)):
        torch.testing.assert_close(compiled(batch), model(batch), atol=1e-4, rtol=1e-4)
    gradients = []
    for each in (model, compiled):
        model.zero_grad()
        each(images, glimpses={"attend": "threshold"}).logits[-1].square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-4, rtol=1e-3)


RANK = """
    import json, os, sys
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel
    from curriculum_zoo import create_model

    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = create_model("glimpse_pyramid_m1")
    parallel = DistributedDataParallel(model)
    rank = dist.get_rank()
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))

    def attend(probabilities, level):  # all of the first process's images, none of the second's
        return torch.full_like(probabilities, rank == 0, dtype=torch.bool)

    for step in range(2):
        answer = parallel(images[2 * rank : 2 * rank + 2], glimpses={"attend": attend})
        loss = answer.logits[-1].square().mean() - answer.log_probability().mean()
        model.zero_grad()
        loss.backward()
    print(json.dumps({key: parameter.grad.norm().item() for key, parameter in model.named_parameters()}))
    dist.destroy_process_group()
"""


PLAIN = (
    RANK.partition("    def attend")[0]
    + """
    labels = torch.arange(4)[2 * rank : 2 * rank + 2]
    for step in range(3):
        loss = torch.nn.functional.cross_entropy(parallel(images[2 * rank : 2 * rank + 2]), labels)
        model.zero_grad()
        loss.backward()
    print(json.dumps({key: parameter.grad.norm().item() for key, parameter in model.named_parameters()}))
    dist.destroy_process_group()
"""
)


def ranks_of(script, tmp_path):
    """What two processes print that run a script together."""
    store = f"file://{tmp_path / 'store'}"
    code = textwrap.dedent(script).replace(
        '"gloo")', f'"gloo", init_method="{store}", rank=int(sys.argv[1]), world_size=2)'
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for rank in (0, 1)
    ]
    try:
        answers = [rank.communicate(timeout=600) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], answers
    return [json.loads(out) for out, _ in answers]


@pytest.mark.slow
def test_plain_cross_entropy_goes_on_beyond_the_second_step_of_two_processes(tmp_path):
    first, second = ranks_of(PLAIN, tmp_path)
    assert first == second
    assert all(0 <= norm < 100 for norm in first.values())
    assert first["classifier.weight"] > 0


@pytest.mark.slow
def test_processes_of_which_one_attends_nothing_learn_together(tmp_path):
    first, second = ranks_of(RANK, tmp_path)
    assert first == second

    torch.manual_seed(0)
    model = create_model("glimpse_pyramid_m1")
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([True, True, False, False])[:, None].expand(4, 9)
    answer = model.glimpse(images, attend=lambda p, level: mask)
    (answer.logits[-1].square().mean() - answer.log_probability().mean()).backward()
    alone = {key: parameter.grad.norm().item() for key, parameter in model.named_parameters()}
    assert first == pytest.approx(alone, rel=1e-3, abs=1e-6)
